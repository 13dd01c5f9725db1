"""Image sets to be scored, the pipeline's own or others: folders of IDX files, or of PNG files."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from tqdm import tqdm

from src import idx, images
from src.errors import PipelineError
from src.images import LabelledImages
from src.seeding import generator_for

MODES = ("1", "L", "P", "RGB")  # without transparency, and of eight bits at most


class Pictures(NamedTuple):
    """Images, uint8 (n, 1, 28, 28), and their labels, int64 (n,), where they are known."""

    images: Tensor
    labels: Tensor | None

    def part(self, start: int, stop: int) -> "Pictures":
        """The images from `start` up to `stop`."""
        return Pictures(self.images[start:stop], None if self.labels is None else self.labels[start:stop])

    def chosen(self, count: int, rng: torch.Generator) -> "Pictures":
        """`count` of the images at random, in their order: the first need not be like the rest."""
        picked = torch.randperm(len(self.images), generator=rng)[:count].sort().values
        return Pictures(self.images[picked], None if self.labels is None else self.labels[picked])

    def labelled(self, classes: Tensor) -> LabelledImages:
        """The images with their labels, or with `classes`, int64 (n,), where those are not known."""
        return LabelledImages(self.images, classes if self.labels is None else self.labels)


def synthetic(folder: Path, seed: int) -> Pictures:
    """A synthetic set: the training split of IDX files, or all PNG files of a folder, shuffled.

    Raises:
        PipelineError: A file is missing, damaged, or holds something else.
    """
    if _is_idx(folder):
        return _in_any_order(folder, "train", len(idx.read_pair(folder, "train")[1]))
    return read_png(folder, seed)


def real(folder: Path, validation: int, seed: int) -> tuple[Pictures, Pictures]:
    """Real images in two parts: the reference, and others to find what real images themselves score.

    Of IDX files these are the test split, and the last `validation` images of the training split. A folder of
    PNG files is shuffled and cut in half.

    Raises:
        PipelineError: A file is missing, damaged, or holds something else.
    """
    if _is_idx(folder):
        _, held = images.read_train(folder, validation)
        return _in_any_order(folder, "test", len(idx.read_pair(folder, "test")[1])), Pictures(*held)
    found = read_png(folder, seed)
    half = len(found.images) // 2
    return found.part(0, half), found.part(half, 2 * half)


def read_png(folder: Path, seed: int) -> Pictures:
    """All PNG files of a folder, shuffled; or those of its subfolders 0 to 9, whose names are the labels.

    Args:
        folder: Holds 28x28 pictures, grey, or coloured with the three colours alike.
        seed: Seeds the order: files are often sorted by class, and parts of the set must be alike.

    Raises:
        PipelineError: There is no such file, or one is no such picture.
    """
    # By name, not as the file system gives them: the same files are the same set everywhere.
    flat = sorted(folder.glob("*.png"))
    found = [sorted(folder.glob(f"{label}/*.png")) for label in range(idx.CLASSES)]
    sorted_in = [(path, label) for label, paths in enumerate(found) for path in paths]
    if flat and sorted_in:
        raise PipelineError(f"{folder} has PNG files, and subfolders with PNG files too; remove either")
    if not flat and not sorted_in:
        raise PipelineError(
            f"{folder} has no images: neither PNG files, nor subfolders 0 to {idx.CLASSES - 1} with "
            f"PNG files, nor {idx.folder(Path())} with IDX files"
        )
    paths = flat or [path for path, _ in sorted_in]
    pixels = torch.from_numpy(
        np.stack([_pixels(path) for path in tqdm(paths, desc="pictures", disable=None)])
    )
    labels = torch.tensor([label for _, label in sorted_in]) if sorted_in else None
    order = torch.randperm(len(paths), generator=generator_for("pictures/order", seed))
    return Pictures(pixels[order].unsqueeze(1), None if labels is None else labels[order])


def _is_idx(folder: Path) -> bool:
    if not folder.is_dir():
        raise PipelineError(f"{folder} is no folder; give one with IDX files (MNIST/raw/...) or PNG files")
    return idx.folder(folder).is_dir()


def _in_any_order(folder: Path, split: Literal["train", "test"], count: int) -> Pictures:
    """A split as it lies there; sorted by class, its parts would not be alike."""
    data = images.read(folder, split)
    steps = data.labels.diff()
    if count > 1 and steps.any() and ((steps >= 0).all() or (steps <= 0).all()):
        raise PipelineError(f"the {split} images of {folder} are sorted by class; shuffle them")
    return Pictures(*data)


def _pixels(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            if picture.size != (idx.SIDE, idx.SIDE):
                width, height = picture.size
                raise PipelineError(f"{path} is {width}x{height}; resize it to {idx.SIDE}x{idx.SIDE}")
            if picture.mode not in MODES:
                raise PipelineError(f"{path} has pixels of kind {picture.mode}; save it as 8-bit grey")
            colours = np.asarray(picture.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PipelineError(f"{path} is no picture that can be read: {error}; remove or replace it") from None
    if (colours != colours[:, :, :1]).any():
        raise PipelineError(f"{path} is coloured; make it grey")
    return colours[:, :, 0]
