"""Models of users' tastes: formulas by hand, invariants, and users whose tastes are known."""

import math

import pytest
import torch
from torch.testing import assert_close

from mmalign.personalization.reward_models import BradleyTerry, Choices, Laplace, Mixture, Pal, Variational, accuracy, fit

FEATURES, USERS, PAIRS = 4, 40, 12


def kinds(users: int = USERS) -> dict:
    torch.manual_seed(0)
    return {
        "bradley_terry": BradleyTerry(FEATURES),
        "pal": Pal(FEATURES, users, prototypes=2, dim=4),
        "mixture": Mixture(FEATURES, heads=2),
        "variational": Variational(FEATURES, latent=4, hidden=32),
        "laplace": Laplace(FEATURES, latent=3),
    }


def choices(users: int, seed: int, pairs: int = PAIRS) -> Choices:
    """Half of the users like the first feature, the others dislike it: no one reward serves both."""
    draw = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, users, pairs, FEATURES, generator=draw)
    taste = torch.where(torch.arange(users) % 2 == 0, 1.0, -1.0)[:, None]
    likes = (taste * (first - second)[..., 0] > 0)[..., None]
    return Choices(torch.where(likes, first, second), torch.where(likes, second, first), torch.ones(users, pairs, dtype=torch.bool))


@pytest.mark.parametrize("name", kinds())
def test_swapping_chosen_and_rejected_mirrors_the_margin(name):
    model, there = kinds()[name], choices(5, 1)
    state = model.known(there)
    swapped = Choices(there.rejected, there.chosen, there.there)
    assert_close(model.margins(there, state), -model.margins(swapped, state))


@pytest.mark.parametrize("name", kinds())
def test_missing_choices_tell_nothing(name):
    model, there = kinds()[name], choices(5, 1)
    mask = there.there.clone()
    mask[:, 7:] = False
    padded = Choices(there.chosen, there.rejected.masked_fill(~mask[..., None], 1e3), mask)
    short = there.split(7)[0]
    assert_close(model.known(padded), model.known(short), atol=1e-5, rtol=1e-4)
    users, noise = torch.arange(5), torch.zeros(5, model.width)
    assert_close(model.loss(padded, users, noise), model.loss(short, users, noise), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", kinds())
def test_a_user_without_choices_has_a_finite_state_and_no_accuracy(name):
    model, there = kinds()[name], choices(3, 1)
    nobody = Choices(there.chosen, there.rejected, torch.tensor([[True] * PAIRS, [False] * PAIRS, [True] * PAIRS]))
    state = model.known(nobody)
    assert state.isfinite().all()
    told = accuracy(model.margins(nobody, state), nobody)
    assert told.isnan().tolist() == [False, True, False]


def test_ideal_points_by_hand():
    model = Pal(2, users=1, prototypes=2, dim=2)
    model.items = torch.nn.Identity()
    model.prototypes.data = torch.tensor([[0.0, 0.0], [4.0, 0.0]])
    there = Choices(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[1.0, 3.0]]]), torch.ones(1, 1, dtype=torch.bool))
    state = torch.tensor([[math.log(3.0), 0.0]])  # three quarters of the first: the point (1, 0)
    assert model.margins(there, state).item() == pytest.approx(3.0 - 0.0)


def test_a_mixture_by_hand():
    model = Mixture(1, heads=2)
    model.rewards.weight.data, model.rewards.bias.data = torch.tensor([[1.0], [-2.0]]), torch.zeros(2)
    model.prior.data = torch.tensor([0.0, math.log(3.0)])
    there = Choices(torch.tensor([[[1.0], [0.5]]]), torch.zeros(1, 2, 1), torch.ones(1, 2, dtype=torch.bool))

    def sigma(x):
        return 1 / (1 + math.exp(-x))

    likely = [0.25 * sigma(1.0) * sigma(0.5), 0.75 * sigma(-2.0) * sigma(-1.0)]
    weights = [value / sum(likely) for value in likely]
    assert_close(model.known(there).exp(), torch.tensor([weights]))
    assert model.loss(there, torch.zeros(1, dtype=torch.long), torch.zeros(1, 2)).item() == pytest.approx(-math.log(sum(likely)) / 2)
    chance = weights[0] * sigma(1.0) + weights[1] * sigma(-2.0)
    assert model.margins(there, model.known(there))[0, 0].item() == pytest.approx(math.log(chance / (1 - chance)), rel=1e-5)


def test_the_divergence_of_the_variational_model_is_that_of_two_normals():
    model, there = Variational(FEATURES, latent=3, hidden=8, kappa=0.5).double(), choices(2, 3)
    there = Choices(there.chosen.double(), there.rejected.double(), there.there)
    noise = torch.zeros(2, 3, dtype=torch.float64)
    mean, logvar = model.encoded(there)
    normal, prior = torch.distributions.Normal(mean, (logvar / 2).exp()), torch.distributions.Normal(torch.zeros_like(mean), 1.0)
    divergence = torch.distributions.kl_divergence(normal, prior).sum(-1).mean()
    users = torch.arange(2)
    with_it = model.loss(there, users, noise)
    model.kappa = 0.0
    assert_close(with_it - model.loss(there, users, noise), 0.5 * divergence)


@pytest.mark.parametrize("name", ["pal", "mixture", "variational", "laplace"])
def test_opposite_tastes_are_told_apart_from_four_choices_of_unseen_users(name):
    model, one = kinds()[name], BradleyTerry(FEATURES)
    seen = choices(USERS, 0)
    for fitted in (model, one):
        losses = fit(fitted, seen, steps=250, rate=2e-2, shots=4 if name == "laplace" else None)
        assert losses[-1] < losses[0]
    shots, rest = choices(60, 9).split(4)
    personal = accuracy(model.margins(rest, model.known(shots)), rest)
    common = accuracy(one.margins(rest, one.known(shots)), rest)
    assert 0.4 < common.mean() < 0.6  # half of the users want the opposite
    assert personal.mean() > 0.85


def test_rows_become_choices_by_user_in_their_order():
    users = torch.tensor([1, 0, 1, 1])
    chosen = torch.arange(4.0)[:, None]
    there = Choices.of(users, chosen, -chosen)
    assert there.there.tolist() == [[True, False, False], [True, True, True]]
    assert there.chosen[..., 0].tolist() == [[1, 0, 0], [0, 2, 3]]
    assert there.rejected[..., 0].tolist() == [[-1, 0, 0], [0, -2, -3]]


def test_gradients_are_those_of_the_formula():
    for name, model in kinds(users=3).items():
        model.double()
        draw = torch.Generator().manual_seed(1)
        chosen, rejected = torch.randn(2, 3, 2, FEATURES, generator=draw, dtype=torch.float64)
        noise = torch.randn(3, model.width, generator=draw, dtype=torch.float64)

        def loss(chosen, model=model, rejected=rejected, noise=noise):
            return model.loss(Choices(chosen, rejected, torch.ones(3, 2, dtype=torch.bool)), torch.arange(3), noise)

        assert torch.autograd.gradcheck(loss, chosen.requires_grad_()), name


def test_the_posterior_mean_has_no_slope_left():
    model = kinds()["laplace"].double()
    there = choices(3, 5, pairs=6)
    there = Choices(there.chosen.double(), there.rejected.double(), there.there)
    with torch.no_grad():
        model.prior.copy_(torch.tensor([0.3, -0.2, 0.1]))
    mean, precision = model.posterior(there)

    def joint(z):
        """log p(choices, z) of the first user."""
        apart = (there.chosen[0] - there.rejected[0]) @ model.rewards.weight.T
        likely = torch.distributions.Bernoulli(logits=apart @ z).log_prob(torch.ones(6, dtype=torch.float64)).sum()
        return likely + torch.distributions.Normal(model.prior, 1.0).log_prob(z).sum()

    slope = torch.autograd.functional.jacobian(joint, mean[0])
    assert_close(slope, torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)
    assert_close(precision[0], -torch.autograd.functional.hessian(joint, mean[0]), atol=1e-9, rtol=1e-7)


def test_nobody_has_the_prior_and_choices_leave_no_more_doubt_than_it():
    model, there = kinds()["laplace"], choices(4, 5)
    nobody = Choices(there.chosen, there.rejected, torch.zeros_like(there.there))
    mean, precision = model.posterior(nobody)
    assert_close(mean, model.prior.expand(4, -1))
    assert_close(precision, torch.eye(3).expand(4, -1, -1))
    assert (torch.linalg.eigvalsh(model.posterior(there)[1]) > 1).all()


def test_some_choices_are_drawn_and_others_of_the_same_user_are_told():
    users = torch.tensor([0] * 6 + [1] * 2 + [2])
    number = torch.arange(9.0)[:, None]
    there = Choices.of(users, number, -number)
    for seed in range(20):
        few, rest = there.drawn(4, torch.Generator().manual_seed(seed))
        seen = [set(few.chosen[user, few.there[user], 0].tolist()) for user in range(3)]
        told = [set(rest.chosen[user, rest.there[user], 0].tolist()) for user in range(3)]
        assert all(1 <= len(own) <= 4 for own in seen)
        assert (seen[0] | told[0], seen[0] & told[0]) == (set(range(6)), set())
        assert (seen[1] | told[1], len(seen[1])) == ({6, 7}, 1)
        assert seen[2] == told[2] == {8}
        assert (few.rejected == -few.chosen).all()


def test_what_is_told_is_under_other_prompts_than_what_is_shown():
    """Four prompts with three choices each, two with four each, one with three, and six choices under prompts of their own."""
    prompts = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, *[0] * 4, *[1] * 4, 7, 7, 7, *range(6)]
    users = torch.tensor([0] * 12 + [1] * 8 + [2] * 3 + [3] * 6)
    number = torch.arange(29.0)[:, None]
    there = Choices.of(users, number, -number, torch.tensor(prompts))
    counts = set()
    for seed in range(30):
        few, rest = there.drawn(5, torch.Generator().manual_seed(seed))
        shown, told = ([set(part.chosen[user, part.there[user], 0].int().tolist()) for user in range(4)] for part in (few, rest))
        for user in (0, 1, 3):
            assert 1 <= len(shown[user]) <= 5
            of_shown, of_told = ({prompts[place] for place in own} for own in (shown[user], told[user]))
            assert of_told == set(there.prompts[user, there.there[user]].tolist()) - of_shown != set()
            assert sum(prompts[place] in of_told for place in range(29) if users[place] == user) == len(told[user])
        assert (shown[2] | told[2], len(shown[2] & told[2])) == ({20, 21, 22}, 0)
        counts.add(len(shown[3]))
    assert counts == {1, 2, 3, 4, 5}


def test_prompts_that_all_differ_are_as_none_that_are_known():
    users = torch.tensor([0] * 6 + [1] * 2 + [2])
    number = torch.arange(9.0)[:, None]
    without, known = Choices.of(users, number, -number), Choices.of(users, number, -number, torch.arange(9))
    for seed in range(20):
        pairs = zip(*(one.drawn(4, torch.Generator().manual_seed(seed)) for one in (without, known)), strict=True)
        for plain, told in pairs:
            assert torch.equal(plain.there, told.there)
            assert torch.equal(plain.chosen, told.chosen)


def test_a_choice_against_a_strong_prior_still_finds_the_mode():
    """r = 20 z, the prior's mean is -1: one step of Newton's method would go to 19, the next back to -1, and so on without end."""
    model = Laplace(1, latent=1)
    with torch.no_grad():
        model.rewards.weight.fill_(20.0)
        model.prior.fill_(-1.0)
    choices = Choices(torch.ones(1, 1, 1), torch.zeros(1, 1, 1), torch.ones(1, 1, dtype=torch.bool))
    points = torch.linspace(-2, 20, 220_001, dtype=torch.float64)
    density = torch.nn.functional.logsigmoid(20 * points) - (points + 1).square() / 2
    assert abs(float(model.known(choices).detach()) - float(points[density.argmax()])) < 1e-2
