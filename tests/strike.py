"""Kills DVC or its stage at one moment of their work: the processes of a clone load this as sitecustomize.

A moment is a change of the file system that is about to be made: a file opened to write, a rename and so on.
"""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

SAYS = "struck: "  # begins the line that tells of it
CHANGES = {"open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "subprocess.Popen"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def set_up(folder: Path, env: dict[str, str], stage: str, who: str, after: str, at: str) -> dict[str, str]:
    """The environment of a `dvc` that is the leader of its session, with which the strike comes once.

    Args:
        folder: Where to put what Python loads.
        env: The environment without it.
        stage: At work when the strike comes.
        who: Is killed: the "stage", its "dvc", "both", or DVC when it comes to "record" what the stage made.
        after: What must have been changed before, as a regular expression; empty: nothing.
        at: What is not changed any more.
    """
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(Path(__file__).read_text())
    told = {"stage": stage, "who": who, "after": after, "at": at}
    return env | {"STRIKE": json.dumps(told), "PYTHONPATH": str(folder)}


def wait(stage: str, who: str, after: str, at: str) -> None:
    """Strikes if this is the process in whose work the moment comes."""
    dvc = os.path.basename(sys.orig_argv[1]) == "dvc"
    if (dvc if who == "record" else os.environ.get("DVC_STAGE") == stage) is False:
        return
    begun = not after

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal begun
        if event in CHANGES and (event != "open" or arguments[2] & WRITES):
            change = f"{event} {arguments[:2]}"
            if "__pycache__" in change:  # Python's, while a stage still imports: no work to be cut off yet
                return
            if begun and re.search(at, change):
                strike(who, change)
            begun = begun or bool(re.search(after, change))

    sys.addaudithook(look)


def strike(who: str, change: str) -> None:
    """Kills; the stage does nothing more in the moment that it may have left."""
    os.write(2, f"\n{SAYS}{change}\n".encode())
    if who == "stage":
        os.kill(os.getpid(), signal.SIGKILL)
    elif who == "both":
        os.killpg(os.getsid(0), signal.SIGKILL)
    else:
        os.kill(os.getsid(0), signal.SIGKILL)
    time.sleep(600)
    os._exit(1)


if "STRIKE" in os.environ:
    wait(**json.loads(os.environ["STRIKE"]))
