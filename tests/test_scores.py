"""Intervals by hand, and all scores of synthetic sets beside those of real images and of noise."""

import pytest
import torch

from src import quality, scores
from src.quality import Embedded


def test_the_interval_is_students() -> None:
    # 1, 2, 3: mean 2, deviation 1; t of 2 degrees of freedom is 4.302653, over the root of 3: 2.484138
    assert scores.interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2 - 2.484138, 2 + 2.484138), rel=1e-6)
    # two values: t is 12.706205, deviation 0.5 root 2, so the half is 12.706205 / 2
    assert scores.interval([4.0, 5.0]) == pytest.approx((4.5, 4.5 - 6.3531, 4.5 + 6.3531), rel=1e-5)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = torch.Generator().manual_seed(0)
    covered = 0
    for values in torch.randn(1000, 6, generator=rng, dtype=torch.float64).tolist():
        _, low, high = scores.interval(values)
        covered += low < 0 < high
    assert 930 <= covered <= 970


def embedded(seed: int, shift: float = 0.0) -> Embedded:
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn(200, 8, generator=rng) + shift
    return Embedded(features, 5 * torch.randn(200, 10, generator=rng))


def test_every_score_stands_beside_floor_and_ceiling() -> None:
    parts = [embedded(1, 1.0), embedded(2, 1.0), embedded(3, 1.0)]
    reference, real, noise = embedded(0), embedded(4), embedded(5, 3.0)
    found = scores.compare(reference, parts, real=real, noise=noise, neighbours=3, splits=2, seed=0)
    assert list(found) == [
        "fid", "fid_infinity", "kid", "is", "precision", "recall", "density", "coverage",
    ]  # fmt: skip
    values: list[float] = [quality.fid(reference.features, part.features) for part in parts]
    fid = found["fid"]
    assert fid[:3] == pytest.approx(scores.interval(values))
    assert fid.real == pytest.approx(quality.fid(reference.features, real.features))
    assert fid.real < fid.low < fid.mean < fid.high < fid.noise
    assert found["kid"].real < found["kid"].mean < found["kid"].noise
    assert found["precision"].noise == found["coverage"].noise == 0
    for score in found.values():
        assert score.low <= score.mean <= score.high


def test_the_same_seed_gives_the_same_scores() -> None:
    def run(seed: int) -> dict[str, scores.Score]:
        arms: dict[str, Embedded] = {"real": embedded(4), "noise": embedded(5)}
        return scores.compare(
            embedded(0), [embedded(1), embedded(2)], **arms, neighbours=3, splits=2, seed=seed
        )

    assert run(1) == run(1)
    assert run(1)["kid"] != run(2)["kid"]
