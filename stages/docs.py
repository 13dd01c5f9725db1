"""Write the parts of README.md and docs/ that come from files. No DVC stage.

Command: python -m stages.docs
"""

from collections.abc import Sequence
from pathlib import Path

from src.core import files, stage
from src.report import documents


def main(argv: Sequence[str] | None = None) -> None:
    """Rewrites each document whose written parts are out of date, and names it."""
    stage.parser(__file__, __doc__).parse_args(argv)
    root = Path()
    for path in (root / "README.md", *sorted((root / "docs").glob("*.md"))):
        text = path.read_text(encoding="utf-8")
        if (rendered := documents.render(text, root)) != text:
            files.write_text(path, rendered)
            print(f"wrote {path}")


if __name__ == "__main__":
    stage.run(main)
