"""The kernel distance against its formula, and FID at infinity against known distributions."""

import pytest
import torch
from torch import Tensor
from torchmetrics.image.kid import KernelInceptionDistance

from src import distances, quality


def normal(count: int, size: int, seed: int, shift: float = 0.0) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed)) + shift


def squared_mmd(x: Tensor, y: Tensor) -> float:
    """The unbiased estimate, written out: no image is compared with itself."""
    x, y = x.double(), y.double()

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    n, m = len(x), len(y)
    within_x = (kernel(x, x).sum() - kernel(x, x).diag().sum()) / (n * (n - 1))
    within_y = (kernel(y, y).sum() - kernel(y, y).diag().sum()) / (m * (m - 1))
    return (within_x + within_y - 2 * kernel(x, y).mean()).item()


def test_kid_by_hand() -> None:
    # One feature. Reals at 0, all generated at 1, so k(0, 0) = 1, k(1, 1) = 8, k(0, 1) = 1: 1 + 8 - 2 = 7.
    zeros, ones = torch.zeros(40, 1), torch.ones(40, 1)
    assert distances.kid(zeros, ones) == pytest.approx(7.0, rel=1e-9)
    assert distances.kid(zeros, zeros) == pytest.approx(0.0, abs=1e-12)


def test_kid_is_the_formula_over_all_images() -> None:
    real, generated = normal(4000, 6, seed=0), normal(4000, 6, seed=1, shift=0.5)
    expected = squared_mmd(real, generated)
    assert expected > 0.5
    assert distances.kid(real, generated) == pytest.approx(expected, rel=1e-9)


def test_kid_of_sets_of_one_kind_is_0_on_average_for_few_images_and_for_many() -> None:
    for count in (100, 2000):
        found = [distances.kid(normal(count, 4, 2 * i), normal(count, 4, 2 * i + 1)) for i in range(8)]
        assert min(found) < 0 < max(found)
        assert abs(sum(found) / 8) < 8 / count


def test_kid_is_that_of_torchmetrics_with_one_subset_of_all_images() -> None:
    real, generated = normal(300, 5, 0), normal(300, 5, 1, shift=0.3)
    metric = KernelInceptionDistance(feature=quality.Precomputed(5), subsets=1, subset_size=300)
    metric.update(real.double(), real=True)
    metric.update(generated.double(), real=False)
    assert distances.kid(real, generated) == pytest.approx(metric.compute()[0].item(), rel=1e-9)


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_blocks_change_nothing_but_the_last_digits(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = normal(50, 5, 0), normal(70, 5, 1, shift=0.3)
    monkeypatch.setattr(distances, "BLOCK", block)
    assert distances.kid(real, generated) == pytest.approx(squared_mmd(real, generated), rel=1e-9)


def test_fid_at_infinity_takes_the_bias_of_few_images_away() -> None:
    # Standard normals, means apart by 0.1 in each of 20 dimensions: the distance is 20 * 0.01 = 0.2.
    real, generated = normal(2000, 20, seed=0), normal(2000, 20, seed=1, shift=0.1)
    biased, limit = quality.fid(real, generated), distances.fid_at_infinity(real, generated, seed=0)
    assert biased > 0.25
    assert limit == pytest.approx(0.2, abs=0.04)


def test_fid_at_infinity_of_two_sets_of_one_kind_is_about_0() -> None:
    real, generated = normal(2000, 20, seed=2), normal(2000, 20, seed=3)
    assert quality.fid(real, generated) > 0.05
    assert abs(distances.fid_at_infinity(real, generated, seed=0)) < 0.03
