"""Tables of what a synthetic set is worth: means, paired intervals, label equivalents."""

import math
from pathlib import Path

import pytest

from src.core import files
from src.report import budgets, measured

HERE = {"processor": "AVX2, 2 threads", "commit": "abc1234", "dataset": "mnist", "code": "c0de"}


def rows(labels: str, arm: str, *errors: float, first: int = 0) -> list[dict[str, str]]:
    return [
        HERE | {"labels": labels, "seed": str(seed), "arm": arm, "error": str(error)}
        for seed, error in enumerate(errors, first)
    ]


def test_differences_are_paired_by_draw_and_have_students_interval() -> None:
    found = rows("10", "guessed_tuned", 0.05, 0.03, 0.04) + rows("10", "both_tuned", 0.03, 0.02, 0.01)
    # differences 0.02, 0.01, 0.03: mean 0.02, deviation 0.01; t(0.975, 2) = 4.3027
    one = budgets.difference(found, "10", ("guessed_tuned", "both_tuned"))
    assert one is not None
    assert one.middle == pytest.approx(0.02)
    assert one.high - one.middle == pytest.approx(4.3027 * 0.01 / math.sqrt(3), rel=1e-4)
    assert one.middle - one.low == pytest.approx(one.high - one.middle)
    assert one.pairs == 3
    assert budgets.difference(found, "100", ("guessed_tuned", "both_tuned")) is None


def test_draws_that_one_arm_lacks_do_not_count() -> None:
    found = rows("10", "guessed_tuned", 0.9, 0.3) + rows("10", "both_tuned", 0.1, first=1)
    one = budgets.difference(found, "10", ("guessed_tuned", "both_tuned"))
    assert one is not None
    assert (one.middle, one.low, one.pairs) == (pytest.approx(0.2), -math.inf, 1)


CURVE = rows("0", "semi_supervised", 0.2) + rows("10", "semi_supervised", 0.1, 0.06)
CURVE += rows("1000", "semi_supervised", 0.02) + rows("all", "semi_supervised", 0.01)


@pytest.mark.parametrize(
    ("error", "labels"),
    [
        (0.08, "10"),
        (0.04, "100"),  # halfway, on logarithmic axes, from 8% at 10 labels to 2% at 1,000
        (0.02, "1,000"),
        (0.01, "more than 50,000"),
        (0.001, "more than 50,000"),
        (0.3, "fewer than 0"),
    ],
)
def test_labels_are_interpolated_between_budgets(error: float, labels: str) -> None:
    assert budgets.equivalent(CURVE, error) == labels


def test_labels_are_needed_for_an_error_by_the_same_draws() -> None:
    # B's second draw of 10 labels went wrong, and E was not run on it.
    found = rows("10", "semi_supervised", 0.07, 0.31) + rows("10", "both_tuned", 0.07)
    found += rows("100", "semi_supervised", 0.01, 0.01)
    told = budgets.table_of_differences(found).splitlines()
    assert "| labels that B needs for E's error | 10 | – |" in told


def test_more_labels_are_needed_and_not_fewer() -> None:
    # B was lucky with 50 labels. It errs on 2% with 100 and on 1% with 1,000: E's 1.41% is halfway, on
    # logarithmic axes.
    found = rows("50", "semi_supervised", 0.01) + rows("100", "semi_supervised", 0.02)
    found += rows("1000", "semi_supervised", 0.01) + rows("100", "both_tuned", 0.0141421)
    found += rows("1000", "both_tuned", 0.015)
    told = budgets.table_of_differences(found).splitlines()
    assert "| labels that B needs for E's error | – | 316 | fewer than 1,000 |" in told


def test_budgets_are_in_order_of_their_size_and_all_is_last() -> None:
    assert budgets.budgets(CURVE) == ["0", "10", "1000", "all"]
    assert budgets.curves(CURVE) == [
        (10, budgets.ARMS["semi_supervised"], pytest.approx(0.08), pytest.approx(0.028284, rel=1e-3)),
        (1000, budgets.ARMS["semi_supervised"], 0.02, 0.0),
        (50_000, budgets.ARMS["semi_supervised"], 0.01, 0.0),
    ]


def test_curves_compare_arms_over_the_same_draws() -> None:
    # B's draws 1 and 2 went wrong; E has not been run on 2, and a set of another size only on 0.
    found = rows("10", "semi_supervised", 0.07, 0.31, 0.5) + rows("10", "both_tuned", 0.06, 0.3)
    found += rows("10", "large_tuned", 0.05) + rows("10", "both", 0.05) + rows("10", "teaching_tuned", 0.04)
    found += rows("10", "teaching", 0.05)  # in no picture either
    assert budgets.curves(found) == [
        (10, budgets.ARMS["semi_supervised"], pytest.approx(0.19), pytest.approx(0.169706, rel=1e-4)),
        (10, budgets.ARMS["both_tuned"], pytest.approx(0.18), pytest.approx(0.169706, rel=1e-4)),
    ]
    teaching = found + rows("10", "teaching_tuned", 0.1, first=1)  # now on both draws that the others share
    assert budgets.curves(teaching) == [
        *budgets.curves(found),
        (10, budgets.ARMS["teaching_tuned"], pytest.approx(0.07), pytest.approx(0.0424264, rel=1e-4)),
    ]
    # What one data set alone has comes last, so that it moves no other arm's colour.
    rendered = found + rows("10", "rendered", 0.05, 0.05)
    assert budgets.curves(rendered) == [*budgets.curves(found), (10, budgets.ARMS["rendered"], 0.05, 0.0)]
    # nothing to compare
    assert budgets.curves(rows("10", "scratch", 0.1) + rows("10", "both_tuned", 0.1, first=1)) == []
    assert "29.33 ± 21.55; 50.00; 3" in budgets.table_of_errors(found)  # the table has all of them


def test_tables_tell_means_worst_draws_and_how_many_there_were() -> None:
    found = CURVE + rows("10", "both_tuned", 0.07, 0.05) + rows("10", "guessed_tuned", 0.08)
    found += rows("10", "both", 0.06) + rows("10", "synthetic", 0.04)
    found += rows("10", "synthetic_tuned", 0.09) + rows("10", "teaching_tuned", 0.07)
    found += rows("10", "small_tuned", 0.11) + rows("10", "large_tuned", 0.08) + rows("10", "scratch", 0.5)
    errors = budgets.table_of_errors(found).splitlines()
    assert errors[0] == "| labels in all | 0 | 10 | 1,000 | all |"
    assert errors[3] == (
        "| B: semi-supervised, no synthetic image | 20.00; 20.00; 1 | 8.00 ± 2.83; 10.00; 2 "
        "| 2.00; 2.00; 1 | 1.00; 1.00; 1 |"
    )
    assert errors[-1].endswith("on AVX2, 2 threads; commit abc1234.*")
    assert not any(line.startswith(("| F, not", "| C, not")) for line in errors)  # not measured: no row
    differences = budgets.table_of_differences(found).splitlines()
    assert differences[3] == "| C − E: besides real ones | – | +1.00 | – | – |"
    assert differences[5] == "| A − E | – | +43.00 | – | – |"
    assert differences[7] == "| D − F: made to teach, instead of as drawn | – | +2.00 | – | – |"
    assert differences[8] == "| 6,000 images, for D | – | -2.00 | – | – |"
    assert differences[9] == "| 600,000 images, for D | – | +1.00 | – | – |"
    assert differences[11] == "| fine-tuning, for E | – | -1.00 | – | – |"  # 6% before, and 7% after
    # 0.03 and 0.01: mean 0.02, deviation 0.01414, t(0.975, 1) = 12.706
    assert differences[4] == "| B − E | – | +2.00 (-10.71 to +14.71) | – | – |"
    assert differences[12] == "| labels that B needs for E's error | – | 26 | – | – |"


def gains(*budgets_and_errors: tuple[str, float, float]) -> list[dict[str, str]]:
    """B's errors are 5%, 5.1% and 5%; two of E's are told, and the third is the first again."""
    return [
        row
        for labels, first, second in budgets_and_errors
        for row in rows(labels, "semi_supervised", 0.05, 0.051, 0.05)
        + rows(labels, "both_tuned", first, second, first)
    ]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        # gains of 2 points each, and of 2, -2 and 2 points, which is none
        (
            gains(("0", 0.03, 0.031), ("10", 0.03, 0.071), ("100", 0.03, 0.031), ("1000", 0.07, 0.031)),
            "budgets of 0, 100; from 1,000 on it is not",
        ),
        (
            gains(("100", 0.03, 0.031), ("1000", 0.07, 0.031), ("all", 0.06, 0.06)),
            "a budget of 100; from 1,000 on it is not; a loss is shown with all labels",
        ),
        (gains(("1000", 0.03, 0.031), ("all", 0.03, 0.071)), "a budget of 1,000; with all it is not"),
        (gains(("1000", 0.03, 0.031), ("all", 0.03, 0.031)), "budgets of 1,000, all"),
        (gains(("10", 0.06, 0.061)), "no budget; a loss is shown with a budget of 10"),
    ],
)
def test_the_budget_is_told_from_which_a_gain_is_zero(found: list[dict[str, str]], told: str) -> None:
    two = rows("50", "semi_supervised", 0.5, 0.5) + rows("50", "both_tuned", 0.1, 0.1)
    assert budgets.where_zero(found + two).splitlines() == [
        "By the intervals of budgets with 3 draws or more:",
        "",
        f"- E over B: a gain is shown with {told}.",
    ]
    assert budgets.where_zero(two) == ""


def test_each_gain_is_told_by_itself() -> None:
    found = rows("10", "guessed", 0.05, 0.051, 0.05) + rows("10", "both", 0.03, 0.031, 0.03)
    found += rows("10", "guessed_tuned", 0.04, 0.041, 0.04) + rows("10", "both_tuned", 0.04, 0.041, 0.04)
    assert budgets.where_zero(found).splitlines()[2:] == [
        "- E over C: a gain is shown with no budget.",
        "- E over C, neither fine-tuned: a gain is shown with a budget of 10.",
    ]
    found = rows("all", "synthetic_tuned", 0.03, 0.031, 0.03)
    found += rows("all", "teaching_tuned", 0.02, 0.021, 0.02)
    assert budgets.where_zero(found).splitlines()[2:] == ["- F over D: a gain is shown with all labels."]


def test_the_document_has_a_table_for_each_data_set(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    assert measured.worth(tmp_path, "mnist") == "Not measured yet."
    names = list(CURVE[0])
    files.write_csv(tmp_path / "docs/worth.csv", names, [[row[name] for name in names] for row in CURVE])
    assert "| B: semi-supervised, no synthetic image |" in measured.worth(tmp_path, "mnist")
    assert measured.worth(tmp_path, "fashion-mnist") == "Not measured yet."


@pytest.mark.parametrize(
    ("both", "words"),
    [
        (
            (0.03, 0.02, 0.025),
            "are worth something besides the real ones (a gain of +2.00 (+1.75 to +2.25) points, 3",
        ),
        ((0.069, 0.06, 0.0645), "do harm besides the real ones (a gain of -1.95"),
        (
            (0.03, 0.06, 0.045),
            "do not show that the synthetic images are worth anything besides the real ones (a gain",
        ),
    ],
)
def test_sentences_say_whether_there_is_a_gain(both: tuple[float, float, float], words: str) -> None:
    # A fourth draw of C, without a set, is in none of the sentences.
    found = rows("100", "guessed_tuned", 0.051, 0.039, 0.045, 0.9) + rows("100", "both_tuned", *both)
    assert "not measured yet" in budgets.told(found, "100")
    found += rows("100", "synthetic_tuned", 0.05, 0.0524, 0.0512)
    text = budgets.told(found, "100")
    assert text.startswith("With 100 labels in all, a classifier errs on 4.50% of the test images if")
    assert "on 5.12% from the synthetic set" in text
    assert words in text
    assert "guessed the labels" not in text
    for errors, over in (
        ((0.01, 0.03, 0.02), "no gain is shown: +2.00 (-0.48 to +4.48) points."),
        ((0.02, 0.022, 0.021), "both gain +2.10 (+1.85 to +2.35) points."),
        ((-0.01, -0.0102, -0.0101), "both are a loss: -1.01 (-1.03 to -0.99) points."),
    ):
        guesser = rows("100", "semi_supervised", *(e + more for e, more in zip(both, errors, strict=True)))
        text = budgets.told(found + guesser, "100")
        assert text.endswith(f"Over the classifier that guessed the labels, {over}")


@pytest.mark.parametrize("both", [0.01, 0.09])
def test_two_draws_show_neither_a_gain_nor_a_loss(both: float) -> None:
    found = rows("100", "semi_supervised", 0.05, 0.05) + rows("100", "guessed_tuned", 0.05, 0.05)
    found += rows("100", "synthetic_tuned", 0.05, 0.05) + rows("100", "both_tuned", both, both)
    text = budgets.told(found, "100")
    assert "do not show that the synthetic images are worth anything" in text
    assert "no gain is shown" in text
