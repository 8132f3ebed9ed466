"""Rows of cached tensors: what is drawn for a row is drawn once, for all its candidates, policy and reference alike."""

import pytest
import torch

from mmalign import pipelines
from mmalign.data.cache import TensorCache
from mmalign.diffusion.policy import DiffusionPolicy
from mmalign.training.dataset import EncodedExamples, Row, collate
from mmalign.training.reference import NoReference
from tests import tiny

CANDIDATES = 3


@pytest.fixture
def encoded():
    """Two rows of three candidates, with embeddings that tell prompts apart, half of them dropped."""
    cache = TensorCache()
    cache.put(
        {
            f"image {i}{flip}": {"mean": torch.full((4, 8, 8), i + 0.5 * bool(flip)), "std": torch.zeros(4, 8, 8)}
            for i in range(6)
            for flip in ("", " m")
        }
    )
    cache.put({name: {"encoder_hidden_states": torch.full((4, 32), value)} for name, value in (("", 0.0), ("p0", 1.0), ("p1", 2.0))})
    rows = [
        Row(f"p{r}", *(tuple(f"image {3 * r + k}{flip}" for k in range(CANDIDATES)) for flip in ("", " m")), f"row {r}", 1.0)
        for r in range(2)
    ]
    return EncodedExamples(rows, cache, "", 0.5, seed=0)


def said(batch):
    return [value.item() for value in batch.prompt_conditioning["encoder_hidden_states"][:, 0, 0]]


def test_the_share_of_dropped_captions_is_the_one_asked_for(encoded):
    dropped = sum(said(encoded[0, position])[0] == 0 for position in range(1000))
    assert abs(dropped - 500) < 4 * (1000 * 0.25) ** 0.5


def test_a_caption_is_dropped_for_all_candidates_or_for_none(encoded):
    policy = DiffusionPolicy(pipelines.load(tiny.sd()), torch.nn.Identity(), NoReference())
    items = [(position % 2, position) for position in range(12)]
    batch = collate([encoded[item] for item in items])
    inputs = policy.prepare(batch, [torch.Generator().manual_seed(p) for p in batch.positions])
    given = inputs.conditioning["encoder_hidden_states"][:, 0, 0].unflatten(0, (12, CANDIDATES))
    assert torch.equal(given, torch.tensor(said(batch))[:, None].expand(-1, CANDIDATES))
    assert {0.0, 1.0, 2.0} == set(given.flatten().tolist())


def test_what_is_dropped_follows_from_the_position_alone(encoded):
    items = [(position % 2, position) for position in range(12)]
    together = said(collate([encoded[item] for item in items]))
    assert together == [said(encoded[item])[0] for item in reversed(items)][::-1]
    assert [value == 0 for value in together] == [said(encoded[1 - row, position])[0] == 0 for row, position in items]


def test_a_mirror_is_of_all_candidates_or_of_none(encoded):
    seen = set()
    for position in range(40):
        means = encoded[0, position].latent_mean[0, :, 0, 0, 0].tolist()
        assert means in ([0.0, 1.0, 2.0], [0.5, 1.5, 2.5])
        seen.add(means[0])
    assert seen == {0.0, 0.5}
