"""Generator and seed to labelled bytes: image i depends on the seed and on i, on nothing else."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from src.core.errors import PipelineError
from src.core.seeding import generator_for
from src.datasets import labelled
from src.datasets.idx import Split
from src.datasets.labelled import Labelled, to_bytes, to_unit, usable_source
from src.datasets.spec import ImageSpec
from src.networks.network import Network
from src.networks.translator import Translator

# Images are made in blocks of this many, each with random numbers of its own and always whole, so that the
# first n images are the same bytes however many follow, and blocks could be shared out among workers.
BLOCK = 1000
MOST_COLUMNS = 30  # of a sample grid


def grid_size(spec: ImageSpec) -> tuple[int, int]:
    """Rows and columns of a sample grid: a column for each class, as far as there is room."""
    return 10, min(spec.classes, MOST_COLUMNS)


def inputs(
    generator: Network,
    labels: Tensor,
    rng: torch.Generator,
    *,
    scale: float = 1,
    source: Labelled | None = None,
) -> Tensor:
    """What a generator makes images of, on its device: latent vectors, or images for a translator.

    Args:
        generator: What it is for.
        labels: int64 (n,) on the CPU: the classes that its images are to have.
        rng: Draws the vectors' numbers, or which image of a class is translated.
        scale: As `blocks` takes it.
        source: As `blocks` takes it.

    Returns:
        float32 (n, latent), or (n, channels, height, width) in [-1, 1].

    Raises:
        PipelineError: A translator has no source images, others than it was made for, or a scale.
    """
    device = next(generator.parameters()).device
    if not isinstance(generator, Translator):
        latents = scale * torch.randn(len(labels), int(generator.options["latent"]), generator=rng)
        return latents.to(device)
    if scale != 1:
        raise PipelineError(
            f"params.yaml: generate.latent_scale is {scale}; allowed: 1, since this generator translates "
            "images and knows no latent vectors"
        )
    images = usable_source(source, generator.spec).of_classes(labels, rng)
    return to_unit(images.pixels.to(device))


@torch.inference_mode()
def blocks(
    generator: Network,
    count: int,
    *,
    scale: float = 1,
    purpose: str,
    seed: int,
    source: Labelled | None = None,
) -> Iterator[Labelled]:
    """Yields images with the labels that they were asked to have, on the CPU.

    Labels cycle through all classes, so that any number of images is as balanced as it can be.

    Args:
        generator: Maps latents (n, latent), or images to be translated, and labels (n,) to images in [-1, 1].
        count: Number of images in all; memory does not grow with it.
        scale: Standard deviation of a latent vector's numbers, which in training was 1. Images from less are
            likelier (what Brock et al. 2018, section 3.1, get by truncation), images from more are stranger.
        purpose: Names the stream of random numbers; another name gives other images.
        seed: The run's seed.
        source: Labelled images for a translator to start from; no other generator looks at them.

    Raises:
        PipelineError: As `inputs` does.
    """
    generator.eval()
    classes, device = generator.spec.classes, next(generator.parameters()).device
    for start in range(0, count, BLOCK):
        rng = generator_for(f"{purpose}/{start // BLOCK}", seed)
        labels = torch.arange(start, start + BLOCK) % classes
        given = inputs(generator, labels, rng, scale=scale, source=source)
        pixels = to_bytes(generator(given, labels.to(device))).cpu()
        yield Labelled(pixels, labels).part(0, min(BLOCK, count - start))


@torch.inference_mode()
def pictures(generator: Network, given: Tensor, labels: Tensor) -> Tensor:
    """The images, uint8 (n, channels, height, width) on the CPU, that `inputs` and labels (n,) give."""
    was_training = generator.training
    generator.eval()
    pixels = to_bytes(generator(given, labels)).cpu()
    generator.train(was_training)
    return pixels


def write_split(
    root: Path,
    split: Split,
    generator: Network,
    count: int,
    *,
    scale: float,
    seed: int,
    label: Callable[[Tensor], Tensor] | None,
    source: Labelled | None = None,
) -> tuple[list[int], int]:
    """Writes drawn images as a split of a set on disk.

    Args:
        root: The set's folder.
        split: Which split.
        generator: What they are drawn from.
        count: How many there are in all.
        scale: As `blocks` takes it.
        seed: The run's seed.
        label: Overrides the labels: maps images, uint8 (n, channels, height, width), to int64 (n,). None: the
            labels stay those that were asked for.
        source: As `blocks` takes it.

    Returns:
        The number of images of each class, and of those whose label was overridden by another.
    """
    spec = generator.spec
    drawn = blocks(generator, count, scale=scale, purpose=f"generate/{split}", seed=seed, source=source)
    counts, changed = torch.zeros(spec.classes, dtype=torch.int64), 0
    with (
        labelled.writing(root, split, count, spec) as append,
        tqdm(total=count, desc=f"synthetic {split}", unit="image") as bar,
    ):
        for block in drawn:
            labels = label(block.pixels).cpu() if label else block.given
            counts += labels.bincount(minlength=spec.classes)
            changed += int((labels != block.given).sum())
            append(block.pixels, labels)
            bar.update(len(block))
    return counts.tolist(), changed
