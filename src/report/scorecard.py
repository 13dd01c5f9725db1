"""What a comparison of image sets leaves behind: its scores, its classes, and a picture of both sets."""

from collections.abc import Mapping
from pathlib import Path

import torch

from src.core import files
from src.report import grids, plots
from src.scores import comparison
from src.scores.comparison import Judged, Score

EACH = 10  # images of a class in the picture


def write(folder: Path, judged: Judged, classes: int) -> None:
    """Writes quality.json, scores.csv, class_histogram.csv and real_and_synthetic.png.

    Args:
        folder: Where to.
        judged: What was found.
        classes: Labels are below this.
    """
    labels, perceived = judged.synthetic.given, judged.perceived
    sets = (labels, perceived, labels[labels == perceived])
    counts = torch.stack([values.bincount(minlength=classes) for values in sets], dim=1)
    shares = counts[:, 1].double() / len(labels)
    extremes = {"class_share_max": shares.max().item(), "class_share_min": shares.min().item()}
    files.write_json(folder / "quality.json", comparison.flat(judged.scores) | extremes)
    scored = [(name, *score) for name, score in judged.scores.items()]
    files.write_csv(folder / "scores.csv", ["score", *Score._fields], scored)
    rows = [(value, *row) for value, row in enumerate(counts.tolist())]
    files.write_csv(folder / "class_histogram.csv", ["class", "label", "extractor", "agreeing"], rows)
    pictures = [grids.by_class(data, classes, EACH) for data in (judged.reference, judged.synthetic)]
    figure = plots.side_by_side(pictures[0], pictures[1], ("real images", "synthetic images"))
    plots.write_figure(folder / "real_and_synthetic.png", figure)


def table(found: Mapping[str, Score]) -> str:
    """The scores as lines of text, to be read on a terminal."""
    lines = [f"{'':16}{'mean':>10}   {'95 % interval':^23}{'real':>10}{'noise':>12}"]
    for name, score in found.items():
        between = f"[{score.low:9.4f}, {score.high:9.4f}]"
        lines.append(f"{name:16}{score.mean:10.4f}   {between:^23}{score.real:10.4f}{score.noise:12.4f}")
    return "\n".join(lines)
