"""The real pipeline on a full disk, twice at once, in another place, on damaged files, and recovered."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from scratch import STAGES, Clone, another, copy, ran

from src.core import files, leftovers

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform != "linux", reason="finds the processes of a clone in /proc"),
]


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


# Starts as a stage does, but once for all of them, since that takes seconds, and tells each one's exit code.
EACH = """
import importlib, os, sys
import yaml
from src.core import checkpoint, machine, stage

checkpoint.SECONDS = 0.0
machine.set_up("cpu", 1)
with open("dvc.yaml") as file:
    commands = {name: row["cmd"].split() for name, row in yaml.safe_load(file)["stages"].items()}
commands["download"][-1] = "data/new"  # it writes nothing where the right bytes are already
mains = {words[2]: importlib.import_module(words[2]).main for words in commands.values()}
for name in commands:
    if (child := os.fork()) == 0:
        sys.argv = commands[name][2:]
        stage.run(mains[sys.argv[0]])
        sys.exit()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(f"\\nended: {name} {code}", file=sys.stderr, flush=True)
"""


def said_by_each(victim: Clone) -> dict[str, str]:
    """What stages say that are all to fail."""
    said = victim.run("python", "-c", EACH)
    *parts, rest = re.split(r"^ended: (\w+) 1$", said, flags=re.MULTILINE)
    assert not rest.strip()
    return dict(zip(parts[1::2], parts[::2], strict=True))


def on_disk(victim: Clone) -> dict[str, str]:
    """All files of a clone but DVC's, git's, Python's and those that lock a checkpoint."""
    apart = {".dvc", ".git", "__pycache__"}
    return {
        str(path.relative_to(victim.path)): files.sha256(path)
        for path in victim.path.rglob("*")
        if path.is_file() and not apart & set(path.parts) and path.name not in ("lock", "waiting")
    }


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_on_a_disk_that_is_full_or_read_only_each_stage_says_so_and_keeps_what_was_there(
    finished: Clone, small_disk: Path, fault: str
) -> None:
    victim = copy(finished, small_disk / "clone")
    victim.env["TMPDIR"] = str(small_disk)
    before = on_disk(victim)
    if fault == "full":
        ballast = fill(small_disk)
        said = said_by_each(victim)
        ballast.unlink()
    else:
        remount(small_disk, "ro")
        said = said_by_each(victim)
        remount(small_disk, "rw")
    line = {
        "full": r"error: No space left on device: \S.*free some disk space",
        "read-only": r"error: Read-only file system: \S.*work in a folder that",
    }[fault]
    assert said.keys() == set(STAGES)
    for name, words in said.items():
        assert re.search(line, words), (name, words)
        assert "Traceback" not in words, (name, words)
    assert on_disk(victim) == before
    assert "up to date" in victim.run("dvc", "status")
    assert ran(victim.run("dvc", "repro")) == set()
    assert victim.results() == finished.results()


def test_outputs_taken_away_and_files_damaged_are_noticed_and_made_again(
    finished: Clone, tmp_path: Path
) -> None:
    victim = copy(finished, tmp_path / "clone")
    before = victim.results()
    shutil.rmtree(victim.path / "data/synthetic")
    (victim.path / "models/generator.safetensors").unlink()  # a link into DVC's cache, perhaps
    (victim.path / "models/generator.safetensors").write_bytes(b"")
    quality = victim.path / "metrics/quality.json"
    quality.write_text(quality.read_text()[:40])
    victim.run("dvc", "repro")
    assert victim.results() == before
    assert files.read_json(quality)["fid"] > 0
    # The clock set back, or forward: times of files decide nothing.
    for number, path in enumerate(sorted(path for path in victim.path.rglob("*") if path.is_file())):
        os.utime(path, (number % 2 * 2**31, number % 2 * 2**31))
    assert "up to date" in victim.run("dvc", "status")
    assert ran(victim.run("dvc", "repro")) == set()


@pytest.mark.parametrize("aside", [False, True], ids=["workspace", "temp"])
def test_recover_mends_what_a_killed_experiment_leaves(unrun: Clone, tmp_path: Path, aside: bool) -> None:
    victim = another(unrun, tmp_path / "clone")
    workspaces = victim.path / ".dvc/tmp/exps/standalone"
    running = victim.start("dvc", "exp", "run", "-S", "seed=1", *(["--temp"] if aside else []))
    while not victim.at_work():
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    refused = victim.run("python", "-m", "stages.recover", ok=False)
    assert re.search(r"error: process \d+ \(.*is at work here; let it finish, or stop it", refused)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    head = victim.run("git", "branch", "--show-current").strip()
    assert (head, bool(list(workspaces.glob("tmp*")))) == (("main", True) if aside else ("", False))
    victim.settle()
    said = victim.run("python", "-m", "stages.recover")
    assert ("an experiment's workspace" if aside else "HEAD was detached: it is main again") in said
    assert (f"to drop that and what the run has changed: {leftovers.DROP}" in said) != aside
    assert ("removed refs/exps/exec/EXEC_BASELINE" in said) != aside
    assert victim.run("git", "branch", "--show-current").strip() == "main"
    assert not list(workspaces.glob("tmp*"))
    victim.run("git", "checkout", "-q", "HEAD", "--", "params.yaml")
    again = victim.run("python", "-m", "stages.recover")
    assert not re.search("removed|HEAD|params.yaml", again), again


@pytest.fixture(scope="module")
def ordinary() -> Iterator[tuple[Path, int | None]]:
    """A folder of an ordinary user, and that user's number where it is not the tests' own."""
    user = 65534 if os.geteuid() == 0 else None
    # pytest's own temporary folder lets nobody else in.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        if user:
            try:
                subprocess.run([sys.executable, "-c", "import yaml"], user=user, check=True)
            except (OSError, subprocess.CalledProcessError):
                user = None  # who can't get at this Python environment
        yield Path(folder), user


Runs = tuple[Clone, list[tuple[int, str]]]  # the clone, and each one's exit code and words


@pytest.fixture(scope="module")
def both(finished: Clone, ordinary: tuple[Path, int | None]) -> Runs:
    """A finished clone, an ordinary user's in another place, language and time zone; two run it again."""
    folder, user = ordinary
    shutil.copytree(finished.env["DATASET_FOLDER"], folder / "data")
    path = copy(finished, folder / "Übung mit Leerzeichen").path
    (folder / "home").mkdir()
    if user:
        for part in (folder, *folder.rglob("*")):
            os.chown(part, user, user)
    theirs = Clone(path, folder / "data", user)
    theirs.env |= {"HOME": str(folder / "home"), "LC_ALL": "C", "TZ": "Pacific/Kiritimati"}
    theirs.env |= {"PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": "1"}
    started = [theirs.start("dvc", "repro", "--force") for _ in range(2)]
    said = [running.communicate()[0] for running in started]
    return theirs, [(running.returncode, words) for running, words in zip(started, said, strict=True)]


def test_of_two_at_once_one_waits_or_says_that_it_can_not(both: Runs) -> None:
    _, runs = both
    assert any(code == 0 for code, _ in runs), runs
    for code, words in runs:
        assert "Traceback" not in words
        assert code == 0 or re.search("Unable to acquire lock|is busy", words), words


def test_an_ordinary_user_in_another_place_language_and_time_zone_gets_the_same_bytes(
    both: Runs, finished: Clone
) -> None:
    theirs, runs = both
    assert ran("".join(words for _, words in runs)) == set(STAGES)
    assert "up to date" in theirs.run("dvc", "repro")
    assert theirs.locked() == finished.locked()
    if theirs.user:
        owners = {part.stat().st_uid for part in (theirs.path / "models").iterdir()}
        assert owners == {theirs.user["user"]}
    elif os.geteuid() == 0:
        pytest.skip("the same bytes, but made by root: another user can't get at this Python environment")
