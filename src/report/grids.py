"""Many images as one picture, in rows."""

from collections.abc import Sequence

from torch import Tensor

from src.datasets.labelled import Labelled
from src.report.plots import Picture

MOST_CLASSES = 30  # rows of a picture that shows images by class


def sheet(rows: Sequence[Tensor], columns: int) -> Picture:
    """Rows of images as one picture, black where a row has fewer images than there are columns.

    Args:
        rows: Each uint8 (n, channels, height, width), n at most `columns`.
        columns: Images in a row.

    Returns:
        uint8 (rows * height, columns * width) of grey images, (rows * height, columns * width, 3) of others.
    """
    _, channels, height, width = rows[0].shape
    laid = rows[0].new_zeros(len(rows), columns, channels, height, width)
    for place, row in zip(laid, rows, strict=True):
        place[: len(row)] = row
    picture = laid.permute(0, 3, 1, 4, 2).reshape(len(rows) * height, columns * width, channels)
    return (picture.squeeze(2) if channels == 1 else picture).numpy()


def tiled(pixels: Tensor, columns: int) -> Picture:
    """Images, uint8 (n, channels, height, width), as one picture, row by row (see `sheet`)."""
    return sheet(pixels.split(columns), columns)


def by_class(data: Labelled, classes: int, each: int) -> Picture:
    """The first `each` images of every class as one picture with a row for each class (see `sheet`)."""
    shown = range(min(classes, MOST_CLASSES))
    return sheet([data.pixels[data.given == value][:each] for value in shown], each)


def enlarged(picture: Picture, factor: int) -> Picture:
    """A picture whose pixels are `factor` times as high and as wide."""
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)
