"""After DVC's experiments were killed, its own commands work again and tell the truth."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import ROOT

from src.core import leftovers
from stages import recover

DVC = str(Path(sys.executable).with_name("dvc"))
PIPELINE = """
stages:
  wait:
    cmd: sleep ${seconds}
    params: [seconds]
  report:
    cmd: mkdir -p metrics && echo '{"score":${score}}' > metrics/score.json
    params: [score]
    outs:
      - metrics/score.json:
          cache: false
  judge:
    cmd: test ${score} -ne 13 && echo passed > metrics/verdict
    deps: [metrics/score.json]
    outs:
      - metrics/verdict:
          cache: false
metrics: [metrics/score.json]
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A finished, committed run of two small stages; whatever still works in it in the end is killed."""
    top = tmp_path / "toy"
    top.mkdir()
    monkeypatch.chdir(top)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(DVC).parent), os.environ["PATH"]]))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "tester")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "tester@example.invalid")
    Path("dvc.yaml").write_text(PIPELINE)
    Path("params.yaml").write_text("seconds: 0\nscore: 1\n")
    run("git", "init", "-q", "-b", "main")
    run(DVC, "init", "-q")
    run(DVC, "repro", "-q")
    run("git", "add", "-A")
    run("git", "commit", "-qm", "first")
    yield top
    kill(top)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def working(top: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and Path(process.cwd()).is_relative_to(top):
                found.append(process)
        except psutil.Error:
            continue
    return found


def kill(top: Path) -> None:
    while found := working(top):
        for process in found:
            process.kill()
        psutil.wait_procs(found, timeout=10)


def until_it_sleeps(top: Path) -> None:
    deadline = time.monotonic() + 90
    while not any(process.name() == "sleep" for process in working(top)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.faults
def test_a_queued_experiment_killed_with_its_worker_is_failed_and_dvc_shows_it(
    toy: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(DVC, "exp", "run", "--queue", "-n", "cut", "-S", "seconds=600")
    subprocess.run([DVC, "queue", "start"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until_it_sleeps(toy)
    kill(toy)
    recover.main([])
    told = "cut was killed in the queue, and is Failed now; to drop it: dvc queue remove cut"
    assert told in capfd.readouterr().out
    assert not list(toy.glob(".dvc/tmp/exps/tmp*"))
    (main,) = (row for row in json.loads(run(DVC, "exp", "show", "--json")) if row["rev"] != "workspace")
    assert [(found["name"], found["executor"]["state"]) for found in main["experiments"]] == [
        ("cut", "failed")
    ]
    recover.main([])
    assert "nothing was left behind" in capfd.readouterr().out
    assert run(DVC, "queue", "remove", "cut") == "Removed tasks in queue: cut\n"


@pytest.mark.faults
def test_after_an_experiment_killed_in_the_workspace_head_is_head(
    toy: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    running = subprocess.Popen(
        [DVC, "exp", "run", "-S", "seconds=600", "-S", "score=2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until_it_sleeps(toy)
    kill(toy)
    running.wait()
    assert run("git", "branch", "--show-current") == ""
    recover.main([])
    assert capfd.readouterr().out.splitlines()[-2].endswith(f"has changed: {leftovers.DROP}")
    assert run("git", "branch", "--show-current") == "main\n"
    drop_and_check()
    for score in (3, 4):
        Path("params.yaml").write_text(f"seconds: 0\nscore: {score}\n")
        run(DVC, "repro", "-q")
        run("git", "commit", "-qam", str(score))
    assert run(DVC, "metrics", "diff", "--json") == "{}\n"


def drop_and_check() -> None:
    """The documented line leaves a clean tree that is up to date, and what is the user's own."""
    Path("users.txt").write_text("mine")
    run("sh", "-c", leftovers.DROP)
    assert run("git", "status", "--short") == "?? users.txt\n"
    assert "up to date" in run(DVC, "status")


@pytest.mark.faults
def test_an_experiment_that_failed_is_dropped_whole(toy: Path) -> None:
    failed = subprocess.run([DVC, "exp", "run", "-S", "score=13"], capture_output=True, text=True)
    assert "failed to reproduce 'judge'" in failed.stderr
    assert run("git", "status", "--short").split() == [
        *("M", "dvc.lock", "M", "metrics/score.json", "D", "metrics/verdict", "M", "params.yaml")
    ]
    drop_and_check()


@pytest.mark.faults
def test_a_merge_of_two_experiments_is_settled_as_the_document_says(toy: Path) -> None:
    for branch, score in (("other", 7), ("main", 8)):
        run("git", "switch", "-q", *(["-c"] if branch == "other" else []), branch)
        run(DVC, "checkout", "-q")
        Path("params.yaml").write_text(f"seconds: 0\nscore: {score}\n")
        run(DVC, "repro", "-q")
        run("git", "commit", "-qam", branch)
    assert subprocess.run(["git", "merge", "-q", "other"], capture_output=True).returncode == 1
    Path("params.yaml").write_text("seconds: 0\nscore: 7\n")
    text = (ROOT / "docs/recovery.md").read_text()
    (line,) = re.findall(r"`(git checkout --theirs .*?)`", text)
    run("sh", "-c", line)
    assert run("git", "status", "--short").split()[::2] == ["M"] * 3
    run("git", "commit", "-qm", "both")
    assert "up to date" in run(DVC, "status")
    assert json.loads(Path("metrics/score.json").read_text()) == {"score": 7}
