"""How a hand departs from the shape that it has in mind: strokes that bend, slant, and vary in width.

All lengths are parts of a digit's height, but for those of the pen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from src.datasets.glyphs import DISCS, STROKES, Floats, Glyph, Ints

# Chosen by eye beside real MNIST training images, and so that a classifier trained on the result is sure of
# these and finds each digit about as often: without their labels.
BUMPS = np.array([0.042, 0.065, 0.048, 0.024, 0.014, 0.01])  # of a stroke: moved, turned, bent, ever finer
HOOK = 0.07  # a stroke's ends leave its direction
END = 0.25  # of the stroke, which a hook takes
WAVES = 3  # of the paper, on which all strokes lie
WAVE = 0.045
WAVE_NUMBER = 3.5  # radians in a digit's height
GAPPED = 0.15  # share of written digits in which the ink fails for a moment
TALLER = 0.3  # the upper half at the cost of the lower one, or the reverse
WIDER = 0.4  # the same of widths
ASPECT = 0.28  # of the logarithm of the width
SLANT = 0.15, 0.2  # x over height: mean and standard deviation
SLANTS = -0.25, 0.65
TURN = 6.0  # degrees
MOST_TURN = 14.0
# In pixels of MNIST's frame: half the width of a stroke.
PEN = 0.75, 2.5
PRINTED_PEN = 1.1  # at least: discs of a printed shape may be a pixel apart
PRESSURE = 0.08  # changes of the width along a stroke
DISC = 0.55, 1.7  # of the pen's radius
# A bar is written smaller than other digits, which MNIST's frame makes up for, and its pen with it; and
# nothing else but its slant makes one bar differ from another.
BAR_PEN = 1.9
BAR_SLANT = 1.6


@dataclass(frozen=True)
class Discs:
    """The discs of n images' glyphs; the attributes are those of `Glyph`, with n as the first dimension."""

    labels: Ints
    centres: Floats
    weights: Floats
    strokes: Ints
    places: Floats
    written: npt.NDArray[np.bool_]

    def along(self, values: Floats) -> Floats:
        """For each disc the value of its stroke: of (n, `STROKES`, ...), (n, `DISCS`, ...)."""
        found: Floats = values[np.arange(len(values))[:, None], self.strokes]
        return found


def laid(glyphs: Sequence[Glyph]) -> Discs:
    """The discs of glyphs, an image each."""
    return Discs(
        labels=np.array([glyph.label for glyph in glyphs]),
        centres=np.stack([glyph.centres for glyph in glyphs]),
        weights=np.stack([glyph.weights for glyph in glyphs]),
        strokes=np.stack([glyph.strokes for glyph in glyphs]),
        places=np.stack([glyph.places for glyph in glyphs]),
        written=np.array([glyph.written for glyph in glyphs]),
    )


def written(shapes: Discs, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Shapes as a hand and a pen leave them, each in its own way.

    Args:
        shapes: Of n images.
        rng: Draws all that differs.

    Returns:
        The centres of the discs (n, `DISCS`, 2), in no particular unit; their radii (n, `DISCS`) and those of
        the pens (n,), in pixels.
    """
    shapes = _with_gaps(shapes, rng)
    centres = shapes.centres + _bends(shapes, rng) + _hooks(shapes, rng)
    centres = _in_proportion(_on_wavy_paper(centres, rng), shapes.labels == 1, rng)
    return centres, *_inked(shapes, rng)


def _with_gaps(shapes: Discs, rng: np.random.Generator) -> Discs:
    """Some discs in a row are put where the last one before them is."""
    count = len(shapes.labels)
    start = rng.integers(0, DISCS, (count, 1))
    length = rng.integers(2, 8, (count, 1))
    length *= (rng.random((count, 1)) < GAPPED) & shapes.written[:, None]
    disc = np.arange(DISCS)
    taken = np.where((disc >= start) & (disc < start + length), np.maximum(start - 1, 0), disc)
    rows = np.arange(count)[:, None]
    return replace(
        shapes,
        centres=shapes.centres[rows, taken],
        weights=shapes.weights[rows, taken],
        strokes=shapes.strokes[rows, taken],
        places=shapes.places[rows, taken],
    )


def _cosines(places: Floats) -> Floats:
    """Ever faster waves along a stroke, (n, `DISCS`, `len(BUMPS)`): the first is no wave."""
    cosines: Floats = np.cos(np.pi * np.arange(len(BUMPS)) * places[..., None])
    return cosines


def _bends(shapes: Discs, rng: np.random.Generator) -> Floats:
    """How far strokes leave their course, each its own way; some hands are steadier than others."""
    count = len(shapes.labels)
    steadiness = rng.uniform(0.3, 1.5, (count, 1, 1, 1)) * shapes.written[:, None, None, None]
    heights = rng.standard_normal((count, STROKES, len(BUMPS), 2)) * BUMPS[:, None] * steadiness
    bends: Floats = np.einsum("npk,npkd->npd", _cosines(shapes.places), shapes.along(heights))
    return bends


def _hooks(shapes: Discs, rng: np.random.Generator) -> Floats:
    """How far the ends of strokes bend off, ever more towards the end."""
    count, hooks = len(shapes.labels), np.zeros_like(shapes.centres)
    for distance in (shapes.places, 1 - shapes.places):
        size = HOOK * rng.uniform(0, 1.5, (count, STROKES, 1)) * shapes.written[:, None, None]
        hook = rng.standard_normal((count, STROKES, 2)) * size
        hooks += np.square(np.maximum(1 - distance / END, 0))[..., None] * shapes.along(hook)
    return hooks


def _on_wavy_paper(centres: Floats, rng: np.random.Generator) -> Floats:
    """All strokes distorted together, by waves in random directions."""
    count = len(centres)
    for _ in range(WAVES):
        direction = rng.standard_normal((count, 2)) * WAVE_NUMBER
        phase = rng.uniform(0, 2 * np.pi, (count, 1))
        shift = rng.standard_normal((count, 1, 2)) * WAVE
        centres = centres + np.sin(np.einsum("npd,nd->np", centres, direction) + phase)[..., None] * shift
    return centres


def _in_proportion(centres: Floats, bar: npt.NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    """Digits with halves of unlike size, wide or narrow, slanted and turned; `bar` (n,) marks ones."""
    count = len(centres)
    x, y = centres[..., 0], centres[..., 1]
    y = y + rng.uniform(-TALLER, TALLER, (count, 1)) * (0.25 - y * y)
    x = x * (1 + rng.uniform(-WIDER, WIDER, (count, 1)) * y)
    x = x * np.exp(ASPECT * np.clip(rng.standard_normal((count, 1)), -2.3, 2.3))
    slant = np.clip(SLANT[0] + SLANT[1] * rng.standard_normal((count, 1)), *SLANTS)
    x = x - np.where(bar[:, None], BAR_SLANT, 1) * slant * y
    turn = np.deg2rad(np.clip(TURN * rng.standard_normal((count, 1)), -MOST_TURN, MOST_TURN))
    turned: Floats = np.stack(
        [x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=2
    )
    return turned


def _inked(shapes: Discs, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The radii of the discs (n, `DISCS`), and of the pens (n,)."""
    count = len(shapes.labels)
    pens = PEN[0] + (PEN[1] - PEN[0]) * rng.beta(1.6, 3.2, (count, 1))  # mostly thin
    broad = rng.uniform(1, BAR_PEN, (count, 1))
    pens = np.where(shapes.labels[:, None] == 1, pens * broad, pens)
    pens = np.where(shapes.written[:, None], pens, np.maximum(pens, PRINTED_PEN))
    cosines, order = _cosines(shapes.places)[..., 1:], np.arange(1, len(BUMPS))
    changes = rng.standard_normal((count, len(order))) * PRESSURE / np.sqrt(order)
    pressure = 1 + np.einsum("npk,nk->np", cosines, changes)
    # A printed shape keeps its thick and thin strokes, or is written over with one pen, or something between.
    contrast = rng.uniform(0.3, 1, (count, 1))
    return pens * np.clip(shapes.weights**contrast * pressure, *DISC), pens[:, 0]
