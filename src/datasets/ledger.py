"""The set that those who make images may look at, and the ledger beside it: which labels it has cost."""

import shutil
from pathlib import Path
from typing import Any

from src.core import files
from src.datasets import idx
from src.datasets.spec import ImageSpec, write_spec

FILE = "manifest.json"
GIVEN = "given"
GUESSED = (
    "guessed by a classifier that learnt from the labelled images of data/rendered, which are digits drawn "
    "from fonts unless render.folder names others, and from real images without labels; while it was built, "
    "its accuracy on real training images was seen"
)


def read(root: Path) -> dict[str, Any]:
    """The ledger: `labels`, how many were read, `source`, whose they are, and what is known of guesses."""
    return files.read_json(root / FILE)


def copy(real: Path, folder: Path, spec: ImageSpec, names: list[str], *, labels: int) -> None:
    """Writes the training split of a set as it is given.

    Args:
        real: The set's folder.
        folder: To write to.
        spec: What its images look like.
        names: Of its classes, by label.
        labels: How many of its labels serve to make images; the others are watched by.
    """
    idx.folder(folder).mkdir(parents=True, exist_ok=True)
    for name in idx.names("train", spec):
        shutil.copyfile(idx.folder(real) / name, idx.folder(folder) / name)
    write(folder, spec, names, {"labels": labels, "source": GIVEN})


def write(folder: Path, spec: ImageSpec, names: list[str], ledger: dict[str, Any]) -> None:
    """Writes the ledger, and spec.json, beside a set's images."""
    write_spec(folder, spec, names)
    files.write_json(folder / FILE, ledger)
