import json

import pytest

from mmalign.scorers.rubric import ASPECTS, Rubric

RUBRIC = Rubric({"prompt-following": "", "fidelity": "true forms"})


def read(text):
    annotation = RUBRIC.read(text)
    assert annotation.text == text
    return annotation.ratings, annotation.rationales


def test_the_question_names_the_caption_the_aspects_and_a_form_that_is_read_back():
    question = Rubric(ASPECTS).question('a "red" {circle}')
    assert 'a "red" {circle}' in question
    assert all(f"- {name}: {description}" in question for name, description in ASPECTS.items())
    form = question[question.index('{"prompt-following"') :].replace('"rating": n', '"rating": 3')
    assert Rubric(ASPECTS).read(form).ratings == dict.fromkeys(ASPECTS, 3.0)


@pytest.mark.parametrize(
    "text",
    [
        '{"prompt-following": {"rationale": "all there", "rating": 4}, "fidelity": {"rationale": "blurred", "rating": 2}}',
        '```json\n{"Prompt_Following": {"rating": "4/5", "rationale": "all there"}, "FIDELITY": {"score": 2.0, "reason": "blurred"}}\n```',
        # cut off, and quoted so badly that it is no JSON
        '{"prompt-following": {"rationale": "all there", "rating": 4}, "fidelity": {"rationale": "blurred", "rating": 2',
        '{"prompt-following": {"rationale": "all there", "rating": 4},\n "fidelity": {"rationale": "blurred", "rating": 2},}',
        '{"prompt-following": {"rationale": "all there", "rating": 4}, "fidelity": {"rationale": "blurred", "rating": 2}} as {asked}',
        "Prompt following: 4 - all there\nFidelity: 2 (blurred)",
        "1. **Prompt-Following**: 4/5, all there.\n2. **Fidelity**: 2/5, blurred.",
        "- prompt-following rating: 4; all there\n- fidelity score = 2; blurred",
    ],
)
def test_ratings_and_reasons_are_read_from_json_and_from_lines(text):
    assert read(text) == ({"prompt-following": 4.0, "fidelity": 2.0}, {"prompt-following": "all there", "fidelity": "blurred"})


def test_a_rating_may_end_a_sentence_and_a_reason_may_hold_braces():
    assert read("Prompt-following: 4.\nFidelity: 2.5.")[0] == {"prompt-following": 4.0, "fidelity": 2.5}
    assert read('{"fidelity": {"rationale": "a {blurred} edge", "rating": 2}}\nThat is {all}.') == (
        {"fidelity": 2.0},
        {"fidelity": "a {blurred} edge"},
    )


def test_quotes_inside_a_reason_do_not_hide_the_rating():
    text = '{"prompt-following": {"rationale": "the "red" circle", "rating": 5}, "fidelity": {"rationale": "", "rating": 3}}'
    assert read(text) == ({"prompt-following": 5.0, "fidelity": 3.0}, {"prompt-following": 'the "red" circle'})


@pytest.mark.parametrize(
    "fidelity",
    ["0", "6", "-3", '"high"', "null", "true", "[4]", '{"rationale": "x"}', '{"rating": 45}'],
)
def test_what_is_no_rating_from_1_to_5_is_left_out(fidelity):
    ratings, _ = read(f'{{"prompt-following": 4, "fidelity": {fidelity}}}')
    assert ratings == {"prompt-following": 4.0}


@pytest.mark.parametrize(
    "text",
    ["", "A fine picture.", "fidelity: 1-5", "fidelity: 1 to 5", "fidelity matters, as 5 of 6 say", "{}", "}{", json.dumps({"other": 3})],
)
def test_an_answer_without_ratings_has_none(text):
    assert read(text) == ({}, {})
