"""Penalties against slopes worked out by hand."""

from typing import get_type_hints

import pytest
import torch
from torch import Tensor

from src.gan.penalties import PENALTIES, gradient, squared_slopes
from src.gan.recipe import Recipe

# Slope (3, 0, 0, 4) everywhere, of length 5.
SLOPE = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
REAL = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
FAKE = torch.tensor([0.0, -3.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
HALF = torch.full((2, 1, 1, 1), 0.5)


def linear(images: Tensor) -> Tensor:
    return (images * SLOPE).sum(dim=(1, 2, 3)) + 7


def bowl(images: Tensor) -> Tensor:
    """1/2 ||x||^2, whose slope is x itself: at REAL of squared lengths 4 and 16, at FAKE 0 and 36."""
    return 0.5 * images.square().sum(dim=(1, 2, 3))


def value(name: str, discriminator: object) -> float:
    penalty = PENALTIES[name]
    assert penalty is not None
    mix = torch.rand(2, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    return penalty(discriminator, real=REAL, fake=FAKE, mix=mix).item()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gradient", 16.0),  # (5 - 1)^2
        ("r1", 12.5),  # 1/2 5^2
        ("r2", 12.5),
        ("r1_r2", 25.0),
    ],
)
def test_of_a_linear_discriminator(name: str, expected: float) -> None:
    assert value(name, linear) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("r1", 5.0),  # 1/2 mean(4, 16)
        ("r2", 9.0),  # 1/2 mean(0, 36)
        ("r1_r2", 14.0),
    ],
)
def test_slopes_are_taken_where_the_penalty_says(name: str, expected: float) -> None:
    assert value(name, bowl) == pytest.approx(expected, rel=1e-6)


def test_the_gradient_penalty_is_taken_between_the_pairs() -> None:
    # e one for each pair; x = e real + (1 - e) fake has all four pixels alike.
    mix = torch.rand(2, 1, 1, 1, generator=torch.Generator().manual_seed(0)).flatten()
    pixel = mix * torch.tensor([1.0, 2.0]) + (1 - mix) * torch.tensor([0.0, -3.0])
    expected = ((2 * pixel.abs() - 1) ** 2).mean().item()  # ||x|| = sqrt(4 pixel^2)
    assert value("gradient", bowl) == pytest.approx(expected, rel=1e-5)
    assert 0 < mix[0] != mix[1] < 1


def test_params_yaml_allows_the_names_of_the_table() -> None:
    (allowed,) = get_type_hints(Recipe, include_extras=True)["penalty"].__metadata__
    assert allowed.table is PENALTIES
    assert "r1_r2" in allowed
    assert "r3" not in allowed
    assert PENALTIES["none"] is None


def test_the_slope_is_each_images_own() -> None:
    assert squared_slopes(bowl, REAL).tolist() == [4.0, 16.0]


@pytest.mark.parametrize(
    ("name", "expected"), [("gradient", 81.0), ("r1", 50.0), ("r2", 50.0), ("r1_r2", 100.0)]
)
def test_a_slope_is_over_all_pixels_of_all_channels(name: str, expected: float) -> None:
    # Slope 5 in each of four channels: of length 10.
    found = PENALTIES[name](
        lambda images: 5 * images[:, :, 0, 0].sum(dim=1),
        real=REAL.expand(2, 4, 2, 2),
        fake=FAKE.expand(2, 4, 2, 2),
        mix=HALF,
    )
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("name", [name for name, penalty in PENALTIES.items() if penalty])
def test_it_pulls_on_the_discriminators_weights(name: str) -> None:
    weight = torch.tensor(2.0, requires_grad=True)
    penalty = PENALTIES[name]
    penalty(lambda x: weight * x.flatten(1)[:, 0], real=REAL, fake=FAKE, mix=HALF).backward()
    # d/dw of (|w| - 1)^2 = 2 (w - 1); of 1/2 w^2 = w
    assert weight.grad.item() == pytest.approx({"gradient": 2.0, "r1": 2.0, "r2": 2.0, "r1_r2": 4.0}[name])


def test_a_constant_discriminator_has_a_finite_gradient_penalty() -> None:
    weight = torch.tensor(0.0, requires_grad=True)
    found = gradient(lambda x: weight * x.sum(dim=(1, 2, 3)), real=REAL, fake=FAKE, mix=HALF)
    found.backward()
    assert found.item() == pytest.approx(1, abs=1e-5)
    assert weight.grad.isfinite()
