"""A digit's shape as a chain of discs, which is what a pen leaves: from strokes, or from a filled shape."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# In a glyph. The longest digits have a path of about 55 pixels in MNIST's frame: 0.6 pixels apart, the discs
# of a thin pen leave no dents.
DISCS = 96
STROKES = 3  # of a written digit, at most
# Of a disc's radius. A square corner reaches out of the disc that touches its sides by 0.41 of that, and is
# left out: corners come out round, as a pen makes them.
CORNER = 0.45


@dataclass(frozen=True)
class Glyph:
    """One way in which a digit is written or printed.

    Attributes:
        label: The digit, 0 to 9.
        centres: Of the discs, (`DISCS`, 2), x to the right and y down; 0 is the middle of their box, and its
            height is 1.
        weights: The discs' radii as multiples of the pen's, (`DISCS`,), about 1.
        strokes: The stroke of each disc, (`DISCS`,), from 0.
        places: How far along its stroke each disc is, (`DISCS`,), in [0, 1].
        written: Whether its strokes are those of a hand, each of which may go its own way. In a printed
            shape all discs belong to stroke 0, half-way along.
    """

    label: int
    centres: Floats
    weights: Floats
    strokes: Ints
    places: Floats
    written: bool


def from_strokes(label: int, strokes: Sequence[Floats]) -> Glyph:
    """A glyph of lines that a pen follows.

    Args:
        label: The digit.
        strokes: Up to `STROKES` polylines, each (n, 2), x to the right and y down, in any unit; together they
            have a height.
    """
    lengths = np.array([np.hypot(*np.diff(line, axis=0).T).sum() for line in strokes])
    # Discs by length, at least two each, and what rounding leaves goes to the longest.
    shares = np.maximum(2, np.floor(DISCS * lengths / lengths.sum()).astype(int))
    shares[lengths.argmax()] += DISCS - shares.sum()
    centres = _boxed(np.concatenate([_spaced(line, n) for line, n in zip(strokes, shares, strict=True)]))
    owners = np.repeat(np.arange(len(strokes)), shares)
    places = np.concatenate([np.linspace(0, 1, n) for n in shares])
    return Glyph(label, centres, np.ones(DISCS), owners, places, written=True)


def from_shape(label: int, shape: npt.NDArray[np.bool_]) -> Glyph:
    """A printed glyph, whose discs fill a shape.

    Each pixel inside is the middle of the largest disc that fits there. The largest of all is taken; then, as
    long as there is one, the largest that reaches out of each taken one by more than a tolerance.

    Args:
        label: The digit.
        shape: (height, width), true inside; about 60 rows, of which the glyph takes several.
    """
    depths = ndimage.distance_transform_edt(np.pad(shape, 1))
    inside = np.argwhere(depths > 0)
    radii = depths[tuple(inside.T)]
    tolerance = 1.0
    while len(chosen := _cover(inside, radii, tolerance)) > DISCS:
        tolerance *= 1.1
    chosen = np.resize(chosen, DISCS)  # some of them twice where there are fewer
    # In a stroke of half-width r, a pixel is r / 2 from the edge on average.
    weights = radii[chosen] / (2 * radii.mean())
    centres = _boxed(inside[chosen, ::-1].astype(np.float64))
    return Glyph(label, centres, weights, np.zeros(DISCS, np.int64), np.full(DISCS, 0.5), written=False)


def _cover(points: Ints, radii: Floats, tolerance: float) -> Ints:
    """Indices of discs, largest first, out of which no other reaches by more than a tolerance or a corner."""
    left, chosen = radii.copy(), []
    while left.max() > 0:
        best = int(left.argmax())
        chosen.append(best)
        excess = np.hypot(*(points - points[best]).T) + radii - radii[best]
        corner = (radii <= radii[best] / 2) & (excess <= CORNER * radii[best])
        left[corner | (excess <= tolerance)] = 0
    return np.array(chosen)


def _spaced(line: Floats, count: int) -> Floats:
    """`count` points at equal distances along a polyline, its ends among them."""
    along = np.concatenate([[0], np.hypot(*np.diff(line, axis=0).T).cumsum()])
    wanted = np.linspace(0, along[-1], count)
    return np.stack([np.interp(wanted, along, line[:, axis]) for axis in (0, 1)], axis=1)


def _boxed(points: Floats) -> Floats:
    """Points moved and scaled: the middle of their box is 0, and its height 1."""
    low, high = points.min(axis=0), points.max(axis=0)
    boxed: Floats = (points - (low + high) / 2) / (high - low)[1]
    return boxed
