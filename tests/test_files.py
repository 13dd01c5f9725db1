"""Files are complete or absent, and equal values give equal bytes."""

import errno
import gzip
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from src.core import files
from src.core.errors import PipelineError
from stages import recover


class StopError(Exception):
    pass


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_sha256_of_a_known_text(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256(tmp_path / "a") == known


def test_atomic_creates_parents_and_leaves_only_the_file(tmp_path):
    with files.atomic(tmp_path / "a" / "b" / "c.bin") as file:
        file.write(b"123")
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b"123"
    assert names(tmp_path / "a" / "b") == ["c.bin"]


def test_until_the_end_a_reader_finds_the_old_file(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with files.atomic(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        (hidden,) = set(names(tmp_path)) - {"x"}
        # These two are what .gitignore and .dvcignore know the leftovers of a kill by.
        assert hidden.startswith(".x.")
        assert hidden.endswith(".part")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [StopError, KeyboardInterrupt])
def test_after_a_failure_the_old_file_stands_alone(tmp_path, error):
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def fail():
        with files.atomic(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


def test_a_failed_rename_leaves_no_temporary(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(IsADirectoryError):
        files.write_bytes(tmp_path / "x", b"1")
    assert names(tmp_path) == ["x"]


def test_a_full_disk_names_the_file(tmp_path):
    def fill():
        with files.atomic(tmp_path / "x"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="x") as caught:
        fill()
    assert caught.value.filename == str(tmp_path / "x")


def test_the_bytes_reach_the_disk_before_the_name_does(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (calls.append(name), real(*args)))
    files.write_bytes(tmp_path / "x", b"1")
    assert calls == ["fsync", "replace"]


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o022)
    try:
        files.write_bytes(tmp_path / "x", b"")
    finally:
        os.umask(old)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644


def test_a_link_into_dvcs_cache_is_replaced_and_not_written_through(tmp_path):
    cached = tmp_path / "cached"
    cached.write_bytes(b"cached")
    (tmp_path / "x").symlink_to(cached)
    files.write_text(tmp_path / "x", "é\n")
    assert cached.read_bytes() == b"cached"
    assert (tmp_path / "x").read_bytes() == b"\xc3\xa9\n"


def test_json_bytes(tmp_path):
    files.write_json(tmp_path / "m.json", {"b": 0.1, "a": {"d": [1, True, None], "c": "é"}})
    expected = (
        '{\n  "a": {\n    "c": "é",\n    "d": [\n      1,\n      true,\n      null\n    ]\n  },\n'
        '  "b": 0.1\n}\n'
    )
    assert (tmp_path / "m.json").read_text(encoding="utf-8") == expected


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({"fid": float("nan")}, "fid is nan"),
        ({"a": {"b": [0.0, float("inf")]}}, r"a\.b\[1\] is inf"),
        ({"a": ({"b": -np.inf},)}, r"a\[0\]\.b is -inf"),
        ({"fid": np.float64("nan")}, "fid is nan"),
    ],
)
def test_json_refuses_what_is_no_number(tmp_path, value, key):
    path = tmp_path / "m.json"
    path.write_text("old")
    with pytest.raises(PipelineError, match=rf"m\.json: {key}"):
        files.write_json(path, value)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["m.json"]


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])),
        # No subnormal numbers: machine.set_up, which conftest calls as stages do, rounds them to 0.
        st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
    )
)
def test_json_reads_back_exactly(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "round.json"
    files.write_json(path, value)
    assert files.read_json(path) == value


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "no valid JSON"),
        (b'{"a": 1', "no valid JSON"),
        (b'{"a": NaN}', "NaN is not a number"),
        (b"\xff\xfe\xfd", "no valid JSON"),
        (b"[" * 100_000, "no valid JSON"),
        (b"[1]", "no JSON object"),
    ],
)
def test_broken_json_names_the_file_and_the_remedy(tmp_path, content, fault):
    (tmp_path / "m.json").write_bytes(content)
    with pytest.raises(PipelineError, match=rf"m\.json .*{fault}.*; run dvc repro"):
        files.read_json(tmp_path / "m.json")


def test_missing_json_names_the_file_and_the_remedy(tmp_path):
    with pytest.raises(PipelineError, match=r"m\.json does not exist; run dvc repro"):
        files.read_json(tmp_path / "m.json")


def test_csv_bytes(tmp_path):
    rows = ([i, value, text] for i, value, text in [(1, 0.1, "a,b"), (2, 1e-7, 'say "x"')])
    files.write_csv(tmp_path / "c.csv", ["step", "loss", "note"], rows)
    expected = b'step,loss,note\n1,0.1,"a,b"\n2,1e-07,"say ""x"""\n'
    assert (tmp_path / "c.csv").read_bytes() == expected


def test_csv_writes_numpys_numbers_as_plain_and_exact_ones(tmp_path):
    row = [np.float64(1 / 3), np.float32(0.1), np.int64(3), True]
    files.write_csv(tmp_path / "c.csv", list("abcd"), [row])
    expected = b"a,b,c,d\n0.3333333333333333,0.10000000149011612,3,True\n"
    assert (tmp_path / "c.csv").read_bytes() == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("-inf")])
def test_csv_refuses_what_is_no_number(tmp_path, value):
    with pytest.raises(PipelineError, match=r"c\.csv: loss, row 2 is (nan|inf|-inf)"):
        files.write_csv(tmp_path / "c.csv", ["step", "loss"], [[1, 0.5], [2, value]])
    assert names(tmp_path) == []


@pytest.mark.parametrize("row", [[1], [1, 2, 3]])
def test_csv_refuses_a_row_of_another_length(tmp_path, row):
    with pytest.raises(ValueError, match="zip"):
        files.write_csv(tmp_path / "c.csv", ["a", "b"], [row])
    assert names(tmp_path) == []


def test_a_table_reads_back_as_text_or_as_exactly_the_same_numbers(tmp_path):
    rows = [[1, 1 / 3], [2, -1e-7]]
    files.write_csv(tmp_path / "c.csv", ["step", "loss"], rows)
    assert files.read_csv(tmp_path / "c.csv")[0] == {"step": "1", "loss": "0.3333333333333333"}
    assert files.read_numbers(tmp_path / "c.csv") == [
        {"step": 1.0, "loss": 1 / 3},
        {"step": 2.0, "loss": -1e-7},
    ]


@pytest.mark.parametrize("content", ["a,b\n1,x\n", "a,b\n1\n", "a,b\n1,2,3\n", "a,b\n1,\n"])
def test_a_table_of_something_else_than_numbers_is_refused(tmp_path, content):
    (tmp_path / "c.csv").write_text(content)
    with pytest.raises(PipelineError, match=r"c\.csv holds something else than numbers .*; run dvc repro"):
        files.read_numbers(tmp_path / "c.csv")


@pytest.mark.parametrize("read", [files.read_csv, files.read_numbers])
def test_a_missing_table_names_the_file_and_the_remedy(tmp_path, read):
    with pytest.raises(PipelineError, match=r"c\.csv does not exist; run dvc repro"):
        read(tmp_path / "c.csv")


@pytest.mark.parametrize("old", ["nothing", "folder", "file", "link"])
def test_folder_takes_the_place_of_what_was_there(tmp_path, old):
    path, elsewhere = tmp_path / "in" / "x", tmp_path / "elsewhere"
    elsewhere.mkdir()
    path.parent.mkdir()
    if old == "folder":
        (path / "deep").mkdir(parents=True)
    elif old == "file":
        path.write_text("old")
    elif old == "link":
        path.symlink_to(elsewhere)
    with files.folder(path) as temporary:
        (temporary / "new").write_text("1")
        assert os.path.lexists(path) is (old != "nothing")
    assert names(path) == ["new"]
    assert names(path.parent) == ["x"]
    assert not path.is_symlink()
    assert names(elsewhere) == []


def test_a_failed_folder_leaves_the_old_one(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "old").write_text("1")

    def fail():
        with files.folder(tmp_path / "x") as temporary:
            (temporary / "new").write_text("1")
            raise StopError

    with pytest.raises(StopError):
        fail()
    assert names(tmp_path) == ["x"]
    assert names(tmp_path / "x") == ["old"]


def test_a_folder_that_cannot_be_swapped_in_leaves_the_old_one(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "old").write_text("1")

    def lose():
        with files.folder(tmp_path / "x") as temporary:
            temporary.rmdir()

    with pytest.raises(FileNotFoundError):
        lose()
    assert names(tmp_path) == ["x"]
    assert names(tmp_path / "x") == ["old"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no one step for it")
@pytest.mark.parametrize("relative", [False, True])
def test_a_folder_changes_places_with_the_old_one_in_one_step(tmp_path, monkeypatch, relative):
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path)

    def refuse(*_):
        raise AssertionError("two steps: between them there is no folder")

    for owner, name in ((Path, "rename"), (Path, "replace"), (os, "rename"), (os, "replace")):
        monkeypatch.setattr(owner, name, refuse)
    with files.folder(Path("x") if relative else tmp_path / "x") as temporary:
        (temporary / "new").write_text("1")
    assert names(tmp_path) == ["x"]
    assert names(tmp_path / "x") == ["new"]


@pytest.fixture
def two_steps(monkeypatch):
    monkeypatch.setattr(files, "_exchange", lambda *_: False)


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_where_the_system_has_no_exchange_a_folder_is_replaced_too(tmp_path, monkeypatch, error):
    def missing(_):
        raise error

    monkeypatch.setattr(files.ctypes, "CDLL", missing)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "old").write_text("0")
    with files.folder(tmp_path / "x") as temporary:
        (temporary / "new").write_text("1")
    assert names(tmp_path) == ["x"]
    assert names(tmp_path / "x") == ["new"]


@pytest.mark.parametrize("old", ["folder", "file", "link"])
def test_where_it_takes_two_steps_the_old_one_is_gone_in_the_end(two_steps, tmp_path, old):
    test_folder_takes_the_place_of_what_was_there(tmp_path, old)


def test_where_it_takes_two_steps_a_failure_leaves_the_old_one(two_steps, tmp_path):
    test_a_folder_that_cannot_be_swapped_in_leaves_the_old_one(tmp_path)


KILLED_BETWEEN = """
import os, signal, sys
from pathlib import Path
from src.core import files
files._exchange = lambda *_: False
rename = Path.rename
def first(self, target):
    rename(self, target)
    os.kill(os.getpid(), signal.SIGKILL)
Path.rename = first
with files.folder(Path(sys.argv[1])) as temporary:
    (temporary / "new").write_text("1")
"""


@pytest.fixture
def killed_between(tmp_path):
    """A folder whose old one has made room, for a new one that never came."""
    path = tmp_path / "data" / "x"
    path.mkdir(parents=True)
    (path / "old").write_text("1")
    ended = subprocess.run([sys.executable, "-c", KILLED_BETWEEN, str(path)], cwd=ROOT)
    assert ended.returncode == -signal.SIGKILL
    assert not path.exists()
    assert len(names(path.parent)) == 2
    assert all(name.startswith(".x.") and name.endswith(".part") for name in names(path.parent))
    return path


def test_killed_between_the_two_steps_the_old_folder_is_still_there_the_next_time(killed_between):
    with pytest.raises(StopError), files.folder(killed_between):
        raise StopError
    assert names(killed_between) == ["old"]
    assert names(killed_between.parent)[-1] == "x"


def test_killed_between_the_two_steps_recover_brings_the_old_folder_back(killed_between, monkeypatch, capsys):
    monkeypatch.chdir(killed_between.parent.parent)
    subprocess.run(["git", "init", "-q"], check=True)
    os.mkdir(".dvc")
    recover.main([])
    assert "data/x is back" in capsys.readouterr().out
    assert names(killed_between.parent) == ["x"]
    assert names(killed_between) == ["old"]


def test_what_has_been_replaced_is_not_brought_back(tmp_path):
    for name in ("x", ".x.0123abcd.old.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("1")
    (tmp_path / ".y.0123abcd.old.part").write_text("another's")
    with files.folder(tmp_path / "x") as temporary:
        assert names(tmp_path / "x") == ["x"]
        (temporary / "new").write_text("1")
    assert names(tmp_path) == [".y.0123abcd.old.part", "x"]
    assert names(tmp_path / "x") == ["new"]


def test_gunzip_up_to_the_limit():
    packed = gzip.compress(b"12345")
    assert files.gunzip(io.BytesIO(packed), 5, "x") == b"12345"
    with pytest.raises(PipelineError, match="x unpacks to more than 4 bytes"):
        files.gunzip(io.BytesIO(packed), 4, "x")


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:-1],
        lambda packed: packed[:12],
        lambda packed: packed[:-8] + bytes(4) + packed[-4:],
        lambda packed: packed[:10] + b"\xff" * 8 + packed[18:],
        lambda packed: b"<html>",
        lambda packed: packed + b"<html>",
    ],
    ids=["cut", "cut early", "checksum", "stream", "no gzip", "trailing"],
)
def test_gunzip_refuses_damage(damage):
    packed = gzip.compress(json.dumps(list(range(100))).encode())
    with pytest.raises(PipelineError, match="x is damaged or cut short"):
        files.gunzip(io.BytesIO(damage(packed)), 10_000, "x")
