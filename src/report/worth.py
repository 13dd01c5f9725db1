"""What a synthetic set adds to a budget of labels, as metrics/worth.json."""

from collections.abc import Mapping
from pathlib import Path

from src.core import files

# What is subtracted from which arm's error: above 0, the synthetic images were worth something.
GAINS = {
    "gain_instead": ("guessed_tuned", "synthetic_tuned"),  # used in place of real images with guessed labels
    "gain_besides": ("guessed_tuned", "both_tuned"),  # used besides these
    "gain_over_semi_supervised": ("semi_supervised", "both_tuned"),
    "gain_over_scratch": ("scratch", "both_tuned"),
}


def write(folder: Path, labels: int, errors: Mapping[str, float]) -> None:
    """Writes worth.json.

    Args:
        folder: Where to.
        labels: Real labels in the budget.
        errors: Test error of each arm of stage worth, in [0, 1].
    """
    found: dict[str, float] = {"labels": labels}
    found |= {f"error_{arm}": error for arm, error in errors.items()}
    found |= {gain: errors[without] - errors[arm] for gain, (without, arm) in GAINS.items()}
    files.write_json(folder / "worth.json", found)
