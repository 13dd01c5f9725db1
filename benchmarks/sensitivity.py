"""What each score makes of known faults, and of few images: real images, spoilt a little more step by step.

Command: python -m benchmarks.sensitivity

Validation images stand in for a synthetic set, test images are the reference, as in stage `evaluate`. Writes
docs/sensitivity.csv and docs/sample_size.csv, and a picture of each.
"""

import argparse
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur
from tqdm import tqdm

from benchmarks.provenance import provenance
from src.core import files, params, stage
from src.core.machine import set_up
from src.core.seeding import generator_for
from src.datasets import labelled
from src.datasets.labelled import Labelled
from src.datasets.spec import read_spec
from src.networks import weights
from src.report import plots
from src.scores import comparison
from src.scores.comparison import Judges

SIZES = [500, 1000, 2000, 5000, 10_000]
CHOICES = 5  # random ones of each number of images: MNIST's first test images are easier than its last
Fault = Callable[[Labelled, float, torch.Generator], Labelled]


def noise(data: Labelled, level: float, rng: torch.Generator) -> Labelled:
    """Adds normal noise of `level` grey levels to each pixel."""
    noisy = data.pixels + level * torch.randn(data.pixels.shape, generator=rng)
    return Labelled(noisy.round().clamp(0, 255).byte(), data.labels)


def blur(data: Labelled, level: float, rng: torch.Generator) -> Labelled:
    """Blurs with a Gaussian of `level` pixels."""
    blurred = gaussian_blur(data.pixels.float(), 9, level) if level else data.pixels
    return Labelled(blurred.round().byte(), data.labels)


def dropped(data: Labelled, level: float, rng: torch.Generator) -> Labelled:
    """Replaces the images of the first `level` classes by others."""
    kept = (data.given >= level).nonzero().flatten()
    return _replaced(data, data.given < level, kept, rng)


def duplicated(data: Labelled, level: float, rng: torch.Generator) -> Labelled:
    """Replaces the part `level` of the images by copies of the rest."""
    kept = torch.arange(round(len(data) * (1 - level)))
    return _replaced(data, torch.arange(len(data)) >= len(kept), kept, rng)


def swapped(data: Labelled, level: float, rng: torch.Generator) -> Labelled:
    """Gives the part `level` of the images a wrong label."""
    labels, classes = data.given, int(data.given.max()) + 1
    wrong = torch.rand(len(labels), generator=rng) < level
    moved = (labels + torch.randint(1, classes, labels.shape, generator=rng)) % classes
    return Labelled(data.pixels, torch.where(wrong, moved, labels))


# Each fault with its levels, the first of which is none of it.
FAULTS: dict[str, tuple[Fault, str, list[float]]] = {
    "noise": (noise, "standard deviation in grey levels of 255", [0, 8, 16, 32, 64]),
    "blur": (blur, "standard deviation in pixels", [0, 0.5, 1, 1.5, 2]),
    "dropped": (dropped, "classes that are missing", [0, 1, 2, 4, 8]),
    "duplicated": (duplicated, "part that are copies of the rest", [0, 0.5, 0.75, 0.9, 0.98]),
    "swapped": (swapped, "part with a wrong label", [0, 0.02, 0.05, 0.1, 0.2]),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Writes both tables and both pictures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sensitivity", description=__doc__)
    parser.add_argument("--real", type=Path, default=Path("data/raw"), help="folder of the real images")
    parser.add_argument("--extractor", type=Path, default=Path("models/extractor.safetensors"))
    parser.add_argument("--output", type=Path, default=Path("docs"), help="folder to write to")
    args = parser.parse_args(argv)
    settings = params.read()
    device = set_up(settings.device, settings.threads)
    here = provenance(device)
    spec = read_spec(args.real)
    extractor = weights.read_classifier(args.extractor, spec).to(device)
    test = labelled.read(args.real, "test", spec)
    _, validation = labelled.read_train(args.real, spec, settings.validation)
    usual = test.part(0, settings.evaluate.images)
    judges = Judges(extractor=extractor, trained=extractor, classifier=None, device=device)

    def score(data: Labelled, reference: Labelled = usual) -> dict[str, float]:
        return comparison.measure(
            judges.look(reference).embedded,
            judges.look(data.part(0, len(reference))),
            neighbours=settings.evaluate.neighbours,
            splits=settings.evaluate.splits,
            seed=settings.seed,
        )

    rng = generator_for("sensitivity", settings.seed)
    pixels = torch.randint(256, validation.pixels.shape, generator=rng, dtype=torch.uint8)
    worst = score(Labelled(pixels, validation.labels))
    found = {
        fault: [list(score(spoil(validation, level, rng)).values()) for level in tqdm(levels, desc=fault)]
        for fault, (spoil, _, levels) in FAULTS.items()
    }
    rows = [
        (fault, level, *values, *here.values())
        for fault, (_, _, levels) in FAULTS.items()
        for level, values in zip(levels, found[fault], strict=True)
    ]
    rows.append(("pixels", 0, *worst.values(), *here.values()))
    files.write_csv(args.output / "sensitivity.csv", ["fault", "level", *worst, *here], rows)
    sizes = []
    for size, choice in tqdm(list(product(SIZES, range(CHOICES))), desc="sample size"):
        reference, part = (
            data.at(torch.randperm(len(data), generator=rng)[:size]) for data in (test, validation)
        )
        sizes.append((size, choice, *score(part, reference).values()))
    measured = [(*row, *here.values()) for row in sizes]
    files.write_csv(args.output / "sample_size.csv", ["images", "choice", *worst, *here], measured)
    plots.write_figure(args.output / "sensitivity.png", reactions(found, worst))
    plots.write_figure(args.output / "sample_size.png", biases(sizes, list(worst)))


def reactions(found: dict[str, list[list[float]]], worst: dict[str, float]) -> Figure:
    """One chart a fault: each score between that of real images, 0, and that of random pixels, 1."""
    figure = Figure(figsize=(12, 7), layout="constrained")
    charts = figure.subplots(2, 3)
    for axes, (fault, (_, unit, levels)) in zip(charts.flat, FAULTS.items(), strict=False):
        values = torch.tensor(found[fault], dtype=torch.float64)
        ends = torch.tensor(list(worst.values()), dtype=torch.float64)
        moved = (values - values[0]) / (ends - values[0])
        for name, curve, style in zip(worst, moved.T, ["-", "--", ":"] * 3, strict=True):
            axes.plot(levels, curve, style, marker=".", label=name)
        axes.set_title(fault)
        axes.set_xlabel(unit)
        axes.set_ylim(-0.6, 1.1)
        axes.grid(alpha=0.3)
    charts.flat[0].set_ylabel("0: as real images, 1: as random pixels")
    charts.flat[5].axis("off")
    charts.flat[5].legend(*charts.flat[0].get_legend_handles_labels(), loc="center")
    return figure


def biases(sizes: Sequence[tuple[float, ...]], names: list[str]) -> Figure:
    """One chart a distance: real against real images, over their number, for each choice of them."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    shown = ("fid", "fid_infinity", "kid", "recall")
    for axes, name in zip(figure.subplots(1, 4), shown, strict=True):
        for choice in range(CHOICES):
            rows = [row for row in sizes if row[1] == choice]
            axes.plot([row[0] for row in rows], [row[2 + names.index(name)] for row in rows], marker=".")
        axes.set_title(f"{name}, real against real")
        axes.set_xscale("log")
        axes.set_xlabel("images on each side")
        axes.grid(alpha=0.3)
    return figure


def _replaced(data: Labelled, which: Tensor, kept: Tensor, rng: torch.Generator) -> Labelled:
    choice = torch.arange(len(data))
    choice[which] = kept[torch.randint(len(kept), (int(which.sum()),), generator=rng)]
    return data.at(choice)


if __name__ == "__main__":
    stage.run(main)
