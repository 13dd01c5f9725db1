"""A stage ends with the dvc that started it, through whatever shell; one started by hand does not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells of the end of another process")

# Says that it has begun, then waits for a word.
STAGE = """
import os, sys
from src.core import parent
if sys.argv[2] == "early":
    parent.follow()
print(os.getpid(), flush=True)
sys.stdin.readline()
if sys.argv[2] == "late":
    parent.follow()
    sys.stdin.readline()
open(sys.argv[1], "w").close()
"""
# Starts a shell with the stage in it and waits, as DVC does.
STARTER = """
import os, subprocess, sys
subprocess.run([*sys.argv[1].split(), "-c", sys.argv[2]], env=os.environ | eval(sys.argv[3]))
"""


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash --noprofile --norc"])
@pytest.mark.parametrize(("by_dvc", "when"), [(True, "early"), (True, "late"), (False, "early")])
def test_a_stage_follows_the_dvc_that_started_it(shell: str, by_dvc: bool, when: str, tmp_path: Path) -> None:
    if not Path(shell.split()[0]).exists():
        pytest.skip(f"there is no {shell}")
    (tmp_path / "stage.py").write_text(STAGE)
    command = f"{sys.executable} {tmp_path / 'stage.py'} {tmp_path / 'done'} {when}"
    mark = {"DVC_STAGE": "train"} if by_dvc else {}
    environment = {key: value for key, value in os.environ.items() if key != "DVC_STAGE"}
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, shell, command, repr(mark)],
        env=environment | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with starter:
        pid = int(starter.stdout.readline())
        starter.send_signal(signal.SIGKILL)
        starter.wait()
        if when == "late" or not by_dvc:  # it still takes the word, and goes on
            starter.stdin.write("go\n")
            starter.stdin.flush()
        deadline = time.monotonic() + 30
        while not ended(pid) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert ended(pid)
    assert (tmp_path / "done").exists() is not by_dvc
