"""Pictures that need no internet: image grids and charts as PNG, the same bytes for the same data."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from src.core import files

matplotlib.use("Agg")

Picture = NDArray[np.uint8]  # (height, width) or (height, width, 3)


def write_picture(path: Path, picture: Picture) -> None:
    """Writes a picture as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    files.write_bytes(path, buffer.getvalue())


def write_figure(path: Path, figure: Figure) -> None:
    """Writes a chart as PNG, without matplotlib's version in it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    files.write_bytes(path, buffer.getvalue())


def side_by_side(left: Picture, right: Picture, titles: tuple[str, str]) -> Figure:
    """Two pictures side by side under their titles."""
    figure = Figure(figsize=(9, 4.9), layout="constrained")
    for axes, picture, title in zip(figure.subplots(1, 2), (left, right), titles, strict=True):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(title)
        axes.axis("off")
    return figure


def error_curves(
    labels: Sequence[int], arms: Mapping[str, tuple[Sequence[float], Sequence[float]]], unlabelled: float
) -> Figure:
    """Test error over the number of real labels, both on logarithmic axes, with one curve an arm.

    Args:
        labels: Numbers of labels, the x axis.
        arms: Name of an arm to its mean errors and their standard deviations, fractions in [0, 1].
        unlabelled: Error of the pretrained network before any fine-tuning, drawn as a level.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, (means, stds) in arms.items():
        percent = [100 * mean for mean in means]
        axes.errorbar(labels, percent, [100 * std for std in stds], marker="o", capsize=3, label=name)
    axes.axhline(100 * unlabelled, color="grey", linestyle="--", label="pretrained, not fine-tuned")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(labels, [f"{count:,}" for count in labels])
    axes.set_yticks([1, 2, 5, 10, 20, 50], ["1 %", "2 %", "5 %", "10 %", "20 %", "50 %"])
    axes.minorticks_off()
    axes.set_xlabel("real labels the classifier was trained on")
    axes.set_ylabel("error on real test images (mean ± std)")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def worth_curves(points: Sequence[tuple[str, int, str, float, float]]) -> Figure:
    """Test error over the budget of labels on logarithmic axes: a chart a data set, a curve with band an arm.

    Args:
        points: Data set, labels, arm, mean error and standard deviation, the last two in [0, 1].
    """
    datasets = list(dict.fromkeys(point[0] for point in points))
    figure = Figure(figsize=(7 * len(datasets), 5), layout="constrained")
    for axes, dataset in zip(figure.subplots(1, len(datasets), squeeze=False)[0], datasets, strict=True):
        own = [point for point in points if point[0] == dataset]
        for arm in dict.fromkeys(point[2] for point in own):
            labels, means, stds = zip(*((n, m, s) for _, n, name, m, s in own if name == arm), strict=True)
            middle, around = 100 * np.array(means), 100 * np.array(stds)
            (line,) = axes.plot(labels, middle, marker="o", markersize=4, label=arm)
            low = np.maximum(middle - around, middle / 2)  # an axis of logarithms has no place for 0
            axes.fill_between(labels, low, middle + around, color=line.get_color(), alpha=0.15)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(dataset)
        axes.set_xlabel("labels of real images, in all")
        axes.set_ylabel("error on real test images, % (mean ± std over draws)")
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=8)
    return figure


def training_curves(curves: Sequence[Mapping[str, float]], checks: Sequence[Mapping[str, float]]) -> Figure:
    """What a GAN run reported and what its checks found, over the images seen, one chart each."""
    figure = Figure(figsize=(12, 6.4), layout="constrained")
    charts = (
        ("losses", curves, ("d_loss", "g_loss"), "linear"),
        ("mean raw scores", curves, ("real_score", "fake_score"), "linear"),
        ("gradient norms", curves, ("d_gradient", "g_gradient"), "log"),
        ("FID against held-out images", checks, ("fid",), "log"),
        ("variety and likeness", checks, ("diversity", "precision", "recall"), "linear"),
        ("scores of real images", checks, ("train_score", "heldout_score"), "linear"),
    )
    for axes, (title, rows, names, scale) in zip(figure.subplots(2, 3).flat, charts, strict=True):
        for name in names:
            axes.plot([row["images_seen"] for row in rows], [row[name] for row in rows], label=name)
        axes.set_title(title)
        axes.set_yscale(scale)
        axes.set_xlabel("real images seen")
        axes.grid(alpha=0.3)
        axes.legend()
    return figure
