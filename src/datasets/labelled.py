"""Labelled images as tensors: reading and writing a split, and the one place between bytes and [-1, 1]."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from src.core.errors import PipelineError
from src.datasets import idx
from src.datasets.idx import Split
from src.datasets.spec import FILE as SPEC
from src.datasets.spec import ImageSpec, read_spec


@dataclass(frozen=True)
class Labelled:
    """Images, the pipeline's own or a user's, with their labels where these are known.

    Attributes:
        pixels: uint8 (n, channels, height, width).
        labels: int64 (n,), or None.
    """

    pixels: Tensor
    labels: Tensor | None

    def __len__(self) -> int:
        """The number of images."""
        return len(self.pixels)

    @property
    def given(self) -> Tensor:
        """The labels, of images that must have some.

        Raises:
            PipelineError: They have none.
        """
        if self.labels is None:
            raise PipelineError("these images have no labels, and what is to be done with them needs some")
        return self.labels

    @property
    def sha256(self) -> str:
        """The SHA-256 of all pixels in their order: other images have another one."""
        return hashlib.sha256(self.pixels.cpu().numpy().tobytes()).hexdigest()

    def to(self, device: torch.device) -> "Labelled":
        """The same images and labels on another device."""
        return Labelled(self.pixels.to(device), None if self.labels is None else self.labels.to(device))

    def require_mixed(self, name: str) -> None:
        """Refuses images that are sorted by class, in whatever order of classes: their parts are not alike.

        Args:
            name: What to call them.

        Raises:
            PipelineError: A class stands in one piece, or in far fewer pieces than chance would make of it.
        """
        shares = self.given.bincount().double() / len(self)
        changes = int((self.given.diff() != 0).sum())
        by_chance = (1 - shares.square().sum().item()) * (len(self) - 1)
        if changes and (changes < int((shares > 0).sum()) or changes < by_chance / 4):
            raise PipelineError(f"{name} are sorted by class; shuffle them")

    def part(self, start: int, stop: int) -> "Labelled":
        """The images from `start` up to `stop`."""
        return self.at(slice(start, stop))

    def chosen(self, count: int, rng: torch.Generator) -> "Labelled":
        """`count` of the images at random, in their order: the first need not be like the rest."""
        return self.at(torch.randperm(len(self), generator=rng)[:count].sort().values)

    def of_classes(self, classes: Tensor, rng: torch.Generator) -> "Labelled":
        """One image at random, perhaps the same again, for each class of `classes`, int64 (m,).

        Where the images lie on another device, `classes` and the generator are on the CPU all the same.
        """
        labels = self.given.cpu()
        counts = labels.bincount(minlength=int(classes.max()) + 1)
        firsts = counts.cumsum(0) - counts
        places = firsts[classes] + (torch.rand(len(classes), generator=rng).double() * counts[classes]).long()
        return self.at(labels.argsort(stable=True)[places].to(self.pixels.device))

    def at(self, which: slice | Tensor) -> "Labelled":
        """The images of these indices, int64 (m,), or of a range."""
        return Labelled(self.pixels[which], None if self.labels is None else self.labels[which])

    def joined(self, others: "Labelled") -> "Labelled":
        """These labelled images and others, one after the other."""
        return Labelled(torch.cat([self.pixels, others.pixels]), torch.cat([self.given, others.given]))

    def or_labelled(self, classes: Tensor) -> "Labelled":
        """The images with their labels, or with `classes`, int64 (n,), where those are not known."""
        return Labelled(self.pixels, classes if self.labels is None else self.labels)


def usable_source(source: Labelled | None, spec: ImageSpec) -> Labelled:
    """Labelled images that are to stand for others, if they can.

    Args:
        source: Labelled images, or None where the caller has none.
        spec: What these others look like.

    Raises:
        PipelineError: There are none, they are of another shape, or not of exactly these classes.
    """
    if source is None:
        raise PipelineError("labelled images to start from are missing; name a folder of some with --source")
    if source.pixels.shape[1:] != spec.shape:
        channels, height, width = source.pixels.shape[1:]
        found = f"{width}x{height} with {channels} channels"
        raise PipelineError(f"the source images are {found}; allowed: {spec}, as the images to be like")
    counts = source.given.bincount(minlength=spec.classes)
    if len(counts) > spec.classes:
        raise PipelineError(f"a source image has label {len(counts) - 1}; allowed: below {spec.classes}")
    if missing := (counts == 0).nonzero().flatten().tolist():
        told = ", ".join(map(str, missing))
        raise PipelineError(f"the source images have none of class {told}; allowed: images of every class")
    return source


def to_unit(pixels: Tensor) -> Tensor:
    """Bytes 0..255 as float32 in [-1, 1]: x = byte / 127.5 - 1."""
    return pixels.float().div_(127.5).sub_(1)


def to_bytes(images: Tensor) -> Tensor:
    """Values in [-1, 1] as uint8: byte = round(127.5 x + 127.5), clamped; the inverse of `to_unit`."""
    return images.mul(127.5).add_(127.5).round_().clamp_(0, 255).byte()


def read(root: Path, split: Split, spec: ImageSpec) -> Labelled:
    """One split of an image set in the pipeline's layout, copied into memory.

    Raises:
        idx.IdxError: A file is missing, damaged, or holds something else than `spec` says.
    """
    return _copied(*idx.read_pair(root, split, spec), spec)


def read_source(root: Path | None) -> Labelled | None:
    """The training split of a labelled set that is to stand for another, whatever its images look like.

    Args:
        root: Its folder; None, or one that holds no set: there are no such images.

    Raises:
        PipelineError: A file is missing or damaged.
    """
    if root is None or not (root / SPEC).exists():
        return None
    return read(root, "train", read_spec(root))


def read_files(images: Path, labels: Path, spec: ImageSpec, advice: str) -> Labelled:
    """A file of images and that of their labels, wherever they lie; see `idx.read_files`."""
    return _copied(*idx.read_files(images, labels, spec, advice), spec)


def read_pixels(root: Path, split: Split, spec: ImageSpec) -> Tensor:
    """The images of one split, uint8 (n, channels, height, width); the file of their labels is not opened.

    Raises:
        idx.IdxError: The file is missing, damaged, or holds other images than `spec` says.
    """
    path = idx.folder(root) / idx.names(split, spec)[0]
    images = idx.read(path, 1 + len(idx.item(spec)))
    if images.shape[1:] != idx.item(spec):
        raise idx.IdxError(f"{path} holds images of {images.shape[2]}x{images.shape[1]}, not {spec.size}")
    return _pixels(images, spec)


def _copied(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], spec: ImageSpec) -> Labelled:
    return Labelled(_pixels(images, spec), torch.from_numpy(np.array(labels)).long())


def _pixels(images: npt.NDArray[np.uint8], spec: ImageSpec) -> Tensor:
    pixels = torch.from_numpy(np.array(images))
    return pixels.unsqueeze(1) if spec.channels == 1 else pixels.permute(0, 3, 1, 2).contiguous()


def read_train(root: Path, spec: ImageSpec, validation: int) -> tuple[Labelled, Labelled]:
    """The training split in two: what anything may train on, and the last `validation` images.

    The second part serves checkpoint choice, tuning and the real-vs-real floor, and nothing trains on it.

    Raises:
        PipelineError: The split has no more than `validation` images, or is sorted by class.
    """
    everything = read(root, "train", spec)
    everything.require_mixed(f"the train images of {root}")
    cut = len(everything) - validation
    if cut < 1:
        raise PipelineError(
            f"params.yaml: validation is {validation}; allowed: "
            f"fewer than the {len(everything)} training images of {root}"
        )
    return everything.part(0, cut), everything.part(cut, len(everything))


@contextmanager
def writing(
    root: Path, split: Split, count: int, spec: ImageSpec
) -> Iterator[Callable[[Tensor, Tensor], None]]:
    """Gives a function that adds images and labels to a split of a set on disk, batch by batch.

    Both files get their names only after the block has ended well and all `count` images have arrived.

    Args:
        root: The set's folder.
        split: Which split.
        count: How many images there will be.
        spec: What they look like.
    """
    names = idx.names(split, spec)
    with (
        idx.Writer(idx.folder(root) / names[0], (count, *idx.item(spec))) as image_file,
        idx.Writer(idx.folder(root) / names[1], (count,)) as label_file,
    ):

        def append(pixels: Tensor, labels: Tensor) -> None:
            """Adds images, uint8 (n, channels, height, width), and labels, int64 (n,), on the CPU."""
            laid = pixels.squeeze(1) if spec.channels == 1 else pixels.permute(0, 2, 3, 1)
            image_file.append(laid.numpy())
            label_file.append(labels.to(torch.uint8).numpy())

        yield append
