"""Checkpoints: a run that was cut off, anywhere, ends with the bytes of one that was not."""

import dataclasses
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import GREY, ROOT
from torch import Tensor
from torch.nn.functional import cross_entropy

from src.classifiers import supervised
from src.core import checkpoint, files, params
from src.core.checkpoint import Checkpoint
from src.core.settings import Supervised
from src.datasets import labelled
from src.datasets.labelled import Labelled
from src.gan import games, losses, watch
from src.gan.loop import Progress
from src.gan.recipe import Recipe
from src.gan.run import Run
from src.networks.classifier import ConvClassifier
from src.networks.network import build

PARAMS = params.read(ROOT / "params.yaml", ROOT / "src" / "datasets" / "table.yaml")
SHIPPED = games.recipes(PARAMS.recipes)
SETTINGS = Supervised(width=2, epochs=1, batch_size=64, learning_rate=0.02, shift=2)


class CutError(Exception):
    """The end of a process, as far as a test in one process can have it."""


class Cut(Checkpoint):
    """Writes a checkpoint at every pause, and is cut off right after it has taken so many steps."""

    def __init__(self, folder: Path, steps: int) -> None:
        super().__init__(folder)
        self.left = steps

    def pause(self) -> None:
        self._due = 0
        super().pause()
        if self.left == 0:
            raise CutError
        self.left -= 1


@pytest.fixture
def data(image_set: Path) -> Labelled:
    return labelled.read(image_set, "train", GREY)


def bytes_of(state: Any) -> Any:
    """A state with its tensors as bytes, so that two can be compared."""
    if isinstance(state, Tensor):
        return state.dtype, tuple(state.shape), state.stride(), state.numpy().tobytes()
    if isinstance(state, dict):
        return {key: bytes_of(value) for key, value in state.items()}
    return [bytes_of(value) for value in state] if isinstance(state, list | tuple) else state


# What a checkpoint holds


def test_any_state_comes_back_as_it_was(tmp_path: Path) -> None:
    picture = torch.randn(2, 4, 3, 3).to(memory_format=torch.channels_last)
    state = {
        "state": {0: {"step": torch.tensor(3.0), "exp_avg": picture}, 1: {}},
        "param_groups": [{"betas": (0.1, 0.9), "lr": 0.1 + 0.2, "fused": True, "maximize": None}],
        "empty": torch.empty(0, dtype=torch.int64),
        "view": torch.arange(10)[3:],
        "rng": torch.Generator().get_state(),
        "name": "a/b",
    }

    class Part:
        def state_dict(self) -> dict[str, Any]:
            return state

        def load_state_dict(self, found: dict[str, Any]) -> None:
            self.found = found

    kept = Cut(tmp_path, 1)
    kept.track("work", part=Part())
    kept.pause()
    later = Part()
    resumed = Checkpoint(tmp_path)
    assert resumed.resumed
    resumed.track("work", part=later)
    assert bytes_of(later.found) == bytes_of(state)
    assert isinstance(later.found["param_groups"][0]["betas"], tuple)


def test_of_a_finished_piece_of_work_the_weights_are_kept(tmp_path: Path) -> None:
    network, other = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    kept = Cut(tmp_path, 1)
    assert kept.finished("work") is None
    kept.track("work", network=network)
    kept.finish("work", network)
    kept.pause()
    for found in (kept, Checkpoint(tmp_path)):
        assert bytes_of(found.finished("work")) == bytes_of(network.state_dict())
        assert found.finished("other work") is None
        found.track("work", network=other)  # there is nothing to take up
    assert not torch.equal(other.weight, network.weight)


def test_an_older_checkpoint_that_somebody_has_removed_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Cut(tmp_path, 4)
    kept.track("work", network=torch.nn.Linear(2, 3))
    kept.pause()
    kept.pause()
    write = files.write_bytes

    def meanwhile(path: Path, data: bytes) -> None:
        write(path, data)
        for number in (1, 2):
            next(tmp_path.glob(f"00000{number}-*")).unlink()

    monkeypatch.setattr(files, "write_bytes", meanwhile)
    kept.pause()
    assert [path.name[:6] for path in tmp_path.iterdir()] == ["000003"]


# The adversarial loop


def recipe(name: str, **changes: Any) -> Recipe:
    tiny = {"latent": 3, "width": 2, "batch_size": 10, "images": 120, "learning_rate": 0.01}
    return dataclasses.replace(SHIPPED[name], **tiny | changes)


RECIPES = {
    "R1 at intervals, fading": recipe("lsgan", images=80, penalty_every=3),
    "clipping, three steps of the critic": recipe("wgan", images=80, critic_steps=3),
    "gradient penalty": recipe("wgan-gp", images=80, penalty_every=2, critic_steps=2),
    "spectral norm": recipe("spectral", images=80),
    "no averaging, no classes, flat rate": recipe("source", images=80),
}


def gan_run(recipe: Recipe, data: Labelled, kept: Checkpoint, reports: int, patience: int = 100) -> Any:
    """Trains to the end or to the cut; all that came of it, as bytes."""
    settings = dataclasses.replace(
        PARAMS.watch,
        check_images=100,
        checks=3,
        grids=2,
        patience=patience,
        log_points=reports,
        retry_factor=0.5,
    )
    game = games.start(recipe, GREY, data, seed=0)
    run = Run(game, recipe, settings, pause=kept.pause)
    extractor = build(ConvClassifier, GREY, seed=9, width=2).eval()
    watching = watch.Watch(game, extractor, train=data, heldout=data, settings=settings, seed=0)
    kept.track("gan", run=run, watch=watching)
    watching.follow(run, images=recipe.images, title="gan")
    trained = [game.generator.state_dict(), game.discriminator.state_dict()]
    return bytes_of([trained, watching.state_dict(), run.state_dict()])


def cut_into(folder: Path, steps: Iterator[int], work: Any) -> Any:
    """What comes of a run that is cut off after so many steps each time, until it ends."""
    for number in range(100):
        try:
            return work(Cut(folder, next(steps))), number
        except CutError:
            continue
    raise AssertionError("it got nowhere")


def always(steps: int) -> Iterator[int]:
    while True:
        yield steps


@pytest.fixture
def cheap_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    # FID and the like take most of the time, and have tests of their own.
    monkeypatch.setattr("src.scores.frechet.fid", lambda real, made: float(made.mean()))
    monkeypatch.setattr(
        "src.scores.manifold.overlap",
        lambda *_, **__: type("Overlap", (), {"precision": 0.5, "recall": 0.25, "coverage": 0.75}),
    )


@pytest.mark.usefixtures("cheap_checks")
@pytest.mark.parametrize("name", RECIPES)
def test_a_gan_run_cut_off_after_each_step_ends_with_the_same_bytes(
    name: str, data: Labelled, tmp_path: Path
) -> None:
    # Five reports over eight steps: cuts fall between and beside reports, checks and grids.
    whole = gan_run(RECIPES[name], data, Checkpoint(None), reports=5)
    parts, cuts = cut_into(tmp_path, always(1), lambda part: gan_run(RECIPES[name], data, part, reports=5))
    assert cuts == 7
    assert parts == whole


@pytest.mark.usefixtures("cheap_checks")
def test_a_cut_costs_the_steps_since_the_last_checkpoint_and_these_end_with_the_same_bytes(
    data: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = gan_run(recipe("rpgan"), data, Checkpoint(None), reports=2)
    taken: list[int] = []
    now, add = 0.0, Progress.add

    def slow(progress: Progress, step: int, values: Any) -> None:
        nonlocal now
        now += 8.0  # seconds a step: checkpoints come after three
        taken.append(step)
        if len(taken) in (5, 10):
            raise CutError
        add(progress, step, values)

    monkeypatch.setattr(Progress, "add", slow)
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now)
    for _ in range(2):
        with pytest.raises(CutError):
            gan_run(recipe("rpgan"), data, Checkpoint(tmp_path), reports=2)
    assert gan_run(recipe("rpgan"), data, Checkpoint(tmp_path), reports=2) == whole
    # In the middle of steps 5 and 8; the checkpoints before them are of steps 3 and 6.
    assert taken == [*range(1, 6), *range(4, 9), *range(7, 13)]


@pytest.mark.usefixtures("cheap_checks")
@pytest.mark.parametrize("half", ["discriminator", "generator"])
def test_a_run_that_went_back_ends_with_the_same_bytes(
    half: str, data: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves = losses.LOSSES["lsgan"]._asdict()

    def trained(work: Any) -> Any:
        calls = 0

        def broken(*, real: Tensor, fake: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return halves[half](real=real, fake=fake) * (float("nan") if calls == 6 else 1.0)

        monkeypatch.setitem(losses.LOSSES, "lsgan", losses.Loss(**halves | {half: broken}))
        return work()

    whole = trained(lambda: gan_run(recipe("lsgan"), data, Checkpoint(None), reports=3))
    assert whole[2]["retries"] == 1  # it did go back: step 6 of 12, to the report of step 4
    parts, cuts = trained(
        lambda: cut_into(tmp_path, always(1), lambda part: gan_run(recipe("lsgan"), data, part, reports=3))
    )
    assert cuts == 15  # twelve steps, and steps 5 to 8 a second time: the report at 8 finds it
    assert parts == whole


@pytest.mark.usefixtures("cheap_checks")
@pytest.mark.parametrize(
    ("end", "said"),
    [("last image", "all images"), ("patience", "did not improve"), ("nan", "d_loss is nan at step 11")],
)
def test_who_takes_over_a_run_that_has_ended_takes_no_step_and_has_the_same_bytes(
    end: str, said: str, data: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, half = 0, losses.LOSSES["lsgan"].discriminator

    def broken(*, real: Tensor, fake: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return half(real=real, fake=fake) * (float("nan") if end == "nan" and calls in (6, 14) else 1.0)

    loss = losses.LOSSES["lsgan"]._replace(discriminator=broken)
    monkeypatch.setitem(losses.LOSSES, "lsgan", loss)
    patience = 1 if end == "patience" else 100
    kept = Checkpoint(tmp_path)
    whole = gan_run(recipe("lsgan"), data, kept, reports=5, patience=patience)
    assert said in whole[1]["end"]["stopped"]
    kept.hand_over()
    assert gan_run(recipe("lsgan"), data, Cut(tmp_path, 0), reports=5, patience=patience) == whole


# The classifier loop


def classifiers(data: Labelled, kept: Checkpoint) -> Any:
    """Two classifiers, one after the other, as the stages train them."""
    trained = []
    for number in range(2):
        network = build(ConvClassifier, GREY, seed=number, width=2)
        rng = torch.Generator().manual_seed(number)
        supervised.fit(network, data, SETTINGS, rng=rng, title=f"number {number}", checkpoint=kept)
        assert not network.training
        trained.append(network.state_dict())
    return bytes_of(trained)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_classifiers_cut_off_anywhere_end_with_the_same_bytes_and_finished_ones_stay(
    steps: int, data: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = classifiers(data, Checkpoint(None))
    taken: list[int] = []

    def counted(*args: Tensor) -> Tensor:
        taken.append(1)
        return cross_entropy(*args)

    monkeypatch.setattr(supervised, "cross_entropy", counted)
    parts, cuts = cut_into(tmp_path, always(steps), lambda part: classifiers(data, part))
    assert parts == whole
    assert cuts == 9 // steps
    assert len(taken) == 10  # five steps each, none of them twice


# Damage


def cut_off(data: Labelled, folder: Path, steps: int = 4) -> list[Path]:
    """Leaves the checkpoints of a run that was cut off, oldest first."""
    with pytest.raises(CutError):
        classifiers(data, Cut(folder, steps))
    return sorted(folder.glob("*.safetensors"))


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncated, flipped, empty])
@pytest.mark.parametrize("count", [1, 2])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_it_used(
    damage: Any, count: int, data: Labelled, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = cut_off(data, tmp_path)
    assert len(found) == 2  # the newest and the one before it, and no more
    for path in found[-count:]:
        damage(path)
    capsys.readouterr()
    kept = Checkpoint(tmp_path)
    assert kept.resumed == (count == 1)
    said = capsys.readouterr().err.splitlines()
    anew = [f"{tmp_path} has no checkpoint left: starting from scratch"] if count == 2 else []
    damaged = [str(path) for path in found[: -count - 1 : -1]]
    assert [line.split(" is damaged: its checksum")[0] for line in said] == damaged + anew
    assert classifiers(data, kept) == classifiers(data, Checkpoint(None))


def test_with_the_clock_set_back_the_newest_is_still_the_newest(data: Labelled, tmp_path: Path) -> None:
    found = cut_off(data, tmp_path)
    os.utime(found[0], (2**31, 2**31))  # in 2038
    os.utime(found[1], (0, 0))  # in 1970
    found += cut_off(data, tmp_path, 2)
    assert not found[0].exists()  # the oldest by its number is what goes
    assert classifiers(data, Checkpoint(tmp_path)) == classifiers(data, Checkpoint(None))


def test_a_disk_that_is_full_leaves_the_checkpoint_before(
    data: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kept"
    before = cut_off(data, folder)
    with monkeypatch.context() as patch:

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device") as error:
            classifiers(data, Cut(folder, 3))
        assert str(folder) in error.value.filename
    assert sorted(folder.iterdir()) == before
    assert classifiers(data, Checkpoint(folder)) == classifiers(data, Checkpoint(None))


def test_checkpoints_come_at_intervals(
    data: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 7.0  # a pause, that is a step, takes seven seconds, and so does a write
        return now

    monkeypatch.setattr(checkpoint.time, "monotonic", clock)
    classifiers(data, Checkpoint(tmp_path / "kept"))
    assert [int(path.name[:6]) for path in sorted((tmp_path / "kept").iterdir())] == [2, 3]
