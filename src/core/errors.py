"""Faults that the user can act on, each told in one line."""

import errno
import os

SAME_AGAIN = "run the same command again"
_ADVICE = {
    errno.ENOSPC: f"free some disk space and {SAME_AGAIN}",
    errno.EDQUOT: f"free some of your disk quota and {SAME_AGAIN}",
    errno.EROFS: f"work in a folder that can be written to and {SAME_AGAIN}",
    errno.EACCES: f"give yourself access to it and {SAME_AGAIN}",
    errno.EPERM: f"give yourself access to it and {SAME_AGAIN}",
    errno.ENOENT: "check the path, or run dvc repro to make what is missing",
}


class PipelineError(Exception):
    """A fault that the user can act on. Its text is one line: the reason and what to do."""


def describe(error: OSError) -> str:
    """An operating system's error as one line: the reason, the file, and what to do."""
    reason = error.strerror or str(error) or type(error).__name__
    # A rename has two names: the second is the one that the user knows.
    name = error.filename2 or error.filename
    place = "" if name is None else f": {os.fsdecode(name) if isinstance(name, bytes) else name}"
    advice = _ADVICE.get(error.errno or 0, f"put this right and {SAME_AGAIN}")
    return f"{reason}{place}; {advice}"
