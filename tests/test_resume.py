"""Checkpoints: a run that was cut off, anywhere, ends with the bytes of one that was not."""

import dataclasses
import errno
import multiprocessing
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from torch import Tensor
from torch.nn.functional import cross_entropy

from src import config, gan, images, losses, networks, resume, supervised, watch
from src.errors import PipelineError
from src.images import LabelledImages
from src.resume import Checkpoint

PARAMS = config.load(ROOT / "params.yaml", ROOT / "src" / "datasets.yaml")
SETTINGS = config.Supervised(width=2, epochs=1, batch_size=64, learning_rate=0.02, shift=2)


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
def data(image_set: Path) -> LabelledImages:
    return images.read(image_set, "train")


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

    checkpoint = Cut(tmp_path, 1)
    checkpoint.track("work", part=Part())
    checkpoint.pause()
    later = Part()
    Checkpoint(tmp_path).track("work", part=later)
    assert bytes_of(later.found) == bytes_of(state)
    assert isinstance(later.found["param_groups"][0]["betas"], tuple)


# The adversarial loop


def recipe(name: str, **changes: Any) -> config.Recipe:
    tiny = {"latent": 3, "width": 2, "batch_size": 10, "images": 120, "learning_rate": 0.01}
    return dataclasses.replace(PARAMS.recipes[name], **tiny | changes)


RECIPES = {
    "R1 at intervals, fading": recipe("lsgan", penalty_every=3),
    "clipping, three steps of the critic": recipe("wgan", critic_steps=3),
    "gradient penalty": recipe("wgan-gp", penalty_every=2, critic_steps=2),
    "spectral norm": recipe("spectral"),
    "no averaging, no classes, flat rate": recipe("source"),
}


def gan_run(recipe: config.Recipe, data: LabelledImages, checkpoint: Checkpoint, reports: int) -> Any:
    """Trains to the end or to the cut; all that came of it, as bytes."""
    run = gan.Run(recipe, data, seed=0, reports=reports, retry_factor=0.5, pause=checkpoint.pause)
    extractor = networks.build("conv-classifier", seed=9, width=2).eval()
    settings = dataclasses.replace(PARAMS.train, check_images=100, checks=3, grids=2)
    watching = watch.Watch(
        run.generator,
        run.discriminator,
        extractor,
        train=data,
        heldout=data,
        latent=recipe.latent,
        settings=settings,
        seed=0,
    )
    checkpoint.track("gan", run=run, watch=watching)
    if not watching.checks:
        watching.look(0)
    for report in run:
        watching.see(report, report.images_seen / recipe.images)
    networks_ = [run.generator.state_dict(), run.discriminator.state_dict()]
    return bytes_of([networks_, watching.state_dict(), run.retries, run.state_dict()["batches"]])


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
    # FID and the like take most of the time, and are tested in test_quality.py.
    monkeypatch.setattr("src.quality.fid", lambda real, made: float(made.mean()))
    monkeypatch.setattr(
        "src.quality.manifold", lambda *_, **__: type("Overlap", (), {"precision": 0.5, "recall": 0.25})
    )


@pytest.mark.usefixtures("cheap_checks")
@pytest.mark.parametrize("name", RECIPES)
def test_a_gan_run_cut_off_after_each_step_ends_with_the_same_bytes(
    name: str, data: LabelledImages, tmp_path: Path
) -> None:
    # Five reports over twelve steps: cuts fall between and beside reports, checks and grids.
    whole = gan_run(RECIPES[name], data, Checkpoint(None), reports=5)
    parts, cuts = cut_into(tmp_path, always(1), lambda part: gan_run(RECIPES[name], data, part, reports=5))
    assert cuts == 11
    assert parts == whole


@pytest.mark.usefixtures("cheap_checks")
def test_work_that_is_lost_is_done_again_to_the_same_bytes(data: LabelledImages, tmp_path: Path) -> None:
    class Rare(Cut):
        def pause(self) -> None:  # as every checkpoint is: older than the moment of the cut
            if self.left % 3 == 0:
                super().pause()
            else:
                self.left -= 1

    whole = gan_run(recipe("rpgan"), data, Checkpoint(None), reports=2)
    rare = iter([7, 5, 4, 100])
    for number, steps in enumerate(rare):
        try:
            parts = gan_run(recipe("rpgan"), data, Rare(tmp_path, steps), reports=2)
        except CutError:
            assert number < 3
    assert parts == whole


@pytest.mark.usefixtures("cheap_checks")
@pytest.mark.parametrize("half", ["discriminator", "generator"])
def test_a_run_that_went_back_ends_with_the_same_bytes(
    half: str, data: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    assert whole[2] == 1  # it did go back: step 6 of 12, to the report of step 4
    parts, cuts = trained(
        lambda: cut_into(tmp_path, always(1), lambda part: gan_run(recipe("lsgan"), data, part, reports=3))
    )
    assert cuts == 13  # twelve steps, and steps 5 and 6 a second time
    assert parts == whole


# The classifier loop


def classifiers(data: LabelledImages, checkpoint: Checkpoint) -> Any:
    """Two classifiers, one after the other, as the stages train them."""
    trained = []
    for number in range(2):
        network = networks.build("conv-classifier", seed=number, width=2)
        rng = torch.Generator().manual_seed(number)
        supervised.fit(network, data, SETTINGS, rng=rng, title=f"number {number}", checkpoint=checkpoint)
        assert not network.training
        trained.append(network.state_dict())
    return bytes_of(trained)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_classifiers_cut_off_anywhere_end_with_the_same_bytes_and_finished_ones_stay(
    steps: int, data: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


def cut_off(data: LabelledImages, folder: Path, steps: int = 4) -> list[Path]:
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
    damage: Any, count: int, data: LabelledImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = cut_off(data, tmp_path)
    assert len(found) == 2  # the newest and the one before it, and no more
    for path in found[-count:]:
        damage(path)
    capsys.readouterr()
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.resumed == (count == 1)
    said = capsys.readouterr().err.splitlines()
    anew = [f"{tmp_path} has no checkpoint left: starting anew"] if count == 2 else []
    damaged = [str(path) for path in found[: -count - 1 : -1]]
    assert [line.split(" is damaged: its checksum")[0] for line in said] == damaged + anew
    assert classifiers(data, checkpoint) == classifiers(data, Checkpoint(None))


def test_with_the_clock_set_back_the_newest_is_still_the_newest(data: LabelledImages, tmp_path: Path) -> None:
    found = cut_off(data, tmp_path)
    os.utime(found[0], (2**31, 2**31))  # in 2038
    os.utime(found[1], (0, 0))  # in 1970
    found += cut_off(data, tmp_path, 2)
    assert not found[0].exists()  # the oldest by its number is what goes
    assert classifiers(data, Checkpoint(tmp_path)) == classifiers(data, Checkpoint(None))


def test_a_disk_that_is_full_leaves_the_checkpoint_before(
    data: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    data: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 7.0  # a pause, that is a step, takes seven seconds, and so does a write
        return now

    monkeypatch.setattr(resume.time, "monotonic", clock)
    classifiers(data, Checkpoint(tmp_path / "kept"))
    assert [int(path.name[:6]) for path in sorted((tmp_path / "kept").iterdir())] == [2, 3]


# Whose a checkpoint is


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project with a stage and an input."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "file").write_text("a")
    (tmp_path / "stage.py").write_text("1")
    return tmp_path


def opened(here: Path, *settings: object, inputs: tuple[str, ...] = ("input",)) -> Any:
    return resume.opened(str(here / "stage.py"), settings=settings, inputs=[here / name for name in inputs])


def left_behind(here: Path, data: LabelledImages, *settings: object) -> None:
    with pytest.raises(CutError), opened(here, *settings) as checkpoint:
        classifiers(data, Cut(checkpoint._folder, 4))


def test_a_checkpoint_stays_when_the_stage_fails_and_goes_when_it_ends(
    here: Path, data: LabelledImages, capsys: pytest.CaptureFixture[str]
) -> None:
    left_behind(here, data, SETTINGS)
    (folder,) = (here / ".checkpoints" / "stage").iterdir()
    part = folder / ".000009-abc.safetensors.0123.part"  # of a write that was killed
    part.touch()
    with opened(here, SETTINGS) as checkpoint:
        assert checkpoint.resumed
        assert not part.exists()
    assert f"stage: going on where it was cut off, from {folder}" in capsys.readouterr().err
    assert not list((here / ".checkpoints" / "stage").iterdir())


def test_no_other_code_parameters_or_inputs_go_on_from_it(
    here: Path, data: LabelledImages, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left_behind(here, data, SETTINGS)
    (folder,) = (here / ".checkpoints" / "stage").iterdir()

    def fresh(*settings: object, inputs: tuple[str, ...] = ("input",)) -> bool:
        capsys.readouterr()
        with opened(here, *settings, inputs=inputs) as checkpoint:
            said = capsys.readouterr().err
            assert ("starting anew" in said and folder.name in said) != checkpoint.resumed
            return not checkpoint.resumed

    assert fresh(dataclasses.replace(SETTINGS, shift=1))
    assert fresh(SETTINGS, 1)
    assert fresh(SETTINGS, inputs=())
    assert fresh(SETTINGS, inputs=("input/file",))
    (here / "stage.py").write_text("2")
    assert fresh(SETTINGS)
    (here / "stage.py").write_text("1")
    (here / "input" / "file").write_text("b")
    assert fresh(SETTINGS)
    (here / "input" / "file").rename(here / "input" / "other")
    assert fresh(SETTINGS)
    (here / "input" / "other").unlink()
    (here / "input" / "file").write_text("a")
    shutil.copy(supervised.__file__, here / "supervised.py")
    with monkeypatch.context() as patch:
        patch.setattr(supervised, "__file__", str(here / "supervised.py"))
        assert not fresh(SETTINGS)
        left_behind(here, data, SETTINGS)
        (here / "supervised.py").write_text("changed")
        assert fresh(SETTINGS)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "0")
        assert fresh(SETTINGS)
    assert folder.exists()
    assert not fresh(SETTINGS)


def test_only_one_process_at_a_time(here: Path, data: LabelledImages) -> None:
    with opened(here, SETTINGS):
        with pytest.raises(
            PipelineError, match=rf"in use by process {os.getpid()} on .*; let it fin"
        ) as error:
            opened(here, SETTINGS).__enter__()
        assert "\n" not in str(error.value)
        with opened(here, "other work"):
            pass
    left_behind(here, data, SETTINGS)  # the file `lock` stays behind, and locks nobody out
    with opened(here, SETTINGS) as checkpoint:
        assert checkpoint.resumed


def test_a_disk_without_room_for_the_holders_name_locks_all_the_same(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with opened(here, SETTINGS), pytest.raises(PipelineError, match="in use by another process, which does"):
        opened(here, SETTINGS).__enter__()


def come_and_go(here: Path, results: Any) -> None:
    done = 0
    for _ in range(150):
        try:
            with opened(here):
                (here / "held").touch(exist_ok=False)  # fails if another process is here
                (here / "held").unlink()
                done += 1
        except PipelineError:
            pass
    results.put(done)


def test_the_lock_holds_while_folders_come_and_go(here: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=come_and_go, args=(here, results)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert sum(results.get() for _ in processes) > 0


@pytest.mark.parametrize("missing", ["module", "file system"])
def test_without_locks_there_are_no_checkpoints(
    missing: str, here: Path, data: LabelledImages, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    if missing == "module":
        monkeypatch.setitem(sys.modules, "fcntl", None)
    else:

        def refuse(*_: object) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr(resume, "SECONDS", 0.0)
    with opened(here, SETTINGS) as checkpoint:
        assert "stage: no file locks here, so no checkpoints" in capsys.readouterr().err
        classifiers(data, checkpoint)
    assert not list(here.rglob("*.safetensors"))
