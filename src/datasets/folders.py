"""Image sets to be scored, the pipeline's own or others: folders of IDX files, or of pictures."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from src.core.errors import PipelineError
from src.datasets import album, labelled, places
from src.datasets.idx import Split
from src.datasets.labelled import Labelled
from src.datasets.spec import ImageSpec

OWN_PICTURE = "samples.png"  # beside the IDX files of a synthetic set of the pipeline
REPLACE = "replace the file"


class Real(NamedTuple):
    """Real images in two parts: the reference, and others to find what real images themselves score.

    `told` says which the others are; it is empty for the pipeline's own.
    """

    reference: Labelled
    others: Labelled
    told: str


def synthetic(
    folder: Path, spec: ImageSpec, seed: int, *, own: bool = False, names: Sequence[str] = ()
) -> Labelled:
    """A synthetic set: the training split of IDX files, or all pictures of a folder, shuffled.

    Args:
        folder: Holds IDX files or pictures.
        spec: What the images must look like.
        seed: Seeds the order of pictures.
        own: Whether the pipeline made it: then it is IDX files, in their one place.
        names: Of the classes, by label, where they are known.

    Raises:
        PipelineError: A file is missing, damaged, or holds something else.
    """
    if own:
        return _mixed(labelled.read(folder, "train", spec), "train", folder)
    if _is_idx(folder, spec):
        return _split(folder, "train", spec)
    return album.read(folder, spec, seed, names)


def real(
    folder: Path, spec: ImageSpec, seed: int, *, validation: int | None = None, names: Sequence[str] = ()
) -> Real:
    """Real images in two parts, without an image in both.

    Of IDX files these are the test split, and as many of the last training images: of the pipeline's own set
    those that nothing trained on. A folder of pictures is shuffled and cut in half.

    Args:
        folder: Holds IDX files or pictures.
        spec: What the images must look like.
        seed: Seeds the order of pictures.
        validation: The validation images of the pipeline's own set; None for any other.
        names: Of the classes, by label, where they are known.

    Raises:
        PipelineError: A file is missing, damaged, or holds something else.
    """
    if validation is not None:
        _, held = labelled.read_train(folder, spec, validation)
        return Real(_mixed(labelled.read(folder, "test", spec), "test", folder), held, "")
    if _is_idx(folder, spec):
        test, train = (_split(folder, split, spec) for split in ("test", "train"))
        start = max(0, len(train) - len(test))
        told = f"the last {len(train) - start} of the {len(train)} training images of {folder}"
        return Real(test, train.part(start, len(train)), told)
    found = album.read(folder, spec, seed, names)
    half = len(found) // 2
    told = f"one half, {half}, of the {len(found)} pictures of {folder}"
    if len(found) % 2:
        told += ", of which 1 is left over"
    return Real(found.part(0, half), found.part(half, 2 * half), told)


def _is_idx(folder: Path, spec: ImageSpec) -> bool:
    if not folder.is_dir():
        raise PipelineError(f"{folder} is not a folder; give one with IDX files or pictures")
    if not places.holds_any(folder, spec):
        return False
    if beside := [path for path in album.pictures_in(folder) if path != folder / OWN_PICTURE]:
        told = "its IDX files are scored, and pictures beside them are not"
        print(f"{folder}: {told}: {album.counted(beside, folder)}", file=sys.stderr)
    return True


def _split(folder: Path, split: Split, spec: ImageSpec) -> Labelled:
    data = labelled.read_files(*places.pair(folder, split, spec), spec, REPLACE)
    return _mixed(data, split, folder)


def _mixed(data: Labelled, split: Split, folder: Path) -> Labelled:
    """A split as it lies there; sorted by class, its parts would not be alike."""
    data.require_mixed(f"the {split} images of {folder}")
    return data
