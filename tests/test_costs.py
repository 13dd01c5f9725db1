"""The costs of a run: each process is counted for its stage, once, and at its peak."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import costs
from benchmarks.costs import Meter, Seen
from src.core.errors import PipelineError

COMMANDS = {
    "pretrain": "python -m stages.pretrain --real data/raw --synthetic data/synthetic",
    "pretrain_real": "python -m stages.pretrain --real data/raw",
}
DVC = Seen(1, 0, ("python", "/bin/dvc", "repro"), 100.0, 50)
SHELL = Seen(2, 1, ("/bin/sh", "-c", COMMANDS["pretrain_real"]), 109.9, 3)


def stage(pid: int, name: str, started: float, resident: int) -> Seen:
    return Seen(pid, 2, ("/venv/bin/python", *COMMANDS[name].split()[1:]), started, resident)


def test_a_stage_has_its_own_seconds_and_its_peak_with_its_children() -> None:
    meter = Meter(COMMANDS)
    worker, grandchild = Seen(4, 3, ("worker",), 111.0, 20), Seen(5, 4, ("reader",), 111.0, 7)
    meter.look([DVC, SHELL, stage(3, "pretrain_real", 110.0, 200), worker, grandchild], now=112.0)
    meter.look([DVC, SHELL, stage(3, "pretrain_real", 110.0, 210)], now=114.5)
    meter.look([DVC], now=115.0)
    meter.look([DVC, stage(6, "pretrain", 116.0, 90)], now=117.0)
    assert meter.seconds == {"pretrain_real": 4.5, "pretrain": 1.0}
    assert meter.peaks == {"pretrain_real": 227, "pretrain": 90, "total": 280}


def test_processes_are_found_below_the_one_that_was_started() -> None:
    middle = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()', 'inner'])"
    with subprocess.Popen([sys.executable, "-c", middle], stdin=subprocess.PIPE) as running:
        found: list[Seen] = []
        deadline = time.monotonic() + 60
        while not any("inner" in seen.command for seen in found) and time.monotonic() < deadline:
            found = costs.tree(running.pid)
        running.communicate(b"\n")
    outer, inner = found
    assert (outer.pid, inner.parent) == (running.pid, running.pid)
    assert inner.command[1:] == ("-c", "input()", "inner")
    assert inner.resident > 1_000_000
    assert outer.started <= inner.started <= time.time()
    assert costs.tree(running.pid) == []


def test_a_command_that_fails_is_told_and_one_that_ends_well_is_timed() -> None:
    meter = Meter({})
    assert costs.watch([sys.executable, "-c", "pass"], meter, interval=0.01) > 0
    assert set(meter.peaks) == {"total"}
    with pytest.raises(PipelineError, match="failed, see above; nothing was written"):
        costs.watch([sys.executable, "-c", "raise SystemExit(3)"], meter, interval=0.01)


def test_sizes_count_a_file_once_wherever_it_is_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in {"data/raw/a": 100, "models/b": 20, "results/gan/c": 3, ".dvc/cache/d": 5}.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(bytes(size))
    (tmp_path / ".dvc/cache/e").hardlink_to(tmp_path / "data/raw/a")
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    expected = {"data/": 100, "models/": 20, "results/": 3, ".dvc/cache/": 5}
    assert costs.sizes(tmp_path) == expected
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv/python").write_bytes(bytes(7))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    assert costs.sizes(tmp_path) == expected | {"environment": 7}
