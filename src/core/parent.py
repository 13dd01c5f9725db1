"""The `dvc` that started this process: when it is killed, the process ends too, and nobody works unseen."""

import os
import select
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path


def follow() -> None:
    """Ends this process as soon as the `dvc` that started it has ended.

    A killed `dvc` would leave its stage running, and the next one would start the stage a second time. Only
    what DVC has started follows: a stage started by hand outlives its shell, under nohup or setsid. Linux
    only; elsewhere, the lock on a checkpoint is what keeps a second one out.
    """
    stage = os.environ.get("DVC_STAGE")
    if stage is None or sys.platform != "linux":
        return
    try:
        # Not PR_SET_PDEATHSIG, which tells of the direct parent: with /bin/sh, DVC's choice where SHELL is
        # not set, that is a shell that waits for the stage and survives `dvc`.
        starter = _starter(os.getppid(), f"DVC_STAGE={stage}")
        ending = os.pidfd_open(starter)
        # A process of another session has adopted an orphan: `dvc` was killed while this process started.
        orphan = os.getsid(starter) != os.getsid(0)
    except OSError:  # no /proc, or Linux before 5.3
        return
    if orphan:
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Thread(target=_end_with, args=(ending,), daemon=True).start()


def _starter(pid: int, mark: str) -> int:
    """The process itself, or its nearest ancestor that has not been given the mark: a shell has, DVC not."""
    with suppress(PermissionError):  # another user's, which DVC has not started
        while mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid


def _end_with(ending: int) -> None:
    select.select([ending], [], [])  # a pidfd can be read from once its process has ended
    os.kill(os.getpid(), signal.SIGKILL)
