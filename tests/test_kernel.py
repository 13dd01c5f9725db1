"""The kernel distance against its formula, and against torchmetrics."""

import pytest
import torch
from torch import Tensor
from torchmetrics.image.kid import KernelInceptionDistance

from src.scores import kernel
from src.scores.kernel import kid
from src.scores.precomputed import Precomputed


def normal(count: int, size: int, seed: int, shift: float = 0.0) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed)) + shift


def squared_mmd(x: Tensor, y: Tensor) -> float:
    """The unbiased estimate, written out: no image is compared with itself."""
    x, y = x.double(), y.double()

    def between(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    n, m = len(x), len(y)
    within_x = (between(x, x).sum() - between(x, x).diag().sum()) / (n * (n - 1))
    within_y = (between(y, y).sum() - between(y, y).diag().sum()) / (m * (m - 1))
    return (within_x + within_y - 2 * between(x, y).mean()).item()


def test_kid_by_hand() -> None:
    # One feature. Reals at 0, all generated at 1, so k(0, 0) = 1, k(1, 1) = 8, k(0, 1) = 1: 1 + 8 - 2 = 7.
    zeros, ones = torch.zeros(40, 1), torch.ones(40, 1)
    assert kid(zeros, ones) == pytest.approx(7.0, rel=1e-9)
    assert kid(zeros, zeros) == pytest.approx(0.0, abs=1e-12)


def test_kid_is_the_formula_over_all_images() -> None:
    real, generated = normal(1100, 6, seed=0), normal(1300, 6, seed=1, shift=0.5)
    expected = squared_mmd(real, generated)
    assert expected > 0.5
    assert kid(real, generated) == pytest.approx(expected, rel=1e-9)


def test_kid_of_sets_of_one_kind_is_0_on_average_for_few_images_and_for_many() -> None:
    for count in (100, 2000):
        found = [kid(normal(count, 4, 2 * i), normal(count, 4, 2 * i + 1)) for i in range(8)]
        assert min(found) < 0 < max(found)
        assert abs(sum(found) / 8) < 8 / count


def test_kid_is_that_of_torchmetrics_with_one_subset_of_all_images() -> None:
    real, generated = normal(300, 5, 0), normal(300, 5, 1, shift=0.3)
    metric = KernelInceptionDistance(feature=Precomputed(5), subsets=1, subset_size=300)
    metric.update(real.double(), real=True)
    metric.update(generated.double(), real=False)
    assert kid(real, generated) == pytest.approx(metric.compute()[0].item(), rel=1e-9)


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_blocks_change_nothing_but_the_last_digits(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = normal(50, 5, 0), normal(70, 5, 1, shift=0.3)
    monkeypatch.setattr(kernel, "BLOCK", block)
    assert kid(real, generated) == pytest.approx(squared_mmd(real, generated), rel=1e-9)
