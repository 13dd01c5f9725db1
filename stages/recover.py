"""Mend what a killed run has left behind, where nothing can be lost by it, and name the rest. No DVC stage.

Command: python -m stages.recover
"""

import argparse
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from src.errors import PipelineError, run

PARTS = ("data", "docs", "metrics", "models", "results")  # where stages and benchmarks write


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a line for each thing mended or found.

    Raises:
        PipelineError: DVC or a stage is at work here: what it holds on to is not left over.
    """
    parser = argparse.ArgumentParser(prog="python -m stages.recover", description=__doc__)
    parser.parse_args(argv)
    if not Path(".dvc").is_dir():
        raise PipelineError("there is no .dvc here; run this from the project's top folder")
    if busy := list(at_work(Path.cwd())):
        raise PipelineError(f"{', '.join(busy)} is at work here; let it finish, or stop it, and try again")
    lines = [*mend(), *name()]
    print("\n".join(lines or ["nothing was left behind"]))
    print("to go on: the command that was cut off (dvc repro, dvc exp run ...)")


def at_work(top: Path) -> Iterator[str]:
    """DVC's processes, its queue's workers and stages, in the project or in its temporary workspaces."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()
            if process.pid != os.getpid() and Path(process.cwd()).is_relative_to(top):
                for place, word in enumerate(words[:4]):
                    if re.fullmatch(r"(.*[\\/])?dvc(\.exe)?|stages\.\w+", word):
                        told = " ".join([Path(word).name, *words[place + 1 : place + 2]])
                        yield f"process {process.pid} ({told})"


def mend() -> Iterator[str]:
    """Nobody is at work, so locks, half-written files and temporary workspaces are nobody's."""
    if (lock := Path(".dvc/tmp/rwlock")).exists():
        lock.unlink()
        yield f"removed {lock}: it says who uses which file, and nobody does"
    for path in sorted(path for part in PARTS for path in Path(part).rglob(".*.part")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield f"removed {path}, which was never finished"
    experiments = Path(".dvc/tmp/exps")
    for path in sorted([*experiments.glob("tmp*"), *experiments.glob("standalone/tmp*")]):
        shutil.rmtree(path)
        yield f"removed {path}, an experiment's workspace; its checkpoints are kept elsewhere"
    if git("symbolic-ref", "-q", "HEAD") == "":
        branches = git("for-each-ref", "--points-at=HEAD", "--format=%(refname)", "refs/heads").split()
        if len(branches) == 1:
            git("symbolic-ref", "HEAD", branches[0])
            branch = branches[0].removeprefix("refs/heads/")
            yield f"HEAD was detached: it is {branch} again, files as they are"
        else:
            there = "no branch is" if not branches else f"{len(branches)} branches are"
            yield f"HEAD is detached, and {there} at its commit: git symbolic-ref HEAD refs/heads/BRANCH"


def name() -> Iterator[str]:
    """What only the user can decide on."""
    # By content: DVC sets -S in the second that it writes git's index, and a value as long as the old one
    # then passes for unchanged, for git diff and git checkout too, until the file has another time.
    if git("hash-object", "params.yaml") != git("rev-parse", "HEAD:params.yaml"):
        os.utime("params.yaml")
        yield (
            "params.yaml differs from the last commit (git diff params.yaml), perhaps by a -S that was cut "
            "off; to drop that: git checkout params.yaml dvc.lock && dvc checkout"
        )
    if git("stash", "list"):
        yield "git stash list is not empty: DVC may have put changes there when it was cut off as it started"
    for folder in sorted({path.parent for path in Path(".checkpoints").rglob("*.safetensors")}):
        yield f"{folder} has a checkpoint; the same command goes on from it; to drop it: rm -r {folder}"


def git(*arguments: str) -> str:
    """What a git command prints; nothing if it fails."""
    return subprocess.run(("git", *arguments), capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    run(main)
