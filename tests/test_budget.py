"""A budget of labels: which are drawn, what that costs, who may read them, and what is told of it."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import GREY, write_set
from torch import Tensor

from src.core.errors import PipelineError
from src.core.seeding import generator_for
from src.core.settings import LabelDraw
from src.datasets import budget, clusters, ledger

LABELS = torch.tensor([0] * 80 + [1] * 15 + [2] * 5)[torch.randperm(100, generator=generator_for("test", 0))]
PIXELS = torch.zeros(100, 1, 2, 2, dtype=torch.uint8)


def drawn(how: LabelDraw, count: int, seed: int = 0) -> tuple[budget.Draw, list[int]]:
    """A draw from LABELS, with the places that it looked at."""
    seen: list[int] = []

    def look(index: int) -> int:
        seen.append(index)
        return int(LABELS[index])

    return budget.draw(how, count, PIXELS, look, classes=3, rng=generator_for("draw", seed)), seen


def test_a_stratified_draw_has_the_same_number_of_each_class_and_counts_what_it_put_aside() -> None:
    found, seen = drawn("stratified", 9)
    assert Counter(LABELS[found.indices].tolist()) == {0: 3, 1: 3, 2: 3}
    assert found.looked_at == len(seen) == len(set(seen)) > 9
    assert set(found.indices.tolist()) <= set(seen)
    assert found.indices.tolist() == sorted(found.indices.tolist())


@pytest.mark.parametrize("count", [3, 4, 5, 6, 10])
def test_what_does_not_come_out_even_is_spread_over_the_classes(count: int) -> None:
    found, _ = drawn("stratified", count)
    counts = LABELS[found.indices].bincount(minlength=3)
    assert counts.sum() == count
    assert counts.max() - counts.min() <= 1


def test_a_label_of_each_of_ten_classes_takes_29_looks_on_average() -> None:
    labels = torch.arange(1000) % 10
    pixels = torch.zeros(1000, 1, 1, 1, dtype=torch.uint8)
    looks = [
        budget.draw(
            "stratified", 10, pixels, lambda i: int(labels[i]), classes=10, rng=generator_for("x", seed)
        ).looked_at
        for seed in range(300)
    ]
    assert sum(looks) / 300 == pytest.approx(29.3, abs=2)  # 10 (1 + 1/2 + ... + 1/10); its error is 0.65


def test_a_random_draw_looks_at_nothing_and_depends_on_the_seed() -> None:
    (found, seen), (again, _), (other, _) = (drawn("random", 20, seed) for seed in (0, 0, 1))
    assert not seen
    assert found.looked_at == len(set(found.indices.tolist())) == 20
    assert found.indices.equal(again.indices)
    assert not found.indices.equal(other.indices)


def test_a_class_that_runs_out_is_told() -> None:
    with pytest.raises(
        PipelineError, match=r"labels is 18, but not every class has 6 images; set label_draw"
    ):
        drawn("stratified", 18)


def blobs(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images of three patterns with noise, half of them of the first, and which they are of."""
    rng = generator_for("blobs", seed)
    kinds = torch.tensor([0, 0, 1, 2])[torch.arange(count) % 4]
    patterns = torch.randint(60, 180, (3, 1, 8, 8), generator=rng)
    noise = torch.randint(-40, 40, (count, 1, 8, 8), generator=rng)
    return (patterns[kinds] + noise).byte(), kinds


def test_queried_labels_are_of_different_clusters_that_no_label_has_shown() -> None:
    pixels, kinds = blobs(400)

    def look(index: int) -> int:
        raise AssertionError("a label was looked at")

    for seed in range(3):
        found = budget.draw("queried", 3, pixels, look, classes=3, rng=generator_for("draw", seed))
        assert sorted(kinds[found.indices].tolist()) == [0, 1, 2]  # at random: 3 of 16 draws
        assert found.looked_at == 3


@pytest.mark.parametrize("count", [1, 2, 30, 100])
def test_as_many_images_as_clusters_are_found_each_once(count: int) -> None:
    pixels, _ = blobs(200)
    found = clusters.middles(pixels, count, generator_for("x", 0))
    assert len(set(found.tolist())) == len(found) == count
    assert found.equal(clusters.middles(pixels, count, generator_for("x", 0)))


def test_images_of_a_cluster_are_placed_together() -> None:
    pixels, kinds = blobs(300)
    places = torch.from_numpy(clusters.embedded(pixels.flatten(1).float(), 3))
    assert places.square().sum(dim=1).numpy() == pytest.approx(np.ones(300))
    distances = torch.cdist(places, places)
    same = kinds[:, None] == kinds
    assert distances[same].mean() < 0.1 * distances[~same].mean()


def test_labels_are_held_against_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "GROUPS", 3)
    pixels, kinds = blobs(400)  # 200, 100 and 100

    def shared(labels: Tensor, classes: int = 3) -> list[float]:
        return clusters.shared(pixels, labels, classes, generator_for("x", 0))

    assert shared(kinds) == [1, 1, 1]
    assert shared(kinds, classes=4) == [1, 1, 1, 0]
    assert shared(torch.tensor([0, 2, 1])[kinds]) == [1, 1, 1]  # one for the other: clusters can't tell
    mixed = kinds.clone()
    mixed[(kinds == 2).nonzero().flatten()[:40]] = 1  # 60 are left
    assert shared(mixed) == pytest.approx([1, 100 / 140, 1])
    drawn = kinds[torch.randperm(400, generator=generator_for("labels", 0))]
    assert shared(drawn) == [1, 0, 0]  # half of each cluster is of class 0


def test_labels_are_read_at_the_places_of_the_draw(tmp_path: Path) -> None:
    write_set(tmp_path, 300, 10)
    pixels = torch.zeros(200, 1, 28, 28, dtype=torch.uint8)
    found = budget.read(tmp_path, pixels, GREY, "random", 40, seed=0)
    given = torch.arange(300) % 10
    assert found.images.given.tolist() == given[found.draw.indices].tolist()
    assert found.draw.indices.max() < 200
    none = budget.read(tmp_path / "missing", pixels, GREY, "stratified", 0, seed=0)
    assert (len(none.images), none.draw.looked_at) == (0, 0)


GIVEN = {"labels": 500, "source": "given", "drawn": "the first 500", "looked_at": 500}
FEW = {"labels": 4, "source": "guessed", "drawn": [7, 3, 9, 1], "looked_at": 11}
NOBODY = dict.fromkeys(("guessing", "conditioning", "watching", "checkpoint_choice"), 0)
NOBODY |= dict.fromkeys(("verdict", "relabelling", "tuning", "coverage", "budget", "total"), 0)


def test_the_account_says_who_read_how_many_labels() -> None:
    told = ledger.account(GIVEN, validation=100, conditional=True, relabelled=False)
    read = {"conditioning": 500, "watching": 500, "checkpoint_choice": 500, "verdict": 100}
    assert told == NOBODY | read | {"budget": 600, "total": 600}
    told = ledger.account(FEW, validation=100, conditional=False, relabelled=True)
    read = {"guessing": 4, "watching": 4, "checkpoint_choice": 4, "relabelling": 4}
    assert told == NOBODY | read | {"coverage": 7, "budget": 4, "total": 4}
    none = {"labels": 0, "source": "guessed", "drawn": [], "looked_at": 0}
    assert ledger.account(none, validation=100, conditional=True, relabelled=True) == NOBODY


def test_more_labels_than_the_budget_has_end_the_run() -> None:
    with pytest.raises(
        PipelineError, match=r"^5 labels of real images were read, above the budget of 4; run"
    ):
        ledger.account(FEW | {"drawn": [7, 3, 9, 1, 2]}, validation=100, conditional=True, relabelled=False)


def test_the_places_of_a_ledger_are_those_of_its_labels() -> None:
    assert budget.places(FEW).tolist() == [7, 3, 9, 1]
    assert budget.places(GIVEN).tolist() == list(range(500))
