"""Numbers, tables and captions, letter by letter."""

import pytest

from src.report import markdown


def test_a_table_has_a_left_aligned_first_column_and_a_caption_that_is_a_sentence() -> None:
    assert markdown.table(["a", "b"], [["x", "1"], ["y", ""]], "on AVX2").splitlines() == [
        "| a | b |",
        "| --- | ---: |",
        "| x | 1 |",
        "| y |  |",
        "",
        "*On AVX2.*",
    ]


@pytest.mark.parametrize(
    ("value", "form", "expected"),
    [
        (0.98765, "share", "98.8%"),
        (0.98765, "percent", "98.77%"),
        (0.0304, "kernel", "0.030"),
        (0.7875, "distance", "0.79"),
        (-0.5, "distance", "-0.50"),
        (99.994, "distance", "99.99"),
        (920.6, "distance", "921"),
        (-1234.5, "kernel", "-1,234"),
    ],
)
def test_a_number_has_the_decimals_of_its_form(value: float, form: str, expected: str) -> None:
    assert markdown.number(value, form) == expected


def test_a_spread_is_in_percent() -> None:
    assert markdown.spread(0.015433, 0.001206) == "1.54% ± 0.12%"


def test_an_enumeration_names_each_once() -> None:
    assert markdown.joined(["a"]) == "a"
    assert markdown.joined(["a", "b", "a"]) == "a and b"
    assert markdown.joined(["a", "b", "c"]) == "a, b and c"


def test_a_machine_is_its_processor_and_its_threads() -> None:
    assert markdown.machine({"processor": "AVX512", "threads": 2}) == "AVX-512, 2 threads"
    assert markdown.machine({"processor": "AVX2", "threads": "1"}) == "AVX2, 1 thread"


def test_a_caption_names_every_processor_and_commit() -> None:
    rows = [
        {"processor": "AVX2, 2 threads", "commit": "abc"},
        {"processor": "AVX2, 2 threads", "commit": "abc"},
    ]
    assert markdown.where(rows) == "on AVX2, 2 threads; commit abc"
    rows.append({"processor": "AVX-512, 1 thread", "commit": "def"})
    assert markdown.where(rows) == "on AVX2, 2 threads and on AVX-512, 1 thread; commits abc and def"


def test_one_seed_has_no_deviation() -> None:
    assert markdown.seeds(1) == "one seed each"
    assert markdown.seeds(3) == "mean ± standard deviation over 3 seeds"


def test_an_average_is_over_all_rows() -> None:
    assert markdown.average([{"x": "1"}, {"x": "2.5"}], "x") == 1.75
