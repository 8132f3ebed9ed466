"""The packed engine, on every family: the numbers of separate sequences, one by one, by the model's own forward."""

from contextlib import nullcontext

import pytest
import torch

from mmalign.policy import TokenPolicy
from mmalign.vlm import token_logps as token_logps_module
from mmalign.vlm.films import Film
from mmalign.vlm.policy import VlmPolicy
from mmalign.vlm.shown import Shown
from mmalign.vlm.token_logps import token_kls, token_logps
from tests.vlm.models import chat, picture, turns

TWO = (turns("Which is red?", 2), ["the red circle", "a blue square at the top", "no"], [picture(0), picture(1, 90, 30)])
ONE = (turns("Rate the image on a scale from 1 to 5.", 1), ["Final Score: 3", "3", "I do not know"], [picture(2, 50, 50)])
NONE = (turns("Which is red?"), ["the circle", "both are", "yes or no"], [])


def alone(vlm, question, answer, pictures=(), **more):
    """Log-probabilities of an answer's tokens, through the end of its turn, by a forward of its own."""
    processor, text = vlm.processor, chat(vlm.processor, question, answer)
    start = processor.tokenizer.bos_token
    options = {"return_tensors": "pt"} | ({"add_special_tokens": False} if start and text.startswith(start) else {})
    given = {"images": [list(pictures)]} if pictures else {}
    whole = processor(text=[text], **given, **more, **options)
    head = processor(text=[processor.apply_chat_template(question, add_generation_prompt=True)], **given, **more, **options)
    ids, begin = whole["input_ids"][0], head["input_ids"].shape[1]
    assert torch.equal(ids[:begin], head["input_ids"][0])
    end = next(i for i in range(begin, len(ids)) if ids[i] in processor.tokenizer.all_special_ids) + 1
    logits = vlm.model(**whole).logits[0, begin - 1 : end - 1].double()
    return logits.log_softmax(-1).gather(1, ids[begin:end, None])[:, 0]


def test_a_packed_batch_gives_the_numbers_of_separate_sequences(vlm):
    samples = [[TWO], [ONE], [NONE]]
    logps, mask = vlm.policy.token_logps(vlm.policy.prepare(vlm.batch(samples, 3)))
    assert logps.dtype == torch.float32
    for row, [(question, said, pictures)] in enumerate(samples):
        for k, answer in enumerate(said):
            expected = alone(vlm, question, answer, pictures)
            torch.testing.assert_close(logps[row, k][mask[row, k]].double(), expected, rtol=0, atol=1e-5)
            assert logps[row, k][~mask[row, k]].eq(0).all()


def test_gradients_are_those_of_separate_sequences(vlm):
    weight = vlm.model.get_input_embeddings().weight
    weight.requires_grad_(True)
    logps = vlm.policy.logps(vlm.policy.prepare(vlm.batch([[TWO], [ONE]], 3)))
    (packed,) = torch.autograd.grad((logps * torch.tensor([[1.0, -2.0, 3.0], [-1.0, 0.5, 1.0]])).sum(), weight)
    factors = [1.0, -2.0, 3.0, -1.0, 0.5, 1.0]
    answers = [(question, answer, pictures) for question, said, pictures in (TWO, ONE) for answer in said]
    total = sum(factor * alone(vlm, *one).sum() for factor, one in zip(factors, answers, strict=True))
    (separate,) = torch.autograd.grad(total, weight)
    torch.testing.assert_close(packed, separate, rtol=1e-3, atol=1e-5 * separate.abs().max().item())


def test_a_response_does_not_see_the_others(vlm):
    question, said, pictures = TWO
    logps = vlm.policy.logps(vlm.policy.prepare(vlm.batch([[(question, said, pictures)]], 3)))
    other = vlm.policy.logps(vlm.policy.prepare(vlm.batch([[(question, [said[0], "yes", "a gray background"], pictures)]], 3)))
    torch.testing.assert_close(logps[:, 0], other[:, 0], rtol=0, atol=1e-5)
    assert (logps[:, 1:] - other[:, 1:]).abs().min() > 0.1


def test_candidates_may_have_pictures_of_their_own(vlm):
    question, said = turns("Which is red?", 1), ["the red circle", "the blue square"]
    sample = [(question, said, [picture(3)]), (question, said[:1], [picture(4, 70, 70)])]
    logps, mask = vlm.policy.token_logps(vlm.policy.prepare(vlm.batch([sample], 3)))
    for k, (answer, image) in enumerate([(said[0], picture(3)), (said[1], picture(3)), (said[0], picture(4, 70, 70))]):
        torch.testing.assert_close(logps[0, k][mask[0, k]].double(), alone(vlm, question, answer, [image]), rtol=0, atol=1e-5)
    assert (logps[0, 0].sum() - logps[0, 2].sum()).abs() > 1e-3


def test_a_tower_that_is_trained_is_asked_within_the_forward(vlm):
    frozen = vlm.policy.logps(vlm.policy.prepare(vlm.batch([[TWO]], 3)))
    policy = VlmPolicy(vlm.policy.family, vlm.policy.module, lambda policy: nullcontext(), frozen_vision=False)
    inputs = policy.prepare(vlm.batch([[TWO]], 3))
    assert not inputs.seen
    torch.testing.assert_close(policy.logps(inputs), frozen, rtol=0, atol=1e-5)


def test_it_is_a_token_policy(qwen):
    assert isinstance(qwen.policy, TokenPolicy)


def test_films_are_read_at_their_own_positions(vlm):
    """By every family that takes them, two in a prompt, with the times of their frames."""
    if getattr(vlm.processor, "video_processor", None) is None:
        pytest.skip("it takes no films")
    question, said = turns("Which is red?", 0, 2), ["the red circle", "no"]
    films = tuple(Film(tuple(picture(10 * seed + i, 56, 56) for i in range(4)), (0.5, 1.5, 2.5, 3.5), 4.0) for seed in range(2))
    given = Shown(question, (), films).given
    logps, mask = vlm.policy.token_logps(vlm.policy.prepare(vlm.batch([[(question, said, [])]], 2, **given)))
    for k, answer in enumerate(said):
        expected = alone(vlm, question, answer, **given | {"videos": [given["videos"]]})
        torch.testing.assert_close(logps[0, k][mask[0, k]].double(), expected, rtol=0, atol=1e-5)


@pytest.fixture
def few_at_once(monkeypatch):
    monkeypatch.setattr(token_logps_module, "MOST_LOGITS", 3 * 11)


def test_parts_of_the_tokens_give_the_numbers_of_all_at_once(few_at_once):
    head = torch.nn.Linear(5, 11, bias=False).double()
    states, targets = torch.randn(8, 5, dtype=torch.double, requires_grad=True), torch.arange(8)
    logps = token_logps(states, targets, head)
    plain = head(states).log_softmax(-1)[torch.arange(8), targets]
    torch.testing.assert_close(logps.double(), plain, rtol=0, atol=1e-6)
    for mine, theirs in zip(
        torch.autograd.grad(logps.sum(), [states, head.weight]), torch.autograd.grad(plain.sum(), [states, head.weight]), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)


def test_divergences_are_those_of_the_whole_vocabulary(few_at_once):
    head = torch.nn.Linear(5, 11, bias=False).double()
    states, reference = torch.randn(8, 5, dtype=torch.double, requires_grad=True), torch.randn(8, 5, dtype=torch.double, requires_grad=True)
    p, q = head(reference).softmax(-1), head(states).softmax(-1)
    kls = token_kls(reference, states, head)
    torch.testing.assert_close(kls.double(), (p * (p / q).log()).sum(-1), rtol=0, atol=1e-5)
    assert torch.autograd.grad(kls.sum(), reference, allow_unused=True) == (None,)
    torch.testing.assert_close(token_kls(states, states, head), torch.zeros(8), rtol=0, atol=1e-6)


def test_divergences_stay_finite_where_a_probability_is_nothing():
    head = torch.nn.Linear(1, 2, bias=False)
    head.weight.data = torch.tensor([[300.0], [-300.0]])
    kls = token_kls(torch.tensor([[1.0]]), torch.tensor([[-1.0]], requires_grad=True), head)
    assert kls.item() == pytest.approx(600.0)
