"""Folders of pictures: with and without labels, what people's programs leave there, and all that is wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import GREY
from PIL import Image

from src.core.errors import PipelineError
from src.datasets import album
from src.datasets.spec import ImageSpec, write_spec

COLOUR = ImageSpec(channels=3, height=8, width=9, classes=12)


def save(path: Path, value: int = 0, mode: str = "L", size: tuple[int, int] = (28, 28)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).convert(mode).save(path)


def test_a_flat_folder_has_no_labels_and_comes_shuffled(tmp_path: Path) -> None:
    for value in range(50):
        save(tmp_path / f"{value:02}.png", value)
    found = album.read(tmp_path, GREY, seed=0)
    assert found.labels is None
    assert found.pixels.shape == (50, 1, 28, 28)
    assert found.pixels.dtype == torch.uint8
    order = found.pixels[:, 0, 3, 4].tolist()
    assert order != list(range(50))
    assert sorted(order) == list(range(50))
    assert order == album.read(tmp_path, GREY, seed=0).pixels[:, 0, 0, 0].tolist()
    assert order != album.read(tmp_path, GREY, seed=1).pixels[:, 0, 0, 0].tolist()


def test_subfolders_are_labels_and_stay_with_their_images(tmp_path: Path) -> None:
    for label in (0, 3, 9):
        for number in range(5):
            save(tmp_path / str(label) / f"{number}.png", 10 * label + number)
    found = album.read(tmp_path, GREY, seed=0)
    assert found.labels is not None
    assert found.labels.tolist() == (found.pixels[:, 0, 0, 0] // 10).tolist()
    assert sorted(found.labels.tolist()) == [0] * 5 + [3] * 5 + [9] * 5


def test_colour_pictures_keep_their_colours_and_grey_ones_have_three_alike(tmp_path: Path) -> None:
    pixels = np.arange(216, dtype=np.uint8).reshape(8, 9, 3)
    (tmp_path / "11").mkdir()
    Image.fromarray(pixels).save(tmp_path / "11" / "a.png")
    save(tmp_path / "2" / "a.png", 77, size=(9, 8))
    found = album.read(tmp_path, COLOUR, seed=0)
    by_label = dict(zip(found.given.tolist(), found.pixels.numpy(), strict=True))
    assert sorted(by_label) == [2, 11]
    assert np.array_equal(by_label[11], pixels.transpose(2, 0, 1))
    assert by_label[11][:, 7, 8].tolist() == [213, 214, 215]
    assert by_label[2].shape == (3, 8, 9)
    assert (by_label[2] == 77).all()


def pixels_of(folder: Path, names: tuple[str, ...] = ()) -> list[tuple[int, int | None]]:
    """The first pixel of each picture of a folder, and its label."""
    found = album.read(folder, GREY, 0, names)
    labels = [None] * len(found) if found.labels is None else found.labels.tolist()
    return sorted(zip(found.pixels[:, 0, 0, 0].tolist(), labels, strict=True))


def test_pictures_of_every_format_and_spelling_are_taken(tmp_path: Path) -> None:
    names = [
        "a.png",
        "a.PNG",
        "b.jpg",
        "b.JPG",
        "b.jpeg",
        "b.Jpeg",
        "c.bmp",
        "d.gif",
        "e.tif",
        "e.TIFF",
        "f.webp",
    ]
    for value, name in enumerate(names):
        save(tmp_path / name, 10 * value)
    found = [value for value, _ in pixels_of(tmp_path)]
    assert len(found) == 11
    assert found == pytest.approx(
        [10 * value for value in range(11)], abs=2
    )  # not all formats keep every bit


def test_the_same_png_files_come_in_the_same_order_as_ever(tmp_path: Path) -> None:
    for value in (3, 20, 100):
        save(tmp_path / f"{value}.png", value)
    names = sorted(("3.png", "20.png", "100.png"))
    seed = album.generator_for("pictures/order", 4)
    expected = [
        int(names[index].removesuffix(".png")) for index in torch.randperm(3, generator=seed).tolist()
    ]
    assert album.read(tmp_path, GREY, 4).pixels[:, 0, 0, 0].tolist() == expected


def test_what_a_desktop_leaves_is_skipped(tmp_path: Path) -> None:
    save(tmp_path / "3" / "a.png", 30)
    for name in (
        ".DS_Store",
        "Thumbs.db",
        "3/desktop.ini",
        "3/._a.png",
        "__MACOSX/3/._a.png",
        "@eaDir/a.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5")
    assert pixels_of(tmp_path) == [(30, 3)]


def test_a_linked_folder_is_followed_and_one_that_leads_back_is_not(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "a.png", 40)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "4").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "4" / "back").symlink_to(tmp_path / "set")
    assert pixels_of(tmp_path / "set") == [(40, 4)]


CLASSES = ("T-shirt/top", "Trouser", "Bag", *"cdefghi")


def test_folders_may_go_by_the_names_of_the_classes(tmp_path: Path) -> None:
    save(tmp_path / "Trouser" / "a.png", 11)
    save(tmp_path / "T-shirt_top" / "a.png", 10)
    save(tmp_path / "i" / "a.png", 19)
    assert pixels_of(tmp_path, CLASSES) == [(10, 0), (11, 1), (19, 9)]
    (tmp_path / "Trouser").rename(tmp_path / "1")
    with pytest.raises(
        PipelineError, match=r"subfolders 1, T-shirt_top, i, and of these 1 in 1, which is .* no"
    ):
        pixels_of(tmp_path, CLASSES)


def test_numbers_stay_labels_where_there_are_names(tmp_path: Path) -> None:
    save(tmp_path / "9" / "a.png", 19)
    assert pixels_of(tmp_path, CLASSES) == [(19, 9)]


def test_names_are_those_of_a_set_of_the_same_number_of_classes(tmp_path: Path) -> None:
    assert album.class_names(tmp_path, GREY) == []
    write_spec(tmp_path, GREY, list(CLASSES))
    assert album.class_names(tmp_path, GREY) == list(CLASSES)
    assert album.class_names(tmp_path, COLOUR) == []


# What is wrong, and what is said. Every file that is not read is counted.


def test_a_folder_without_images_says_what_it_may_hold(tmp_path: Path) -> None:
    words = r"has no images: neither pictures \(PNG, .*\), nor subfolders 0 to 9 with pictures, nor IDX files"
    with pytest.raises(PipelineError, match=words):
        album.read(tmp_path, GREY, seed=0)
    (tmp_path / "12").mkdir()
    with pytest.raises(PipelineError, match="nor subfolders 0 to 11 with pictures"):
        album.read(tmp_path, COLOUR, seed=0)


WRONG = {
    "1 to 10": (
        [f"{number}/a.png" for number in range(1, 11)],
        r"subfolders 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, and of these 1 in 10, which .* name them 0 to 9",
    ),
    "others": (
        ["0/a.png", "12/a.png", "12/b.png", "unknown/c.jpg"],
        r"subfolders 0, 12, unknown, and of these 3 in 12, unknown, which is the name of no class",
    ),
    "leading zero": (["0/a.png", "01/a.png"], r"and of these 1 in 01, which is the name of no class"),
    "twelve": (
        [f"class {number}/a.png" for number in range(10, 22)],
        r"class 10, .*, class 20, class 21, and of these 12 in class 10, ",
    ),
    "many": (
        [f"class {number}/a.png" for number in range(10, 23)],
        r"class 10, .*, class 20, class 21, \.\.\. \(13 in all\), and of these 13 in class 10, ",
    ),
    "deeper": (
        ["0/a.png", "0/more/b.png", "0/more/c.png"],
        r"deeper than in its subfolders: 2, like 0/more/b\.png; move them up",
    ),
    "split": (["train/0/a.png"], r"deeper than in its subfolders: 1, like train/0/a\.png"),
    "both": (["a.png", "b.PNG", "1/a.png"], r"has 2 pictures, and 1 in subfolders; remove either"),
    "photographs": (
        ["a.jpg", "b.CR2", "c.heic"],
        r"not pictures: 2, like b\.CR2; move them elsewhere, or save",
    ),
    "plots": (["a.png", "b.svg"], r"not pictures: 1, like b\.svg"),
    "notes": (["1/a.png", "1/labels.csv"], r"not pictures: 1, like 1/labels\.csv"),
    "an archive only": (["set.zip"], r"not pictures: 1, like set\.zip"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_nothing_is_left_out_without_a_word(tmp_path: Path, kind: str) -> None:
    names, words = WRONG[kind]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", GREY.shape[1:]).save(tmp_path / name, format="PNG")
    with pytest.raises(PipelineError, match=words):
        album.read(tmp_path, GREY, seed=0)
