"""Vision-language models compared by their answers: how many are right, what they make up, how long they are, and who wins."""
