"""Labelled images as tensors: reading a split, and the one place that turns bytes into [-1, 1] and back."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from src import idx
from src.errors import PipelineError


class LabelledImages(NamedTuple):
    """Images, uint8 (n, 1, 28, 28), and their labels, int64 (n,)."""

    images: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> "LabelledImages":
        """The same images and labels on another device."""
        return LabelledImages(self.images.to(device), self.labels.to(device))


def to_unit(images: Tensor) -> Tensor:
    """Bytes 0..255 as float32 in [-1, 1]: x = byte / 127.5 - 1."""
    return images.float().div_(127.5).sub_(1)


def to_bytes(images: Tensor) -> Tensor:
    """Values in [-1, 1] as uint8: byte = round(127.5 x + 127.5), clamped; the inverse of `to_unit`."""
    return images.mul(127.5).add_(127.5).round_().clamp_(0, 255).byte()


def read(root: Path, split: Literal["train", "test"]) -> LabelledImages:
    """One split of an image set in torchvision's MNIST layout, copied into memory.

    Raises:
        idx.IdxError: A file is missing, damaged, or holds something else.
    """
    images, labels = idx.read_pair(root, split)
    return LabelledImages(
        torch.from_numpy(np.array(images)).unsqueeze(1),
        torch.from_numpy(np.array(labels)).long(),
    )


def read_train(root: Path, validation: int) -> tuple[LabelledImages, LabelledImages]:
    """The training split in two: what anything may train on, and the last `validation` images.

    The second part serves checkpoint choice, tuning and the real-vs-real floor, and nothing trains on it.

    Raises:
        PipelineError: The split has no more than `validation` images.
    """
    everything = read(root, "train")
    cut = len(everything.images) - validation
    if cut < 1:
        raise PipelineError(
            f"params.yaml: validation is {validation}; allowed: "
            f"fewer than the {len(everything.images)} training images of {root}"
        )
    train = LabelledImages(everything.images[:cut], everything.labels[:cut])
    return train, LabelledImages(everything.images[cut:], everything.labels[cut:])


def by_class(data: LabelledImages, classes: int, each: int) -> Tensor:
    """The first `each` images of every class, black where there are fewer.

    Returns:
        uint8 (classes * each, 1, 28, 28), class by class.
    """
    picked = data.images.new_zeros(classes, each, *data.images.shape[1:])
    for value in range(classes):
        members = data.images[data.labels == value][:each]
        picked[value, : len(members)] = members
    return picked.flatten(0, 1)
