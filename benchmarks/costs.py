"""Seconds, peak memory and disk space of a run, stage by stage: `dvc repro --force`, watched from outside.

Command: python -m benchmarks.costs

Runs the whole pipeline again, even what is up to date; the results stay the same. Memory is the resident
memory of a stage with all its processes, sampled ten times a second. Writes docs/costs.csv. Run it in a fresh
clone: results of other runs in DVC's cache count as disk space, too.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.provenance import provenance
from src.core import files, params, stage
from src.core.errors import PipelineError
from src.core.machine import set_up

FOLDERS = ("data", "models", "results", ".dvc/cache")
MIB = 2**20
TOTAL = "total"


class Seen(NamedTuple):
    """A process as it stood at one moment; `started` in seconds since 1970, `resident` in bytes."""

    pid: int
    parent: int
    command: tuple[str, ...]
    started: float
    resident: int


class Meter:
    """What each stage took, from looks at the processes of a run.

    Args:
        commands: The command of each stage, as dvc.yaml has it.

    Attributes:
        seconds: Of each stage that was seen, up to the last look at it.
        peaks: The most resident memory of each stage with its children, and of everything under `total`, in
            bytes.
    """

    def __init__(self, commands: Mapping[str, str]) -> None:
        self._stages = {tuple(shlex.split(command)[1:]): name for name, command in commands.items()}
        self.seconds: dict[str, float] = {}
        self.peaks: dict[str, int] = {}

    def look(self, processes: Sequence[Seen], now: float) -> None:
        """Takes in the processes of a run, `dvc` itself among them."""
        self._peak(TOTAL, processes)
        for process in processes:
            # The interpreter may be called anything; a shell around it has another command.
            if name := self._stages.get(process.command[1:]):
                self.seconds[name] = now - process.started
                self._peak(name, _family(process, processes))

    def _peak(self, name: str, processes: Sequence[Seen]) -> None:
        self.peaks[name] = max(self.peaks.get(name, 0), sum(process.resident for process in processes))


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the pipeline and writes what it took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs", description=__doc__)
    parser.add_argument("--stages", nargs="+", default=[], help="measure these alone (give another --output)")
    parser.add_argument("--output", type=Path, default=Path("docs/costs.csv"), help="table to write")
    args = parser.parse_args(argv)
    described = params.mapping(Path("dvc.yaml"))["stages"]
    if unknown := sorted(set(args.stages) - set(described)):
        raise PipelineError(f"no stages in dvc.yaml: {', '.join(unknown)}; there are: {', '.join(described)}")
    settings = params.read()
    here = provenance(set_up(settings.device, settings.threads))
    meter = Meter({name: " ".join(each["cmd"].split()) for name, each in described.items()})
    single = ["--single-item", *args.stages] if args.stages else []
    seconds = watch([*shlex.split("dvc repro --force"), *single], meter)
    spent = {**meter.seconds, TOTAL: seconds}
    rows: list[tuple[object, ...]] = [(name, spent[name], meter.peaks[name] / MIB, "") for name in spent]
    rows += [(name, "", "", size / MIB) for name, size in sizes(Path()).items()]
    columns = ["stage", "seconds", "peak_mib", "disk_mib", *here]
    files.write_csv(args.output, columns, [(*row, *here.values()) for row in rows])
    print(args.output.read_text(encoding="utf-8"), end="")


def watch(command: Sequence[str], meter: Meter, interval: float = 0.1) -> float:
    """Runs a command to its end, looking at its processes at intervals; returns its seconds.

    Raises:
        PipelineError: It fails.
    """
    # DVC starts `python`, which must be this one.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    start = time.perf_counter()
    with subprocess.Popen(command, env=os.environ | {"PATH": path}) as running:
        while running.poll() is None:
            meter.look(tree(running.pid), time.time())
            time.sleep(interval)
    if running.returncode:
        raise PipelineError(f"{shlex.join(command)} failed, see above; nothing was written")
    return time.perf_counter() - start


def tree(pid: int) -> list[Seen]:
    """A process and all that it has started, directly or not; those that end meanwhile are left out."""
    found = []
    with suppress(psutil.Error):
        top = psutil.Process(pid)
        for process in (top, *top.children(recursive=True)):
            with suppress(psutil.Error):
                command, resident = tuple(process.cmdline()), int(process.memory_info().rss)
                found.append(Seen(process.pid, process.ppid(), command, process.create_time(), resident))
    return found


def _family(first: Seen, processes: Sequence[Seen]) -> list[Seen]:
    """A process and those that descend from it."""
    children = [process for process in processes if process.parent == first.pid]
    return [first, *(member for child in children for member in _family(child, processes))]


def sizes(root: Path) -> dict[str, int]:
    """Bytes of each folder that a run fills, and of the Python environment, if there is one of its own.

    A file that stands in several folders (a hard link into DVC's cache) counts in the first.
    """
    known: set[tuple[int, int]] = set()
    found = {f"{name}/": _size(root / name, known) for name in FOLDERS}
    if sys.prefix != sys.base_prefix:
        found["environment"] = _size(Path(sys.prefix), known)
    return found


def _size(folder: Path, known: set[tuple[int, int]]) -> int:
    total = 0
    for path in folder.rglob("*"):
        about = path.lstat()
        if path.is_file() and (about.st_dev, about.st_ino) not in known:
            known.add((about.st_dev, about.st_ino))
            total += about.st_size
    return total


if __name__ == "__main__":
    stage.run(main)
