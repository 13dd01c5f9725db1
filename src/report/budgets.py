"""What a synthetic set is worth over the budget of labels: docs/worth.csv as tables and points of curves."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import mean, stdev
from typing import NamedTuple

from scipy.stats import t

from src.report.markdown import Row, table, where

# The arms of docs/worth.csv, as the tables name them. Those that only one data set has come last: like this,
# the others have the same colours in each chart.
ARMS = {
    "scratch": "A: from scratch on the labels",
    "semi_supervised": "B: semi-supervised, no synthetic image",
    "guessed_tuned": "C: on real images with guessed labels, fine-tuned",
    "guessed": "C, not fine-tuned",
    "synthetic": "D: on the synthetic set",
    "synthetic_tuned": "D: the same, fine-tuned",
    "both_tuned": "E: on both, fine-tuned",
    "both": "E, not fine-tuned",
    "teaching_tuned": "F: D with a set made to teach, fine-tuned",
    "teaching": "F, not fine-tuned",
    "small_tuned": "D with 6,000 images, fine-tuned",
    "large_tuned": "D with 600,000 images, fine-tuned",
    "rendered": "B with rendered digits besides",
    "rendered_tuned": "C with their guesses",
}
# Not in the picture: what is close to another line, and what tells of the set's size, at two budgets.
TABLE_ONLY = ("guessed", "both", "teaching", "small_tuned", "large_tuned")
# In the picture of a budget only if they have all draws that the other arms share.
EXTRAS = ("rendered", "rendered_tuned", "teaching_tuned")
# What is subtracted from which: above 0, the second was worth something.
PAIRS = {
    ("guessed_tuned", "synthetic_tuned"): "C − D: synthetic images instead of real ones",
    ("guessed_tuned", "both_tuned"): "C − E: besides real ones",
    ("guessed", "both"): "C − E, neither fine-tuned",
    ("semi_supervised", "both_tuned"): "B − E",
    ("scratch", "both_tuned"): "A − E",
    ("guessed_tuned", "teaching_tuned"): "C − F: made to teach, instead of real ones",
    ("synthetic_tuned", "teaching_tuned"): "D − F: made to teach, instead of as drawn",
    ("synthetic", "teaching"): "D − F, neither fine-tuned",
    ("synthetic_tuned", "small_tuned"): "6,000 images, for D",
    ("synthetic_tuned", "large_tuned"): "600,000 images, for D",
    ("semi_supervised", "rendered"): "rendered digits, for B",
    ("guessed", "guessed_tuned"): "fine-tuning, for C",
    ("synthetic", "synthetic_tuned"): "fine-tuning, for D",
    ("both", "both_tuned"): "fine-tuning, for E",
}
# The gains that a set's worth is read from, and what making it to teach adds.
GAINS = {
    ("semi_supervised", "both_tuned"): "E over B",
    ("guessed_tuned", "both_tuned"): "E over C",
    ("guessed", "both"): "E over C, neither fine-tuned",
    ("synthetic_tuned", "teaching_tuned"): "F over D",
    ("synthetic", "teaching"): "F over D, neither fine-tuned",
}
CONFIDENCE = 0.95
ENOUGH = 3  # pairs to base a sentence on: two alike would give an interval of no width
EMPTY = "–"  # what was not measured
ALL = 50_000  # what `all` stands at on an axis


class Interval(NamedTuple):
    """A mean of paired differences with its 95% interval (Student's t), and how many pairs it rests on.

    The interval is infinite for a single pair.
    """

    middle: float
    low: float
    high: float
    pairs: int

    @property
    def gain(self) -> bool:
        """Whether a gain is shown: by enough pairs, and the interval is above zero."""
        return self.pairs >= ENOUGH and self.low > 0

    @property
    def loss(self) -> bool:
        """Whether a loss is shown: by enough pairs, and the interval is below zero."""
        return self.pairs >= ENOUGH and self.high < 0


def errors(rows: Sequence[Row], labels: str, arm: str) -> dict[str, float]:
    """The errors of an arm with a budget, by the seed of their draw."""
    return {row["seed"]: float(row["error"]) for row in rows if (row["labels"], row["arm"]) == (labels, arm)}


def difference(rows: Sequence[Row], labels: str, pair: tuple[str, str]) -> Interval | None:
    """How much lower the second arm's error is, over the draws that both have; None where there is none."""
    first, second = (errors(rows, labels, arm) for arm in pair)
    values = [first[seed] - second[seed] for seed in first if seed in second]
    return interval(values) if values else None


def interval(values: Sequence[float]) -> Interval:
    """The mean of paired differences, at least one, with its interval."""
    middle = mean(values)
    half = math.inf
    if len(values) > 1:
        half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return Interval(middle, middle - half, middle + half, len(values))


def budgets(rows: Sequence[Row]) -> list[str]:
    """The budgets that rows are of, the smallest first, and `all` last."""
    return sorted(
        {row["labels"] for row in rows}, key=lambda labels: math.inf if labels == "all" else int(labels)
    )


def equivalent(rows: Sequence[Row], error: float, arm: str = "semi_supervised") -> str:
    """How many labels an arm needs for an error, in words.

    Between budgets, both errors and labels are interpolated on logarithmic axes.
    """
    points = [
        (count(labels), mean(found.values()))
        for labels in budgets(rows)
        if (found := errors(rows, labels, arm))
    ]
    for (few, high), (more, low) in pairwise(points):
        if few > 0 and high >= error > low:
            part = (math.log(high) - math.log(error)) / (math.log(high) - math.log(low))
            return f"{math.exp(math.log(few) + part * (math.log(more) - math.log(few))):,.0f}"
    if not points or error > points[0][1]:
        return f"fewer than {points[0][0]:,}" if points else EMPTY
    return f"more than {points[-1][0]:,}"


def _needed(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """How many labels B needs for E's error with the first of these budgets.

    By the same draws as E, for those of few labels differ too much to compare others. From that budget on,
    since the question is how many more: with fewer labels, a lucky draw of B would do.
    """
    found = errors(rows, columns[0], "both_tuned")
    same = [row for row in rows if row["seed"] in found and row["labels"] in columns]
    return equivalent(same, mean(found.values())) if found else EMPTY


def _shared(found: Sequence[Mapping[str, float]]) -> set[str]:
    """The draws that all arms have."""
    return set.intersection(*(set(own) for own in found)) if found else set()


def count(labels: str) -> int:
    """A budget as a number."""
    return ALL if labels == "all" else int(labels)


def curves(rows: Sequence[Row]) -> list[tuple[int, str, float, float]]:
    """Budget, arm, mean error and deviation (0 of a single draw), of the budgets that a log axis can show.

    Of each budget over the draws that arms A to E have: with few labels, draws differ more than arms do.
    """
    points = []
    for labels in budgets(rows):
        found = {arm: errors(rows, labels, arm) for arm in ARMS if arm not in TABLE_ONLY}
        there = {arm: own for arm, own in found.items() if own and labels != "0"}
        draws = _shared([own for arm, own in there.items() if arm not in EXTRAS] or [*there.values()])
        for arm, own in there.items():
            if draws and draws <= own.keys():
                values = [own[draw] for draw in draws]
                deviation = stdev(values) if len(values) > 1 else 0.0
                points.append((count(labels), ARMS[arm], mean(values), deviation))
    order = list(ARMS.values())
    return sorted(points, key=lambda point: (order.index(point[1]), point[0]))


def table_of_errors(rows: Sequence[Row]) -> str:
    """Mean ± deviation, worst draw and number of draws of each arm that was measured, in Markdown."""
    columns = budgets(rows)
    lines = [[told, *(_cell(errors(rows, labels, arm)) for labels in columns)] for arm, told in ARMS.items()]
    lines = [line for line in lines if set(line[1:]) != {EMPTY}]
    note = "Error on the real test images, mean ± standard deviation; worst draw; number of draws"
    return table(["labels in all", *map(_labels, columns)], lines, f"{note}; {where(rows)}")


def table_of_differences(rows: Sequence[Row]) -> str:
    """Paired differences with their intervals, where there are any, and label equivalents, in Markdown."""
    columns = budgets(rows)
    lines = [
        [told, *(points(difference(rows, labels, pair)) for labels in columns)]
        for pair, told in PAIRS.items()
    ]
    lines = [line for line in lines if set(line[1:]) != {EMPTY}]
    needed = [_needed(rows, columns[place:]) for place in range(len(columns))]
    lines.append(["labels that B needs for E's error", *needed])
    note = "Percentage points of error that the second arm is better, with 95% intervals over draws"
    return table(["labels in all", *map(_labels, columns)], lines, f"{note}; {where(rows)}")


def where_zero(rows: Sequence[Row]) -> str:
    """With which budgets an arm gains or loses, and from which on a gain is not shown, as a list in Markdown.

    Budgets with fewer draws than `ENOUGH` are left out.
    """
    lines = []
    for pair, name in GAINS.items():
        all_of = {labels: difference(rows, labels, pair) for labels in budgets(rows)}
        found = {_labels(labels): one for labels, one in all_of.items() if one and one.pairs >= ENOUGH}
        gains = [labels for labels, one in found.items() if one.gain]
        losses = [labels for labels, one in found.items() if one.loss]
        told = f"a gain is shown with {_listed(gains)}"
        if gains and (none := [*found][[*found].index(gains[-1]) + 1 :]):
            told += "; with all it is not" if none == ["all"] else f"; from {none[0]} on it is not"
        if losses:
            told += f"; a loss is shown with {_listed(losses)}"
        if found:
            lines.append(f"- {name}: {told}.")
    return "\n".join([f"By the intervals of budgets with {ENOUGH} draws or more:\n", *lines]) if lines else ""


def _listed(labels: Sequence[str]) -> str:
    if len(labels) == 1:
        return "all labels" if labels == ["all"] else f"a budget of {labels[0]}"
    return f"budgets of {', '.join(labels)}" if labels else "no budget"


def told(rows: Sequence[Row], labels: str) -> str:
    """Sentences on what the arms with one budget say, over the draws that they share."""
    arms = [errors(rows, labels, arm) for arm in ("guessed_tuned", "synthetic_tuned", "both_tuned")]
    found = difference(rows, labels, ("guessed_tuned", "both_tuned"))
    draws = _shared(arms)
    if not draws or found is None:
        return f"On a budget of {_labels(labels)} labels: not measured yet."
    guessed, synthetic, both = (f"{100 * mean(own[draw] for draw in draws):.2f}%" for own in arms)
    besides = "besides the real ones"
    if found.gain:
        sums = f"So the synthetic images are worth something {besides}"
    elif found.loss:
        sums = f"So the synthetic images do harm {besides}"
    else:
        sums = f"So these draws do not show that the synthetic images are worth anything {besides}"
    interval = f"a gain of {points(found)} points, {found.pairs} draw{'s' if found.pairs > 1 else ''}"
    guesser = _over_guesser(difference(rows, labels, ("semi_supervised", "both_tuned")))
    return (
        f"With {_labels(labels)} labels in all, a classifier errs on {guessed} of the test images if it "
        f"learns from real images with guessed labels, on {synthetic} from the synthetic set, and on {both} "
        f"from both. {sums} ({interval}).{guesser}"
    )


def _over_guesser(found: Interval | None) -> str:
    if found is None:
        return ""
    if found.loss:
        return f" Over the classifier that guessed the labels, both are a loss: {points(found)} points."
    gain = "both gain" if found.gain else "no gain is shown:"
    return f" Over the classifier that guessed the labels, {gain} {points(found)} points."


def _labels(labels: str) -> str:
    return labels if labels == "all" else f"{int(labels):,}"


def _cell(found: dict[str, float]) -> str:
    if not found:
        return EMPTY
    values = list(found.values())
    deviation = f" ± {100 * stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.2f}{deviation}; {100 * max(values):.2f}; {len(values)}"


def points(found: Interval | None) -> str:
    """An interval of differences in percentage points, as text."""
    if found is None:
        return EMPTY
    middle = f"{100 * found.middle:+.2f}"
    return middle if found.pairs == 1 else f"{middle} ({100 * found.low:+.2f} to {100 * found.high:+.2f})"
