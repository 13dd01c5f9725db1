"""Intervals by hand, and all scores of synthetic sets beside those of real images and of noise."""

import hashlib
import math

import pytest
import torch
from conftest import GREY
from torch import Tensor, nn

from src.core.errors import PipelineError
from src.core.seeding import generator_for
from src.core.settings import Evaluate
from src.datasets.labelled import Labelled
from src.scores import comparison, frechet
from src.scores.comparison import Judged, Judges, Sample, Score, Sets
from src.scores.extractor import Embedded

CPU = torch.device("cpu")


def test_the_interval_is_students() -> None:
    # 1, 2, 3: mean 2, deviation 1; t of 2 degrees of freedom is 4.302653, over the root of 3: 2.484138
    assert comparison.interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2 - 2.484138, 2 + 2.484138), rel=1e-6)
    # two values: t is 12.706205, deviation 0.5 root 2, so the half is 12.706205 / 2
    assert comparison.interval([4.0, 5.0]) == pytest.approx((4.5, 4.5 - 6.3531, 4.5 + 6.3531), rel=1e-5)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = torch.Generator().manual_seed(0)
    covered = 0
    for values in torch.randn(1000, 6, generator=rng, dtype=torch.float64).tolist():
        _, low, high = comparison.interval(values)
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
    found = comparison.compare(reference, parts, real=real, noise=noise, neighbours=3, splits=2, seed=0)
    assert list(found) == [
        "fid", "fid_infinity", "kid", "is", "precision", "recall", "density", "coverage", "right",
    ]  # fmt: skip
    values: list[float] = [frechet.fid(reference.features, part.embedded.features) for part in parts]
    fid = found["fid"]
    assert fid[:3] == pytest.approx(comparison.interval(values))
    assert fid.real == pytest.approx(frechet.fid(reference.features, real.embedded.features))
    assert fid.real < fid.low < fid.mean < fid.high < fid.noise
    assert found["kid"].real < found["kid"].mean < found["kid"].noise
    assert found["precision"].noise == found["coverage"].noise == 0
    right = found["right"]
    assert (right.mean, right.real, right.noise) == pytest.approx((0.6, 0.9, 0.1))
    assert right.high - right.mean == pytest.approx(0.2484138, rel=1e-6)  # as of 1, 2, 3, but a tenth
    for score in found.values():
        assert score.low <= score.mean <= score.high


def compared(reference: Sample, parts: list[Sample], real: Sample, seed: int = 0) -> dict[str, Score]:
    arms: dict[str, Sample] = {"real": real, "noise": sample(5)}
    return comparison.compare(reference.embedded, parts, **arms, neighbours=3, splits=2, seed=seed)


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
        return comparison.measure(sample(0).part(0, count).embedded, sample(1).part(0, count), **settings)

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

    def features(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :2] + self.value

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images))
        return logits


def test_judges_compare_what_they_see_with_the_labels() -> None:
    pixels, labels = torch.zeros(4, 1, 28, 28, dtype=torch.uint8), torch.tensor([3, 3, 3, 7])
    three = Judges(Fixed(5), Fixed(3), Fixed(7), CPU)
    seen = three.look(Labelled(pixels, labels))
    # features come from the first, x = -1 for a black pixel; classes from the second
    assert seen.embedded.features.tolist() == [[4.0, 4.0]] * 4
    assert seen.embedded.logits.argmax(dim=1).tolist() == [5] * 4
    assert seen.classes.tolist() == [3] * 4
    assert {k: v.tolist() for k, v in seen.hits.items()} == {
        "label_agreement": [True, True, True, False],
        "cas_reverse": [False, False, False, True],
    }
    two = Judges(Fixed(5), Fixed(3), None, CPU)
    assert list(two.look(Labelled(pixels, labels)).hits) == ["label_agreement"]
    assert three.look(Labelled(pixels, None)).hits == {}
    assert seen.part(2, 4).hits["cas_reverse"].tolist() == [False, True]
    assert len(seen.part(2, 4).classes) == len(seen.part(2, 4).embedded.logits) == 2


def pictures(count: int, seed: int) -> Labelled:
    rng = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (count, *GREY.shape), generator=rng, dtype=torch.uint8)
    return Labelled(pixels, torch.arange(count) % 10)


SETTINGS = Evaluate(extractor="trained", images=30, splits=2, neighbours=3)


def test_as_many_are_compared_as_leave_two_synthetic_sets() -> None:
    sets = Sets(pictures(50, 0), pictures(40, 1), pictures(71, 2))
    assert sets.most == 35
    sets.require(35, "--images")
    sets.require(20, "--images")
    for count in (19, 36):
        with pytest.raises(
            PipelineError,
            match=rf"^--images is {count}; allowed: from 20 to 35, .*\(50 and 40 others\) .*\(71\)$",
        ):
            sets.require(count, "--images")


def test_the_range_is_that_in_which_all_scores_can_be_made() -> None:
    sets = Sets(pictures(50, 0), pictures(40, 1), pictures(71, 2))
    sets.require(31, "--images", fewest=31)
    words = (
        r"^--images is 30; allowed: from 31 to 35, .*; evaluate\.neighbours and evaluate\.splits .* ask for"
    )
    with pytest.raises(PipelineError, match=words):
        sets.require(30, "--images", fewest=31)


@pytest.mark.parametrize("counts", [(19, 50, 90), (50, 19, 90), (50, 50, 39), (0, 0, 1)])
def test_sets_for_which_no_number_fits_are_told_what_is_missing(counts: tuple[int, int, int]) -> None:
    sets = Sets(*(pictures(count, seed) for seed, count in enumerate(counts)))
    real, others, synthetic = counts
    words = "too few images to be scored; needed: 20 real images and 20 others, not "
    with pytest.raises(
        PipelineError, match=rf"^{words}{real} and {others}, and 40 synthetic ones, not {synthetic}$"
    ):
        sets.require(25, "--images")


def test_all_synthetic_images_are_judged_set_by_set() -> None:
    extractor = Fixed(3)
    judges = Judges(extractor, extractor, Fixed(7), CPU)
    sets = Sets(pictures(50, 0), pictures(40, 1), pictures(100, 2))
    found = comparison.judge(sets, judges, count=30, settings=SETTINGS, seed=0)
    assert found.sets == 3
    assert len(found.reference) == 30
    assert found.perceived.tolist() == [3] * 100
    assert torch.equal(found.synthetic.given, sets.synthetic.given)
    # Each set of 30 has 3 images of each class; the others are random choices and the validation labels.
    assert found.scores["label_agreement"][:3] == pytest.approx((0.1, 0.1, 0.1))
    assert found.scores["cas_reverse"][:3] == pytest.approx((0.1, 0.1, 0.1))
    chosen = sets.real.chosen(30, generator_for("evaluate/real", 0)).given
    assert found.scores["label_agreement"].real == pytest.approx((chosen == 3).double().mean().item())
    again = comparison.judge(sets, judges, count=30, settings=SETTINGS, seed=0)
    assert again.scores == found.scores
    # The protocol's hashes are of the chosen real images alone.
    assert found.sha256 == again.sha256
    assert found.sha256[0] == hashlib.sha256(found.reference.pixels.numpy().tobytes()).hexdigest()
    other = Sets(sets.reference, pictures(40, 3), pictures(100, 4))
    hashes = comparison.judge(other, judges, count=30, settings=SETTINGS, seed=0).sha256
    assert hashes[0] == found.sha256[0]
    assert hashes[1] != found.sha256[1]
    seeded = comparison.judge(sets, judges, count=30, settings=SETTINGS, seed=1).sha256
    assert seeded[0] != found.sha256[0]
    assert seeded[1] != found.sha256[1]


def test_labels_that_only_one_side_has_do_not_count() -> None:
    extractor = Fixed(3)
    judges = Judges(extractor, extractor, Fixed(7), CPU)
    plain = Labelled(pictures(60, 2).pixels, None)
    sets = Sets(pictures(50, 0), pictures(40, 1), plain)
    found = comparison.judge(sets, judges, count=30, settings=SETTINGS, seed=0)
    assert not {"label_agreement", "cas_reverse"} & set(found.scores)
    # In pictures and counts the extractor's classes stand for labels that are not known, and for no others.
    assert found.synthetic.given.tolist() == [3] * 60
    assert set(found.reference.given.tolist()) == set(range(10))


def test_metrics_have_the_names_of_quality_json() -> None:
    scores = {"fid": Score(3.0, 2.5, 3.5, 1.5, 90.0), "is": Score(8.0, 7.0, 9.0, 9.5, 1.0)}
    assert comparison.flat(scores) == {
        "fid": 3.0,
        "fid_floor": 1.5,
        "fid_ratio": 2.0,
        "is_mean": 8.0,
        "is_real": 9.5,
    }


def test_the_protocol_tells_how_scores_were_made() -> None:
    black = Labelled(torch.zeros(2, *GREY.shape, dtype=torch.uint8), torch.tensor([1, 2]))
    judged = Judged({}, black, black, black.given, sets=4, sha256=("a", "b"))
    found = comparison.protocol(SETTINGS, count=25, judged=judged)
    assert (found["reference_sha256"], found["real_sha256"]) == ("a", "b")
    assert {name: found[name] for name in list(found)[:5]} == {
        "extractor": "trained",
        "images_each_side": 25,
        "synthetic_sets": 4,
        "inception_score_splits": 2,
        "neighbours": 3,
    }
    assert "validation split" in str(found["real"])
