"""Precision, recall, density and coverage by hand, and against their definition."""

import numpy as np
import pytest
import torch
from torch import Tensor

from src.core.errors import PipelineError
from src.scores import manifold


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def line(*positions: float) -> Tensor:
    return torch.tensor(positions, dtype=torch.float64)[:, None]


def test_of_points_on_a_line_the_overlap_is_counted_by_hand() -> None:
    # Radii to the nearest neighbour: 1, 1, 2, 2 of real 0, 1, 10, 12; 2.5, 2.5, 8, 19 of generated ones.
    found = manifold.overlap(line(0, 1, 10, 12), line(0.5, 3, 11, 30), neighbours=1)
    # 0.5 lies in the balls of 0 and 1, 11 in those of 10 and 12; 3 and 30 in none.
    assert found.precision == 0.5
    assert found.density == 1.0  # 4 hits / (1 * 4)
    assert found.coverage == 1.0
    # The ball of 11 reaches from 3 to 19, that of 0.5 from -2 to 3: every real point is in one.
    assert found.recall == 1.0
    other = manifold.overlap(line(0.5, 3, 11, 30), line(0, 1, 10, 12), neighbours=1)
    assert (other.precision, other.recall) == (1.0, 0.5)
    assert other.coverage == 1.0  # 30's ball reaches from 11 to 49 and holds 12


def test_a_ball_holds_its_edge() -> None:
    # Radii: 1 of real 0 and 1, 2 of generated 2 and 4. 2 lies on the edge of 1's ball, 0 on that of 2's.
    found = manifold.overlap(line(0, 1), line(2, 4), neighbours=1)
    assert found == (0.5, 1.0, 0.5, 0.5)
    assert manifold.overlap(line(0, 1), line(2.001, 4), neighbours=1) == (0, 0.5, 0, 0)


def by_definition(real: np.ndarray, generated: np.ndarray, k: int) -> tuple[float, float, float, float]:
    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2))

    real_radii = np.sort(distances(real, real), axis=1)[:, k]
    generated_radii = np.sort(distances(generated, generated), axis=1)[:, k]
    across = distances(generated, real)
    inside = across <= real_radii[None]
    return (
        float(inside.any(axis=1).mean()),
        float((across <= generated_radii[:, None]).any(axis=0).mean()),
        float(inside.sum(axis=1).mean() / k),
        float(inside.any(axis=0).mean()),
    )


@pytest.mark.parametrize("shift", [0.0, 1.0, 10.0])
def test_overlap_agrees_with_the_definition_written_in_numpy(shift: float, monkeypatch) -> None:
    monkeypatch.setattr(manifold, "BATCH", 70)
    real = torch.randn(150, 4, generator=rng(1), dtype=torch.float64)
    generated = 0.7 * torch.randn(200, 4, generator=rng(2), dtype=torch.float64) + shift
    expected = by_definition(real.numpy(), generated.numpy(), 3)
    assert manifold.overlap(real, generated, neighbours=3) == pytest.approx(expected, abs=1e-9)
    assert (expected[0] > 0) == (shift < 10)


def test_a_collapsed_set_is_precise_and_recalls_nothing() -> None:
    real = torch.randn(300, 4, generator=rng(1))
    collapsed = real[:1] + 1e-4 * torch.randn(300, 4, generator=rng(2))
    found = manifold.overlap(real, collapsed, neighbours=5)
    assert found.precision == 1.0
    assert found.recall < 0.01
    assert found.coverage < 0.1
    same = manifold.overlap(real, torch.randn(300, 4, generator=rng(3)), neighbours=5)
    assert min(same.precision, same.recall, same.coverage) > 0.8
    assert 0.8 < same.density < 1.2


def test_overlap_needs_more_points_than_neighbours() -> None:
    with pytest.raises(PipelineError, match="more than 5 images on each side"):
        manifold.overlap(torch.randn(5, 2), torch.randn(50, 2), neighbours=5)
