"""What became of a GAN run: collapsed, diverged, converged, told from its last check."""

from typing import NamedTuple

from src.config import Thresholds


class Verdict(NamedTuple):
    """Each 0 or 1, as `dvc metrics diff` shows them, and in words what is wrong with a failed run."""

    collapsed: int
    diverged: int
    converged: int
    reasons: tuple[str, ...]


def judge(
    *,
    classes: float,
    class_kl: float,
    diversity: float,
    precision: float,
    exhausted: bool,
    non_finite: bool,
    thresholds: Thresholds,
) -> Verdict:
    """Judges a run by the last check of its moving average.

    Diverged: a step was not finite a second time, or next to no image looks real. Collapsed: images look
    real enough, but classes are missing or rare, or those of a class are all alike. Converged: neither, and
    the score had stopped improving; a run that fails or uses up its images first has not converged.

    Args:
        classes: Classes that the images cover.
        class_kl: Distance of the class histogram to the uniform one, in nats.
        diversity: Variance of features within a class, over that of real images.
        precision: Fraction of images that lie among real ones in feature space.
        exhausted: Whether the best score is older than the patience.
        non_finite: Whether training gave up at a step that was not finite.
        thresholds: From where on a run has failed.
    """
    if non_finite:
        return Verdict(0, 1, 0, ("a loss or gradient was NaN or infinite twice",))
    if precision < thresholds.min_precision:
        return Verdict(
            0, 1, 0, (f"precision {precision:.3f} is below verdict.min_precision {thresholds.min_precision}",)
        )
    reasons = []
    if classes < thresholds.min_classes:
        reasons.append(f"{classes:.0f} classes are fewer than verdict.min_classes {thresholds.min_classes}")
    if class_kl > thresholds.max_class_kl:
        reasons.append(f"class_kl {class_kl:.3f} is above verdict.max_class_kl {thresholds.max_class_kl}")
    if diversity < thresholds.min_diversity:
        reasons.append(f"diversity {diversity:.3f} is below verdict.min_diversity {thresholds.min_diversity}")
    collapsed = bool(reasons)
    return Verdict(int(collapsed), 0, int(exhausted and not collapsed), tuple(reasons))
