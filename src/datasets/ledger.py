"""The set that those who make images may look at, and the ledger beside it: which labels it has cost."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.core import files
from src.core.errors import PipelineError
from src.datasets import idx
from src.datasets.spec import ImageSpec, write_spec

FILE = "manifest.json"
GIVEN = "given"
_RENDERED = "the labelled images of data/rendered, digits drawn from fonts unless render.folder names others"
_TUNED = "while it was built, its accuracy on real training images was seen"


def read(root: Path) -> dict[str, Any]:
    """The ledger of a set.

    Returns:
        `labels`, how many given labels the set holds for making images; `source`, where all its labels are
        from; `draw` and `drawn`, how these images were drawn and which they are; `looked_at`, the labels that
        the draw took; and what is known of guesses.
    """
    return files.read_json(root / FILE)


def guessed(labels: int, *, rendered: bool) -> str:
    """Where labels are from that are guessed but for a number of given ones."""
    learnt = [f"the {labels:,} given ones"] if labels else []
    learnt += [_RENDERED] if rendered else []
    kept = f"given for {labels:,} images, and for the others " if labels else ""
    return (
        f"{kept}guessed by a classifier that learnt from {' and '.join(learnt)} and from real images without "
        f"labels; {_TUNED}"
    )


def copy(real: Path, folder: Path, spec: ImageSpec, names: list[str], *, labels: int) -> None:
    """Writes the training split of a set as it is given.

    Args:
        real: The set's folder.
        folder: To write to.
        spec: What its images look like.
        names: Of its classes, by label.
        labels: How many of its labels, the first ones, serve to make images; the others are watched by.
    """
    idx.folder(folder).mkdir(parents=True, exist_ok=True)
    for name in idx.names("train", spec):
        shutil.copyfile(idx.folder(real) / name, idx.folder(folder) / name)
    drawn = {"draw": "all", "drawn": f"the first {labels:,}", "looked_at": labels}
    write(folder, spec, names, {"labels": labels, "source": GIVEN, **drawn})


def write(folder: Path, spec: ImageSpec, names: list[str], ledger: dict[str, Any]) -> None:
    """Writes the ledger, and spec.json, beside a set's images."""
    write_spec(folder, spec, names)
    files.write_json(folder / FILE, ledger)


def account(
    ledger: Mapping[str, Any], *, validation: int, conditional: bool, relabelled: bool
) -> dict[str, int]:
    """Who read how many labels of real images on the way to a synthetic set, and for what.

    Args:
        ledger: That of the images which the set was made from.
        validation: Their last images, which the GAN run is watched by.
        conditional: Whether the networks of the GAN are told labels.
        relabelled: Whether a classifier labels the synthetic images.

    Returns:
        Labels read for each purpose; `coverage`, those that the draw looked at and put aside; the `budget`,
        and the `total` that was learnt from or judged by, each label once.

    Raises:
        PipelineError: The total is above the budget.
    """
    labels = int(ledger["labels"])
    judged = validation if ledger["source"] == GIVEN else 0
    read = {
        "guessing": 0 if ledger["source"] == GIVEN else labels,  # stage label_train
        "conditioning": labels if conditional else 0,  # train_gan
        "watching": labels,  # train_gan: its network, whose features score checks
        "checkpoint_choice": labels,  # train_gan: by these scores
        "verdict": judged,  # labels of validation images, which agreement is held against
        "relabelling": labels if relabelled else 0,  # train_labeller
        "tuning": 0,  # no setting is chosen in a run; how the shipped ones were, docs/labels.md tells
    }
    drawn = ledger["drawn"]
    total = judged + (labels if isinstance(drawn, str) else len(set(drawn)))
    budget = labels + judged
    if total > budget:
        raise PipelineError(
            f"{total} labels of real images were read, above the budget of {budget}; "
            "run dvc repro label_train"
        )
    return read | {"coverage": int(ledger["looked_at"]) - labels, "budget": budget, "total": total}
