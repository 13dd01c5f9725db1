"""Checkpoints: what a cut-off run needs to go on as if it had never stopped, written at intervals.

They lie under .checkpoints/<stage>/<fingerprint>/, in the project that DVC was started in, and are no output
of DVC: it deletes outputs before it starts a stage. A stage removes its own once it has finished.
"""

import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from src.core import files

SECONDS = 20.0  # between two checkpoints: what a cut-off run loses, at most, and a step and a check
POLL = 0.5  # seconds between two looks whether another process has finished
KEY = "state"


class Part(Protocol):
    """What can be put down and taken up again: networks, optimisers, schedules and the like."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers, texts and None, in dicts, lists and tuples."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Takes up what `state_dict` put down."""


class Checkpoint:
    """Parts of a running piece of work, and finished networks, on disk from time to time.

    Args:
        folder: Where to; None writes nothing, for work that nobody will take up again.

    Attributes:
        resumed: Whether there was a checkpoint to go on from.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        found = {} if folder is None else _newest(folder)
        self.resumed = bool(found)
        self._finished: dict[str, Any] = found.get("finished", {})
        self._found: dict[str, Any] = found.get("running", {})
        self._running: dict[str, Mapping[str, Part]] = {}
        self._due = time.monotonic() + SECONDS

    def track(self, title: str, **parts: Part) -> None:
        """Puts parts where the piece of work of that title was cut off, if it was; writes these from now on.

        Args:
            title: Tells pieces of work of one stage apart.
            **parts: All that the work consists of.
        """
        for name, state in self._found.pop(title, {}).items():
            parts[name].load_state_dict(state)
        self._running = {title: parts}

    def pause(self) -> None:
        """Writes a checkpoint if the last one is old enough: to be called where all parts fit together."""
        if self._folder is not None and time.monotonic() >= self._due:
            self._write(self._folder)
            self._due = time.monotonic() + SECONDS

    def finish(self, title: str, network: Part) -> None:
        """Ends a piece of work: later checkpoints hold the network that came of it and nothing else."""
        self._finished[title] = network.state_dict()
        self._running = {}

    def finished(self, title: str) -> Mapping[str, Any] | None:
        """The weights of the network that a piece of work ended with; None if it has not been finished."""
        found: Mapping[str, Any] | None = self._finished.get(title)
        return found

    def hand_over(self) -> None:
        """Writes a last checkpoint, so that who waits for the same work finds it done."""
        if self._folder is not None:
            self._write(self._folder)

    def _write(self, folder: Path) -> None:
        running = {
            title: {name: part.state_dict() for name, part in parts.items()}
            for title, parts in self._running.items()
        }
        tensors: dict[str, Tensor] = {}
        tree = _flat({"finished": self._finished, "running": running}, "", tensors)
        data = save(tensors, metadata={KEY: json.dumps(tree)})
        kept = _checkpoints(folder)
        number = _number(kept[-1]) + 1 if kept else 1
        # The name tells what the content must be: a damaged file gives itself away.
        files.write_bytes(folder / f"{number:06d}-{hashlib.sha256(data).hexdigest()}.safetensors", data)
        for old in kept[:-1]:  # the last one before this one stays, in case this one is ever damaged
            old.unlink(missing_ok=True)


@contextmanager
def opened(script: str, *, settings: Sequence[object], inputs: Sequence[Path]) -> Iterator[Checkpoint]:
    """A stage's checkpoint, held against others; removed when the block ends well, kept when it does not.

    Waits while another process does the same work, and then takes over what that one has done. The last one
    removes the checkpoint.

    Args:
        script: The stage's own file. The fingerprint covers it, and all modules of src that it has loaded.
        settings: All parameters that the stage depends on.
        inputs: All files and folders that it reads.

    Raises:
        OSError: The folder can't be written.
    """
    stage = Path(script).stem
    folder = _top() / ".checkpoints" / stage / fingerprint(Path(script), settings, inputs)
    lock, holder = _lock(folder, stage)
    if lock is None:
        _say(f"{stage}: no file locks here, so no checkpoints: a run that is cut off starts from scratch")
        yield Checkpoint(None)
        return
    try:
        for part in folder.glob(".*.part"):  # of a process that was killed while it wrote
            part.unlink()
        checkpoint = Checkpoint(folder)
        _tell(stage, folder, checkpoint.resumed, holder)
        yield checkpoint
        if _awaited(folder):
            with suppress(OSError):  # a full disk: who waits goes on from the checkpoint before
                checkpoint.hand_over()
        else:
            _remove(folder)
    finally:
        os.close(lock)


def fingerprint(script: Path, settings: Sequence[object], inputs: Sequence[Path]) -> str:
    """16 hex digits that change with code, parameters, any byte of the inputs, and torch's version."""
    code = {name: module.__file__ for name, module in sys.modules.items() if name.startswith("src.")}
    parts = [torch.__version__, *map(repr, settings), files.sha256(script)]
    parts += [f"{name} {files.sha256(Path(path))}" for name, path in sorted(code.items()) if path]
    for number, root in enumerate(inputs):
        found = sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else [root]
        parts += [f"{number} {path.relative_to(root)} {files.sha256(path)}" for path in found]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _top() -> Path:
    # In a temporary workspace of DVC's this is the project that it was made from: it outlives the workspace.
    return Path(os.environ.get("DVC_ROOT", "."))


def _lock(folder: Path, stage: str) -> tuple[int | None, str]:
    """Locks the folder for this process, until the descriptor is closed; waits while another process has it.

    Returns:
        The descriptor, None where there are no locks; and who had it, "" if nobody.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None, ""
    folder.parent.mkdir(parents=True, exist_ok=True)
    holder = ""
    with ExitStack() as announced:
        while True:
            try:
                folder.mkdir(exist_ok=True)
                lock = _open(folder / "lock")
            except (FileExistsError, FileNotFoundError):  # another process has just finished, and removed it
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock).st_nlink:
                    break
                os.close(lock)  # locked too late: removed by the process that had it
            except BlockingIOError:
                found = os.pread(lock, 1000, 0).decode() or "another process"
                os.close(lock)
                if found != holder:
                    holder = found
                    _say(f"{stage}: {holder} does the same work; waiting for its result")
                    announced.close()
                    _announce(folder, announced)
                time.sleep(POLL)
            except OSError:  # a network file system without locks
                os.close(lock)
                return None, ""
    with suppress(OSError):  # a full disk: the name is a courtesy, the lock is the kernel's
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
    return lock, holder


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def _announce(folder: Path, until: ExitStack) -> None:
    """Lets the process that works in the folder know, until the stack is closed, that another one waits.

    All who wait share one lock, which the kernel drops with each of them, however it ends.
    """
    import fcntl

    with suppress(OSError):  # a courtesy: without it this process does the work again, or what is left of it
        waiting = _open(folder / "waiting")
        until.callback(os.close, waiting)
        fcntl.flock(waiting, fcntl.LOCK_SH)


def _awaited(folder: Path) -> bool:
    """Whether another process waits for the work in the folder."""
    import fcntl

    try:
        waiting = os.open(folder / "waiting", os.O_RDWR)
    except OSError:  # mostly: nobody ever did
        return False
    try:
        fcntl.flock(waiting, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(waiting)


def _tell(stage: str, folder: Path, resumed: bool, holder: str) -> None:
    if resumed:
        what = f"taking over the work of {holder}" if holder else "resuming where it was cut off"
        _say(f"{stage}: {what}, from {folder}")
        return
    others = ", ".join(sorted(path.name for path in folder.parent.iterdir() if _checkpoints(path)))
    if others:
        _say(
            f"{stage}: starting from scratch; checkpoints of other code, parameters or inputs in "
            f"{folder.parent} are kept: {others}"
        )


def _remove(folder: Path) -> None:
    # The lock last: it guards the others.
    for path in (*_checkpoints(folder), folder / "waiting", folder / "lock"):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # not empty: another process has just come
        folder.rmdir()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    return sorted(folder.glob("*-*.safetensors"), key=_number)


def _number(path: Path) -> int:
    return int(path.name.partition("-")[0])


def _newest(folder: Path) -> dict[str, Any]:
    """What the newest checkpoint that is whole holds; nothing if there is none. Damaged ones are removed."""
    found = _checkpoints(folder)
    for path in reversed(found):
        if files.sha256(path) == path.stem.partition("-")[2]:
            return _read(path)
        _say(f"{path} is damaged: its checksum is wrong; looking for the one before it")
        path.unlink()
        if path == found[0]:
            _say(f"{folder} has no checkpoint left: starting from scratch")
    return {}


def _read(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        tree = json.loads(file.metadata()[KEY])
        state = _nested(tree, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    assert isinstance(state, dict)
    return state


def _flat(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """A state as JSON: tensors go to `tensors` under the path that leads to them."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name, "stride": value.stride()}
    if isinstance(value, Mapping):  # an optimiser's keys are whole numbers: JSON would make texts of them
        return {"dict": [[key, _flat(item, f"{name}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [_flat(item, f"{name}/{index}", tensors) for index, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    return value


def _nested(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `_flat`."""
    if isinstance(tree, list):
        return [_nested(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "dict" in tree:
        return {key: _nested(item, tensors) for key, item in tree["dict"]}
    if "tuple" in tree:
        return tuple(_nested(item, tensors) for item in tree["tuple"])
    stored = tensors[tree["tensor"]]
    # The order of the numbers in memory too: fused optimisers take them as they lie there.
    return torch.empty_strided(stored.shape, tree["stride"], dtype=stored.dtype).copy_(stored)
