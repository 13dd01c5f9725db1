"""What counts as which outcome of a run, next to real images, and what metrics/gan.json tells."""

from typing import Any

import pytest

from src.core.settings import Thresholds
from src.gan import verdict

THRESHOLDS = Thresholds(
    max_missing_classes=0,
    max_class_kl=0.1,
    min_diversity=0.5,
    min_coverage=0.2,
    min_precision=0.05,
    max_fid_left=0.75,
    min_agreement=0.5,
    allow_failed=False,
    baselines=(),
)
REAL = {"classes": 8, "class_kl": 0.05, "diversity": 1.2, "coverage": 0.9, "precision": 0.8, "agreement": 0.6}
GOOD = {"classes": 8, "class_kl": 0.06, "diversity": 0.9, "coverage": 0.7, "precision": 0.7, "agreement": 0.5}
RUN: dict[str, Any] = {"fid_left": 0.01, "conditional": True, "exhausted": False, "non_finite": False}


def judge(*, run: dict[str, Any] | None = None, **changes: float) -> verdict.Verdict:
    return verdict.judge(GOOD | changes, REAL, **(RUN | (run or {})), thresholds=THRESHOLDS)


EXHAUSTED = {"exhausted": True}


def test_a_good_run_that_used_up_its_images_is_still_improving() -> None:
    assert judge() == ("still improving", ())


def test_a_good_run_whose_score_stood_still_converged() -> None:
    assert judge(run=EXHAUSTED) == ("converged", ())


@pytest.mark.parametrize(
    ("name", "inside", "outside", "words"),
    [
        # Eight classes are all that the extractor finds in real images.
        ("classes", 8, 7, "missing classes, 1, are more than verdict.max_missing_classes (0)"),
        ("classes", 10, 0, "missing classes, 8, are more than verdict.max_missing_classes (0)"),
        # 0.05 of it is how far real images are from uniform, in the extractor's eyes.
        (
            "class_kl",
            0.1499,
            0.1601,
            "class_kl 0.160 exceeds that of real images, 0.050, by more than verdict.max_class_kl (0.1)",
        ),
        (
            "diversity",
            0.6,
            0.59,
            "diversity 0.590, of 1.200 for real images, is below verdict.min_diversity (0.5)",
        ),
        (
            "coverage",
            0.181,
            0.17,
            "coverage 0.170, of 0.900 for real images, is below verdict.min_coverage (0.2)",
        ),
    ],
)
def test_lost_variety_is_a_collapse(name: str, inside: float, outside: float, words: str) -> None:
    assert judge(**{name: inside}).outcome == "still improving"
    assert judge(**{name: outside}, run=EXHAUSTED) == ("collapsed", (words,))


def test_every_reason_is_told() -> None:
    assert len(judge(classes=1, class_kl=2.3, diversity=0.0, coverage=0.0).reasons) == 4


def test_images_that_look_like_nothing_mean_divergence_and_not_collapse() -> None:
    assert judge(precision=0.041).outcome == "still improving"
    found = judge(precision=0.03, classes=1, diversity=0.0, run=EXHAUSTED)
    words = "precision 0.030, of 0.800 for real images, is below verdict.min_precision (0.05)"
    assert found == ("diverged", (words,))


def test_images_no_nearer_to_real_ones_than_before_mean_divergence_however_real_one_picture_looks() -> None:
    assert judge(run={"fid_left": 0.75}).outcome == "still improving"
    found = judge(precision=1.0, classes=1, diversity=0.0, run={"fid_left": 0.76})
    assert found == ("diverged", ("fid_left 0.760 is above verdict.max_fid_left (0.75)",))
    assert len(judge(precision=0.0, run={"fid_left": 1.5}).reasons) == 2


def test_a_run_given_up_at_a_step_that_was_not_finite_diverged_whatever_it_looked_like() -> None:
    found = judge(run={"non_finite": True, "exhausted": True})
    assert found == ("diverged", ("a loss or gradient was NaN or infinite twice",))


def test_images_of_another_class_than_asked_for_are_mislabelled_where_a_class_was_asked_for() -> None:
    # The extractor agrees with 0.6 of the real images' labels.
    assert judge(agreement=0.31).outcome == "still improving"
    words = "agreement 0.290, of 0.600 for real images, is below verdict.min_agreement (0.5)"
    assert judge(agreement=0.29, run=EXHAUSTED) == ("mislabelled", (words,))
    assert judge(agreement=0.1, run={"conditional": False}).outcome == "still improving"
    assert judge(agreement=0.1, coverage=0.1).outcome == "collapsed"


# What is told of it

REPORT = {
    "images_seen": 800.0,
    "d_loss": 0.1,
    "penalty": 0.2,
    "real_score": 0.3,
    "fake_score": 0.4,
    "g_loss": 0.5,
    "d_gradient": 0.6,
    "g_gradient": 0.7,
    "learning_rate": 0.8,
}
CHECK = {
    "images_seen": 790.0,
    "fid": 12.5,
    "classes": 9.0,
    "class_kl": 0.01,
    "diversity": 0.9,
    "precision": 0.8,
    "recall": 0.7,
    "coverage": 0.65,
    "agreement": 0.55,
    "train_score": 0.6,
    "heldout_score": 0.5,
}
FOUND = verdict.Verdict("collapsed", ("one class is missing",))
BEST = CHECK | {"images_seen": 400.0, "fid": 11.5}


def test_metrics_are_the_verdict_and_the_runs_last_numbers_and_its_best() -> None:
    found = verdict.metrics(FOUND, REPORT, CHECK, BEST, fid_left=0.25, setback=1.5, retries=1)
    assert found == {
        "d_loss": 0.1,
        "g_loss": 0.5,
        "real_score": 0.3,
        "fake_score": 0.4,
        "d_gradient": 0.6,
        "g_gradient": 0.7,
        "learning_rate": 0.8,
        "class_kl": 0.01,
        "diversity": 0.9,
        "precision": 0.8,
        "recall": 0.7,
        "coverage": 0.65,
        "agreement": 0.55,
        "train_score": 0.6,
        "heldout_score": 0.5,
        "images_seen": 800,
        "classes": 9,
        "validation_fid": 12.5,
        "fid_left": 0.25,
        "setback": 1.5,
        "best_images_seen": 400,
        "best_validation_fid": 11.5,
        "retries": 1,
        "collapsed": 1,
        "diverged": 0,
        "mislabelled": 0,
        "converged": 0,
    }
    flags = ("collapsed", "diverged", "mislabelled", "converged")
    whole = ("images_seen", "classes", "best_images_seen", *flags)
    assert all(type(found[name]) is int for name in whole)  # they were read from a table of numbers


def test_metrics_of_another_game_leave_out_what_it_does_not_report() -> None:
    others = {"images_seen": 800.0, "d_loss": 0.1, "e_loss": 0.2, "e_gradient": 0.3, "learning_rate": 0.4}
    found = verdict.metrics(FOUND, others, CHECK, BEST, fid_left=0.25, setback=1.5, retries=0)
    assert list(found)[:3] == ["d_loss", "learning_rate", "class_kl"]


@pytest.mark.parametrize("outcome", ["collapsed", "diverged", "mislabelled", "converged", "still improving"])
def test_at_most_one_flag_is_up_and_it_is_that_of_the_outcome(outcome: str) -> None:
    found = verdict.metrics(
        verdict.Verdict(outcome, ()), REPORT, CHECK, BEST, fid_left=0.25, setback=1.5, retries=0
    )
    up = [name for name in ("collapsed", "diverged", "mislabelled", "converged") if found[name]]
    assert up == ([] if outcome == "still improving" else [outcome])


def test_a_setback_is_measured_from_the_best_check_before_after_a_tenth_of_the_run() -> None:
    def setback(*fids: float) -> float:
        """Of checks at 0, 10, 20 ... images, the last of them at the end of the run."""
        return verdict.setback([{"images_seen": 10 * n, "fid": fid} for n, fid in enumerate(fids)])

    assert setback(90, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0.5) == pytest.approx(8 / 9)
    assert setback(90, 30, 10, 4, 12, 3, 2, 2, 2, 2, 2) == 3.0  # 12 over 4, not over 90 or 3
    assert setback(2, 90, 4, 4, 4, 4, 4, 4, 4, 4, 4) == 2.0  # the first tenth may be bad, and is beaten, too
    assert setback(5.0) == 1.0
