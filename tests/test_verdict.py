"""What counts as collapsed, diverged and converged, and what metrics/gan.json tells."""

from typing import Any

import pytest

from src.core.settings import Thresholds
from src.gan import verdict

THRESHOLDS = Thresholds(
    max_missing_classes=0,
    max_class_kl=0.1,
    min_diversity=0.5,
    min_precision=0.05,
    max_fid_left=0.75,
    allow_failed=False,
)
GOOD: dict[str, Any] = {
    "missing": 0,
    "class_kl": 0.01,
    "diversity": 0.9,
    "precision": 0.8,
    "fid_left": 0.01,
    "exhausted": False,
    "non_finite": False,
}


def judge(**changes: Any) -> verdict.Verdict:
    return verdict.judge(**(GOOD | changes), thresholds=THRESHOLDS)


def test_a_good_run_that_used_up_its_images_is_none_of_the_three() -> None:
    assert judge() == (0, 0, 0, ())


def test_a_good_run_whose_score_stood_still_converged() -> None:
    assert judge(exhausted=True) == (0, 0, 1, ())


@pytest.mark.parametrize(
    ("name", "inside", "outside", "words"),
    [
        ("missing", 0, 1, "missing classes, 1, are more than verdict.max_missing_classes 0"),
        ("class_kl", 0.1, 0.11, "class_kl 0.110 is above verdict.max_class_kl 0.1"),
        ("diversity", 0.5, 0.49, "diversity 0.490 is below verdict.min_diversity 0.5"),
    ],
)
def test_lost_variety_is_a_collapse(name: str, inside: float, outside: float, words: str) -> None:
    assert judge(**{name: inside}) == (0, 0, 0, ())
    assert judge(**{name: outside}, exhausted=True) == (1, 0, 0, (words,))


def test_every_reason_is_told() -> None:
    assert len(judge(missing=9, class_kl=2.3, diversity=0.0).reasons) == 3


def test_images_that_look_like_nothing_mean_divergence_and_not_collapse() -> None:
    assert judge(precision=0.05) == (0, 0, 0, ())
    found = judge(precision=0.04, missing=9, diversity=0.0, exhausted=True)
    assert found == (0, 1, 0, ("precision 0.040 is below verdict.min_precision 0.05",))


def test_images_no_nearer_to_real_ones_than_before_mean_divergence_however_real_one_picture_looks() -> None:
    assert judge(fid_left=0.75) == (0, 0, 0, ())
    found = judge(fid_left=0.76, precision=1.0, missing=9, diversity=0.0)
    assert found == (0, 1, 0, ("fid_left 0.760 is above verdict.max_fid_left 0.75",))
    assert len(judge(fid_left=1.5, precision=0.0).reasons) == 2


def test_a_run_given_up_at_a_step_that_was_not_finite_diverged_whatever_it_looked_like() -> None:
    assert judge(non_finite=True, exhausted=True) == (
        0,
        1,
        0,
        ("a loss or gradient was NaN or infinite twice",),
    )


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
    "train_score": 0.6,
    "heldout_score": 0.5,
}
FOUND = verdict.Verdict(1, 0, 0, ("one class is missing",))
BEST = CHECK | {"images_seen": 400.0, "fid": 11.5}


def test_metrics_are_the_verdict_and_the_runs_last_numbers_and_its_best() -> None:
    found = verdict.metrics(FOUND, REPORT, CHECK, BEST, fid_left=0.25, retries=1)
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
        "train_score": 0.6,
        "heldout_score": 0.5,
        "images_seen": 800,
        "classes": 9,
        "validation_fid": 12.5,
        "fid_left": 0.25,
        "best_images_seen": 400,
        "best_validation_fid": 11.5,
        "retries": 1,
        "collapsed": 1,
        "diverged": 0,
        "converged": 0,
    }
    whole = ("images_seen", "classes", "best_images_seen", "collapsed", "diverged", "converged")
    assert all(type(found[name]) is int for name in whole)  # they were read from a table of numbers


def test_metrics_of_another_game_leave_out_what_it_does_not_report() -> None:
    others = {"images_seen": 800.0, "d_loss": 0.1, "e_loss": 0.2, "e_gradient": 0.3, "learning_rate": 0.4}
    found = verdict.metrics(FOUND, others, CHECK, BEST, fid_left=0.25, retries=0)
    assert list(found)[:3] == ["d_loss", "learning_rate", "class_kl"]
