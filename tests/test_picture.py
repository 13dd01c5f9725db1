"""One picture: what is read exactly, and what would pass for something else and is refused."""

import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import GREY
from PIL import Image
from PIL.PngImagePlugin import putchunk

from src.core.errors import PipelineError
from src.datasets import picture
from src.datasets.spec import ImageSpec

COLOUR = ImageSpec(channels=3, height=8, width=9, classes=12)
RANDOM = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)


def test_endings_are_known_in_any_case() -> None:
    taken = ("a.png", "a.PNG", "b.Jpg", "b.jpeg", "c.bmp", "d.gif", "e.tif", "e.TIFF", "f.webp")
    assert all(picture.is_picture(Path(name)) for name in taken)
    assert not any(picture.is_picture(Path(name)) for name in ("png", "a.eps", "a.psd", "a.png.txt", ".png"))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "LA", "PA", "RGBA"])
def test_grey_is_read_from_any_kind_of_opaque_file(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "PA" else "a.png")
    Image.new("L", (28, 28), 255).convert("LA" if mode == "PA" else "L").convert(mode).save(path)
    assert np.unique(picture.read(path, GREY)).tolist() == [255]


@pytest.mark.parametrize("ending", ["png", "bmp", "gif", "tif", "webp"])
def test_every_pixel_is_at_its_place(tmp_path: Path, ending: str) -> None:
    Image.fromarray(RANDOM).save(tmp_path / f"a.{ending}", lossless=True)
    assert np.array_equal(picture.read(tmp_path / f"a.{ending}", GREY)[0], RANDOM)


def test_every_colour_is_at_its_place(tmp_path: Path) -> None:
    pixels = np.arange(216, dtype=np.uint8).reshape(8, 9, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(picture.read(tmp_path / "a.png", COLOUR), pixels.transpose(2, 0, 1))


def test_what_matplotlib_writes_is_read(tmp_path: Path) -> None:
    import matplotlib.image

    matplotlib.image.imsave(tmp_path / "a.png", RANDOM, cmap="gray", vmin=0, vmax=255)
    with Image.open(tmp_path / "a.png") as written:
        assert written.mode == "RGBA"
        red = np.asarray(written)[..., 0]
    assert np.array_equal(picture.read(tmp_path / "a.png", GREY)[0], red)
    assert np.abs(red.astype(int) - RANDOM).max() <= 1


def test_the_content_tells_the_format(tmp_path: Path) -> None:
    Image.fromarray(RANDOM).save(tmp_path / "a.png", format="BMP")
    assert np.array_equal(picture.read(tmp_path / "a.png", GREY)[0], RANDOM)
    Image.fromarray(RANDOM).save(tmp_path / "a.png", format="PPM")
    with pytest.raises(PipelineError, match=r"a\.png is not a picture that can be read"):
        picture.read(tmp_path / "a.png", GREY)


def test_a_photograph_is_turned_as_the_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    wide = ImageSpec(channels=1, height=8, width=9, classes=2)
    pixels = np.arange(72, dtype=np.uint8).reshape(9, 8)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(picture.read(tmp_path / "a.png", wide)[0], np.rot90(pixels, -1))
    Image.fromarray(pixels.T.copy()).save(tmp_path / "a.png", exif=exif)
    with pytest.raises(PipelineError, match=r"a\.png is 8x9; resize it to 9x8"):
        picture.read(tmp_path / "a.png", wide)


def deep_png(path: Path, kind: int, values: int) -> None:
    """A PNG file of black pixels with `values` numbers of 16 bits each, of colour type `kind`."""
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        putchunk(file, b"IHDR", struct.pack(">2I5B", 28, 28, 16, kind, 0, 0, 0))
        putchunk(file, b"IDAT", zlib.compress(28 * (b"\0" + 28 * values * b"\x12\x34")))
        putchunk(file, b"IEND", b"")


def shown(mode: str) -> Image.Image:
    return Image.new("L", (28, 28)).convert(mode)


def faint() -> Image.Image:
    """One pixel lets one part in 255 through."""
    found = shown("RGBA")
    found.putpixel((3, 4), (0, 0, 0, 254))
    return found


def cut(path: Path) -> None:
    Image.fromarray(RANDOM).save(path)
    path.write_bytes(path.read_bytes()[:200])


BROKEN: dict[str, Callable[[Path], object]] = {
    "size": lambda path: Image.new("L", (32, 28)).save(path),
    "colour": lambda path: Image.new("RGB", (28, 28), (1, 2, 3)).save(path),
    **{f"transparent {mode}": partial(shown(mode).save, transparency=0) for mode in ("1", "L", "P")},
    "transparent RGB": partial(shown("RGB").save, transparency=(0, 0, 0)),
    "transparent LA": Image.new("LA", (28, 28)).save,
    "transparent RGBA": Image.new("RGBA", (28, 28)).save,
    "faint": faint().save,
    "deep grey": Image.fromarray(np.full((28, 28), 4000, np.uint16)).save,
    "deep colour": partial(deep_png, kind=2, values=3),
    "deep opaque": partial(deep_png, kind=6, values=4),
    "frames": partial(
        shown("L").save, format="GIF", save_all=True, append_images=[Image.new("L", (28, 28), 9)]
    ),
    "print": partial(Image.new("CMYK", (28, 28)).save, format="JPEG"),
    "cut": cut,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no picture"),
}
TRANSPARENT = r"a\.png is transparent in part; put it on a background and save it as 8-bit grey without"
UNREADABLE = r"a\.png is not a picture that can be read: .*; remove or replace it"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("size", r"a\.png is 32x28; resize it to 28x28"),
        ("colour", r"a\.png is coloured; make it grey"),
        *((f"transparent {mode}", TRANSPARENT) for mode in ("1", "L", "P", "RGB", "LA", "RGBA")),
        ("faint", TRANSPARENT),
        ("deep grey", r"a\.png has pixels of kind I;16; save it as 8-bit grey"),
        ("deep colour", r"a\.png has 16 bits a colour; save it as 8-bit grey"),
        ("deep opaque", r"a\.png has 16 bits a colour; save it as 8-bit grey"),
        ("frames", r"a\.png has 2 frames; save each as a picture of its own"),
        ("print", r"a\.png has pixels of kind CMYK; save it as 8-bit grey"),
        ("cut", UNREADABLE),
        ("empty", UNREADABLE),
        ("text", UNREADABLE),
    ],
)
def test_what_is_no_such_picture_is_named(tmp_path: Path, kind: str, words: str) -> None:
    BROKEN[kind](tmp_path / "a.png")
    with pytest.raises(PipelineError, match=words):
        picture.read(tmp_path / "a.png", GREY)


def test_a_transparent_colour_that_no_pixel_has_hides_nothing(tmp_path: Path) -> None:
    Image.fromarray(RANDOM // 2).save(tmp_path / "a.png", transparency=200)
    assert np.array_equal(picture.read(tmp_path / "a.png", GREY)[0], RANDOM // 2)


def test_a_tiff_of_16_bits_a_colour_is_refused(tmp_path: Path) -> None:
    with Image.new("RGB", (28, 28)) as black:
        black.save(tmp_path / "a.tif", tiffinfo={})
    data = (tmp_path / "a.tif").read_bytes()
    # The three numbers of bits stand together; twice as many bytes of pixels follow from them.
    assert data.count(b"\x08\0\x08\0\x08\0") == 1
    (tmp_path / "a.tif").write_bytes(data.replace(b"\x08\0\x08\0\x08\0", b"\x10\0\x10\0\x10\0"))
    with pytest.raises(PipelineError, match=r"a\.tif has 16 bits a colour; save it as 8-bit colour"):
        picture.read(tmp_path / "a.tif", ImageSpec(3, 28, 28, 10))


@pytest.mark.filterwarnings("ignore:Tag data larger than file")
@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "gif", "tif", "webp"])
def test_a_damaged_picture_of_any_format_is_read_or_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    Image.fromarray(RANDOM).save(path)
    whole, rng = path.read_bytes(), np.random.default_rng(1)
    for _ in range(30):
        data = bytearray(whole)
        for position in rng.integers(0, len(data), 4):
            data[position] = rng.integers(256)
        path.write_bytes(data[: rng.integers(1, len(data) + 1)])
        with suppress(PipelineError):
            assert picture.read(path, GREY).shape == (1, 28, 28)


def test_wrong_colour_pictures_are_named_with_what_is_wanted(tmp_path: Path) -> None:
    Image.new("RGBA", (9, 8)).save(tmp_path / "a.png")
    with pytest.raises(PipelineError, match=r"a\.png is transparent in part; .* as 8-bit colour without"):
        picture.read(tmp_path / "a.png", COLOUR)
    Image.new("L", (8, 9)).save(tmp_path / "a.png")
    with pytest.raises(PipelineError, match=r"a\.png is 8x9; resize it to 9x8"):
        picture.read(tmp_path / "a.png", COLOUR)
