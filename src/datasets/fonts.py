"""Digits of fonts: strokes of the Hershey fonts, and shapes of the type faces that matplotlib ships."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from src.core.errors import PipelineError
from src.datasets.glyphs import Floats, Glyph, from_shape, from_strokes

DIGITS = range(10)

# Whether a font's lines are strokes of a hand; the others make thick ones of several. The digits of the fonts
# that are left out are the same as those of one of these (cursive, greek, music, scriptc ...), the same with
# three lines in place of two (rowmant, timesib, timesrb, astrology), black letter, whose lines run together
# at this size, or no digits (japanese, markers, symbolic).
HERSHEY: Mapping[str, bool] = {"futural": True, "rowmand": False, "timesr": False, "timesi": False}
HERSHEY_TERMS = (
    "Hershey, created by A. V. Hershey at the U.S. National Bureau of Standards, in a format by James Hurt, "
    "Cognition, Inc. (package hershey-fonts, MIT License)"
)

# Left out: DejaVu Sans Mono, whose zero has a dot; cmmi10, whose old-style 0 and 1 could be letters; cmex10
# and cmsy10, which have other signs in place of digits; LastResort, which has one sign for all; STIX in sizes
# and variants without digits.
FACES: Mapping[str, tuple[str, ...]] = {
    "DejaVu (Bitstream Vera licence, changes in the public domain)": (
        *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
        *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    ),
    "STIX (STIX Font License)": ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    "Computer Modern in the BaKoMa version (BaKoMa Fonts Licence)": (
        *("cmb10", "cmr10", "cmss10", "cmti10", "cmtt10"),
    ),
}
# A shape is drawn about 60 pixels high.
POINTS = 90
HEIGHT = 60
LINE = 6  # pixels


def hershey(name: str) -> list[Glyph]:
    """The ten digits of a Hershey font, in their order.

    Args:
        name: One of `HERSHEY`.

    Raises:
        PipelineError: The package hershey-fonts is not installed, or has no such font.
    """
    try:
        from HersheyFonts import HersheyFonts
    except ImportError:
        raise PipelineError("the package hershey-fonts is not installed; run make setup") from None
    font = HersheyFonts()
    try:
        font.load_default_font(name)
    except ValueError:
        raise PipelineError(f"the package hershey-fonts has no font {name}; run make setup") from None
    lines = [[np.array(line, float) for line in font.strokes_for_text(str(digit))] for digit in DIGITS]
    # A line of one point is a pen that was lifted at once.
    drawn = [[line for line in those if len(line) > 1] for those in lines]
    if HERSHEY[name]:
        return [from_strokes(digit, drawn[digit]) for digit in DIGITS]
    return [from_shape(digit, _thick(drawn[digit])) for digit in DIGITS]


def _thick(lines: Sequence[Floats]) -> npt.NDArray[np.bool_]:
    """The shape of lines that lie side by side to make thick ones: drawn so wide that no gap is left."""
    points = np.concatenate(lines)
    scale = HEIGHT / np.ptp(points[:, 1])
    page = Image.new("1", (2 * POINTS, 2 * POINTS))
    for line in lines:
        placed = (line - points.min(axis=0)) * scale + POINTS // 4
        ImageDraw.Draw(page).line([tuple(point) for point in placed], fill=1, width=LINE, joint="curve")
    return np.asarray(page)


def type_face(name: str) -> list[Glyph]:
    """The ten digits of a type face, in their order.

    Args:
        name: One of a row of `FACES`.

    Raises:
        PipelineError: matplotlib has no such file.
    """
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    try:
        font = ImageFont.truetype(str(path), POINTS, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise PipelineError(f"{path} is no font that can be read ({error}); run make setup") from None
    return [_printed(digit, font) for digit in DIGITS]


def _printed(digit: int, font: ImageFont.FreeTypeFont) -> Glyph:
    page = Image.new("L", (2 * POINTS, 2 * POINTS))
    ImageDraw.Draw(page).text((POINTS // 2, POINTS // 2), str(digit), fill=255, font=font)
    return from_shape(digit, np.asarray(page) > 127)
