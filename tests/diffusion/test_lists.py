"""Lists in the denoising policy: one timestep, shared or own noise, rows of different lengths, and no forward for padding."""

import math

import pytest
import torch

from mmalign import objectives, pipelines
from mmalign.config import LoraAdapterConfig
from mmalign.diffusion.policy import DiffusionBatch, DiffusionPolicy
from mmalign.geometry import Geometry
from mmalign.policy import Labels, ResidualPolicy
from mmalign.training.dataset import collate
from mmalign.training.order import generator
from mmalign.training.trainable import trainable
from tests import tiny

PROMPTS = ["a red circle", "a photo of a cat", "a blue square at the top"]


@pytest.fixture(params=["sd_v", "sdxl", "sd3"])
def family(request):
    return pipelines.load(tiny.PIPELINES[request.param]())


def rows_of(family, lengths):
    """Batches of one row with so many candidates, votes as scores."""
    drawn, rows = torch.Generator().manual_seed(1), []
    for row, count in enumerate(lengths):
        mean, std = family.encode_images(torch.rand(count, 3, 16, 16, generator=drawn) * 2 - 1)
        conditions = [family.image_conditioning(Geometry((20 + k, 18), (k, 1), (16, 16))) for k in range(count)]
        stacked = {name: torch.stack([one[name] for one in conditions])[None] for name in conditions[0]}
        scores = torch.linspace(1, 0, count)[None]
        labels = Labels(torch.ones(1), torch.arange(count)[None], scores)
        prompt = family.encode_prompts(PROMPTS[row : row + 1])
        rows.append(DiffusionBatch(mean[None], std[None], prompt, stacked, (f"row {row}",), torch.ones(1), (row,), labels))
    return rows


def policy_of(family, **options):
    trained = trainable(family, LoraAdapterConfig(rank=4), seed=0)
    with torch.no_grad():
        for index, parameter in enumerate(p for p in trained.module.parameters() if p.requires_grad):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)))
    return DiffusionPolicy(family, trained.module, trained.reference, **options)


def prepared(policy, batch):
    return policy.prepare(batch, [generator(0, "draw", position) for position in batch.positions])


@pytest.mark.parametrize("independent", [False, True])
def test_a_row_answers_the_same_alone_and_beside_longer_ones(family, independent):
    policy, rows = policy_of(family, independent_noise=independent), rows_of(family, (2, 4, 3))
    batch = collate(rows)
    assert batch.lengths == (2, 4, 3)
    together = policy.errors(prepared(policy, batch))
    for row, count in enumerate((2, 4, 3)):
        alone = policy.errors(prepared(policy, collate(rows[row : row + 1])))
        torch.testing.assert_close(together[row, :count], alone[0], atol=1e-5, rtol=1e-4)
        assert not together[row, count:].any()


def test_rows_of_one_length_are_not_padded(family):
    batch = collate(rows_of(family, (3, 3)))
    assert batch.lengths == ()
    assert prepared(policy_of(family), batch).present is None
    assert torch.equal(batch.labels.scores, torch.tensor([[1.0, 0.5, 0.0]] * 2))


def test_labels_of_padding_are_no_numbers_and_last_places(family):
    labels = collate(rows_of(family, (2, 4))).labels
    assert labels.scores[0].isnan().tolist() == [False, False, True, True]
    assert labels.ranks.tolist() == [[0, 1, 4, 4], [0, 1, 2, 3]]


def test_a_list_has_one_timestep_and_shares_its_noise_unless_told_otherwise(family):
    batch = collate(rows_of(family, (4, 4)))
    batch = type(batch)(**{**batch.__dict__, "latent_mean": torch.zeros_like(batch.latent_mean), "latent_std": batch.latent_std * 0})
    policy = policy_of(family)
    shared = prepared(policy, batch)
    policy.independent_noise = True
    own = prepared(policy, batch)
    assert shared.timesteps.shape == own.timesteps.shape == (2,)
    for k in range(1, 4):
        assert torch.equal(shared.noisy[:, 0], shared.noisy[:, k])
        assert not torch.equal(own.noisy[:, 0], own.noisy[:, k])
    assert not torch.equal(shared.noisy[0], shared.noisy[1])


def test_errors_are_the_mean_squares_of_residuals(family):
    policy = policy_of(family)
    inputs = prepared(policy, collate(rows_of(family, (2, 3))))
    assert isinstance(policy, ResidualPolicy)
    residuals = policy.residuals(inputs)
    assert residuals.shape == inputs.noisy.shape
    assert residuals.dtype == torch.float32
    torch.testing.assert_close(residuals.square().flatten(2).mean(2), policy.errors(inputs))


def test_rankdpo_asks_policy_and_reference_about_each_candidate_once(family, monkeypatch):
    asked, policy = [], policy_of(family)
    original = type(family).predict

    def counted(self, denoiser, noisy, timesteps, conditioning):
        assert {len(value) for value in (timesteps, *conditioning.values())} == {len(noisy)}
        asked.append(len(noisy))
        return original(self, denoiser, noisy, timesteps, conditioning)

    monkeypatch.setattr(type(family), "predict", counted)
    output = objectives.load("rankdpo", beta=500)(policy, prepared(policy, collate(rows_of(family, (4, 2, 3)))))
    assert asked == [9, 9]
    assert output.implicit_rewards.isnan().sum() == 3
    output.loss.sum().backward()


def test_at_the_reference_a_normalized_list_costs_log_two(family):
    trained = trainable(family, LoraAdapterConfig(rank=4), seed=0)
    policy = DiffusionPolicy(family, trained.module, trained.reference)
    inputs = prepared(policy, collate(rows_of(family, (4, 2))))
    output = objectives.load("rankdpo", beta=5000, normalize=True)(policy, inputs)
    torch.testing.assert_close(output.loss, torch.full((2,), math.log(2)), atol=1e-6, rtol=0)


def test_a_few_steps_on_one_batch_put_its_lists_in_order(family):
    policy = policy_of(family)
    inputs, objective = prepared(policy, collate(rows_of(family, (4, 2)))), objectives.load("rankdpo", beta=500, normalize=True)
    optimizer = torch.optim.AdamW([p for p in policy.module.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(25):
        output = objective(policy, inputs)
        optimizer.zero_grad()
        output.loss.mean().backward()
        optimizer.step()
    assert output.loss.mean() < 0.5 * math.log(2)
    assert output.extras["rewards/accuracies"].tolist() == [1.0, 1.0]
