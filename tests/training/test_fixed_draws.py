"""Errors of the reference that were kept are, to the bit, what it says when asked."""

from contextlib import nullcontext

import pytest
import torch

from mmalign import objectives, pipelines, plugins
from mmalign.config import FullConfig, LoraAdapterConfig
from mmalign.data.cache import TensorCache
from mmalign.data.digest import digest
from mmalign.diffusion.policy import DiffusionPolicy
from mmalign.errors import UserError
from mmalign.objective import policy_of
from mmalign.training.dataset import CONDITIONING, EncodedExamples, Row, collate
from mmalign.training.fixed_draws import CachedReference, FixedDraws, gone
from mmalign.training.trainable import trainable
from tests import tiny
from tests.objectives.denoisers import Fixed

SIZES = (2, 3, 2, 4)
PROMPTS = ["", "a red circle", "a photo of a cat"]


def dataset_of(family, seed=0, count=3, told="told", dropout=0.3):
    """Rows of 2 to 4 candidates with random latents and true embeddings."""
    made, cache = torch.Generator().manual_seed(0), TensorCache()
    encoded = family.encode_prompts(PROMPTS)
    keys = [digest(prompt) for prompt in PROMPTS]
    cache.put({key: {name: value[i] for name, value in encoded.items()} for i, key in enumerate(keys)})
    rows = []
    for number, size in enumerate(SIZES):
        images = tuple(digest(number, k) for k in range(size))
        entry = {"mean": (4, 8, 8), "std": (4, 8, 8)}
        extra = {f"{CONDITIONING}time_ids": torch.tensor([16.0, 16, 0, 0, 16, 16])} if family.name == "sdxl" else {}
        cache.put({key: {name: torch.rand(shape, generator=made) for name, shape in entry.items()} | extra for key in images})
        rows.append(Row(keys[1 + number % 2], images, (), f"row {number}", 1.0))
    draws = FixedDraws(count, told) if count else None
    return EncodedExamples(rows, cache, keys[0], dropout, seed, draws=draws)


def batch_of(dataset, *items):
    return collate([dataset[item] for item in items])


def prepared_rows(policy, dataset, items):
    return policy.prepare(batch_of(dataset, *items), [torch.Generator() for _ in items])


@pytest.mark.parametrize(("name", "adapter", "independent"), [("sdxl_v", "lora", False), ("sd3", "full", True)])
def test_kept_errors_are_those_of_the_live_reference_to_the_bit(name, adapter, independent, tmp_path):
    family = pipelines.load(tiny.PIPELINES[name]())
    trained = trainable(family, LoraAdapterConfig(rank=2) if adapter == "lora" else FullConfig(), seed=0)
    with torch.no_grad():  # a policy that has moved
        for parameter in trained.module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    policy = DiffusionPolicy(family, trained.module, trained.reference, nullcontext, independent)
    dataset = dataset_of(family)
    items = [(index, epoch * len(SIZES)) for epoch in range(3) for index in range(len(SIZES))]
    live = []
    for item in items:
        inputs = prepared_rows(policy, dataset, [item])
        with torch.no_grad(), policy.reference():
            live.append(policy.errors(inputs)[0])
        with torch.no_grad():
            assert not torch.allclose(policy.errors(inputs)[0], live[-1], rtol=1e-5)
    for asked in (trained.reference, gone):
        strategy = CachedReference(TensorCache(tmp_path), asked, trained.module)
        kept = DiffusionPolicy(family, trained.module, strategy, nullcontext, independent)
        for start in range(0, len(items), 3):
            inputs = prepared_rows(kept, dataset, items[start : start + 3])
            with torch.no_grad(), kept.reference():
                errors, logps = kept.errors(inputs), kept.logps(inputs)
            assert errors.shape == inputs.noisy.shape[:2]
            for row, size, expected in zip(errors, inputs.lengths or (errors.shape[1],) * 3, live[start : start + 3], strict=True):
                assert torch.equal(row[:size], expected)
                assert (row[size:] == 0).all()
            assert torch.equal(logps, -0.5 * errors)
        strategy.flush()
    with pytest.raises(UserError, match="are gone"), torch.no_grad(), kept.reference():
        kept.errors(prepared_rows(kept, dataset_of(family, told="another reference"), [(0, 0)]))


def test_a_draw_follows_from_the_row_and_its_number_alone():
    family = pipelines.load(tiny.sd())
    policy = DiffusionPolicy(family, family.denoiser, lambda policy: nullcontext())

    def noisy(dataset, *items):
        return prepared_rows(policy, dataset, items).noisy

    first, other_run = dataset_of(family, seed=1), dataset_of(family, seed=2)
    assert torch.equal(noisy(first, (2, 2)), noisy(other_run, (2, 3)))
    assert torch.equal(noisy(first, (1, 0), (2, 2))[1, :2], noisy(first, (2, 1))[0])
    rows = len(SIZES)
    epochs = [noisy(first, (2, 2 + epoch * rows)) for epoch in range(4)]
    assert torch.equal(epochs[3], epochs[0])
    assert not any(torch.allclose(epochs[0], epoch) for epoch in epochs[1:3])


def test_a_key_names_everything_that_the_errors_depend_on():
    family = pipelines.load(tiny.sd())
    dataset, same, other = dataset_of(family), dataset_of(family, seed=9), dataset_of(family, told="another reference")
    draws = [dataset.drawn(index, draw) for index in range(len(SIZES)) for draw in range(3)]
    assert len({draw.key for draw in draws}) == len({draw.seed for draw in draws}) == len(draws)
    assert {draw.prompt for draw in draws} == {digest(prompt) for prompt in PROMPTS}
    assert [same.drawn(index, draw) for index in range(len(SIZES)) for draw in range(3)] == draws
    moved = [other.drawn(index, draw) for index in range(len(SIZES)) for draw in range(3)]
    assert [draw.seed for draw in moved] == [draw.seed for draw in draws]
    assert not {draw.key for draw in moved} & {draw.key for draw in draws}
    # another share of dropped captions changes the errors of the draws whose caption it changes, and no noise
    undropped = [dataset_of(family, dropout=0.0).drawn(index, draw) for index in range(len(SIZES)) for draw in range(3)]
    for draw, plain in zip(draws, undropped, strict=True):
        assert draw.seed == plain.seed
        assert (draw.key == plain.key) == (draw.prompt == plain.prompt)


class Errors(Fixed):
    """A denoiser whose reference has errors alone."""

    def residuals(self, inputs):
        if self.inside:
            raise AssertionError("the reference was asked for residuals")
        return super().residuals(inputs)


@pytest.mark.parametrize("name", plugins.names("mmalign.objectives"))
def test_a_method_asks_its_reference_for_residuals_only_where_it_says_so(name):
    try:
        method = objectives.load(name)
    except (TypeError, ValueError, UserError):
        pytest.skip("it has no defaults")
    if policy_of(type(method)).__name__ not in ("Policy", "DenoisingPolicy", "ResidualPolicy") or not method.needs_reference:
        pytest.skip("it has no denoising reference")
    count = method.candidates.start
    made = torch.Generator().manual_seed(0)
    ours, ref = (torch.rand(3, count, 4, 8, 8, generator=made, dtype=torch.float64) for _ in range(2))
    scores = torch.rand(3, count, generator=made).sort(descending=True).values if count > 1 else torch.tensor([[1.0], [0.0], [1.0]])
    policy = Errors(ours.requires_grad_(), ref, scores)
    if method.compares_residuals:
        with pytest.raises(AssertionError, match="asked for residuals"):
            method(policy, None)
    else:
        assert torch.isfinite(method(policy, None).loss).all()
