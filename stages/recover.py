"""Clean up after a killed run where that is safe, and list what needs a decision. No DVC stage.

Command: python -m stages.recover
"""

from collections.abc import Sequence
from pathlib import Path

from src.core import git, leftovers, stage
from src.core.errors import PipelineError


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a line for each thing mended or found.

    Raises:
        PipelineError: DVC or a stage is at work here: what it holds on to is not left over. Or git can't
            work here, which DVC needs.
    """
    stage.parser(__file__, __doc__).parse_args(argv)
    if not Path(".dvc").is_dir():
        raise PipelineError("there is no .dvc here; run this from the project's top folder")
    if busy := list(leftovers.at_work(Path.cwd())):
        raise PipelineError(f"{', '.join(busy)} is at work here; let it finish, or stop it, and try again")
    git.ask("rev-parse", "--show-toplevel")  # before anything is touched: git's reason, where it can't
    lines = [*leftovers.mend(), *leftovers.name()]
    print("\n".join(lines or ["nothing was left behind"]))
    print("to go on: the command that was cut off (dvc repro, dvc exp run ...)")


if __name__ == "__main__":
    stage.run(main)
