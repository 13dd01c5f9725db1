"""What a killed run leaves behind: processes, locks, half-written files, experiments."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from src.core import experiments, files, git

PARTS = ("data", "docs", "metrics", "models", "results")  # where stages and benchmarks write
DROP = "touch params.yaml && git checkout HEAD -- params.yaml dvc.lock metrics && dvc checkout"


def at_work(*tops: Path) -> Iterator[str]:
    """DVC's processes, its queue's workers and stages, in projects or in their temporary workspaces."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words, folder = process.cmdline(), Path(process.cwd())
            if process.pid != os.getpid() and any(folder.is_relative_to(top) for top in tops):
                for place, word in enumerate(words[:4]):
                    if re.fullmatch(r"(.*[\\/])?dvc(\.exe)?|stages\.\w+", word):
                        told = " ".join([Path(word).name, *words[place + 1 : place + 2]])
                        yield f"process {process.pid} ({told})"


def mend() -> Iterator[str]:
    """Nobody is at work, so locks, half-written files and temporary workspaces are nobody's."""
    for lock in map(Path, (".dvc/tmp/rwlock", ".dvc/tmp/exps/rwlock")):
        if _names_somebody(lock):
            lock.unlink()
            yield f"removed {lock}: it says who uses which file, and nobody does"
    for path in sorted(path for part in PARTS for path in Path(part).rglob(".*.part")):
        if not os.path.lexists(path):
            continue  # it went with the folder that it lay in
        if back := files.restore(path):
            yield f"{back} is back: it had made room for a new one, which never came"
        else:
            files.remove(path)
            yield f"removed {path}, which was never finished, or has been replaced"
    yield from experiments.fail_tasks()
    yield from experiments.remove_workspaces()
    yield from experiments.remove_arguments()
    yield from experiments.restore_head()
    yield from experiments.remove_refs(at_work(*git.work_trees()))


def name() -> Iterator[str]:
    """What only the user can decide on."""
    if git.changed("params.yaml"):
        # DVC sets -S in the second that it writes git's index, and a value as long as the old one then
        # passes for unchanged, for git diff and git checkout too, until the file has another time.
        os.utime("params.yaml")
        yield (
            "params.yaml differs from the last commit (git diff HEAD params.yaml), perhaps by a -S that was "
            f"cut off; to drop that and what the run has changed: {DROP}"
        )
    if git.ask("stash", "list"):
        yield (
            "git stash list is not empty; look there if changes of yours are missing: "
            "DVC keeps them there while it starts an experiment"
        )
    for folder in sorted({path.parent for path in Path(".checkpoints").rglob("*.safetensors")}):
        yield f"{folder} has a checkpoint; the same command resumes from it; to drop it: rm -r {folder}"


def _names_somebody(lock: Path) -> bool:
    """Whether a lock file of DVC's names a process, or can't be read any more."""
    try:
        return any(json.loads(lock.read_bytes()).values())
    except FileNotFoundError:
        return False
    except ValueError:
        return True
