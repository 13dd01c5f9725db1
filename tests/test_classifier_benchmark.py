"""Both sides of the classifier benchmark do the same work, and what it prints follows from what it timed."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from conftest import GREY, ROOT, write_set
from PIL import Image

from benchmarks import classifier
from benchmarks.classifier import Clock, Job, Pictures
from src.classifiers import augmentation
from src.core import params
from src.core.settings import Params
from src.datasets.labelled import Labelled, to_bytes, to_unit
from src.datasets.spec import ImageSpec

PARAMS = params.read(ROOT / "params.yaml", ROOT / params.DATASETS)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Params:
    """Parameters with small networks and batches, and few steps of warm-up."""
    for name, value in (("WARM_UP", 1), ("TRIAL", 1), ("WORKERS", (0,))):
        monkeypatch.setattr(classifier, name, value)
    told = replace(PARAMS.classifier, width=2, batch_size=4)
    untold = replace(PARAMS.label_train, width=2, batch_size=3, unlabelled=5)
    return replace(PARAMS, classifier=told, label_train=untold, threads=1, validation=10)


@pytest.fixture
def images() -> Labelled:
    pixels = torch.randint(0, 256, (30, *GREY.shape), generator=torch.Generator().manual_seed(0))
    return Labelled(pixels.byte(), torch.arange(30) % 10)


def test_every_loop_runs_both_ways_and_alone(tiny: Params, images: Labelled) -> None:
    found = classifier.jobs(tiny, images, GREY)
    assert len(found) == 3
    for job in found.values():
        assert min(job.ours(2), job.usual(0, 2), job.alone(2)) > 0


def test_the_command_prints_rounds_and_medians(
    tiny: Params, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(tmp_path, 60, 10)
    jobs = classifier.jobs
    monkeypatch.setattr(params, "read", lambda: tiny)
    short = {"supervised": lambda *given: jobs(*given)["supervised"]._replace(steps=2)}
    monkeypatch.setattr(classifier, "jobs", lambda *given: {name: job(*given) for name, job in short.items()})
    classifier.main(["--data", str(tmp_path), "--rounds", "2"])
    printed = capsys.readouterr()
    assert [line.partition(":")[0] for line in printed.out.splitlines()] == [
        "supervised", "supervised, round 1", "supervised, round 2", "supervised",
    ]  # fmt: skip
    assert "timed" not in printed.err  # no progress bar between the lines


def test_the_usual_loop_has_the_workers_that_suit_it_and_ratios_are_of_each_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(classifier, "WORKERS", (0, 2))
    asked: list[tuple[int, int]] = []
    ours = iter([400.0, 100.0, 900.0])

    def usual(workers: int, steps: int) -> float:
        asked.append((workers, steps))
        return 100.0 + workers

    job = Job(7, lambda steps: next(ours), usual, lambda steps: 1000.0)
    first, *_, last = classifier.compared("loop", job, 3)
    assert asked == [(0, classifier.TRIAL), (2, classifier.TRIAL), (2, 7), (2, 7), (2, 7)]
    assert "of the usual loop: 2 (100 images/s with 0, 102 images/s with 2)" in first
    assert last.startswith("loop: 3.92 times the usual loop's rate, 0.40 of the network's alone")


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is a second further at each look."""
    ticks = count()
    monkeypatch.setattr(classifier.time, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(classifier, "WARM_UP", 2)


def test_a_rate_leaves_the_warm_up_out(seconds: None) -> None:
    clock = Clock()
    # Steps begin at 0, 1, 2, 3, 4 and the last ends at 5: three of them are timed.
    assert clock.rate(lambda: [clock.pause() for _ in range(5)].clear(), images=10) == 10.0
    taken: list[int] = []

    def given() -> Iterator[tuple[int]]:
        for number in count():
            yield (number,)

    assert classifier.rate(taken.append, given(), steps=3, images=10) == 30.0
    assert taken == [0, 1, 2, 3, 4]


def picture(bytes_: torch.Tensor) -> Image.Image:
    return Image.fromarray(bytes_[0].numpy())


def test_the_usual_weak_change_is_one_of_our_moves(images: Labelled) -> None:
    one = images.pixels[:1]
    still = classifier.weak(0, GREY)(picture(one[0]))
    assert torch.equal(to_bytes(still), one[0])
    torch.testing.assert_close(still, to_unit(one)[0])
    change = augmentation.shift(1)
    drawn = change.draw(200, torch.Generator().manual_seed(0))
    ours = change.make(one.expand(200, *GREY.shape), drawn)
    moved = to_bytes(classifier.weak(1, GREY)(picture(one[0])))
    assert any(torch.equal(moved, other) for other in ours)


def test_the_usual_strong_change_has_the_ranges_of_ours(
    images: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = images.pixels[0]
    for bend in (False, True):
        changed = classifier.strong(bend=bend)(picture(one))
        assert changed.shape == one.shape
        assert not torch.equal(to_bytes(changed), one)
    for name in ("TURN", "STRETCH", "SHEAR", "MOVE"):
        monkeypatch.setattr(augmentation, name, 0.0)
    assert torch.equal(to_bytes(classifier.strong(bend=False)(picture(one))), one)


def test_pictures_come_in_any_number_of_versions_with_their_label_and_without_an_end() -> None:
    spec = ImageSpec(channels=3, height=8, width=9, classes=10)
    data = Labelled(torch.randint(0, 256, (5, *spec.shape)).byte(), torch.arange(5))
    twice = Pictures(data, classifier.weak(0, spec), classifier.weak(2, spec))
    still, moved, label = twice[3]
    assert torch.equal(to_bytes(still), data.pixels[3])
    assert moved.shape == spec.shape
    assert label == 3
    endless = classifier.batches(twice, 2, workers=0)
    assert [len(next(endless)[0]) for _ in range(7)] == [2] * 7
