"""The parts of README.md and docs/ that a program writes, from the project's own files, between two markers.

A part stands between `<!-- begin NAME -->` and `<!-- end NAME -->`, each on a line of its own; `PARTS` names
them all.
"""

import ast
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from src.core.errors import PipelineError
from src.report import measured, results

FOLDERS = ("src", "stages", "benchmarks", "tests", "docs")
FLOORS = ("core", "datasets", "networks", "classifiers", "scores", "gan", "report")
# What has no docstring to be told by.
TOLD = {
    "CHANGELOG.md": "what has changed, for users",
    "LICENSE": "the Apache License 2.0",
    "Makefile": "every command, with what it needs; `make` lists them",
    "README.md": "start here",
    "dvc.lock": "what the last run read and wrote, by hash; DVC's",
    "dvc.yaml": "the stages, what each reads and writes; plots and metrics",
    "params.yaml": "every setting, with its unit or range; a row of recipes for each adversarial training",
    "pyproject.toml": "settings of ruff, mypy and pytest",
    "requirements-dev.lock": "the same for what linting needs",
    "requirements-dev.txt": "what `make lint` and `make lock` need beyond requirements.txt",
    "requirements-peers.txt": "the tools that `make peers` compares with",
    "requirements.lock": "all packages with their hashes, made by `make lock`; what `make` installs",
    "requirements.txt": "what the pipeline and its tests need",
    "src/datasets/table.yaml": "the data sets: size, classes, hashes, and where each comes from",
    "docs/compare.csv": "recipes compared, by `make compare`",
    "docs/costs.csv": "seconds, memory and disk space of a run, by `python -m benchmarks.costs`",
    "docs/experiments.csv": "what single runs of earlier commits found: no program writes it",
    "docs/labels.md": "who reads labels, and how to make a set with few or none",
    "docs/layout.md": "this page",
    "docs/leak.csv": "planted training images that the audit noticed, by `make sensitivity`",
    "docs/metrics.md": "what each score means, and when it misleads",
    "docs/parts.csv": "what each part of a set without labels buys, by `make parts`",
    "docs/recovery.md": "what to do when a run was cut off",
    "docs/rendered.png": "rendered digits, from data/rendered",
    "docs/reproducing.md": "what gives the same bytes, what does not; what is pinned, what is not trusted",
    "docs/results.md": "what the default and other recipes score and cost",
    "docs/sample_size.csv": "scores of fewer images, by `make sensitivity`",
    "docs/sample_size.png": "the same as a picture",
    "docs/sensitivity.csv": "scores of spoilt images, by `make sensitivity`",
    "docs/sensitivity.png": "the same as a picture",
    "docs/training.md": "how a run watches itself, and what the default rests on",
    "docs/worth.csv": "what a synthetic set is worth over the budget of labels, by `make worth`",
    "docs/worth.png": "the same as a picture",
    "docs/worth_unspread.csv": "the same on MNIST as far as measured, with `label_train.contrast_steps: 0`",
    "docs/worth_curves.csv": "its means, for `dvc plots`",
    "tests/digits.png": "2,000 real digits for test_digits.py, from MNIST (CC BY-SA 3.0)",
}


def render(text: str, root: Path) -> str:
    """A document with its written parts made anew.

    Args:
        text: The document.
        root: The project's folder.

    Raises:
        PipelineError: It has a part that no program writes, or one without an end.
    """

    def part(found: re.Match[str]) -> str:
        name = found["name"]
        if name not in PARTS:
            raise PipelineError(f"a document has the part {name}; there are: {', '.join(PARTS)}")
        return f"<!-- begin {name} -->\n{PARTS[name](root)}\n<!-- end {name} -->"

    form = r"<!-- begin (?P<name>[\w-]+) -->\n.*?<!-- end (?P=name) -->"
    rendered, count = re.subn(form, part, text, flags=re.DOTALL)
    if count != text.count("<!-- begin "):
        raise PipelineError("a document has a part without its end")
    return rendered


def layout(root: Path) -> str:
    """The tree of the project's files with a line for each: of a module, the first of its docstring."""
    found = {path.relative_to(root): told(path, root) for path in sources(root)}
    lines, before = [], Path("nowhere")
    for path, line in found.items():
        if path.parent != before and path.parent != Path():
            lines.append(f"\n{path.parent}/")
        before = path.parent
        indent = "  " if path.parent != Path() else ""
        lines.append(f"{indent + path.name:22}  {line}")
    return "\n".join(["```", *lines, "```"])


def sources(root: Path) -> list[Path]:
    """All files that the layout tells of, those of the top folder first."""
    top = [path for path in root.iterdir() if path.is_file() and not path.name.startswith(".")]
    below = [
        path
        for folder in FOLDERS
        for path in sorted((root / folder).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    ]
    floors = {f"src/{floor}": number for number, floor in enumerate(FLOORS)}

    def order(path: Path) -> tuple[int, int, Path]:
        folder = path.relative_to(root).parent
        return FOLDERS.index(folder.parts[0]), floors.get(folder.as_posix(), -1), path

    return sorted(top) + sorted(below, key=order)


def told(path: Path, root: Path) -> str:
    """A file in one line.

    Raises:
        PipelineError: It has no docstring, and `TOLD` has no line for it.
    """
    name = path.relative_to(root).as_posix()
    if path.suffix == ".py":
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if docstring := ast.get_docstring(tree):
            return docstring.splitlines()[0]
        if tree.body:
            raise PipelineError(f"{name} has no docstring: give it one, its first line for the layout")
        return "(empty: makes the folder a package)"
    if name not in TOLD:
        raise PipelineError(f"{name} is new: give it a line in TOLD of src/report/documents.py")
    return TOLD[name]


PARTS: Mapping[str, Callable[[Path], str]] = {"layout": layout, **results.PARTS, **measured.PARTS}
