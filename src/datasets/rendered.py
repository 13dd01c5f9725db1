"""Labelled digits from strokes and fonts: image i depends on the seed and on i, on nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from src.core.seeding import stream_seed
from src.datasets import fonts, handwriting, ink, labelled, strokes
from src.datasets.glyphs import Glyph, Ints
from src.datasets.idx import Split
from src.datasets.labelled import Labelled
from src.datasets.spec import ImageSpec

SPEC = ImageSpec(channels=1, height=ink.SIDE, width=ink.SIDE, classes=10)
NAMES = [str(digit) for digit in range(SPEC.classes)]

# Images are made in blocks of this many, each with random numbers of its own and always whole, so that the
# first n images are the same bytes however many follow.
BLOCK = 1000

# Of the images. Most are of strokes that people write: type faces have serifs and even curves, which nobody
# writes, but also proportions that the table of strokes lacks.
SHARES: Mapping[str, float] = {"strokes": 0.75, "hershey": 0.1, "faces": 0.15}
SOFTNESS = 0.8, 1.5  # pixels from black to white: MNIST's edges


def glyphs() -> dict[str, list[Glyph]]:
    """All glyphs that images are drawn from, by the rows of `SHARES`.

    Raises:
        PipelineError: A package or font is not there.
    """
    return {
        "strokes": strokes.glyphs(),
        "hershey": [glyph for name in fonts.HERSHEY for glyph in fonts.hershey(name)],
        "faces": [glyph for row in fonts.FACES.values() for name in row for glyph in fonts.type_face(name)],
    }


def blocks(
    found: Mapping[str, Sequence[Glyph]], count: int, *, purpose: str, seed: int
) -> Iterator[Labelled]:
    """Yields images with their labels, which cycle through all digits.

    Args:
        found: As `glyphs` gives them.
        count: Number of images in all; memory does not grow with it.
        purpose: Names the stream of random numbers; another name gives other images.
        seed: The run's seed.
    """
    for start in range(0, count, BLOCK):
        rng = np.random.default_rng(stream_seed(f"{purpose}/{start // BLOCK}", seed))
        labels = np.arange(start, start + BLOCK) % SPEC.classes
        shapes = handwriting.laid(_chosen(found, labels, rng))
        centres, radii, pens = handwriting.written(shapes, rng)
        pixels = ink.drawn(centres, radii, pens, rng.uniform(*SOFTNESS, BLOCK))
        block = Labelled(torch.from_numpy(pixels).unsqueeze(1), torch.from_numpy(labels))
        yield block.part(0, min(BLOCK, count - start))


def _chosen(found: Mapping[str, Sequence[Glyph]], labels: Ints, rng: np.random.Generator) -> list[Glyph]:
    """A glyph for each label: first where it comes from, by `SHARES`, then any of this label there."""
    sources = rng.choice(list(SHARES), len(labels), p=list(SHARES.values()))
    places = rng.random(len(labels))
    by_label = {
        (source, label): [glyph for glyph in those if glyph.label == label]
        for source, those in found.items()
        for label in range(SPEC.classes)
    }
    lists = [by_label[str(source), int(label)] for source, label in zip(sources, labels, strict=True)]
    return [those[int(place * len(those))] for those, place in zip(lists, places, strict=True)]


def write_split(
    root: Path, split: Split, found: Mapping[str, Sequence[Glyph]], count: int, seed: int
) -> list[int]:
    """Writes rendered images as a split of a set on disk.

    Args:
        root: The set's folder.
        split: Which split.
        found: As `glyphs` gives them.
        count: How many images there are in all.
        seed: The run's seed.

    Returns:
        The number of images of each class.
    """
    counts = torch.zeros(SPEC.classes, dtype=torch.int64)
    with (
        labelled.writing(root, split, count, SPEC) as append,
        tqdm(total=count, desc=f"rendered {split}", unit="image") as bar,
    ):
        for block in blocks(found, count, purpose=f"render/{split}", seed=seed):
            counts += block.given.bincount(minlength=SPEC.classes)
            append(block.pixels, block.given)
            bar.update(len(block))
    return counts.tolist()
