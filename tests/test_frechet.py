"""The Fréchet distance against closed forms and a matrix square root, and at infinity against the truth."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from src.core.errors import PipelineError
from src.scores import frechet


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cross(*radii: float) -> Tensor:
    """Points whose mean is 0 and whose sample covariance is diagonal: (2 r^2 / (2 d - 1)) for each axis."""
    points = torch.diag(torch.tensor(radii, dtype=torch.float64))
    return torch.cat([points, -points])


def test_with_equal_covariance_fid_is_the_squared_distance_of_the_means() -> None:
    points = torch.randn(50, 4, generator=rng(), dtype=torch.float64)
    # 1^2 + 2^2 + 0 + 2^2 = 9
    moved = points + torch.tensor([1.0, -2.0, 0.0, 2.0])
    assert frechet.fid(points, moved) == pytest.approx(9.0, rel=1e-6)


def test_with_diagonal_covariances_fid_is_the_squared_distance_of_the_deviations() -> None:
    # 6 points, so variances 2 r^2 / 5, deviations r sqrt(0.4): 0.4 ((3 - 1)^2 + (2 - 5)^2 + 0^2) = 5.2
    assert frechet.fid(cross(3, 2, 1), cross(1, 5, 1)) == pytest.approx(5.2, rel=1e-6)
    # and means apart by (0, 0.5, 0): 0.25 more
    moved = cross(1, 5, 1) + torch.tensor([0.0, 0.5, 0.0])
    assert frechet.fid(cross(3, 2, 1), moved) == pytest.approx(5.45, rel=1e-6)


def test_fid_of_a_set_with_itself_is_zero_and_never_below() -> None:
    for seed in range(10):
        points = torch.randn(40, 16, generator=rng(seed))
        distance = frechet.fid(points, points.flip(0))
        assert 0 <= distance < 1e-9
    # Constant features, as of a network whose units are dead, have no covariance.
    dead = torch.nn.functional.pad(points, (0, 3))
    assert 0 <= frechet.fid(dead, dead) < 1e-9


def random_sets(seed: int) -> tuple[Tensor, Tensor]:
    """Two sets of different size, mean and covariance, with correlated features."""
    draw = rng(seed)
    mixers = torch.randn(2, 12, 12, generator=draw)
    real = torch.randn(300, 12, generator=draw) @ mixers[0] + torch.randn(12, generator=draw)
    return real, torch.randn(200, 12, generator=draw) @ mixers[1]


@pytest.mark.parametrize("seed", range(3))
def test_fid_agrees_with_a_matrix_square_root(seed: int) -> None:
    real, generated = random_sets(seed)
    a, b = real.double().numpy(), generated.double().numpy()
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert expected > 10
    assert frechet.fid(real, generated) == pytest.approx(expected, rel=1e-6)


def test_fid_is_symmetric() -> None:
    real, generated = random_sets(0)
    assert frechet.fid(real, generated) == pytest.approx(frechet.fid(generated, real), rel=1e-9)


def test_fid_of_broken_features_is_an_error() -> None:
    points = torch.full((20, 3), 1e200, dtype=torch.float64)
    with pytest.raises(PipelineError, match=r"FID is (nan|inf)"):
        frechet.fid(points * torch.linspace(-1, 1, 20)[:, None], points)


# At infinitely many images


def normal(count: int, size: int, seed: int, shift: float = 0.0) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed)) + shift


def test_fid_at_infinity_takes_the_bias_of_few_images_away() -> None:
    # Standard normals, means apart by 0.1 in each of 20 dimensions: the distance is 20 * 0.01 = 0.2.
    real, generated = normal(2000, 20, seed=0), normal(2000, 20, seed=1, shift=0.1)
    biased, limit = frechet.fid(real, generated), frechet.fid_at_infinity(real, generated, seed=0)
    assert biased > 0.25
    assert limit == pytest.approx(0.2, abs=0.04)


def test_fid_at_infinity_of_two_sets_of_one_kind_is_about_0() -> None:
    real, generated = normal(2000, 20, seed=2), normal(2000, 20, seed=3)
    assert frechet.fid(real, generated) > 0.05
    assert abs(frechet.fid_at_infinity(real, generated, seed=0)) < 0.03
