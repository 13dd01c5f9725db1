"""Reads one picture as bytes, and refuses what would pass for another than people see."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from src.core.errors import PipelineError
from src.datasets.spec import ImageSpec

# A closed list: Pillow's other readers are rarely used, and some run other programs.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
ENDINGS = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
)  # in any case
KINDS = ("1", "L", "P", "RGB", "LA", "PA", "RGBA")  # Pillow's names of what becomes RGB without a loss
BITS_PER_SAMPLE = 258  # the tag of a TIFF file


def is_picture(path: Path) -> bool:
    """Whether a file's name is that of a picture."""
    return path.suffix.lower() in ENDINGS


def read(path: Path, spec: ImageSpec) -> npt.NDArray[np.uint8]:
    """A picture, uint8 (channels, height, width), turned as its camera says.

    Raises:
        PipelineError: It can't be read, or is not such an image: of another size, with colours where `spec`
            is grey, transparent, of more than eight bits, or of several frames.
    """
    try:
        with Image.open(path, formats=FORMATS) as opened:
            wanted = spec.width, spec.height
            if wanted not in (opened.size, opened.size[::-1]):  # before all of a large one is read
                raise _of_size(opened, path, spec)
            _require_plain(opened, path, spec)
            turned = ImageOps.exif_transpose(opened)
            if turned.size != wanted:
                raise _of_size(turned, path, spec)
            colours = np.asarray(_opaque(turned, path, spec)).transpose(2, 0, 1)
    except PipelineError:
        raise
    except Exception as error:  # Pillow raises whatever a damaged file makes of it
        raise PipelineError(
            f"{path} is not a picture that can be read: {error}; remove or replace it"
        ) from None
    if spec.channels == 1 and (colours != colours[:1]).any():
        raise PipelineError(f"{path} is coloured; make it grey")
    return colours[: spec.channels]


def _of_size(picture: Image.Image, path: Path, spec: ImageSpec) -> PipelineError:
    width, height = picture.size
    return PipelineError(f"{path} is {width}x{height}; resize it to {spec.size}")


def _require_plain(picture: Image.Image, path: Path, spec: ImageSpec) -> None:
    if (frames := getattr(picture, "n_frames", 1)) > 1:
        raise PipelineError(f"{path} has {frames} frames; save each as a picture of its own")
    if picture.mode not in KINDS:
        raise PipelineError(f"{path} has pixels of kind {picture.mode}; save it as 8-bit {spec.colour}")
    if (bits := _bits(picture, path)) > 8:
        raise PipelineError(f"{path} has {bits} bits a colour; save it as 8-bit {spec.colour}")


def _bits(picture: Image.Image, path: Path) -> int:
    """Bits of one colour in the file, of which Pillow drops all but eight without a word."""
    if picture.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24]  # behind the signature, and length, name and size of the first chunk
    if picture.format == "TIFF":
        found = getattr(picture, "tag_v2", {}).get(BITS_PER_SAMPLE, 1)
        return max(found) if isinstance(found, tuple) else int(found)
    return 8


def _opaque(picture: Image.Image, path: Path, spec: ImageSpec) -> Image.Image:
    """The picture in red, green and blue; one that says how transparent it is must not be so anywhere."""
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        if picture.getchannel("A").getextrema() != (255, 255):
            raise PipelineError(
                f"{path} is transparent in part; put it on a background and save it as 8-bit {spec.colour} "
                "without transparency"
            )
    return picture.convert("RGB")
