"""Image sets from outside: PNG folders with and without labels, IDX folders, and all that may be wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_set
from PIL import Image

from src import idx, images, pictures
from src.errors import PipelineError


def save(path: Path, value: int = 0, mode: str = "L", size: tuple[int, int] = (28, 28)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).convert(mode).save(path)


def test_a_flat_folder_has_no_labels_and_comes_shuffled(tmp_path: Path) -> None:
    for value in range(50):
        save(tmp_path / f"{value:02}.png", value)
    found = pictures.read_png(tmp_path, seed=0)
    assert found.labels is None
    assert found.images.shape == (50, 1, 28, 28)
    assert found.images.dtype == torch.uint8
    order = found.images[:, 0, 3, 4].tolist()
    assert order != list(range(50))
    assert sorted(order) == list(range(50))
    assert order == pictures.read_png(tmp_path, seed=0).images[:, 0, 0, 0].tolist()
    assert order != pictures.read_png(tmp_path, seed=1).images[:, 0, 0, 0].tolist()


def test_subfolders_are_labels_and_stay_with_their_images(tmp_path: Path) -> None:
    for label in (0, 3, 9):
        for number in range(5):
            save(tmp_path / str(label) / f"{number}.png", 10 * label + number)
    found = pictures.synthetic(tmp_path, seed=0)
    assert found.labels is not None
    assert found.labels.tolist() == (found.images[:, 0, 0, 0] // 10).tolist()
    assert sorted(found.labels.tolist()) == [0] * 5 + [3] * 5 + [9] * 5


def test_some_are_chosen_at_random_with_their_labels_and_in_their_order() -> None:
    everything = pictures.Pictures(
        torch.arange(50).byte().view(50, 1, 1, 1).expand(50, 1, 28, 28), torch.arange(50) + 100
    )
    chosen = everything.chosen(20, torch.Generator().manual_seed(0))
    assert chosen.labels is not None
    numbers = chosen.images[:, 0, 5, 6].tolist()
    assert numbers == (chosen.labels - 100).tolist() == sorted(set(numbers))
    assert len(numbers) == 20
    assert max(numbers) >= 40  # not the first ones
    again = everything.chosen(20, torch.Generator().manual_seed(1)).images[:, 0, 0, 0].tolist()
    assert again != numbers
    flat = everything._replace(labels=None).chosen(20, torch.Generator().manual_seed(0))
    assert flat.labels is None
    assert flat.images[:, 0, 0, 0].tolist() == numbers


def test_all_that_there_are_stay_as_they_are() -> None:
    data = pictures.Pictures(torch.randint(256, (30, 1, 28, 28), dtype=torch.uint8), torch.arange(30) % 7)
    chosen = data.chosen(30, torch.Generator().manual_seed(3))
    assert torch.equal(chosen.images, data.images)
    assert chosen.labels is not None
    assert data.labels is not None
    assert torch.equal(chosen.labels, data.labels)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_grey_is_read_from_any_kind_of_file(tmp_path: Path, mode: str) -> None:
    save(tmp_path / "a.png", 255, mode)
    assert pictures.read_png(tmp_path, seed=0).images.unique().tolist() == [255]


def test_every_pixel_is_at_its_place(tmp_path: Path) -> None:
    pixels = np.arange(784, dtype=np.uint16).reshape(28, 28).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(pictures.read_png(tmp_path, seed=0).images[0, 0].numpy(), pixels)


def test_real_pictures_are_cut_into_two_halves_without_an_image_in_both(tmp_path: Path) -> None:
    for value in range(21):
        save(tmp_path / f"{value}.png", value)
    reference, others = pictures.real(tmp_path, validation=5, seed=0)
    halves = [set(part.images[:, 0, 0, 0].tolist()) for part in (reference, others)]
    assert [len(half) for half in halves] == [10, 10]
    assert not halves[0] & halves[1]


def test_idx_files_are_read_split_by_split(tmp_path: Path) -> None:
    write_set(tmp_path, 300, 100)
    train, test = images.read(tmp_path, "train"), images.read(tmp_path, "test")
    reference, others = pictures.real(tmp_path, validation=40, seed=0)
    assert torch.equal(reference.images, test.images)
    assert torch.equal(others.images, train.images[260:])
    assert others.labels is not None
    assert torch.equal(others.labels, train.labels[260:])
    synthetic = pictures.synthetic(tmp_path, seed=0)
    assert torch.equal(synthetic.images, train.images)


def test_known_labels_are_kept_and_unknown_ones_replaced() -> None:
    three, guesses = torch.zeros(3, 1, 28, 28, dtype=torch.uint8), torch.tensor([7, 8, 9])
    assert pictures.Pictures(three, None).labelled(guesses).labels.tolist() == [7, 8, 9]
    assert pictures.Pictures(three, torch.tensor([1, 2, 3])).labelled(guesses).labels.tolist() == [1, 2, 3]
    part = pictures.Pictures(three, torch.tensor([1, 2, 3])).part(1, 3)
    assert part.labels is not None
    assert part.labels.tolist() == [2, 3]


# What is wrong, and what is said.


def test_files_sorted_by_class_are_refused(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name, array in zip(
            idx.NAMES[split],
            (np.zeros((20, 28, 28), np.uint8), np.repeat(np.arange(10, dtype=np.uint8), 2)),
            strict=True,
        ):
            with idx.Writer(idx.folder(tmp_path) / name, array.shape) as writer:
                writer.append(array)
    with pytest.raises(PipelineError, match=r"the train images of .* are sorted by class; shuffle them"):
        pictures.synthetic(tmp_path, seed=0)
    with pytest.raises(PipelineError, match=r"the test images of .* are sorted by class; shuffle them"):
        pictures.real(tmp_path, validation=5, seed=0)


def test_images_of_one_class_only_are_not_sorted(tmp_path: Path) -> None:
    write_set(tmp_path, 300, 1)
    for name in idx.NAMES["train"]:
        array = np.zeros((20, 28, 28) if "images" in name else (20,), np.uint8)
        with idx.Writer(idx.folder(tmp_path) / name, array.shape) as writer:
            writer.append(array)
    labels = pictures.synthetic(tmp_path, seed=0).labels
    assert labels is not None
    assert labels.tolist() == [0] * 20


def broken(path: Path, kind: str) -> None:
    save(path / "a.png", 3)
    if kind == "size":
        save(path / "b.png", size=(32, 28))
    elif kind == "colour":
        Image.new("RGB", (28, 28), (1, 2, 3)).save(path / "b.png")
    elif kind == "transparent":
        Image.new("RGBA", (28, 28)).save(path / "b.png")
    elif kind == "deep":
        Image.fromarray(np.full((28, 28), 4000, np.uint16)).save(path / "b.png")
    elif kind == "jpeg":
        Image.new("L", (28, 28)).save(path / "b.png", format="JPEG")
    elif kind == "cut":
        noise = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
        Image.fromarray(noise).save(path / "b.png")
        (path / "b.png").write_bytes((path / "b.png").read_bytes()[:200])
    elif kind == "empty":
        (path / "b.png").write_bytes(b"")
    elif kind == "text":
        (path / "b.png").write_text("no picture")
    elif kind == "both":
        save(path / "1" / "b.png")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("size", r"b\.png is 32x28; resize it to 28x28"),
        ("colour", r"b\.png is coloured; make it grey"),
        ("transparent", r"b\.png has pixels of kind RGBA; save it as 8-bit grey"),
        ("deep", r"b\.png has pixels of kind I;16; save it as 8-bit grey"),
        ("jpeg", r"b\.png is no picture that can be read: .*; remove or replace it"),
        ("cut", r"b\.png is no picture that can be read: .*; remove or replace it"),
        ("empty", r"b\.png is no picture that can be read: .*; remove or replace it"),
        ("text", r"b\.png is no picture that can be read: .*; remove or replace it"),
        ("both", r"has PNG files, and subfolders with PNG files too; remove either"),
    ],
)
def test_what_is_no_such_picture_is_named(tmp_path: Path, kind: str, words: str) -> None:
    broken(tmp_path, kind)
    with pytest.raises(PipelineError, match=words):
        pictures.synthetic(tmp_path, seed=0)


def test_a_folder_without_images_says_what_it_may_hold(tmp_path: Path) -> None:
    with pytest.raises(
        PipelineError, match=r"has no images: neither PNG files, nor subfolders 0 to 9 with PNG"
    ):
        pictures.synthetic(tmp_path, seed=0)
    with pytest.raises(PipelineError, match=r"nowhere is no folder; give one with IDX files"):
        pictures.synthetic(tmp_path / "nowhere", seed=0)
