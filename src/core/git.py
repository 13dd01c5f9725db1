"""What git says of the project, asked from the project's folder, and what it is in the middle of."""

import subprocess
from pathlib import Path

from src.core.errors import PipelineError

# Files of git's own folder, and what it is in the middle of while they are there.
_UNDER_WAY = {
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "sequencer": "a cherry-pick or revert",
    "BISECT_LOG": "a bisect",
}


def ask(*arguments: str) -> str:
    """What a git command prints; nothing where it answers no by its exit status.

    Raises:
        PipelineError: Git can't answer; says why, in git's words.
    """
    try:
        done = subprocess.run(("git", *arguments), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise PipelineError("there is no git on this machine's PATH; install it") from None
    if done.returncode > 1 or (done.returncode and done.stderr):
        raise PipelineError(f"git can't answer: {done.stderr.strip() or ' '.join(arguments)}")
    return done.stdout.strip()


def commit(name: str) -> str:
    """The hash of the commit that a name stands for; nothing if there is none."""
    return ask("rev-parse", "--quiet", "--verify", f"{name}^{{commit}}")


def refs(*prefixes: str) -> list[str]:
    """All references under some prefixes."""
    return ask("for-each-ref", "--format=%(refname)", *prefixes).split()


def detached() -> bool:
    """Whether HEAD is at a commit instead of on a branch."""
    return not ask("symbolic-ref", "--quiet", "HEAD")


def left_branch() -> str:
    """The branch that HEAD was on before it was detached, as its log tells; nothing if that is not known."""
    if not commit("HEAD"):
        return ""
    for line in ask("log", "--walk-reflogs", "--format=%gs", "HEAD", "--").splitlines():
        words = line.split()
        if words[:3] == ["checkout:", "moving", "from"]:
            return words[3] if commit(f"refs/heads/{words[3]}") else ""
    return ""


def under_way() -> str:
    """What git is in the middle of in this work tree; nothing if it is at rest."""
    asked = [word for name in _UNDER_WAY for word in ("--git-path", name)]
    places = ask("rev-parse", *asked).splitlines()
    found = [what for place, what in zip(places, _UNDER_WAY.values(), strict=True) if Path(place).exists()]
    return found[0] if found else ""


def changed(path: str) -> bool:
    """Whether a file's content differs from that of the last commit; no, where either is missing."""
    # By content, and not by git diff, which looks at times and sizes first.
    was = ask("rev-parse", "--quiet", "--verify", f"HEAD:./{path}")
    return bool(was) and Path(path).is_file() and ask("hash-object", path) != was


def work_trees() -> list[Path]:
    """The top folders of all work trees of the repository."""
    lines = ask("worktree", "list", "--porcelain").splitlines()
    return [Path(line.removeprefix("worktree ")) for line in lines if line.startswith("worktree ")]
