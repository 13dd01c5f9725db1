"""What DVC keeps about experiments that run, where they were killed: tasks, records, references, HEAD."""

import shutil
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

from src.core import git

_FOLDER = Path(".dvc/tmp/exps")
_WORKSPACE = _FOLDER / "run/workspace"  # there while an experiment runs in the workspace
_ARGUMENTS = Path(".dvc/tmp/repro.dat")  # of a run, for which DVC adds it to git's index for a moment
_REFS = ("refs/exps/exec", "refs/exps/temp", "refs/exps/stash")  # DVC sets these for the time of a run


def fail_tasks() -> Iterator[str]:
    """Makes the queue's tasks fail that DVC takes for running, as `dvc queue kill` does."""
    if not any((_FOLDER / "celery/broker/processed").glob("*.celery.msg")):
        return
    from dvc.repo import Repo  # takes a second

    with Repo() as repo:
        queue = repo.experiments.celery_queue
        for entry in list(queue.iter_active()):
            if process := queue.proc.get(entry.stash_rev):
                # Otherwise DVC sends a signal to whoever has this number now.
                process.returncode = -signal.SIGTERM
                queue.proc[entry.stash_rev] = process
            queue.stash_failed(entry)  # keeps its commit from git's garbage collection
            queue.kill([entry.stash_rev])
            # It may be cut short, or tell of a result that nobody has collected.
            Path(queue.get_infofile_path(entry.stash_rev)).unlink(missing_ok=True)
            name = entry.name or entry.stash_rev[:7]
            yield f"{name} was killed in the queue, and is Failed now; to drop it: dvc queue remove {name}"


def remove_workspaces() -> Iterator[str]:
    """Folders that experiments ran in, and what says that they do."""
    for path in sorted([*_FOLDER.glob("tmp*"), *_FOLDER.glob("standalone/tmp*")]):
        shutil.rmtree(path)
        yield f"removed {path}, an experiment's workspace; its checkpoints are kept elsewhere"
    for path in sorted(path.parent for path in _FOLDER.glob("standalone/run/*/*.json")):
        shutil.rmtree(path)
        yield f"removed {path}: it says that an experiment runs, and none does"


def remove_arguments() -> Iterator[str]:
    """The file that tells a run how it was started; left in git's index, the next commit would take it in."""
    if git.ask("ls-files", "--", str(_ARGUMENTS)) or _ARGUMENTS.exists():
        git.ask("rm", "--quiet", "--cached", "--force", "--ignore-unmatch", "--", str(_ARGUMENTS))
        _ARGUMENTS.unlink(missing_ok=True)
        yield f"removed {_ARGUMENTS}, which told an experiment how it was started"


def restore_head() -> Iterator[str]:
    """HEAD goes back to its branch where a killed `dvc exp run` has detached it; no branch is moved."""
    if not git.detached():
        return
    branch = git.left_branch()
    if doing := git.under_way():
        yield f"git is in the middle of {doing}, and HEAD is detached: git status tells how to go on"
    elif branch and _detached_by_dvc(branch):
        git.ask("symbolic-ref", "-m", "recover: back to its branch", "HEAD", f"refs/heads/{branch}")
        yield f"HEAD was detached: it is {branch} again, files as they are"
    else:
        yield (
            "HEAD is detached, and not by an experiment as far as DVC and git tell; "
            f"to go to a branch: git switch {branch or 'BRANCH'}"
        )


def _detached_by_dvc(branch: str) -> bool:
    """Whether HEAD is where an experiment of this work tree has put it, which began on the branch."""
    base = git.commit("refs/exps/exec/EXEC_HEAD")
    here = _WORKSPACE.is_dir() or len(git.work_trees()) == 1  # references are those of all work trees
    running = here and git.commit("refs/exps/exec/EXEC_BASELINE")
    places = {base, git.commit("refs/exps/exec/EXEC_BRANCH")}
    return bool(running) and git.commit(f"refs/heads/{branch}") == base and git.commit("HEAD") in places


def remove_refs(elsewhere: Iterable[str]) -> Iterator[str]:
    """References, which all work trees share; `elsewhere` tells who works in any of them."""
    # A run that ends well leaves EXEC_HEAD, which nobody reads.
    found = [name for name in git.refs(*_REFS) if not name.endswith("/EXEC_HEAD")]
    if found and (busy := ", ".join(elsewhere)):
        yield f"{', '.join(found)}: perhaps of {busy}; once that has ended: make recover"
        return
    for name in found:
        git.ask("update-ref", "--no-deref", "-d", name)
        yield f"removed {name}, which DVC would take for a running experiment's"
    if _WORKSPACE.is_dir():  # last: it tells whose doing a detached HEAD is
        shutil.rmtree(_WORKSPACE)
        yield f"removed {_WORKSPACE}: it says that an experiment runs, and none does"
