"""Intervals by hand, and all scores of synthetic sets beside those of real images and of noise."""

import math

import pytest
import torch
from torch import nn

from src import quality, scores
from src.errors import PipelineError
from src.quality import Embedded
from src.scores import Judges, Sample


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


def sample(seed: int, shift: float = 0.0, right: float = 0.5) -> Sample:
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn(200, 8, generator=rng) + shift
    embedded = Embedded(features, 5 * torch.randn(200, 10, generator=rng))
    return Sample(embedded, embedded.logits.argmax(dim=1), {"right": torch.arange(200) < 200 * right})


def test_every_score_stands_beside_floor_and_ceiling() -> None:
    parts = [sample(1, 1.0, 0.5), sample(2, 1.0, 0.6), sample(3, 1.0, 0.7)]
    reference, real, noise = sample(0).embedded, sample(4, right=0.9), sample(5, 3.0, 0.1)
    found = scores.compare(reference, parts, real=real, noise=noise, neighbours=3, splits=2, seed=0)
    assert list(found) == [
        "fid", "fid_infinity", "kid", "is", "precision", "recall", "density", "coverage", "right",
    ]  # fmt: skip
    values: list[float] = [quality.fid(reference.features, part.embedded.features) for part in parts]
    fid = found["fid"]
    assert fid[:3] == pytest.approx(scores.interval(values))
    assert fid.real == pytest.approx(quality.fid(reference.features, real.embedded.features))
    assert fid.real < fid.low < fid.mean < fid.high < fid.noise
    assert found["kid"].real < found["kid"].mean < found["kid"].noise
    assert found["precision"].noise == found["coverage"].noise == 0
    right = found["right"]
    assert (right.mean, right.real, right.noise) == pytest.approx((0.6, 0.9, 0.1))
    assert right.high - right.mean == pytest.approx(0.2484138, rel=1e-6)  # as of 1, 2, 3, but a tenth
    for score in found.values():
        assert score.low <= score.mean <= score.high


def compared(reference: Sample, parts: list[Sample], real: Sample, seed: int = 0) -> dict[str, scores.Score]:
    arms: dict[str, Sample] = {"real": real, "noise": sample(5)}
    return scores.compare(reference.embedded, parts, **arms, neighbours=3, splits=2, seed=seed)


def test_the_same_seed_gives_the_same_scores() -> None:
    first, again, other = (compared(sample(0), [sample(1), sample(2)], sample(4), seed) for seed in (1, 1, 2))
    assert first == again
    assert first["fid_infinity"] != other["fid_infinity"]


def test_a_floor_of_the_reference_itself_is_refused() -> None:
    with pytest.raises(
        PipelineError, match=r"is 0: both are the same images, and no floor; give real images"
    ):
        compared(sample(0), [sample(1), sample(2)], sample(0))


def test_images_that_are_all_alike_have_finite_scores() -> None:
    same = sample(1)
    alike = Embedded(same.embedded.features[:1].expand(200, -1), same.embedded.logits[:1].expand(200, -1))
    found = compared(sample(0), [Sample(alike, same.classes, same.hits)] * 2, sample(4))
    assert all(math.isfinite(value) for score in found.values() for value in score)
    assert found["is"].mean == pytest.approx(1, abs=1e-12)
    assert found["recall"].mean == 0
    assert found["fid"].mean > 4 * found["fid"].real
    assert found["fid"].low == found["fid"].mean == found["fid"].high


@pytest.mark.parametrize(("neighbours", "splits", "fewest"), [(3, 2, 20), (30, 2, 31), (3, 12, 24)])
def test_too_few_images_for_any_score_are_an_error_and_enough_are_not(
    neighbours: int, splits: int, fewest: int
) -> None:
    def run(count: int) -> dict[str, float]:
        settings: dict[str, int] = {"neighbours": neighbours, "splits": splits, "seed": 0}
        return scores.measure(sample(0).part(0, count).embedded, sample(1).part(0, count), **settings)

    with pytest.raises(PipelineError, match=rf"{fewest - 1} images are too few .* there must be {fewest} or"):
        run(fewest - 1)
    assert all(math.isfinite(value) for value in run(fewest).values())


class Fixed(nn.Module):
    """Sees class 3 in everything, or what it is told."""

    num_features = 2

    def __init__(self, value: int) -> None:
        super().__init__()
        self.value = value
        self.head = nn.Linear(2, 10)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, 0)
        self.head.bias.data[value] = 1

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :2] + self.value

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(images))
        return logits


PROTOCOL = {
    "extractor_sha256": "a" * 64,
    "images_each_side": 100,
    "neighbours": 5,
    "inception_score_splits": 10,
}


def test_scores_of_one_protocol_compare() -> None:
    scores.require_comparable(PROTOCOL, PROTOCOL | {"synthetic_sets": 3}, "main")


@pytest.mark.parametrize("key", PROTOCOL)
def test_scores_of_different_protocols_do_not(key: str) -> None:
    other = PROTOCOL | {key: "b" * 64}
    with pytest.raises(
        PipelineError, match=rf"at main can't be compared: {key} is .* here and b{{64}} there"
    ):
        scores.require_comparable(PROTOCOL, other, "main")


def test_judges_compare_what_they_see_with_the_labels() -> None:
    pixels, labels = torch.zeros(4, 1, 28, 28, dtype=torch.uint8), torch.tensor([3, 3, 3, 7])
    seen = Judges(Fixed(5), Fixed(3), Fixed(7)).look(pixels, labels)
    # features come from the first, x = -1 for a black pixel; classes from the second
    assert seen.embedded.features.tolist() == [[4.0, 4.0]] * 4
    assert seen.embedded.logits.argmax(dim=1).tolist() == [5] * 4
    assert seen.classes.tolist() == [3] * 4
    assert {k: v.tolist() for k, v in seen.hits.items()} == {
        "label_agreement": [True, True, True, False],
        "cas_reverse": [False, False, False, True],
    }
    assert list(Judges(Fixed(5), Fixed(3), None).look(pixels, labels).hits) == ["label_agreement"]
    assert Judges(Fixed(5), Fixed(3), Fixed(7)).look(pixels, None).hits == {}
    assert seen.part(2, 4).hits["cas_reverse"].tolist() == [False, True]
    assert len(seen.part(2, 4).classes) == len(seen.part(2, 4).embedded.logits) == 2
