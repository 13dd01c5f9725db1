"""Writes files and folders so that a reader never finds a part: the old one, or the complete new one.

Where the system can't exchange two folders in one step, there is for a moment neither; see `folder`.
"""

import csv
import ctypes
import errno
import glob
import gzip
import hashlib
import io
import json
import math
import numbers
import os
import re
import secrets
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, NoReturn

from src.core.errors import PipelineError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_ASIDE = ".old.part"  # ends the name of what makes room for a new folder


def sha256(path: Path) -> str:
    """The file's SHA-256 as 64 lowercase hex digits, in constant memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Opens a binary file that appears as `path` only once it is complete.

    Bytes go to a hidden sibling ending in `.part`, reach the disk, and then take over the name
    in one step. If the block raises, the sibling is removed and `path` stays as it was.

    Args:
        path: The final name; missing parent folders are created.

    Raises:
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _sibling(path)
    try:
        # Not tempfile: its files are 0600, and others could not read them after the rename.
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # A full disk shows up in write(), which does not know the name that the user should see.
        if isinstance(error, OSError) and error.filename is None and error.errno in _NO_ROOM:
            error.filename = str(path)
        raise


@contextmanager
def folder(path: Path) -> Iterator[Path]:
    """Gives an empty temporary folder that takes the place of `path` once it is complete.

    Linux exchanges the two in one step. Elsewhere, and on file systems that can't, an existing `path` is
    moved aside first: a process that is killed right then leaves no `path`, and `restore` brings the old one
    back, here the next time or in `make recover`. If the block raises, the temporary folder is removed and
    `path` stays as it was.

    Args:
        path: The final name; missing parent folders are created.

    Raises:
        OSError: The folder cannot be written or moved.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for aside in path.parent.glob(f".{glob.escape(path.name)}.*{_ASIDE}"):
        if restore(aside) is None:
            remove(aside)
    temporary = _sibling(path)
    temporary.mkdir()
    try:
        yield temporary
        _swap(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def restore(aside: Path) -> Path | None:
    """Moves back what a killed process had moved aside and not yet replaced.

    Args:
        aside: Any path.

    Returns:
        What is there again; None if `aside` is nothing of that kind, or has been replaced.
    """
    name = re.fullmatch(rf"\.(.+)\.[0-9a-f]{{8}}{re.escape(_ASIDE)}", aside.name)
    if name is None or os.path.lexists(path := aside.with_name(name[1])):
        return None
    aside.rename(path)
    return path


def remove(path: Path) -> None:
    """Removes a file, a link or a whole folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` as the whole file, atomically."""
    with atomic(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    r"""Writes `text` as the whole file, in UTF-8 and with `\n` as it stands, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Writes JSON whose bytes depend on nothing but the value: sorted keys, indent of 2.

    Raises:
        PipelineError: A number is NaN or infinite, which JSON has no word for.
    """
    for key, item in _leaves(value):
        if isinstance(item, float) and not math.isfinite(item):
            _refuse(path, key, item)
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_text(path, text + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a table whose floats read back as exactly the same numbers.

    Args:
        path: The file.
        columns: The header, one name per column.
        rows: Taken one at a time, each as long as `columns`.

    Raises:
        PipelineError: A number is NaN or infinite.
        ValueError: A row is not as long as the header.
    """
    with atomic(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(columns)
        for number, row in enumerate(rows, start=1):
            cells = zip(columns, row, strict=True)
            table.writerow([_cell(path, f"{name}, row {number}", item) for name, item in cells])
        text.flush()
        text.detach()  # otherwise the wrapper closes the file before it has been synced


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object that a stage wrote.

    Raises:
        PipelineError: The file is missing, is no JSON, holds NaN or is not an object.
    """
    try:
        value = json.loads(path.read_bytes(), parse_constant=_no_constant)
    except (FileNotFoundError, NotADirectoryError):
        raise PipelineError(f"{path} does not exist; run dvc repro") from None
    except (ValueError, RecursionError) as error:
        raise PipelineError(f"{path} is no valid JSON ({error}); run dvc repro") from error
    if not isinstance(value, dict):
        raise PipelineError(f"{path} holds no JSON object; run dvc repro")
    return value


def read_csv(path: Path) -> list[dict[str, str]]:
    """Reads the rows of a table that `write_csv` wrote, as text.

    Raises:
        PipelineError: The file is missing.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (FileNotFoundError, NotADirectoryError):
        raise PipelineError(f"{path} does not exist; run dvc repro") from None


def read_numbers(path: Path) -> list[dict[str, float]]:
    """Reads the rows of a table that holds nothing but numbers.

    Raises:
        PipelineError: The file is missing or a cell is not a number.
    """
    try:
        return [{name: float(cell) for name, cell in row.items()} for row in read_csv(path)]
    except (TypeError, ValueError) as error:
        raise PipelineError(f"{path} holds something else than numbers ({error}); run dvc repro") from None


def gunzip(stream: IO[bytes], limit: int, what: object) -> bytes:
    """Unpacks a whole gzip stream into memory, up to a limit.

    Args:
        stream: The packed bytes.
        limit: The most bytes to unpack: a few kilobytes can grow to gigabytes.
        what: What to call the stream in an error.

    Raises:
        PipelineError: The stream is damaged, cut short, or unpacks to more.
    """
    try:
        with gzip.GzipFile(fileobj=stream) as file:
            data = file.read(limit + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise PipelineError(f"{what} is damaged or cut short ({error})") from error
    if len(data) > limit:
        raise PipelineError(f"{what} unpacks to more than {limit} bytes")
    return data


def _sibling(path: Path, ending: str = ".part") -> Path:
    # In the same folder, since a rename is atomic only within one file system.
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{ending}")


def _swap(new: Path, path: Path) -> None:
    if not os.path.lexists(path):
        new.rename(path)
        return
    if _exchange(new, path):
        remove(new)  # which is the old one now
        return
    aside = _sibling(path, _ASIDE)
    path.rename(aside)
    try:
        new.rename(path)
    except BaseException:
        aside.rename(path)
        raise
    remove(aside)


def _exchange(one: Path, other: Path) -> bool:
    """Gives two paths each other's names in one step; False where this system or file system can't."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):  # not Linux, or one with another C library
        return False
    here, swap = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of linux/fcntl.h and linux/fs.h
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), swap) == 0)


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{key}[{index}]")
    else:
        yield key, value


def _cell(path: Path, key: str, value: object) -> object:
    # numpy's floats too: they count as Real, and their own repr is "np.float64(0.1)".
    if not isinstance(value, numbers.Real) or isinstance(value, numbers.Integral):
        return value
    number = float(value)
    if not math.isfinite(number):
        _refuse(path, key, number)
    return repr(number)


def _refuse(path: Path, key: str, value: float) -> NoReturn:
    raise PipelineError(
        f"{path}: {key} is {value}, which is not written; training has probably diverged: "
        "change its settings in params.yaml"
    )


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
