"""Images as one picture: where each one lies, in grey and in colour, and what is black."""

import numpy as np
import pytest
import torch
from torch import Tensor

from src.datasets.labelled import Labelled
from src.report import grids


def grey(*values: int) -> Tensor:
    """Pictures of one row and two pixels: a value, and the one after it."""
    return torch.tensor([[[[value, value + 1]]] for value in values], dtype=torch.uint8)


def colour(*values: int) -> Tensor:
    """Pictures of two rows and one pixel: red is a value, green and blue the two after it; below, 10 more."""
    return torch.tensor(
        [[[[value + channel], [value + channel + 10]] for channel in range(3)] for value in values],
        dtype=torch.uint8,
    )


def test_a_sheet_is_black_where_a_row_is_short() -> None:
    found = grids.sheet([grey(1, 3), grey(1)[:0], grey(5)], columns=3)
    assert found.dtype == np.uint8
    assert found.tolist() == [
        [1, 2, 3, 4, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [5, 6, 0, 0, 0, 0],
    ]


def test_a_sheet_of_colour_has_the_channels_last() -> None:
    assert grids.sheet([colour(20, 40), colour(60)], columns=2).tolist() == [
        [[20, 21, 22], [40, 41, 42]],
        [[30, 31, 32], [50, 51, 52]],
        [[60, 61, 62], [0, 0, 0]],
        [[70, 71, 72], [0, 0, 0]],
    ]


def test_tiled_images_follow_each_other_row_by_row() -> None:
    assert grids.tiled(grey(1, 3, 5, 7, 9), columns=2).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 0, 0]]
    assert grids.tiled(grey(1, 3), columns=1).tolist() == [[1, 2], [3, 4]]
    assert grids.tiled(colour(20), columns=1).tolist() == [[[20, 21, 22]], [[30, 31, 32]]]


def test_by_class_leaves_black_where_a_class_runs_out() -> None:
    data = Labelled(grey(10, 20, 30, 40), torch.tensor([1, 0, 1, 1]))
    assert grids.by_class(data, classes=3, each=2).tolist() == [
        [20, 21, 0, 0],
        [10, 11, 30, 31],
        [0, 0, 0, 0],
    ]
    two = Labelled(colour(20, 40), torch.tensor([1, 0]))
    assert grids.by_class(two, classes=2, each=1)[:, :, 0].tolist() == [[40], [50], [20], [30]]


def test_of_many_classes_only_the_first_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Labelled(grey(10, 20, 30), torch.tensor([0, 1, 99]))
    assert grids.by_class(data, classes=100, each=1).shape == (30, 2)
    monkeypatch.setattr(grids, "MOST_CLASSES", 2)
    assert grids.by_class(data, classes=100, each=1).tolist() == [[10, 11], [20, 21]]


def test_enlarged_pictures_repeat_each_pixel_both_ways() -> None:
    assert grids.enlarged(np.array([[1, 2]], dtype=np.uint8), 2).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]
    assert grids.enlarged(np.array([[[1, 2, 3]]], dtype=np.uint8), 2).tolist() == [[[1, 2, 3], [1, 2, 3]]] * 2
