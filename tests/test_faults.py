"""The real pipeline is killed, starved and disturbed while it runs, and ends with the same bytes."""

import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from scratch import STAGES, Clone, ran

from src.core import files, leftovers

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform != "linux", reason="finds the processes to kill in /proc"),
]

KILLS = 24


def results(clone: Clone) -> dict[str, dict[str, str]]:
    """The hashes of all that each stage wrote, as DVC recorded them."""
    return {
        stage: {out["path"]: out["md5"] for out in locked["outs"]} for stage, locked in clone.locked().items()
    }


def another(clone: Clone, path: Path) -> Clone:
    """A clone of the clone that nothing has run in yet, and whose stages write checkpoints often."""
    clone.run("git", "clone", "-q", str(clone.path), str(path))
    (path / "dvc.lock").unlink()
    shutil.rmtree(path / "metrics")
    module = path / "src/core/checkpoint.py"
    code = module.read_text()
    assert code.count("SECONDS = 20.0") == 1
    module.write_text(code.replace("SECONDS = 20.0", "SECONDS = 0.2"))
    return Clone(path, Path(clone.env["DATASET_FOLDER"]))


def forget(clone: Clone) -> None:
    """Takes back that anything has ever run."""
    (clone.path / "dvc.lock").unlink()
    for folder in (".dvc/cache", "data/raw", "data/synthetic", "models", "results", "metrics"):
        shutil.rmtree(clone.path / folder)


def start(clone: Clone, command: Sequence[str] = ("dvc", "repro")) -> subprocess.Popen[str]:
    """A command in a session of its own."""
    return subprocess.Popen(
        command,
        cwd=clone.path,
        env=clone.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def stages_of(clone: Clone) -> dict[int, str]:
    """Running stages of a clone: process and name."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes().decode().split("\0")
            if command[1:2] == ["-m"] and (process / "cwd").resolve() == clone.path.resolve():
                found[int(process.name)] = command[2].removeprefix("stages.")
    return found


def strike(
    clone: Clone, running: subprocess.Popen[str], rng: random.Random, spared: str | None
) -> str | None:
    """Kills DVC, its stage or both at a random moment; says what was at work, None if all had ended."""
    deadline = time.monotonic() + 60
    while running.poll() is None and time.monotonic() < deadline:
        if set(stages_of(clone).values()) - {spared}:
            break
        time.sleep(0.05)
    with suppress(subprocess.TimeoutExpired):
        running.wait(timeout=rng.uniform(0, 4))
    at_work = stages_of(clone)
    if running.poll() is not None:
        return None
    who = rng.choice(["dvc", "stage", "all"])
    with suppress(ProcessLookupError):  # ended just now
        if who == "stage" and at_work:
            os.kill(next(iter(at_work)), signal.SIGKILL)
        elif who == "all":
            os.killpg(running.pid, signal.SIGKILL)
        else:
            running.kill()
    return next(iter(at_work.values()), "dvc")


def test_killed_at_any_moment_it_ends_with_the_same_bytes(clone: Clone, tmp_path: Path) -> None:
    victim = another(clone, tmp_path / "Zufälle und Leerzeichen")
    rng, resumed, whole = random.Random(0), 0, 0
    hit: list[str] = []
    while True:
        running = start(victim)
        kill = len(hit) < KILLS
        if kill:
            # Mostly another stage than the last time, so that all get their turn.
            struck = strike(victim, running, rng, hit[-1] if hit and rng.random() < 0.8 else None)
            hit += [struck] if struck else []
        said = running.communicate()[0]
        resumed += said.count("resuming where it was cut off")
        assert "Traceback" not in said, said
        deadline = time.monotonic() + 30
        while stages_of(victim):  # they end with dvc
            assert time.monotonic() < deadline, stages_of(victim)
            time.sleep(0.05)
        if "Unable to read RWLock-file" in said:  # see docs/recovery.md
            (victim.path / ".dvc/tmp/rwlock").unlink()
        elif running.returncode == 0:
            assert results(victim) == results(clone)
            whole += 1
            if not kill:
                break
            forget(victim)  # all finished before there were enough kills: once more from the start
        else:
            assert kill, said
    print(f"killed {KILLS} times in {whole} runs: {dict(Counter(hit))}; {resumed} times from a checkpoint")
    assert len(set(hit)) > 5
    assert not list((victim.path / ".checkpoints").rglob("*.safetensors"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 200 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root may mount a small file system")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Leaves no byte free, and says where all went."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    return ballast


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


def test_on_a_disk_that_is_full_or_read_only_each_stage_says_so_and_keeps_what_was_there(
    clone: Clone, small_disk: Path
) -> None:
    victim = another(clone, small_disk / "clone")
    victim.run("dvc", "repro")
    before = results(victim)
    assert before == results(clone)
    victim.env["TMPDIR"] = str(small_disk)
    commands = {
        name: stage["cmd"]
        for name, stage in yaml.safe_load((victim.path / "dvc.yaml").read_text())["stages"].items()
    }
    assert set(commands) == set(STAGES)
    for name, command in commands.items():
        if name == "download":  # writes nothing where the right bytes are already
            shutil.rmtree(victim.path / "data/raw")
        ballast = fill(small_disk)
        full = victim.run(*shlex.split(command), ok=False)
        ballast.unlink()
        remount(small_disk, "ro")
        closed = victim.run(*shlex.split(command), ok=False)
        remount(small_disk, "rw")
        assert re.search(r"error: No space left on device: \S.*free some disk space", full), (name, full)
        assert re.search(r"error: Read-only file system: \S.*work in a folder that", closed), (name, closed)
        assert "Traceback" not in full + closed, (name, full, closed)
        victim.run("dvc", "checkout", "data/raw")
        assert "up to date" in victim.run("dvc", "status"), name
    assert ran(victim.run("dvc", "repro")) == set()
    assert results(victim) == before


def test_of_two_at_once_one_waits_or_says_that_it_can_not(clone: Clone, tmp_path: Path) -> None:
    victim = another(clone, tmp_path / "clone")
    both = [start(victim), start(victim)]
    said = [running.communicate()[0] for running in both]
    assert any(running.returncode == 0 for running in both), said
    for running, words in zip(both, said, strict=True):
        assert "Traceback" not in words
        assert running.returncode == 0 or re.search("Unable to acquire lock|is busy", words), words
    assert "up to date" in victim.run("dvc", "repro")
    assert results(victim) == results(clone)


def test_outputs_taken_away_and_files_damaged_are_noticed_and_made_again(
    clone: Clone, tmp_path: Path
) -> None:
    victim = another(clone, tmp_path / "clone")
    victim.run("dvc", "repro")
    before = results(victim)
    shutil.rmtree(victim.path / "data/synthetic")
    (victim.path / "models/generator.safetensors").unlink()  # a link into DVC's cache, perhaps
    (victim.path / "models/generator.safetensors").write_bytes(b"")
    quality = victim.path / "metrics/quality.json"
    quality.write_text(quality.read_text()[:40])
    victim.run("dvc", "repro")
    assert results(victim) == before
    assert files.read_json(quality)["fid"] > 0
    # The clock set back, or forward: times of files decide nothing.
    for number, path in enumerate(sorted(path for path in victim.path.rglob("*") if path.is_file())):
        os.utime(path, (number % 2 * 2**31, number % 2 * 2**31))
    assert "up to date" in victim.run("dvc", "status")
    assert ran(victim.run("dvc", "repro")) == set()


@pytest.mark.parametrize("aside", [False, True], ids=["workspace", "temp"])
def test_recover_mends_what_a_killed_experiment_leaves(clone: Clone, tmp_path: Path, aside: bool) -> None:
    victim = another(clone, tmp_path / "clone")
    workspaces = victim.path / ".dvc/tmp/exps/standalone"
    command = ["dvc", "exp", "run", "-S", "seed=1", *(["--temp"] if aside else [])]
    running = start(victim, command)
    while not (list(workspaces.glob("tmp*/models")) if aside else stages_of(victim)):
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    refused = victim.run("python", "-m", "stages.recover", ok=False)
    assert re.search(r"error: process \d+ \(.*is at work here; let it finish, or stop it", refused)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    head = victim.run("git", "branch", "--show-current").strip()
    assert (head, bool(list(workspaces.glob("tmp*")))) == (("main", True) if aside else ("", False))
    time.sleep(1)  # the stage ends with its dvc
    said = victim.run("python", "-m", "stages.recover")
    assert ("an experiment's workspace" if aside else "HEAD was detached: it is main again") in said
    assert (f"to drop that and what the run has changed: {leftovers.DROP}" in said) != aside
    assert ("removed refs/exps/exec/EXEC_BASELINE" in said) != aside
    assert victim.run("git", "branch", "--show-current").strip() == "main"
    assert not list(workspaces.glob("tmp*"))
    victim.run("git", "checkout", "-q", "HEAD", "--", "params.yaml")
    again = victim.run("python", "-m", "stages.recover")
    assert not re.search("removed|HEAD|params.yaml", again), again


@pytest.fixture
def ordinary() -> Iterator[tuple[Path, int | None]]:
    """A folder of an ordinary user, and that user's number where it is not the tests' own."""
    user = 65534 if os.geteuid() == 0 else None
    # pytest's own temporary folder lets nobody else in.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        if user:
            try:
                subprocess.run([sys.executable, "-c", "import torch"], user=user, check=True)
            except (OSError, subprocess.CalledProcessError):
                pytest.skip("another user can't get at this Python environment")
        yield Path(folder), user


def test_an_ordinary_user_in_another_place_language_and_time_zone_gets_the_same_bytes(
    clone: Clone, ordinary: tuple[Path, int | None]
) -> None:
    folder, user = ordinary
    path = folder / "Übung mit Leerzeichen"
    shutil.copytree(clone.env["DATASET_FOLDER"], folder / "data")
    another(clone, path)
    (folder / "home").mkdir()
    if user:
        for part in (folder, *folder.rglob("*")):
            os.chown(part, user, user)
    theirs = Clone(path, folder / "data", user)
    theirs.env |= {"HOME": str(folder / "home"), "LC_ALL": "C", "TZ": "Pacific/Kiritimati"}
    theirs.env |= {"PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": "1"}
    assert ran(theirs.run("dvc", "repro")) == set(STAGES)
    assert results(theirs) == results(clone)
    if user:
        assert {part.stat().st_uid for part in (path / "models").iterdir()} == {user}
