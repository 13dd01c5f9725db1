"""The IDX format, byte by byte, and every way in which a file can be wrong."""

import gzip
import re

import numpy as np
import pytest
from conftest import GREY

from src.core.errors import PipelineError
from src.datasets import idx
from src.datasets.spec import ImageSpec

# Two images of 1 x 3 pixels, written out by hand.
IMAGES = bytes.fromhex("00000803 00000002 00000001 00000003 00 01 02 fd fe ff")
# One colour image of 2 x 1 pixels, each red, green, blue.
COLOUR = bytes.fromhex("00000804 00000001 00000002 00000001 00000003 01 02 03 04 05 06")
LABELS = bytes.fromhex("00000801 00000003 00 05 09")


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def write_pair(root, split, images, labels, spec=GREY):
    for name, array in zip(idx.names(split, spec), (images, labels), strict=True):
        with idx.Writer(idx.folder(root) / name, array.shape) as writer:
            writer.append(array)


def test_read_images(tmp_path):
    images = idx.read(write(tmp_path / "i", IMAGES), 3)
    assert images.dtype == np.uint8
    assert images.tolist() == [[[0, 1, 2]], [[253, 254, 255]]]


def test_read_colour_images(tmp_path):
    images = idx.read(write(tmp_path / "i", COLOUR), 4)
    assert images.tolist() == [[[[1, 2, 3]], [[4, 5, 6]]]]


def test_names_are_mnists_own_for_grey_and_tell_of_four_dimensions_for_colour():
    assert idx.names("train", GREY) == ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    assert idx.names("test", GREY) == ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    colour = ImageSpec(channels=3, height=32, width=24, classes=5)
    assert idx.names("test", colour) == ("t10k-images-idx4-ubyte", "t10k-labels-idx1-ubyte")
    assert (idx.item(GREY), idx.item(colour)) == ((28, 28), (32, 24, 3))


def test_hashes_are_of_the_four_files(tmp_path):
    for split in ("train", "test"):
        for name in idx.names(split, GREY):
            write(tmp_path / "MNIST" / "raw" / name, b"abc" if "labels" in name else b"")
    empty, abc = (  # as sha256sum gives them
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    )
    assert idx.hashes(tmp_path, GREY) == {
        "train-images-idx3-ubyte": empty,
        "train-labels-idx1-ubyte": abc,
        "t10k-images-idx3-ubyte": empty,
        "t10k-labels-idx1-ubyte": abc,
    }


def test_read_labels(tmp_path):
    assert idx.read(write(tmp_path / "l", LABELS), 1).tolist() == [0, 5, 9]


def test_read_maps_the_file_and_refuses_writes(tmp_path):
    images = idx.read(write(tmp_path / "i", IMAGES), 3)
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 1


@pytest.mark.parametrize(
    ("data", "ndim", "fault"),
    [
        (b"", 3, "is empty"),
        (IMAGES[:-1], 3, "is too short: 21 bytes instead of 22"),
        (IMAGES[:16], 3, "is too short: 16 bytes instead of 22"),
        (IMAGES[:15], 3, "ends in its header: 15 bytes of 16"),
        (IMAGES[:4], 3, "ends in its header: 4 bytes of 16"),
        (IMAGES + b"\0", 3, "is too long: 23 bytes instead of 22"),
        (LABELS, 3, "is not an IDX file of grey images: it starts with 00000801 instead of 00000803"),
        (IMAGES, 1, "is not an IDX file of labels: it starts with 00000803 instead of 00000801"),
        (IMAGES, 4, "is not an IDX file of colour images: it starts with 00000803 instead of 00000804"),
        (COLOUR[:-1], 4, "is too short: 25 bytes instead of 26"),
        (b"\0\0\x0d\x03" + IMAGES[4:], 3, "it starts with 00000d03"),
        (b"\x1f\x8b\x08\0", 1, "it starts with 1f8b0800"),
        (b"\0", 1, "it starts with 00 instead"),
        (bytes.fromhex("00000803 00000000 0000001c 0000001c"), 3, "holds no grey images"),
        (bytes.fromhex("00000803 00000005 0000001c 00000000"), 3, "holds no grey images"),
        (bytes.fromhex("00000801 00000000"), 1, "holds no labels"),
        # A header that claims 2**96 bytes must not wrap around or be allocated.
        (b"\0\0\x08\x03" + b"\xff" * 12, 3, f"instead of {16 + (2**32 - 1) ** 3};"),
    ],
)
def test_read_names_the_file_and_the_fault(tmp_path, data, ndim, fault):
    with pytest.raises(idx.IdxError, match=rf"some-name.*{re.escape(fault)}"):
        idx.read(write(tmp_path / "some-name", data), ndim)


def test_read_of_nothing(tmp_path):
    with pytest.raises(idx.IdxError, match=r"some-name does not exist.*run dvc repro"):
        idx.read(tmp_path / "some-name", 3)
    with pytest.raises(idx.IdxError, match="is not a file"):
        idx.read(tmp_path, 3)


def test_a_packed_file_is_read_and_its_faults_are_named_with_the_advice_given(tmp_path):
    path = write(tmp_path / "i.gz", gzip.compress(IMAGES))
    images = idx.read(path, 3)
    assert images.tolist() == [[[0, 1, 2]], [[253, 254, 255]]]
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 1
    write(path, gzip.compress(IMAGES)[:-9])
    with pytest.raises(idx.IdxError, match=r"i\.gz is damaged or cut short .*; try another"):
        idx.read(path, 3, "try another")
    write(path, gzip.compress(IMAGES + b"0"))
    with pytest.raises(idx.IdxError, match=r"i\.gz is too long: 23 bytes instead of 22; try another"):
        idx.read(path, 3, "try another")
    write(path, gzip.compress(b""))
    with pytest.raises(idx.IdxError, match=r"i\.gz is empty; run dvc repro"):
        idx.read(path, 3)


def test_a_fault_is_one_that_stages_show_as_a_line():
    assert issubclass(idx.IdxError, PipelineError)


def test_writer_bytes(tmp_path):
    with idx.Writer(tmp_path / "new" / "i", (2, 1, 3)) as writer:
        writer.append(np.array([[[0, 1, 2]]], dtype=np.uint8))
        writer.append(np.zeros((0, 1, 3), dtype=np.uint8))
        writer.append(np.array([[[253, 254, 255]]], dtype=np.uint8))
    assert (tmp_path / "new" / "i").read_bytes() == IMAGES
    with idx.Writer(tmp_path / "c", (1, 2, 1, 3)) as writer:
        writer.append(np.arange(1, 7, dtype=np.uint8).reshape(1, 2, 1, 3))
    assert (tmp_path / "c").read_bytes() == COLOUR
    with idx.Writer(tmp_path / "l", (3,)) as writer:
        writer.append(np.array([0, 5, 9], dtype=np.uint8))
    assert (tmp_path / "l").read_bytes() == LABELS


def test_writer_takes_a_view_in_its_logical_order(tmp_path):
    images = np.frombuffer(IMAGES[16:], dtype=np.uint8).reshape(2, 1, 3)
    with idx.Writer(tmp_path / "i", (2, 1, 3)) as writer:
        writer.append(np.asfortranarray(images[::-1])[::-1])
    assert (tmp_path / "i").read_bytes() == IMAGES


def fail(path, *batches, error=None):
    with idx.Writer(path, (3,)) as writer:
        for batch in batches:
            writer.append(np.array(batch, dtype=np.uint8))
        if error:
            raise error


@pytest.mark.parametrize(
    ("batches", "error", "fault"),
    [
        ([], None, "only 0 of 3 items came"),
        ([[1, 2]], None, "only 2 of 3 items came"),
        ([[1, 2], [3, 4]], None, "4 items came for 3 places"),
        ([[1, 2, 3]], RuntimeError("stop"), "stop"),
        ([[1]], KeyboardInterrupt("stop"), "stop"),
    ],
)
def test_an_incomplete_file_never_gets_the_name(tmp_path, batches, error, fault):
    old = write(tmp_path / "l", b"old")
    with pytest.raises(type(error) if error else idx.IdxError, match=fault):
        fail(old, *batches, error=error)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, 28, 28), dtype=np.float32),
        np.zeros((1, 28, 28), dtype=bool),
        np.zeros((1, 28, 27), dtype=np.uint8),
        np.zeros((28, 28), dtype=np.uint8),
        np.uint8(3),
    ],
)
def test_writer_refuses_a_batch_that_does_not_fit(tmp_path, batch):
    def add():
        with idx.Writer(tmp_path / "i", (1, 28, 28)) as writer:
            writer.append(batch)

    with pytest.raises(ValueError, match="does not fit"):
        add()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(), (0,), (3, 28), (0, 28, 28), (1, 1, 1, 1, 1), (-1,), (2**32,)])
def test_writer_refuses_a_shape_that_could_not_be_read(tmp_path, shape):
    with pytest.raises(ValueError, match="no shape for"):
        idx.Writer(tmp_path / "i", shape)


def test_a_failed_header_leaves_no_temporary(tmp_path, monkeypatch):
    writer = idx.Writer(tmp_path / "i", (1, 28, 28))
    monkeypatch.setattr(writer, "_header", "not bytes")
    with pytest.raises(TypeError):
        writer.__enter__()
    assert list(tmp_path.iterdir()) == []


def test_read_pair(tmp_path):
    images = np.arange(2 * 784, dtype=np.uint32).astype(np.uint8).reshape(2, 28, 28)
    write_pair(tmp_path, "train", images, np.array([0, 9], dtype=np.uint8))
    write_pair(tmp_path, "test", images[:1], np.array([4], dtype=np.uint8))
    assert np.array_equal(idx.read_pair(tmp_path, "train", GREY)[0], images)
    assert idx.read_pair(tmp_path, "train", GREY)[1].tolist() == [0, 9]
    assert idx.read_pair(tmp_path, "test", GREY)[1].tolist() == [4]


def test_read_pair_of_colour_images_with_few_classes(tmp_path):
    spec = ImageSpec(channels=3, height=8, width=9, classes=3)
    images = np.arange(2 * 216, dtype=np.uint32).astype(np.uint8).reshape(2, 8, 9, 3)
    write_pair(tmp_path, "train", images, np.array([0, 2], dtype=np.uint8), spec)
    assert np.array_equal(idx.read_pair(tmp_path, "train", spec)[0], images)
    with pytest.raises(idx.IdxError, match="train-labels-idx1-ubyte holds the label 2, above 1; run"):
        idx.read_pair(tmp_path, "train", ImageSpec(channels=3, height=8, width=9, classes=2))
    with pytest.raises(idx.IdxError, match="train-images-idx4-ubyte holds images of 9x8, not 8x9"):
        idx.read_pair(tmp_path, "train", ImageSpec(channels=3, height=9, width=8, classes=3))
    with pytest.raises(idx.IdxError, match="train-images-idx3-ubyte does not exist"):
        idx.read_pair(tmp_path, "train", ImageSpec(channels=1, height=8, width=9, classes=3))


@pytest.mark.parametrize(
    ("shape", "labels", "fault"),
    [
        ((2, 28, 28), [1], r"t10k-labels-idx1-ubyte holds 1 labels for the 2 images of .*t10k-ima"),
        ((1, 28, 28), [1, 2], "t10k-labels-idx1-ubyte holds 2 labels for the 1 images"),
        ((1, 28, 27), [1], "t10k-images-idx3-ubyte holds images of 27x28, not 28x28"),
        ((1, 32, 28), [1], "t10k-images-idx3-ubyte holds images of 28x32, not 28x28"),
        ((2, 28, 28), [9, 10], "t10k-labels-idx1-ubyte holds the label 10, above 9"),
    ],
)
def test_read_pair_names_the_file_and_the_fault(tmp_path, shape, labels, fault):
    write_pair(tmp_path, "test", np.zeros(shape, np.uint8), np.array(labels, dtype=np.uint8))
    with pytest.raises(idx.IdxError, match=fault):
        idx.read_pair(tmp_path, "test", GREY)


def test_read_pair_names_the_missing_file(tmp_path):
    with pytest.raises(idx.IdxError, match="train-images-idx3-ubyte does not exist"):
        idx.read_pair(tmp_path, "train", GREY)


def test_torchvision_reads_what_was_written(tmp_path):
    torchvision = pytest.importorskip("torchvision")
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (3, 28, 28), dtype=np.uint8)
    labels = np.array([7, 0, 9], dtype=np.uint8)
    for split in ("train", "test"):
        write_pair(tmp_path, split, images, labels)
    for train in (True, False):
        dataset = torchvision.datasets.MNIST(tmp_path, train=train)
        assert np.array_equal(dataset.data.numpy(), images)
        assert dataset.targets.tolist() == [7, 0, 9]
