import torch
from torch import nn

from mmalign.shapes.captions import parse, prompts
from mmalign.shapes.recipes.denoise import caption_chances
from mmalign.shapes.recipes.loop import fit
from mmalign.shapes.recipes.muon import Muon, orthogonalize


def test_a_caption_without_noise_is_the_pictures_own():
    assert torch.equal(caption_chances(0.0), torch.eye(800))


def test_captions_that_tell_nothing_are_all_as_likely():
    torch.testing.assert_close(caption_chances(1.0), torch.full((800, 800), 1 / 800))


def test_a_caption_with_one_wrong_word_is_as_likely_as_the_chances_of_its_words_say():
    seen = [parse(text) for text in prompts("seen")]
    others = [sum(seen[0][name] != row[name] for name in row) for row in seen]
    wrong_color = next(i for i, row in enumerate(seen) if others[i] == 1 and row["color"] != seen[0]["color"])
    chances = caption_chances(0.3)[0]
    # a word is kept with chance 0.7 and drawn from the six colors otherwise
    torch.testing.assert_close(chances[wrong_color] / chances[0], torch.tensor((0.3 / 6) / (0.7 + 0.3 / 6)))
    assert chances[0] == chances.max()


def test_an_orthogonalized_matrix_has_singular_values_near_one():
    for shape in ((16, 40), (40, 16)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape, generator=torch.Generator().manual_seed(0))))
        assert values.min() > 0.5
        assert values.max() < 1.3


def test_a_first_muon_step_follows_the_gradient_with_the_length_of_an_adam_step():
    kernel = nn.Parameter(torch.zeros(8, 4, 3, 3))
    kernel.grad = torch.randn(kernel.shape, generator=torch.Generator().manual_seed(0))
    Muon([kernel], lr=0.01).step()
    assert (kernel * kernel.grad).sum() < 0
    # 8 singular values near one over 288 entries, times 0.2 sqrt(36)
    expected = 0.01 * 0.2 * 6 * (8 / 288) ** 0.5
    assert 0.6 * expected < kernel.square().mean().sqrt() < 1.3 * expected


def test_fit_minimizes_and_leaves_the_averaged_model_in_evaluation_mode():
    torch.manual_seed(0)
    inputs, matrix = torch.randn(64, 6), torch.randn(6, 3)
    model = nn.Linear(6, 3)
    done = fit(model, lambda _: (model(inputs) - inputs @ matrix).square().mean(), steps=200, rate=0.1, ema=0.9, muon=True)
    assert (model(inputs) - inputs @ matrix).square().mean() < 1e-2
    assert done.record["steps"] == 200
    assert not model.training
    assert not model.weight.requires_grad
