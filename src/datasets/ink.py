"""Discs to pixels, in the frame in which MNIST's digits stand."""

import numpy as np
import numpy.typing as npt

from src.datasets.glyphs import DISCS, Floats

SIDE = 28  # pixels of an image
BOX = 20  # pixels, into which the ink is fitted
MIDDLE = 14  # the pixel, counted from 0, nearest to which the centre of mass comes to lie
PART = 250  # images drawn at once: so many stay in a processor's cache

Bytes = npt.NDArray[np.uint8]


def drawn(centres: Floats, radii: Floats, pens: Floats, softness: Floats) -> Bytes:
    """Images of discs, white on black, in MNIST's frame: a box of 20x20 pixels, centred by mass.

    Args:
        centres: (n, `DISCS`, 2), x to the right and y down, in any unit: they are scaled to fit.
        radii: (n, `DISCS`) in pixels, which are not scaled, below 9.
        pens: (n,) the radius at which an edge is as soft as `softness` says; others are in proportion.
        softness: (n,) pixels from black to white across an edge; 1 is what an area that is sampled gives.

    Returns:
        uint8 (n, 28, 28).
    """
    # What is nearer to a centre than this is not black.
    reach = radii * (1 + softness / (2 * pens))[:, None]
    return framed(_boxes(fitted(centres, reach), reach, steepness=pens / softness + 0.5))


def fitted(centres: Floats, reach: Floats) -> Floats:
    """Centres in pixels, of a box of 20x20 whose first pixel is 0, 0; in the middle, but for half a pixel.

    Args:
        centres: (n, `DISCS`, 2), in any unit.
        reach: (n, `DISCS`) how far from its centre a disc leaves ink, in pixels.
    """
    room = BOX + 1  # from the first black pixel on one side to the first on the other
    extent = np.ptp(centres, axis=1).max(axis=1)
    scale = (room - 2 * reach.max(axis=1)) / extent  # fits for sure, and more so with unequal discs
    for _ in range(5):  # never beyond what fits: a change of scale moves the box's sides by less than this
        low, high = _sides(scale[:, None, None] * centres, reach)
        scale = scale + (room - (high - low).max(axis=1)) / extent
    placed = scale[:, None, None] * centres
    low, high = _sides(placed, reach)
    middle: Floats = placed - low[:, None] - 1 + np.floor((room - (high - low)) / 2)[:, None]
    return middle


def _sides(centres: Floats, reach: Floats) -> tuple[Floats, Floats]:
    return (centres - reach[..., None]).min(axis=1), (centres + reach[..., None]).max(axis=1)


def _boxes(centres: Floats, reach: Floats, steepness: Floats) -> Bytes:
    """Discs drawn, uint8 (n, 20, 20): a pixel is as bright as the nearest disc makes it.

    Args:
        centres: As `fitted` gives them.
        reach: As it takes them.
        steepness: (n,) the brightness at the middle of a disc, before it is cut off at 1; it falls to 0 at
            the end of the disc's reach.
    """
    pixel = np.arange(BOX)
    squares = np.square((pixel - centres[..., None]) / reach[..., None, None]).astype(np.float32)
    squares = squares.transpose(2, 1, 0, 3)  # axis, disc, image, pixel: what is added lies side by side
    boxes = np.empty((len(centres), BOX, BOX), np.uint8)
    for start in range(0, len(centres), PART):
        part = slice(start, start + PART)
        x, y = squares[:, :, part].copy()
        nearest = np.full((x.shape[1], BOX, BOX), np.inf, np.float32)
        one = np.empty_like(nearest)
        for disc in range(DISCS):
            np.add(y[disc, :, :, None], x[disc, :, None, :], out=one)
            np.minimum(nearest, one, out=nearest)
        light = (1 - np.sqrt(nearest)) * steepness[part, None, None]
        boxes[part] = np.rint(255 * np.clip(light, 0, 1))
    return boxes


def framed(boxes: Bytes) -> Bytes:
    """Boxes, uint8 (n, 20, 20), none black, moved by whole pixels in images, uint8 (n, 28, 28).

    The centre of mass comes to lie within half a pixel of pixel 14, 14, as in MNIST. Ink that this moves out
    of the image is lost.
    """
    pixel = np.arange(BOX)
    mass = boxes.sum(axis=(1, 2), dtype=np.int64)
    top, left = (
        np.rint(MIDDLE - boxes.sum(axis=axis, dtype=np.int64) @ pixel / mass).astype(np.int64) + BOX
        for axis in (2, 1)
    )
    wide = np.zeros((len(boxes), SIDE + 2 * BOX, SIDE + 2 * BOX), np.uint8)
    image = np.arange(len(boxes))[:, None, None]
    wide[image, top[:, None, None] + pixel[:, None], left[:, None, None] + pixel] = boxes
    return wide[:, BOX:-BOX, BOX:-BOX].copy()
