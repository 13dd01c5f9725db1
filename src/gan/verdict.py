"""What became of a GAN run: collapsed, diverged, converged, told from its last check."""

from collections.abc import Mapping
from typing import NamedTuple

from src.core.settings import Thresholds


class Verdict(NamedTuple):
    """Each 0 or 1, as `dvc metrics diff` shows them, and in words what is wrong with a failed run."""

    collapsed: int
    diverged: int
    converged: int
    reasons: tuple[str, ...]


def judge(
    *,
    missing: int,
    class_kl: float,
    diversity: float,
    precision: float,
    fid_left: float,
    exhausted: bool,
    non_finite: bool,
    thresholds: Thresholds,
) -> Verdict:
    """Judges a run by the last check of its moving average.

    Diverged: a step was not finite a second time, next to no image looks real, or all together are hardly
    nearer to real ones than those of the untrained generator. Collapsed: not that, but classes are missing
    or rare, or those of a class are all alike. Converged: neither, and the score had stopped improving; a
    run that fails or uses up its images first has not converged.

    Args:
        missing: Classes that the images do not cover.
        class_kl: Distance of the class histogram to the uniform one, in nats.
        diversity: Variance of features within a class, over that of real images.
        precision: Fraction of images that lie among real ones in feature space. A single odd picture can lie
            within the reach of a single odd digit, so this alone does not tell.
        fid_left: FID as a part of the untrained generator's, 1 where nothing has been learnt.
        exhausted: Whether the best score is older than the patience.
        non_finite: Whether training gave up at a step that was not finite.
        thresholds: From where on a run has failed.
    """
    if non_finite:
        return Verdict(0, 1, 0, ("a loss or gradient was NaN or infinite twice",))
    reasons = []
    if precision < thresholds.min_precision:
        reasons.append(f"precision {precision:.3f} is below verdict.min_precision {thresholds.min_precision}")
    if fid_left > thresholds.max_fid_left:
        reasons.append(f"fid_left {fid_left:.3f} is above verdict.max_fid_left {thresholds.max_fid_left}")
    if reasons:
        return Verdict(0, 1, 0, tuple(reasons))
    if missing > thresholds.max_missing_classes:
        most = thresholds.max_missing_classes
        reasons.append(f"missing classes, {missing}, are more than verdict.max_missing_classes {most}")
    if class_kl > thresholds.max_class_kl:
        reasons.append(f"class_kl {class_kl:.3f} is above verdict.max_class_kl {thresholds.max_class_kl}")
    if diversity < thresholds.min_diversity:
        reasons.append(f"diversity {diversity:.3f} is below verdict.min_diversity {thresholds.min_diversity}")
    collapsed = bool(reasons)
    return Verdict(int(collapsed), 0, int(exhausted and not collapsed), tuple(reasons))


# The values of a report and of a check that metrics/gan.json tells of, whatever else a game reports.
_REPORTED = ("d_loss", "g_loss", "real_score", "fake_score", "d_gradient", "g_gradient", "learning_rate")
_CHECKED = ("class_kl", "diversity", "precision", "recall", "train_score", "heldout_score")


def metrics(
    found: Verdict,
    report: Mapping[str, float],
    check: Mapping[str, float],
    best: Mapping[str, float],
    fid_left: float,
    retries: int,
) -> dict[str, float]:
    """metrics/gan.json: the verdict, and the run's last numbers.

    Args:
        found: The verdict.
        report: The run's last.
        check: The run's last.
        best: The check with the lowest FID.
        fid_left: As `judge` takes it.
        retries: How often the run went back.
    """
    return {
        **{name: report[name] for name in _REPORTED if name in report},
        **{name: check[name] for name in _CHECKED},
        "images_seen": int(report["images_seen"]),
        "classes": int(check["classes"]),
        "validation_fid": check["fid"],  # evaluate's, of another n and reference, is called fid
        "fid_left": fid_left,
        "best_images_seen": int(best["images_seen"]),
        "best_validation_fid": best["fid"],
        "retries": retries,
        "collapsed": found.collapsed,
        "diverged": found.diverged,
        "converged": found.converged,
    }
