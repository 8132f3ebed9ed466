"""Whether an answer is wrong, by rule where the right one is a choice, yes or no, or a few words."""

import re
from typing import Literal

from mmalign.vlm.edits import plain, words

Form = Literal["choice", "yes_no", "short", "open"]
FEW = 3
"""Words of a short answer, at most."""
LETTER = re.compile(r"^\W*(?:(?:the\s+)?(?:answer|option|choice)\s*(?:is|:)?\s*)?\(?([A-H])(?:[).:,]|\s*$)", re.IGNORECASE)
"""A choice at the start of an answer: B, (B), B., "The answer is B"."""
OPTION = re.compile(r"(?:^|\s)\(?([A-H])[).:]\s*(.+?)(?=\s+\(?[A-H][).:]\s|\s*$)", re.DOTALL)
"""A choice in a question, with what it says."""
FIGURES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {word: str(number) for number, word in enumerate(FIGURES)}


def form_of(question: str, answer: str) -> Form:
    """What kind of answer is asked for, by the right one.

    >>> form_of("What is red? (A) a dog (B) a cat", "B. a cat"), form_of("Is it red?", "Yes."), form_of("How many?", "two dogs")
    ('choice', 'yes_no', 'short')
    """
    if LETTER.match(answer) and len(options(question)) > 1:
        return "choice"
    said = words(answer)
    if said and said[0][0] in ("yes", "no"):
        return "yes_no"
    return "short" if 0 < len(said) <= FEW else "open"


def is_wrong(question: str, answer: str, said: str) -> bool | None:
    """Whether what was said is wrong; None where no rule can tell."""
    form = form_of(question, answer)
    if form == "choice":
        right, chosen = chosen_of(question, answer), chosen_of(question, said)
        return None if chosen is None else chosen != right
    if form == "yes_no":
        first = next((word for word, _ in words(said) if word in ("yes", "no")), None)
        return None if first is None else first != words(answer)[0][0]
    if form == "short":
        return not contains(said, answer)
    return False if plain(said) == plain(answer) else None


def chosen_of(question: str, said: str) -> str | None:
    """The letter of what was chosen, by its letter or by what stands behind it in the question; None where it is neither, or several."""
    if found := LETTER.match(said):
        return found[1].upper()
    named = [letter for letter, text in options(question).items() if contains(said, text)]
    return named[0] if len(named) == 1 else None


def options(question: str) -> dict[str, str]:
    """The choices of a question by their letters.

    >>> options("Which? (A) a dog (B) two cats")
    {'A': 'a dog', 'B': 'two cats'}
    """
    return {letter.upper(): text.strip() for letter, text in OPTION.findall(question)}


def contains(text: str, part: str) -> bool:
    """Whether the words of one text stand in another, side by side; numbers up to ten are the same as words and as figures."""
    whole, inner = ([NUMBERS.get(word, word) for word, _ in words(each)] for each in (text, part))
    return bool(inner) and any(whole[start : start + len(inner)] == inner for start in range(len(whole) - len(inner) + 1))
