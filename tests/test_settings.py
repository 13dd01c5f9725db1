"""What numbers and names params.yaml may hold, in words and as tests."""

import pytest

from src.core.settings import Bounds, OneOf


@pytest.mark.parametrize(
    ("value", "inside"),
    [(1, True), (2.5, True), (4, True), (0.999, False), (4.001, False), (float("nan"), False), ("2", False)],
)
def test_bounds_hold_both_their_ends(value: object, inside: bool) -> None:
    assert (value in Bounds(1, 4)) is inside
    assert str(Bounds(1, 4)) == "a number from 1 to 4"


@pytest.mark.parametrize(("value", "inside"), [(0, False), (1e-9, True), (4, True), (4.001, False)])
def test_bounds_may_leave_out_the_lower_end(value: float, inside: bool) -> None:
    assert (value in Bounds(0, 4, above=True)) is inside
    assert str(Bounds(0, 4, above=True)) == "a number above 0 to 4"


def test_the_names_that_are_allowed_are_those_of_the_table_as_it_is_now() -> None:
    table = {"gan": 1, "wgan": 2}
    allowed = OneOf(table)
    assert "wgan" in allowed
    assert "lsgan" not in allowed
    assert str(allowed) == "gan, wgan"
    table["lsgan"] = 3  # a row is all that a new name takes
    assert "lsgan" in allowed
    assert str(allowed) == "gan, wgan, lsgan"
