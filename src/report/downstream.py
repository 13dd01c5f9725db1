"""What pretraining bought, as the numbers, the table and the chart of metrics/."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from src.core import files
from src.report import plots

Rows = Sequence[dict[str, str]]
ARMS = {"pretrained": "on synthetic images", "scratch": "random weights"}


def write(folder: Path, accuracies: Rows, errors: Rows, labels_behind_synthetic: int) -> None:
    """Writes downstream.json, label_efficiency.csv and label_efficiency.png.

    Args:
        folder: Where to.
        accuracies: Rows of `pretrain` on synthetic and on real images.
        errors: Rows of `finetune`, pretrained and from scratch.
        labels_behind_synthetic: Real labels that went into the synthetic set.
    """
    found: dict[str, float] = {"labels_behind_synthetic": labels_behind_synthetic}
    found |= spread("cas", accuracies, "test_accuracy", images="synthetic")
    found |= spread("cas_real", accuracies, "test_accuracy", images="real")
    found["cas_gap"] = found["cas_real"] - found["cas"]
    counts = sorted({int(row["labels"]) for row in errors})
    rows = []
    for count in counts:
        for arm in ARMS:
            both = spread(f"error_{arm}_{count}", errors, "test_error", arm=arm, labels=str(count))
            found |= both
            rows.append((count, arm, *both.values()))
    files.write_json(folder / "downstream.json", found)
    files.write_csv(folder / "label_efficiency.csv", ["labels", "arm", "error", "std"], rows)
    curves = {
        f"{arm} ({note})": (
            [found[f"error_{arm}_{count}"] for count in counts],
            [found[f"error_{arm}_{count}_std"] for count in counts],
        )
        for arm, note in ARMS.items()
    }
    figure = plots.error_curves(counts, curves, unlabelled=1 - found["cas"])
    plots.write_figure(folder / "label_efficiency.png", figure)


def spread(key: str, rows: Rows, column: str, **where: str) -> dict[str, float]:
    """Mean and sample standard deviation of a column over the rows that `where` picks, as two metrics."""
    picked = [row for row in rows if all(row[name] == value for name, value in where.items())]
    values = [float(row[column]) for row in picked]
    return {key: mean(values), f"{key}_std": stdev(values)}
