"""Reads, writes and checks IDX files, the format in which MNIST is distributed (uint8 only).

A file is a big-endian header (0, 0, type code, number of dimensions, then each dimension as
uint32) followed by the raw values.
"""

import math
import struct
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from src import files
from src.errors import PipelineError

NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
SIDE = 28
CLASSES = 10

_UINT8 = 0x08
_ITEMS = {1: "labels", 3: "images"}
_AGAIN = "run dvc repro to make it again"


class IdxError(PipelineError):
    """A file that is not the IDX file that it should be."""


def folder(root: Path) -> Path:
    """Return where ``torchvision.datasets.MNIST(root)`` expects the four files."""
    return root / "MNIST" / "raw"


def header(shape: tuple[int, ...]) -> bytes:
    """Return the header of a uint8 file.

    Args:
        shape: (n,) for labels or (n, height, width) for images, each in [1, 2**32).

    Raises:
        ValueError: If the shape is another.
    """
    if len(shape) not in _ITEMS or not all(0 < size < 2**32 for size in shape):
        raise ValueError(f"no shape for an IDX file of labels or images: {shape}")
    return struct.pack(f">4B{len(shape)}I", 0, 0, _UINT8, len(shape), *shape)


def read(path: Path, ndim: int) -> npt.NDArray[np.uint8]:
    """Map a file into memory, read-only: its values are read from disk when they are used.

    Args:
        path: An uncompressed IDX file.
        ndim: 1 for labels, 3 for images.

    Returns:
        uint8, shape (n,) or (n, height, width), n at least 1.

    Raises:
        IdxError: If the file is missing, is no such IDX file, holds nothing, or is not exactly
            as long as its header says.
    """
    if not path.is_file():
        raise IdxError(f"{path} does not exist or is no file; {_AGAIN}")
    found = path.stat().st_size
    if found == 0:
        raise IdxError(f"{path} is empty; {_AGAIN}")
    start = 4 + 4 * ndim
    with path.open("rb") as file:
        head = file.read(start)
    magic = bytes((0, 0, _UINT8, ndim))
    if head[:4] != magic:
        raise IdxError(
            f"{path} is no IDX file of {_ITEMS[ndim]}: "
            f"it starts with {head[:4].hex()} instead of {magic.hex()}; {_AGAIN}"
        )
    if len(head) < start:
        raise IdxError(f"{path} ends in its header: {found} bytes of {start}; {_AGAIN}")
    shape = struct.unpack(f">{ndim}I", head[4:])
    if 0 in shape:
        raise IdxError(f"{path} holds no {_ITEMS[ndim]}; {_AGAIN}")
    expected = start + math.prod(shape)
    if found != expected:
        fault = "short" if found < expected else "long"
        raise IdxError(f"{path} is too {fault}: {found} bytes instead of {expected}; {_AGAIN}")
    return np.memmap(path, dtype=np.uint8, mode="r", offset=start, shape=shape)


def read_pair(
    root: Path, split: Literal["train", "test"]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Map the images and labels of one split, as they lie under ``folder(root)``.

    Returns:
        Images, uint8 in [0, 255], shape (n, 28, 28), and labels, uint8 in [0, 9], shape (n,).

    Raises:
        IdxError: If a file is faulty (see `read`) or the two do not belong together.
    """
    images_path, labels_path = (folder(root) / name for name in NAMES[split])
    images, labels = read(images_path, 3), read(labels_path, 1)
    if images.shape[1:] != (SIDE, SIDE):
        height, width = images.shape[1:]
        raise IdxError(f"{images_path} holds images of {height}x{width}, not {SIDE}x{SIDE}")
    if len(labels) != len(images):
        raise IdxError(
            f"{labels_path} holds {len(labels)} labels for the {len(images)} images "
            f"of {images_path}; {_AGAIN}"
        )
    highest = int(labels.max())
    if highest >= CLASSES:
        raise IdxError(f"{labels_path} holds the label {highest}, above {CLASSES - 1}; {_AGAIN}")
    return images, labels


class Writer:
    """Writes a file batch by batch, so that memory does not grow with its length.

    A context manager: the file stands under its name only after the block has ended well and
    all items have arrived.

    Args:
        path: The file; missing parent folders are created.
        shape: What it will hold, (n,) or (n, height, width).

    Raises:
        ValueError: If the shape does not suit `header`.
        IdxError: On leaving the block, if fewer items than ``shape[0]`` have arrived.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        """Check the shape; nothing is written yet."""
        self._path = path
        self._shape = shape
        self._header = header(shape)
        self._count = 0

    def __enter__(self) -> Self:
        """Open the file's temporary sibling and write the header."""
        with ExitStack() as stack:
            self._file = stack.enter_context(files.atomic(self._path))
            # Unwound before the file is: what it raises keeps the file from getting its name.
            stack.push(self._require_all)
            self._file.write(self._header)
            self._stack = stack.pop_all()
        return self

    def append(self, batch: npt.NDArray[Any]) -> None:
        """Add items to the end of the file.

        Args:
            batch: uint8, shape (k,) or (k, height, width), k at least 0.

        Raises:
            ValueError: If dtype or shape do not fit the file.
            IdxError: If there are more items than the file's header says.
        """
        if batch.dtype != np.uint8 or batch.shape[1:] != self._shape[1:] or batch.ndim == 0:
            raise ValueError(f"{batch.dtype} {batch.shape} does not fit uint8 {self._shape}")
        self._count += len(batch)
        if self._count > self._shape[0]:
            raise IdxError(f"{self._path}: {self._count} items came for {self._shape[0]} places")
        self._file.write(np.ascontiguousarray(batch).data)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the file its name, or remove it if the block raised or items are missing."""
        self._stack.__exit__(kind, error, trace)

    def _require_all(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._count != self._shape[0]:
            raise IdxError(f"{self._path}: only {self._count} of {self._shape[0]} items came")
