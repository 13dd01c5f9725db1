"""Faults that the user can act on, and how a stage shows them: one line instead of a traceback."""

import errno
import os
import sys
from collections.abc import Callable

from src import parent

_SAME_AGAIN = "run the same command again"
_ADVICE = {
    errno.ENOSPC: f"free some disk space and {_SAME_AGAIN}",
    errno.EDQUOT: f"free some of your disk quota and {_SAME_AGAIN}",
    errno.EROFS: f"work in a folder that can be written to and {_SAME_AGAIN}",
    errno.EACCES: f"give yourself access to it and {_SAME_AGAIN}",
    errno.EPERM: f"give yourself access to it and {_SAME_AGAIN}",
    errno.ENOENT: "check the path, or run dvc repro to make what is missing",
}


class PipelineError(Exception):
    """A fault that the user can act on. Its text is one line: the reason and what to do."""


def run(main: Callable[[], None]) -> None:
    """Call a stage's ``main``; show faults of the outside world as one line on stderr.

    The stage ends with the ``dvc`` that started it, should that be killed.

    Anything but the cases below is a bug in this project and keeps its traceback.

    Args:
        main: The stage's entry point, which reads its arguments from the command line.

    Raises:
        SystemExit: Code 1 after a `PipelineError` or an `OSError` (disk full, read-only,
            missing file, ...), code 130 after Ctrl-C.
    """
    parent.follow()
    try:
        main()
    except PipelineError as error:
        _leave(f"error: {error}", 1)
    except OSError as error:
        _leave(f"error: {_describe(error)}", 1)
    except KeyboardInterrupt:
        _leave(f"interrupted; {_SAME_AGAIN}", 130)


def _describe(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    # A rename has two names: the second is the one that the user knows.
    name = error.filename2 or error.filename
    place = "" if name is None else f": {os.fsdecode(name) if isinstance(name, bytes) else name}"
    advice = _ADVICE.get(error.errno or 0, f"put this right and {_SAME_AGAIN}")
    return f"{reason}{place}; {advice}"


def _leave(text: str, code: int) -> None:
    print(" ".join(text.split()), file=sys.stderr)
    # The cause has been told: no "during handling of the above exception" for whoever catches this.
    raise SystemExit(code) from None
