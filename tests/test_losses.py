"""Losses against numbers worked out by hand, with real scores different from generated ones."""

import math
from typing import get_type_hints

import pytest
import torch

from src.gan.losses import LOSSES
from src.gan.recipe import Recipe

REAL = torch.tensor([1.0, 3.0])
FAKE = torch.tensor([-2.0, 0.0])

# softplus(x) = log(1 + e^x): softplus(-3) = 0.0485874, softplus(-2) = 0.1269280, softplus(-1) = 0.3132617,
# softplus(0) = 0.6931472, softplus(2) = 2.1269280
EXPECTED = {
    # D: mean(softplus(-1), softplus(-3)) + mean(softplus(-2), softplus(0)); G: mean(softplus(2), softplus(0))
    "gan": (0.1809245 + 0.4100376, 1.4100376),
    # G: -mean(softplus(-2), softplus(0))
    "minimax": (0.1809245 + 0.4100376, -0.4100376),
    # D: mean(-2, 0) - mean(1, 3) = -1 - 2; G: -mean(-2, 0)
    "wgan": (-3.0, 1.0),
    # D: 1/2 mean(0, 4) + 1/2 mean(4, 0) = 1 + 1; G: 1/2 mean(9, 1) = 2.5
    "lsgan": (2.0, 2.5),
    # D: mean(max(0, 1 - 1), max(0, 1 - 3)) + mean(max(0, 1 - 2), max(0, 1 + 0)) = 0 + 1/2; G: -mean(-2, 0)
    "hinge": (0.5, 1.0),
    # D: mean(softplus(-2 - 1), softplus(0 - 3)); G: mean(softplus(3), softplus(3)), softplus(3) = 3.0485874
    "rpgan": (0.0485874, 3.0485874),
}


@pytest.mark.parametrize("name", LOSSES)
def test_values_worked_out_by_hand(name: str) -> None:
    discriminator, generator = EXPECTED[name]
    loss = LOSSES[name]
    assert loss.discriminator(real=REAL, fake=FAKE).item() == pytest.approx(discriminator, abs=1e-6)
    assert loss.generator(real=REAL, fake=FAKE).item() == pytest.approx(generator, abs=1e-6)


def test_each_half_of_the_hinge_is_a_mean_of_what_lies_within_its_margin() -> None:
    # mean(1 - 0.5, 1 + 2) + mean(1 + 0.25, 0) = 1.75 + 0.625
    real, fake = torch.tensor([0.5, -2.0]), torch.tensor([0.25, -3.0])
    assert LOSSES["hinge"].discriminator(real=real, fake=fake).item() == pytest.approx(2.375, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_and_two_copies_of_it_cost_the_same(name: str) -> None:
    real, fake = torch.tensor([-1.5, 0.5]), torch.tensor([-0.5, 2.0])
    for half in LOSSES[name]:
        once, twice = half(real=real, fake=fake), half(real=real.repeat(2), fake=fake.repeat(2))
        assert twice.item() == pytest.approx(once.item(), rel=1e-6)
        assert abs(once.item()) > 0.1


def test_params_yaml_allows_the_names_of_the_table() -> None:
    (allowed,) = get_type_hints(Recipe, include_extras=True)["loss"].__metadata__
    assert allowed.table is LOSSES
    assert set(LOSSES) == set(EXPECTED)
    assert "lsgan" in allowed
    assert "lsgam" not in allowed


@pytest.mark.parametrize("name", LOSSES)
def test_the_discriminator_wants_real_up_and_generated_down_and_the_generator_the_opposite(
    name: str,
) -> None:
    # Scores between the least-squares targets 0 and 1, where every loss pulls the same way.
    real = torch.tensor([0.4, 0.6], requires_grad=True)
    fake = torch.tensor([0.3, 0.7], requires_grad=True)
    LOSSES[name].discriminator(real=real, fake=fake).backward()
    assert (real.grad < 0).all()
    assert (fake.grad > 0).all()
    fake.grad = None
    LOSSES[name].generator(real=real.detach(), fake=fake).backward()
    assert (fake.grad < 0).all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("score", [-100.0, 100.0])
def test_loss_and_gradient_are_finite_at_scores_where_the_sigmoid_rounds_off(name: str, score: float) -> None:
    for half in LOSSES[name]:
        real = torch.tensor([score], requires_grad=True)
        fake = torch.tensor([-score], requires_grad=True)
        loss = half(real=real, fake=fake)
        loss.backward()
        assert math.isfinite(loss.item())
        assert fake.grad.isfinite().all()


def test_the_saturating_generator_learns_nothing_where_the_other_learns_most() -> None:
    # At a score of -20 the discriminator is sure. The slope of -softplus(s) is -sigmoid(s), that of
    # softplus(-s) is -sigmoid(-s).
    gradients = {}
    for name in ("minimax", "gan"):
        fake = torch.tensor([-20.0], requires_grad=True)
        LOSSES[name].generator(real=REAL, fake=fake).backward()
        gradients[name] = fake.grad.item()
    assert gradients["minimax"] == pytest.approx(-2.0611537e-9, rel=1e-5)
    assert gradients["gan"] == pytest.approx(-1.0, rel=1e-5)


def test_the_gan_loss_is_the_documents_cross_entropy_of_sigmoids() -> None:
    entropy = torch.nn.BCELoss()
    real, fake = torch.sigmoid(REAL), torch.sigmoid(FAKE)
    document = entropy(real, torch.ones(2)) + entropy(fake, torch.zeros(2))
    assert LOSSES["gan"].discriminator(real=REAL, fake=FAKE).item() == pytest.approx(
        document.item(), rel=1e-6
    )


@pytest.mark.parametrize("name", LOSSES)
def test_real_and_generated_can_not_be_swapped_by_position(name: str) -> None:
    with pytest.raises(TypeError):
        LOSSES[name].discriminator(REAL, FAKE)
