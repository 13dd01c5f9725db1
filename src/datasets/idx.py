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

from src.core import files
from src.core.errors import PipelineError
from src.datasets.spec import ImageSpec

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
_STEMS = {"train": "train", "test": "t10k"}
_UINT8 = 0x08
_ITEMS = {1: "labels", 3: "grey images", 4: "colour images"}
AGAIN = "run dvc repro to make it again"
MAX_UNPACKED = 2**32  # bytes


class IdxError(PipelineError):
    """A file that is not the IDX file that it should be."""


def folder(root: Path) -> Path:
    """Where `torchvision.datasets.MNIST(root)` expects the four files."""
    return root / "MNIST" / "raw"


def names(split: Split, spec: ImageSpec) -> tuple[str, str]:
    """The names of a split's files of images and of labels; MNIST's own for grey images."""
    stem = _STEMS[split]
    return f"{stem}-images-idx{1 + len(item(spec))}-ubyte", f"{stem}-labels-idx1-ubyte"


def hashes(root: Path, spec: ImageSpec) -> dict[str, str]:
    """The SHA-256 of each of a set's four files, by its name."""
    found = [folder(root) / name for split in SPLITS for name in names(split, spec)]
    return {path.name: files.sha256(path) for path in found}


def item(spec: ImageSpec) -> tuple[int, ...]:
    """The shape of one image in a file: (height, width), or (height, width, 3)."""
    return (spec.height, spec.width) if spec.channels == 1 else (spec.height, spec.width, spec.channels)


def header(shape: tuple[int, ...]) -> bytes:
    """The header of a uint8 file.

    Args:
        shape: (n,) for labels, (n, height, width) for grey or (n, height, width, 3) for colour images, each
            number in [1, 2**32).

    Raises:
        ValueError: The shape is another.
    """
    if len(shape) not in _ITEMS or not all(0 < size < 2**32 for size in shape):
        raise ValueError(f"no shape for an IDX file of labels or images: {shape}")
    return struct.pack(f">4B{len(shape)}I", 0, 0, _UINT8, len(shape), *shape)


def read(path: Path, ndim: int, advice: str = AGAIN) -> npt.NDArray[np.uint8]:
    """Maps a file into memory, read-only: its values are read from disk when they are used.

    Args:
        path: An IDX file; one whose name ends in .gz is unpacked into memory instead.
        ndim: 1 for labels, 3 for grey and 4 for colour images.
        advice: What to do about a faulty file.

    Returns:
        uint8, with that many dimensions, the first at least 1.

    Raises:
        IdxError: The file is missing, is no such IDX file, holds nothing, or is not exactly
            as long as its header says.
    """
    if not path.is_file():
        raise IdxError(f"{path} does not exist or is not a file; {advice}")
    start = 4 + 4 * ndim
    if path.suffix == ".gz":
        data = _unpacked(path, advice)
        shape = _shape(path, data[:start], len(data), ndim, advice)
        return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
    with path.open("rb") as file:
        head = file.read(start)
    shape = _shape(path, head, path.stat().st_size, ndim, advice)
    return np.memmap(path, dtype=np.uint8, mode="r", offset=start, shape=shape)


def _unpacked(path: Path, advice: str) -> bytes:
    try:
        with path.open("rb") as file:
            return files.gunzip(file, MAX_UNPACKED, path)
    except PipelineError as error:
        raise IdxError(f"{error}; {advice}") from error


def _shape(path: Path, head: bytes, found: int, ndim: int, advice: str) -> tuple[int, ...]:
    """The dimensions that a file's first bytes tell, if all its bytes, `found` in number, fit them."""
    if found == 0:
        raise IdxError(f"{path} is empty; {advice}")
    start = 4 + 4 * ndim
    magic = bytes((0, 0, _UINT8, ndim))
    if head[:4] != magic:
        raise IdxError(
            f"{path} is not an IDX file of {_ITEMS[ndim]}: "
            f"it starts with {head[:4].hex()} instead of {magic.hex()}; {advice}"
        )
    if len(head) < start:
        raise IdxError(f"{path} ends in its header: {found} bytes of {start}; {advice}")
    shape = struct.unpack(f">{ndim}I", head[4:])
    if 0 in shape:
        raise IdxError(f"{path} holds no {_ITEMS[ndim]}; {advice}")
    expected = start + math.prod(shape)
    if found != expected:
        fault = "short" if found < expected else "long"
        raise IdxError(f"{path} is too {fault}: {found} bytes instead of {expected}; {advice}")
    return shape


def read_pair(
    root: Path, split: Split, spec: ImageSpec
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The images and labels of one split, as they lie under `folder(root)`; see `read_files`."""
    images, labels = (folder(root) / name for name in names(split, spec))
    return read_files(images, labels, spec)


def read_files(
    images_path: Path, labels_path: Path, spec: ImageSpec, advice: str = AGAIN
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """A file of images and that of their labels; arguments are those of `read`.

    Returns:
        Images, uint8 in [0, 255], shape (n, height, width) or (n, height, width, 3), and labels, uint8 in
        [0, classes), shape (n,).

    Raises:
        IdxError: A file is faulty (see `read`), the two do not belong together, or they are not what
            `spec` says.
    """
    images, labels = read(images_path, 1 + len(item(spec)), advice), read(labels_path, 1, advice)
    if images.shape[1:] != item(spec):
        found = f"{images.shape[2]}x{images.shape[1]}"
        raise IdxError(f"{images_path} holds images of {found}, not {spec.size}")
    if len(labels) != len(images):
        raise IdxError(
            f"{labels_path} holds {len(labels)} labels for the {len(images)} images "
            f"of {images_path}; {advice}"
        )
    highest = int(labels.max())
    if highest >= spec.classes:
        raise IdxError(f"{labels_path} holds the label {highest}, above {spec.classes - 1}; {advice}")
    return images, labels


class Writer:
    """Writes a file batch by batch, so that memory does not grow with its length.

    A context manager: the file stands under its name only after the block has ended well and
    all items have arrived.

    Args:
        path: The file; missing parent folders are created.
        shape: What it will hold, as `header` takes it.

    Raises:
        ValueError: The shape does not suit `header`.
        IdxError: On leaving the block, if fewer items than `shape[0]` have arrived.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        """Checks the shape; nothing is written yet."""
        self._path = path
        self._shape = shape
        self._header = header(shape)
        self._count = 0

    def __enter__(self) -> Self:
        """Opens the file's temporary sibling and writes the header."""
        with ExitStack() as stack:
            self._file = stack.enter_context(files.atomic(self._path))
            # Unwound before the file is: what it raises keeps the file from getting its name.
            stack.push(self._require_all)
            self._file.write(self._header)
            self._stack = stack.pop_all()
        return self

    def append(self, batch: npt.NDArray[Any]) -> None:
        """Adds items to the end of the file.

        Args:
            batch: uint8, of the file's shape but for the first number, which is at least 0.

        Raises:
            ValueError: Dtype or shape do not fit the file.
            IdxError: There are more items than the file's header says.
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
        """Gives the file its name, or removes it if the block raised or items are missing."""
        self._stack.__exit__(kind, error, trace)

    def _require_all(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._count != self._shape[0]:
            raise IdxError(f"{self._path}: only {self._count} of {self._shape[0]} items came")
