"""Numbers, tables and captions in Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import Any

Row = Mapping[str, str]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A table with its caption in italics below.

    Args:
        head: The names of the columns; the first column is left-aligned, all others right-aligned.
        rows: Cells, as many in each row as there are columns.
        caption: Gets a capital letter and a full stop.
    """
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{text}\n\n*{caption[0].upper()}{caption[1:]}.*"


def number(value: float, form: str = "distance") -> str:
    """A score as text: `share` and `percent` with one and two decimals, `kernel` with three, others with two.

    From 100 on there are no decimals.
    """
    if form in ("share", "percent"):
        return f"{value:.1%}" if form == "share" else f"{value:.2%}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3f}" if form == "kernel" else f"{value:.2f}"


def spread(middle: float, deviation: float) -> str:
    """Mean and standard deviation of a fraction, as percentages."""
    return f"{middle:.2%} ± {deviation:.2%}"


def average(rows: Sequence[Row], name: str) -> float:
    """The mean of a column."""
    return mean(float(row[name]) for row in rows)


def joined(values: Iterable[str]) -> str:
    """Different values as an enumeration: a, b and c."""
    *most, last = dict.fromkeys(values)
    return f"{', '.join(most)} and {last}" if most else last


def machine(environment: Mapping[str, Any]) -> str:
    """What a number was measured on.

    Args:
        environment: Has `processor` and `threads`, as `src.core.machine.environment` gives them.
    """
    processor = str(environment["processor"]).replace("AVX512", "AVX-512")
    return f"{processor}, {environment['threads']} thread{'' if str(environment['threads']) == '1' else 's'}"


def where(rows: Sequence[Row]) -> str:
    """What rows were measured on, and by which commit, from their columns `processor` and `commit`."""
    processors = " and on ".join(dict.fromkeys(row["processor"] for row in rows))
    commits = joined(row["commit"] for row in rows)
    return f"on {processors}; commit{'s' if ' ' in commits else ''} {commits}"


def seeds(count: int) -> str:
    """How many seeds are behind a table's numbers."""
    return "one seed each" if count == 1 else f"mean ± standard deviation over {count} seeds"
