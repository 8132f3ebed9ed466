"""A scorer as a policy: its logits are the scores that the reward gives, whatever shares the batch."""

import pytest
import torch
from PIL import Image

from mmalign import rewards
from mmalign.policy import Policy, ScoringPolicy
from mmalign.scorers.policy import ChoiceLogits, ScorerBatch, ScorerPolicy
from tests.scorers import clips
from tests.tiny import WORDS


@pytest.fixture(scope="module", params=["clip", "open_clip"])
def reward(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    getattr(clips, request.param)(folder)
    return rewards.load("pickscore", pretrained=str(folder), device="cpu")


@pytest.fixture(scope="module")
def images():
    values = torch.randint(0, 256, (6, 40, 30, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return [Image.fromarray(value.numpy()) for value in values]


def batch_of(reward, images, prompts):
    pixels = torch.stack([reward.prepare(image) for image in images]).unflatten(0, (len(prompts), -1))
    places = torch.arange(pixels.shape[1]).expand(pixels.shape[:2])
    ones = torch.ones(len(prompts))
    return ScorerBatch(pixels, reward.clip.tokenize(prompts), ones, places, ones, ("",) * len(prompts))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_logits_are_the_scores_of_every_candidate_under_its_prompt(reward, images, count):
    prompts = WORDS[: 6 // count]
    policy = ScorerPolicy(ChoiceLogits(reward.clip))
    batch = batch_of(reward, images[: count * len(prompts)], prompts)
    logits = policy.logps(policy.prepare(batch, []))
    assert logits.shape == (len(prompts), count)
    assert logits.dtype == torch.float32
    expected = reward.score(images[: logits.numel()], [prompt for prompt in prompts for _ in range(count)])
    torch.testing.assert_close(logits.flatten(), expected, rtol=1e-5, atol=1e-4)


def test_a_row_does_not_depend_on_its_batch(reward, images):
    policy = ScorerPolicy(ChoiceLogits(reward.clip))
    together = policy.logps(batch_of(reward, images, WORDS[:3]))
    alone = policy.logps(batch_of(reward, images[2:4], WORDS[1:2]))
    torch.testing.assert_close(alone[0], together[1], rtol=1e-5, atol=1e-4)


def test_it_is_a_scoring_policy_and_has_no_reference(reward, images):
    policy = ScorerPolicy(ChoiceLogits(reward.clip))
    assert isinstance(policy, ScoringPolicy)
    assert not isinstance(policy, Policy)
    batch = batch_of(reward, images, WORDS[:3])
    assert policy.labels(batch).ranks is batch.ranks
    assert policy.labels(batch).preferences is batch.preferences
