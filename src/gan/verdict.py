"""What became of a GAN run, told from its last check: one of five outcomes, in a word and as numbers."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from src.core.settings import Thresholds

DIVERGED, COLLAPSED, MISLABELLED = "diverged", "collapsed", "mislabelled"
CONVERGED, IMPROVING = "converged", "still improving"
FAILED = (DIVERGED, COLLAPSED, MISLABELLED)


class Verdict(NamedTuple):
    """One of the five words above, and what is wrong with a failed run."""

    outcome: str
    reasons: tuple[str, ...]


def judge(
    check: Mapping[str, float],
    real: Mapping[str, float],
    *,
    fid_left: float,
    conditional: bool,
    exhausted: bool,
    non_finite: bool,
    thresholds: Thresholds,
) -> Verdict:
    """Judges a run by the last check of its moving average, beside real images of the same data set.

    Diverged: a step was not finite a second time, next to no image looks real, or all together are hardly
    nearer to real ones than those of the untrained generator. Collapsed: not that, but classes are missing
    or rare, or most real images have no generated one near them, or those of a class are all alike.
    Mislabelled: neither, but images are not of the class that was asked for. Converged: none of these, and
    the score had stopped improving. Still improving: the images were used up before that.

    Args:
        check: The run's last, by the names of `src.gan.watch.Check`.
        real: The same scores of real images.
        fid_left: FID as a part of the untrained generator's, 1 where nothing has been learnt.
        conditional: Whether the generator is told classes; where it isn't, none can be wrong.
        exhausted: Whether the best score is older than the patience.
        non_finite: Whether training gave up at a step that was not finite.
        thresholds: From where on a run has failed.
    """
    if non_finite:
        return Verdict(DIVERGED, ("a loss or gradient was NaN or infinite twice",))

    def short_of(name: str, part: float) -> list[str]:
        """Why a score fails that must reach a part of the real images' score."""
        found, best = check[name], real[name]
        if found >= part * best:
            return []
        return [f"{name} {found:.3f}, of {best:.3f} for real images, is below verdict.min_{name} ({part})"]

    diverged = short_of("precision", thresholds.min_precision)
    if fid_left > thresholds.max_fid_left:
        diverged.append(f"fid_left {fid_left:.3f} is above verdict.max_fid_left ({thresholds.max_fid_left})")
    if diverged:
        return Verdict(DIVERGED, tuple(diverged))
    missing = int(real["classes"] - check["classes"])
    collapsed = []
    if missing > thresholds.max_missing_classes:
        most = thresholds.max_missing_classes
        collapsed.append(f"missing classes, {missing}, are more than verdict.max_missing_classes ({most})")
    # In the extractor's eyes real images may be uneven, too.
    if check["class_kl"] - real["class_kl"] > thresholds.max_class_kl:
        collapsed.append(
            f"class_kl {check['class_kl']:.3f} exceeds that of real images, {real['class_kl']:.3f}, "
            f"by more than verdict.max_class_kl ({thresholds.max_class_kl})"
        )
    collapsed += short_of("diversity", thresholds.min_diversity)
    collapsed += short_of("coverage", thresholds.min_coverage)
    if collapsed:
        return Verdict(COLLAPSED, tuple(collapsed))
    if conditional and (mislabelled := short_of("agreement", thresholds.min_agreement)):
        return Verdict(MISLABELLED, tuple(mislabelled))
    return Verdict(CONVERGED if exhausted else IMPROVING, ())


def setback(checks: Sequence[Mapping[str, float]]) -> float:
    """How far a run fell back at worst: the largest ratio of a check's FID to the best FID before it.

    Args:
        checks: All of a run, the first of the untrained generator. Those of the first tenth of its images
            count as something to fall back from only.

    Returns:
        1 or less if each check was at least as good as all before it; 1 where there is none to compare.
    """
    start, worst, best = 0.1 * checks[-1]["images_seen"], 0.0, math.inf
    for check in checks:
        if check["images_seen"] > start and best < math.inf:
            worst = max(worst, check["fid"] / best)
        best = min(best, check["fid"])
    return worst or 1.0


# The values of a report and of a check that metrics/gan.json tells of, whatever else a game reports.
_REPORTED = ("d_loss", "g_loss", "real_score", "fake_score", "d_gradient", "g_gradient", "learning_rate")
_CHECKED = ("class_kl", "diversity", "precision", "recall", "coverage", "agreement")
_SCORES = ("train_score", "heldout_score")


def metrics(
    found: Verdict,
    report: Mapping[str, float],
    check: Mapping[str, float],
    best: Mapping[str, float],
    fid_left: float,
    setback: float,
    retries: int,
) -> dict[str, float]:
    """metrics/gan.json: the verdict, and the run's last numbers.

    Args:
        found: The verdict.
        report: The run's last.
        check: The run's last.
        best: The check with the lowest FID.
        fid_left: As `judge` takes it.
        setback: See the function of that name.
        retries: How often the run went back.
    """
    return {
        **{name: report[name] for name in _REPORTED if name in report},
        **{name: check[name] for name in (*_CHECKED, *_SCORES)},
        "images_seen": int(report["images_seen"]),
        "classes": int(check["classes"]),
        "validation_fid": check["fid"],  # evaluate's, of another n and reference, is called fid
        "fid_left": fid_left,
        "setback": setback,
        "best_images_seen": int(best["images_seen"]),
        "best_validation_fid": best["fid"],
        "retries": retries,
        **{name: int(found.outcome == name) for name in (*FAILED, CONVERGED)},
    }
