"""Which answers are wrong by rule, and which no rule can tell."""

import pytest

from mmalign.factory.rrpo.verdict import form_of, is_wrong

CHOICES = "Where is it? (A) at the left (B) at the right (C) nowhere"
LINES = "Where is it?\nA. at the left\nB. at the right"


@pytest.mark.parametrize(
    ("question", "answer", "form"),
    [
        (CHOICES, "B", "choice"),
        (LINES, "(B) at the right", "choice"),
        (LINES, "The answer is A.", "choice"),
        ("Where is it?", "A. Lincoln", "short"),
        ("Does it move?", "No, it stays.", "yes_no"),
        ("How many?", "3", "short"),
        ("What happens?", "a large red circle moves from the left to the top", "open"),
    ],
)
def test_the_form_is_that_of_the_right_answer(question, answer, form):
    assert form_of(question, answer) == form


@pytest.mark.parametrize(
    ("question", "answer", "said", "wrong"),
    [
        (CHOICES, "B", "B", False),
        (CHOICES, "B", "(b) at the right", False),
        (CHOICES, "B", "C.", True),
        (CHOICES, "B", "It is at the right.", False),
        (CHOICES, "B", "It is at the left.", True),
        (CHOICES, "B", "at the left or at the right", None),
        (CHOICES, "B", "I cannot see it.", None),
        (LINES, "A. at the left", "Answer: B", True),
        (LINES, "A. at the left", "A large circle is at the right", True),
        ("Does it move?", "yes", "Yes, it does.", False),
        ("Does it move?", "yes", "It does not, so no.", True),
        ("Does it move?", "yes", "perhaps", None),
        ("How many?", "2", "There are two circles.", False),
        ("How many?", "two", "There are 2", False),
        ("How many?", "2", "12", True),
        ("What color?", "red", "Red.", False),
        ("What color?", "red", "It is a reddish blue", True),
        ("What happens?", "a circle moves to the left side", "A circle moves to the left side.", False),
        ("What happens?", "a circle moves to the left side", "a circle moves to the top", None),
    ],
)
def test_answers_are_wrong_by_rule(question, answer, said, wrong):
    assert is_wrong(question, answer, said) is wrong
