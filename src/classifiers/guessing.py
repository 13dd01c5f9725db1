"""Labels of unlabelled images, guessed from labelled ones of another kind, with a second opinion on them."""

from typing import NamedTuple

import torch
from torch import Tensor

from src.classifiers import semi_supervised, supervised
from src.core.checkpoint import Checkpoint
from src.core.seeding import generator_for, stream_seed
from src.core.settings import SemiSupervised, Supervised
from src.datasets.labelled import Labelled
from src.datasets.spec import ImageSpec
from src.networks.classifier import ConvClassifier
from src.networks.network import build

BATCH = 128  # labelled images a step of the second opinion, which sees each once
MOST_SWAPS = 10


class Guesses(NamedTuple):
    """What was guessed of some images.

    Attributes:
        labels: int64 (n,).
        agreement: The part of them that a classifier trained on the labelled images alone would give, too.
        swapped: Where not: what was guessed, what the other says, and of how many images, most first.
        network: Who guessed.
    """

    labels: Tensor
    agreement: float
    swapped: list[tuple[int, int, int]]
    network: ConvClassifier


def guess(
    source: Labelled,
    pixels: Tensor,
    spec: ImageSpec,
    how: SemiSupervised,
    *,
    unseen: int,
    seed: int,
    checkpoint: Checkpoint,
) -> Guesses:
    """Guesses the labels of images by a classifier that learns from them, and from others that have some.

    Where two classifiers that were trained differently say the same, both are mostly right, for the one's
    mistakes are not the other's (Jiang et al. 2022): it takes no label to see that they don't.

    Args:
        source: Images with labels.
        pixels: Images without, uint8 (n, channels, height, width), on the same device.
        spec: What both look like.
        how: The classifier's settings; the second one, of the same width, learns from `source` only.
        unseen: Of so many images, the last ones, nothing is learnt.
        seed: The run's seed.
        checkpoint: Takes the work up where it was cut off.
    """

    def classifier(purpose: str) -> ConvClassifier:
        own = stream_seed(f"guessing/{purpose}/weights", seed)
        return build(ConvClassifier, spec, seed=own, width=how.width).to(pixels.device)

    network, second = classifier("network"), classifier("second opinion")
    semi_supervised.fit(
        network,
        source,
        pixels[: len(pixels) - unseen],
        how,
        rng=generator_for("guessing/network/batches", seed),
        title="labeller of real images",
        checkpoint=checkpoint,
    )
    supervised.fit(
        second,
        source,
        Supervised(how.width, 1, BATCH, how.learning_rate, how.shift),
        rng=generator_for("guessing/second opinion/batches", seed),
        title="second opinion",
        checkpoint=checkpoint,
    )
    labels, others = (supervised.predict(one, pixels) for one in (network, second))
    pairs = torch.stack([labels, others], dim=1)[labels != others]
    found = zip(*(value.tolist() for value in pairs.unique(dim=0, return_counts=True)), strict=True)
    swapped = sorted(((a, b, count) for (a, b), count in found), key=lambda swap: -swap[2])
    agreement = (labels == others).double().mean().item()
    return Guesses(labels, agreement, swapped[:MOST_SWAPS], network)
