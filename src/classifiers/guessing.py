"""Labels of unlabelled images, guessed from few labelled ones or from ones of another kind."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from src.classifiers import contrast, semi_supervised, supervised
from src.classifiers.spreading import Spread
from src.core.checkpoint import Checkpoint
from src.core.errors import PipelineError
from src.core.seeding import generator_for, stream_seed
from src.core.settings import SemiSupervised, Supervised
from src.datasets import clusters
from src.datasets.budget import Drawn
from src.datasets.labelled import Labelled
from src.datasets.spec import ImageSpec
from src.networks.classifier import ConvClassifier
from src.networks.network import build

BATCH = 128  # labelled images a step of the second opinion, which sees each once
MOST_SWAPS = 10
# docs/labels.md has what was seen of right and wrong guesses.
LEAST_SHARED = 0.2


class Guesses(NamedTuple):
    """What was guessed of some images.

    Attributes:
        labels: int64 (n,).
        network: Who guessed.
        opinion: What another classifier says; None where there is none.
        shared: For each class, the part of its images that lie in clusters where most images have it.
    """

    labels: Tensor
    network: ConvClassifier
    opinion: "Opinion | None"
    shared: list[float]

    @property
    def told(self) -> dict[str, Any]:
        """What the ledger says of them."""
        return {"shared_clusters": self.shared} | (self.opinion.told if self.opinion else {})

    @property
    def said(self) -> list[str]:
        """What is known of them without a label, in lines."""
        lines = [self.opinion.words] if self.opinion else []
        if (worst := min(self.shared)) < LEAST_SHARED:
            lines.append(
                "warning: guesses and clusters of the images disagree: of those taken for class "
                f"{self.shared.index(worst)}, {worst:.0%} lie in clusters where most are"
            )
        return lines


class Opinion(NamedTuple):
    """What a classifier says of the images that was trained on labelled images of another kind alone.

    Attributes:
        agreement: The part of them that it gives the same label.
        classes: The same for each class: of the images that either gives it, the part that both do.
        swapped: Of the others: what was guessed, what it says, and of how many images, most first.
    """

    agreement: float
    classes: list[float]
    swapped: list[tuple[int, int, int]]

    @property
    def told(self) -> dict[str, Any]:
        """What the ledger says of it."""
        swaps = [{"guessed": a, "second_opinion": b, "images": n} for a, b, n in self.swapped]
        return {"agreement": self.agreement, "class_agreement": self.classes, "swapped": swaps}

    @property
    def words(self) -> str:
        """The same in a line, with the most frequent swaps."""
        most = ", ".join(f"{a} for {b} ({n:,})" for a, b, n in self.swapped[:3])
        swaps = f"; guessed where it says otherwise: {most}" if most else ""
        return f"a classifier that saw the source only agrees with {self.agreement:.1%} of the guesses{swaps}"

    def require(self, least: float, source: Path, real: Path) -> None:
        """Refuses guesses that it does not share.

        Args:
            least: The agreement that is enough for each class, label_train.min_agreement.
            source: Folder of the labelled images of another kind.
            real: Folder of the images whose labels were guessed.

        Raises:
            PipelineError: Says so, and what to do.
        """
        # Taken together, classifiers that can know nothing of the images still agree on many.
        worst = min(self.classes)
        if worst < least:
            raise PipelineError(
                f"labels of {source} don't carry over to {real}: two classifiers that learnt them agree on "
                f"{self.agreement:.0%} of the real images, but on {worst:.0%} of those that either takes for "
                f"class {self.classes.index(worst)}, below label_train.min_agreement ({least:.0%}); set "
                "labels to all or a number, or give a source of the same classes"
            )


def guess(
    drawn: Drawn,
    source: Labelled | None,
    pixels: Tensor,
    spec: ImageSpec,
    how: SemiSupervised,
    *,
    unseen: int,
    seed: int,
    checkpoint: Checkpoint,
) -> Guesses:
    """Guesses the labels of images by a classifier that learns from them, and from labelled ones.

    With labelled images of the same kind only, their labels are first spread over a graph of all images
    (`contrast_steps`). With others besides, a second classifier gives its opinion: where two that were
    trained differently say the same, both are mostly right, for the one's mistakes are not the other's (Jiang
    et al. 2022). It takes no label to see that they don't.

    Args:
        drawn: Those of the images that have a label; there may be none.
        source: Images of another kind with labels, which may not carry over: where there are some, a second
            classifier, of the same width, learns from them only and gives its opinion.
        pixels: All images, uint8 (n, channels, height, width), on the source's device.
        spec: What all look like.
        how: The classifier's settings.
        unseen: Of so many images, the last ones, nothing is learnt.
        seed: The run's seed.
        checkpoint: Takes the work up where it was cut off.
    """

    def classifier(purpose: str) -> ConvClassifier:
        weights_seed = stream_seed(f"guessing/{purpose}/weights", seed)
        return build(ConvClassifier, spec, seed=weights_seed, width=how.width).to(pixels.device)

    network, own = classifier("network"), drawn.images.to(pixels.device)
    seen, spread = pixels[: len(pixels) - unseen], None
    if not source and how.contrast_steps:
        encoder = contrast.learn(seen, spec, how, seed=seed, checkpoint=checkpoint)
        spread = Spread(drawn.draw.indices, own.given, len(seen), spec.classes)
        spread.over(contrast.embed(encoder, seen))
    rng, title = generator_for("guessing/network/batches", seed), "labeller of real images"
    told = joined(own, source)
    semi_supervised.fit(network, told, seen, how, rng=rng, title=title, checkpoint=checkpoint, spread=spread)
    labels, opinion = supervised.predict(network, pixels), None
    if source:
        second, title = classifier("second opinion"), "second opinion"
        rng = generator_for(f"guessing/{title}/batches", seed)
        once = Supervised(how.width, 1, BATCH, how.learning_rate, how.shift)
        supervised.fit(second, source, once, rng=rng, title=title, checkpoint=checkpoint)
        opinion = compared(labels, supervised.predict(second, pixels), spec.classes)
    rng = generator_for("guessing/clusters", seed)
    return Guesses(labels, network, opinion, clusters.shared(seen, labels[: len(seen)], spec.classes, rng))


def joined(own: Labelled, source: Labelled | None) -> Labelled:
    """Both kinds of labelled images as one set, of which each is half: the fewer are repeated."""
    if not source or not len(own):
        return source or own
    most = max(len(own), len(source))
    first, second = (part.at(torch.arange(most) % len(part)) for part in (own, source))
    return first.joined(second)


def compared(labels: Tensor, others: Tensor, classes: int) -> Opinion:
    """How far two classifiers agree, from what each says of the same images, int64 (n,)."""
    pairs = torch.stack([labels, others], dim=1)[labels != others]
    found = zip(*(value.tolist() for value in pairs.unique(dim=0, return_counts=True)), strict=True)
    swapped = sorted(((a, b, count) for (a, b), count in found), key=lambda swap: -swap[2])
    either = [((labels == kind) | (others == kind)).sum().item() for kind in range(classes)]
    both = [((labels == kind) & (others == kind)).sum().item() for kind in range(classes)]
    of_classes = [n / total if total else 0.0 for n, total in zip(both, either, strict=True)]
    agreement = (labels == others).double().mean().item()
    return Opinion(agreement, of_classes, swapped[:MOST_SWAPS])
