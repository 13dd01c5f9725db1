"""What every stage does alike: it reads its arguments, ends with its `dvc`, and tells a fault in one line."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from src.core import parent
from src.core.errors import SAME_AGAIN, PipelineError, describe


def parser(script: str, description: str | None, **paths: str) -> argparse.ArgumentParser:
    """A stage's command line.

    Args:
        script: The stage's own file.
        description: Its docstring, shown by `--help` as it stands.
        **paths: Options that must be given, each a path, with their help.
    """
    made = argparse.ArgumentParser(
        prog=f"python -m stages.{Path(script).stem}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, told in paths.items():
        made.add_argument(f"--{name}", type=Path, required=True, help=told)
    return made


def run(main: Callable[[], None]) -> None:
    """Calls a stage's `main`; shows faults of the outside world as one line on stderr.

    The stage ends with the `dvc` that started it, should that be killed.

    Anything but the cases below is a bug in this project and keeps its traceback.

    Args:
        main: The stage's entry point, which reads its arguments from the command line.

    Raises:
        SystemExit: Code 1 after a `PipelineError` or an `OSError` (disk full, read-only, missing file, ...),
            code 130 after Ctrl-C.
    """
    parent.follow()
    try:
        main()
    except PipelineError as error:
        _leave(f"error: {error}", 1)
    except OSError as error:
        _leave(f"error: {describe(error)}", 1)
    except KeyboardInterrupt:
        _leave(f"interrupted; {SAME_AGAIN}", 130)


def _leave(text: str, code: int) -> None:
    print(" ".join(text.split()), file=sys.stderr)
    # The cause has been told: no "during handling of the above exception" for whoever catches this.
    raise SystemExit(code) from None
