"""What a comparison of image sets leaves behind: its scores, its classes, and a picture of both sets."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from src import files, idx, images, plots, sampling, scores
from src.images import LabelledImages
from src.scores import Score


def write(
    folder: Path,
    found: Mapping[str, Score],
    *,
    real: LabelledImages,
    synthetic: LabelledImages,
    perceived: Tensor,
) -> None:
    """Writes quality.json, scores.csv, class_histogram.csv and real_and_synthetic.png.

    Args:
        folder: Where to.
        found: The scores by name.
        real: The images that synthetic ones were compared with.
        synthetic: The whole synthetic set.
        perceived: The classes that the extractor takes it for, int64 (n,).
    """
    labels = synthetic.labels
    sets = (labels, perceived, labels[labels == perceived])
    counts = torch.stack([values.bincount(minlength=idx.CLASSES) for values in sets], dim=1)
    shares = counts[:, 1].double() / len(labels)
    extremes = {"class_share_max": shares.max().item(), "class_share_min": shares.min().item()}
    files.write_json(folder / "quality.json", scores.flat(found) | extremes)
    scored = [(name, *score) for name, score in found.items()]
    files.write_csv(folder / "scores.csv", ["score", *Score._fields], scored)
    classes = [(value, *row) for value, row in enumerate(counts.tolist())]
    files.write_csv(folder / "class_histogram.csv", ["class", "label", "extractor", "agreeing"], classes)
    grids = [
        sampling.tiled(images.by_class(data, idx.CLASSES, each=10), columns=10) for data in (real, synthetic)
    ]
    picture = plots.side_by_side(grids[0], grids[1], ("real images", "synthetic images"))
    plots.write_figure(folder / "real_and_synthetic.png", picture)


def table(found: Mapping[str, Score]) -> str:
    """The scores as lines of text, to be read on a terminal."""
    lines = [f"{'':16}{'mean':>10}   {'95 % interval':^23}{'real':>10}{'noise':>12}"]
    for name, score in found.items():
        between = f"[{score.low:9.4f}, {score.high:9.4f}]"
        lines.append(f"{name:16}{score.mean:10.4f}   {between:^23}{score.real:10.4f}{score.noise:12.4f}")
    return "\n".join(lines)
