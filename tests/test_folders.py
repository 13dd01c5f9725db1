"""Image sets to be scored: which images of IDX files and of pictures are compared, and which are refused."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import GREY, write_set
from PIL import Image

from src.core.errors import PipelineError
from src.datasets import folders, idx, labelled


def save(path: Path, value: int = 0, mode: str = "L", size: tuple[int, int] = (28, 28)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).convert(mode).save(path)


def test_real_pictures_are_cut_into_two_halves_without_an_image_in_both(tmp_path: Path) -> None:
    for value in range(21):
        save(tmp_path / f"{value}.png", value)
    reference, others, told = folders.real(tmp_path, GREY, seed=0)
    halves = [set(part.pixels[:, 0, 0, 0].tolist()) for part in (reference, others)]
    assert [len(half) for half in halves] == [10, 10]
    assert not halves[0] & halves[1]
    assert told == f"one half, 10, of the 21 pictures of {tmp_path}, of which 1 is left over"
    (tmp_path / "0.png").unlink()
    assert folders.real(tmp_path, GREY, seed=0).told == f"one half, 10, of the 20 pictures of {tmp_path}"


@pytest.mark.parametrize("own", [True, False])
def test_idx_files_are_read_split_by_split(tmp_path: Path, own: bool) -> None:
    write_set(tmp_path, 300, 100)
    train, test = labelled.read(tmp_path, "train", GREY), labelled.read(tmp_path, "test", GREY)
    reference, others, told = folders.real(tmp_path, GREY, seed=0, validation=40 if own else None)
    start = 260 if own else 200  # without a validation split, as many as there are test images
    assert told == ("" if own else f"the last 100 of the 300 training images of {tmp_path}")
    assert torch.equal(reference.pixels, test.pixels)
    assert torch.equal(others.pixels, train.pixels[start:])
    assert torch.equal(others.given, train.given[start:])
    synthetic = folders.synthetic(tmp_path, GREY, seed=0, own=own)
    assert torch.equal(synthetic.pixels, train.pixels)


def test_of_fewer_training_than_test_images_all_are_used(tmp_path: Path) -> None:
    write_set(tmp_path, 30, 100)
    reference, others, told = folders.real(tmp_path, GREY, seed=0)
    assert (len(reference), len(others)) == (100, 30)
    assert told.startswith("the last 30 of the 30 training images")


def test_packed_files_with_dots_directly_in_the_folder_are_the_same_set(tmp_path: Path) -> None:
    write_set(tmp_path / "set", 60, 20)
    (tmp_path / "mine").mkdir()
    for path in idx.folder(tmp_path / "set").iterdir():
        name = path.name.replace("-idx", ".idx") + ".gz"
        (tmp_path / "mine" / name).write_bytes(gzip.compress(path.read_bytes()))
    for found, expected in zip(
        folders.real(tmp_path / "mine", GREY, seed=0)[:2],
        folders.real(tmp_path / "set", GREY, seed=0)[:2],
        strict=True,
    ):
        assert torch.equal(found.pixels, expected.pixels)
        assert torch.equal(found.given, expected.given)


def test_pictures_beside_idx_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_set(tmp_path, 60, 20)
    save(tmp_path / "samples.png")  # the pipeline's own
    folders.synthetic(tmp_path, GREY, seed=0)
    assert capsys.readouterr().err == ""
    save(tmp_path / "more" / "a.png")
    save(tmp_path / "more" / "b.png")
    folders.synthetic(tmp_path, GREY, seed=0)
    assert "its IDX files are scored, and pictures beside them are not: 2, like more/a.png" in (
        capsys.readouterr().err
    )


# What is wrong, and what is said.


def write_labels(root: Path, split: idx.Split, labels: list[int]) -> None:
    """A split whose images have these labels."""
    arrays = (np.zeros((len(labels), 28, 28), np.uint8), np.array(labels, np.uint8))
    for name, array in zip(idx.names(split, GREY), arrays, strict=True):
        with idx.Writer(idx.folder(root) / name, array.shape) as writer:
            writer.append(array)


SORTED = {
    "upwards": [label for label in range(10) for _ in range(6)],
    "downwards": [label for label in reversed(range(10)) for _ in range(6)],
    "in another order": [label for label in (3, 0, 9, 1, 5) for _ in range(12)],
    "in two parts": 2 * [label for label in range(5) for _ in range(6)],
    "two classes": 30 * [0] + 30 * [7],
}


@pytest.mark.parametrize("kind", SORTED)
def test_files_sorted_by_class_are_refused(tmp_path: Path, kind: str) -> None:
    write_set(tmp_path, 60, 60)
    write_labels(tmp_path, "train", SORTED[kind])
    # As a synthetic set, and as that whose tail would be the other real images, the pipeline's own or not.
    words = r"the train images of .* are sorted by class; shuffle them"
    for own in (True, False):
        with pytest.raises(PipelineError, match=words):
            folders.synthetic(tmp_path, GREY, seed=0, own=own)
        with pytest.raises(PipelineError, match=words):
            folders.real(tmp_path, GREY, seed=0, validation=20 if own else None)
    write_set(tmp_path, 60, 60)
    write_labels(tmp_path, "test", SORTED[kind])
    for validation in (20, None):
        with pytest.raises(PipelineError, match=r"the test images of .* are sorted by class; shuffle them"):
            folders.real(tmp_path, GREY, seed=0, validation=validation)


@pytest.mark.parametrize("classes", [2, 10])
def test_files_in_a_random_order_are_not_sorted(tmp_path: Path, classes: int) -> None:
    for seed in range(50):
        labels = np.random.default_rng(seed).integers(0, classes, 40)
        write_labels(tmp_path, "train", labels.tolist())
        assert folders.synthetic(tmp_path, GREY, seed=0).given.tolist() == labels.tolist()


def test_images_of_one_class_only_are_not_sorted(tmp_path: Path) -> None:
    write_set(tmp_path, 300, 1)
    for name in idx.names("train", GREY):
        array = np.zeros((20, 28, 28) if "images" in name else (20,), np.uint8)
        with idx.Writer(idx.folder(tmp_path) / name, array.shape) as writer:
            writer.append(array)
    labels = folders.synthetic(tmp_path, GREY, seed=0).labels
    assert labels is not None
    assert labels.tolist() == [0] * 20


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"nowhere is not a folder; give one with IDX files or pictures"):
        folders.synthetic(tmp_path / "nowhere", GREY, seed=0)


@pytest.mark.parametrize("own", [True, False])
def test_the_advice_fits_whose_files_they_are(tmp_path: Path, own: bool) -> None:
    write_set(tmp_path, 60, 20)
    path = idx.folder(tmp_path) / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PipelineError, match=r"t10k-labels-idx1-ubyte is too short") as error:
        folders.real(tmp_path, GREY, seed=0, validation=20 if own else None)
    assert str(error.value).endswith("; run dvc repro to make it again" if own else "; replace the file")
    path.unlink()
    with pytest.raises(PipelineError) as error:
        folders.real(tmp_path, GREY, seed=0, validation=20 if own else None)
    assert ("dvc repro" in str(error.value)) == own
