"""What counts as collapsed, diverged and converged."""

from typing import Any

import pytest

from src import verdict
from src.config import Thresholds

THRESHOLDS = Thresholds(
    min_classes=10,
    max_class_kl=0.1,
    min_diversity=0.5,
    min_precision=0.05,
    max_fid_left=0.75,
    allow_failed=False,
)
GOOD: dict[str, Any] = {
    "classes": 10,
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
        ("classes", 10, 9, "9 classes are fewer than verdict.min_classes 10"),
        ("class_kl", 0.1, 0.11, "class_kl 0.110 is above verdict.max_class_kl 0.1"),
        ("diversity", 0.5, 0.49, "diversity 0.490 is below verdict.min_diversity 0.5"),
    ],
)
def test_lost_variety_is_a_collapse(name: str, inside: float, outside: float, words: str) -> None:
    assert judge(**{name: inside}) == (0, 0, 0, ())
    assert judge(**{name: outside}, exhausted=True) == (1, 0, 0, (words,))


def test_every_reason_is_told() -> None:
    assert len(judge(classes=1, class_kl=2.3, diversity=0.0).reasons) == 3


def test_images_that_look_like_nothing_mean_divergence_and_not_collapse() -> None:
    assert judge(precision=0.05) == (0, 0, 0, ())
    found = judge(precision=0.04, classes=1, diversity=0.0, exhausted=True)
    assert found == (0, 1, 0, ("precision 0.040 is below verdict.min_precision 0.05",))


def test_images_no_nearer_to_real_ones_than_before_mean_divergence_however_real_one_picture_looks() -> None:
    assert judge(fid_left=0.75) == (0, 0, 0, ())
    found = judge(fid_left=0.76, precision=1.0, classes=1, diversity=0.0)
    assert found == (0, 1, 0, ("fid_left 0.760 is above verdict.max_fid_left 0.75",))
    assert len(judge(fid_left=1.5, precision=0.0).reasons) == 2


def test_a_run_given_up_at_a_step_that_was_not_finite_diverged_whatever_it_looked_like() -> None:
    assert judge(non_finite=True, exhausted=True) == (
        0,
        1,
        0,
        ("a loss or gradient was NaN or infinite twice",),
    )
