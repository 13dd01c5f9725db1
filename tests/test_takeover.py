"""Whose a checkpoint is: who may go on from it, who waits for it, and what the killed leave behind."""

import dataclasses
import errno
import multiprocessing
import os
import shutil
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import GREY
from test_checkpoint import SETTINGS, Cut, CutError, classifiers
from torch import Tensor
from torch.nn.functional import cross_entropy

from src.classifiers import supervised
from src.core import checkpoint
from src.core.checkpoint import Checkpoint
from src.datasets import labelled
from src.datasets.labelled import Labelled


@pytest.fixture
def data(image_set: Path) -> Labelled:
    return labelled.read(image_set, "train", GREY)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project with a stage and an input."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "file").write_text("a")
    (tmp_path / "stage.py").write_text("1")
    return tmp_path


def opened(here: Path, *settings: object, inputs: tuple[str, ...] = ("input",)) -> Any:
    return checkpoint.opened(
        str(here / "stage.py"), settings=settings, inputs=[here / name for name in inputs]
    )


def left_behind(here: Path, data: Labelled, *settings: object) -> None:
    with pytest.raises(CutError), opened(here, *settings) as kept:
        classifiers(data, Cut(kept._folder, 4))


def test_a_checkpoint_stays_when_the_stage_fails_and_goes_when_it_ends(
    here: Path, data: Labelled, capsys: pytest.CaptureFixture[str]
) -> None:
    left_behind(here, data, SETTINGS)
    (folder,) = (here / ".checkpoints" / "stage").iterdir()
    part = folder / ".000009-abc.safetensors.0123.part"  # of a write that was killed
    part.touch()
    with opened(here, SETTINGS) as kept:
        assert kept.resumed
        assert not part.exists()
    assert f"stage: resuming where it was cut off, from {folder}" in capsys.readouterr().err
    assert not list((here / ".checkpoints" / "stage").iterdir())


def test_no_other_code_parameters_or_inputs_go_on_from_it(
    here: Path, data: Labelled, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left_behind(here, data, SETTINGS)
    (folder,) = (here / ".checkpoints" / "stage").iterdir()

    def fresh(*settings: object, inputs: tuple[str, ...] = ("input",)) -> bool:
        capsys.readouterr()
        with opened(here, *settings, inputs=inputs) as kept:
            said = capsys.readouterr().err
            assert ("starting from scratch" in said and folder.name in said) != kept.resumed
            return not kept.resumed

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


def test_who_holds_a_folder_is_in_nobody_elses_way(here: Path, data: Labelled) -> None:
    with opened(here, SETTINGS), opened(here, "other work"):
        pass
    left_behind(here, data, SETTINGS)  # the file `lock` stays behind, and locks nobody out
    with opened(here, SETTINGS) as kept:
        assert kept.resumed


class Waiter(threading.Thread):
    """Does the same work as another, at the same time: locks tell threads apart as they do processes."""

    def __init__(self, here: Path, work: Any) -> None:
        super().__init__(daemon=True)
        self.here, self.work = here, work
        self.start()

    def run(self) -> None:
        with opened(self.here, SETTINGS) as kept:
            self.resumed, self.found = kept.resumed, self.work(kept)

    def result(self) -> tuple[bool, Any]:
        self.join(60)
        assert not self.is_alive()
        return self.resumed, self.found


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said, line by line. (What one thread prints, another's `capsys.readouterr` may lose.)"""
    lines: list[str] = []
    monkeypatch.setattr(checkpoint, "_say", lines.append)
    monkeypatch.setattr(checkpoint, "POLL", 0.01)
    return lines


@pytest.fixture
def waited(here: Path, heard: list[str]) -> Any:
    """Waits until so many wait for the one process that works; returns the folder."""
    waiting = (
        f"stage: process {os.getpid()} on {socket.gethostname()} does the same work; waiting for its result"
    )

    def until(count: int = 1) -> Path:
        while heard.count(waiting) < count:
            time.sleep(0.01)
        (folder,) = (here / ".checkpoints/stage").iterdir()
        while not checkpoint._awaited(folder):  # said a moment before it is so
            time.sleep(0.01)
        return folder

    return until


@pytest.mark.parametrize("count", [1, 2])
def test_a_second_process_waits_and_takes_over_what_the_first_has_done(
    here: Path,
    data: Labelled,
    waited: Any,
    heard: list[str],
    count: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = []

    def counted(*args: Tensor) -> Tensor:
        steps.append(threading.current_thread())
        return cross_entropy(*args)

    monkeypatch.setattr(supervised, "cross_entropy", counted)
    with opened(here, SETTINGS) as kept:
        waiters = [Waiter(here, lambda kept: classifiers(data, kept)) for _ in range(count)]
        folder = waited(count)
        first = classifiers(data, kept)
    assert [waiter.result() for waiter in waiters] == [(True, first)] * count
    assert set(steps) == {threading.current_thread()}
    assert f"stage: taking over the work of process {os.getpid()} on" in "".join(heard)
    assert not folder.exists()  # the last one has removed it


def test_a_second_process_goes_on_where_the_first_was_killed(
    here: Path, data: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "POLL", 0.01)
    context = multiprocessing.get_context("fork")
    ready = context.Event()

    def hold() -> None:
        with opened(here, SETTINGS) as kept:
            kept.finish("work", torch.nn.Linear(1, 1))
            kept.hand_over()
            ready.set()
            time.sleep(60)

    holder = context.Process(target=hold)
    holder.start()
    assert ready.wait(60)
    kill = threading.Timer(0.3, holder.kill)
    kill.start()
    with opened(here, SETTINGS) as kept:
        assert not kill.is_alive()
        assert kept.resumed
        assert kept.finished("work")
    holder.join()


def test_where_the_first_fails_the_second_does_the_work(here: Path, data: Labelled, waited: Any) -> None:
    with suppress(CutError), opened(here, SETTINGS):
        second = Waiter(here, lambda kept: classifiers(data, kept))
        folder = waited()
        raise CutError
    assert second.result() == (False, classifiers(data, Checkpoint(None)))
    assert not folder.exists()


def test_of_who_waited_and_was_killed_nothing_is_left(here: Path, data: Labelled) -> None:
    with opened(here, SETTINGS) as kept:
        assert kept._folder is not None
        (kept._folder / "waiting").touch()  # nobody holds it
        classifiers(data, kept)
    assert not kept._folder.exists()


def test_a_disk_that_is_full_at_the_end_fails_nobody(
    here: Path, data: Labelled, waited: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, opened(here, SETTINGS) as kept:
        second = Waiter(here, lambda kept: classifiers(data, kept))
        waited()
        first = classifiers(data, kept)

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(os, "fsync", full)
    assert second.result() == (False, first)


def test_a_disk_without_room_for_the_holders_name_locks_all_the_same(
    here: Path, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with opened(here, SETTINGS):
        second = Waiter(here, lambda _: None)
        while not heard:
            time.sleep(0.01)
        assert heard == ["stage: another process does the same work; waiting for its result"]
        assert second.is_alive()
    second.result()


def come_and_go(here: Path, results: Any) -> None:
    checkpoint.POLL = 0.001
    for _ in range(50):
        with opened(here):
            (here / "held").touch(exist_ok=False)  # fails if another process is here
            (here / "held").unlink()
    results.put(50)


def test_the_lock_holds_while_folders_come_and_go(here: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=come_and_go, args=(here, results)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert sum(results.get() for _ in processes) == 150
    assert not list((here / ".checkpoints/stage").iterdir())


@pytest.mark.parametrize("missing", ["module", "file system"])
def test_without_locks_there_are_no_checkpoints(
    missing: str, here: Path, data: Labelled, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    if missing == "module":
        monkeypatch.setitem(sys.modules, "fcntl", None)
    else:

        def refuse(*_: object) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    with opened(here, SETTINGS) as kept:
        assert "stage: no file locks here, so no checkpoints" in capsys.readouterr().err
        classifiers(data, kept)
    assert not list(here.rglob("*.safetensors"))
