"""The ways to use a budget of labels, trained alike, so that their errors tell what each is worth."""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import nn

from src.classifiers import supervised
from src.classifiers.augmentation import STRONG
from src.core.checkpoint import Checkpoint
from src.core.seeding import generator_for, stream_seed
from src.core.settings import Supervised, Worth
from src.datasets.labelled import Labelled
from src.datasets.spec import ImageSpec
from src.networks.classifier import ConvClassifier
from src.networks.network import build


class Arms(NamedTuple):
    """What the arms of one run share: network, augmentation, labels, and the images that they are tested on.

    Attributes:
        how: How many steps, at which rates.
        classifier: The network's width.
        spec: What images look like.
        own: The images whose labels are in the budget; there may be none.
        test: Real test images.
        seed: The run's seed.
        checkpoint: Takes the work up where it was cut off.
    """

    how: Worth
    classifier: Supervised
    spec: ImageSpec
    own: Labelled
    test: Labelled
    seed: int
    checkpoint: Checkpoint

    def error(self, network: nn.Module) -> float:
        """The part of the test images that a network gets wrong."""
        return 1 - supervised.accuracy(network, self.test)

    def scratch(self, images: Labelled) -> dict[str, float]:
        """The error of a network that sees nothing else, in as many steps as the others have in all."""
        network = self._fresh()
        self._train(network, images, "scratch", self.how.steps + self.how.finetune_steps)
        return {"scratch": self.error(network)}

    def pretrained(self, arm: str, images: Labelled) -> dict[str, float]:
        """The error of a network trained on images with labels from elsewhere, and once it is fine-tuned.

        Args:
            arm: Its name.
            images: What it is trained on first.

        Returns:
            Both, by the arm's name, and by that with `_tuned`; the same where there are no labels to tune on.
        """
        network = self._fresh()
        self._train(network, images, arm, self.how.steps)
        errors = {arm: self.error(network)}
        if len(self.own):
            self._train(network, self.own, f"{arm}_tuned", self.how.finetune_steps, tuning=True)
        return errors | {f"{arm}_tuned": self.error(network)}

    def mixed(self, real: Labelled, synthetic: Labelled) -> Labelled:
        """Both as one set, of which worth.synthetic_share is synthetic; each real image is there once."""
        if (share := self.how.synthetic_share) == 1:
            return synthetic
        wanted = round(len(real) * share / (1 - share))
        return real.joined(synthetic.at(torch.arange(wanted) % len(synthetic)))

    def _fresh(self) -> ConvClassifier:
        # The same weights for all arms: a paired comparison.
        seed = stream_seed("worth/weights", self.seed)
        network = build(ConvClassifier, self.spec, seed=seed, width=self.classifier.width)
        return network.to(self.test.pixels.device)

    def _train(
        self, network: nn.Module, images: Labelled, title: str, steps: int, *, tuning: bool = False
    ) -> None:
        rate = self.how.finetune_learning_rate if tuning else self.how.learning_rate
        settings = replace(self.classifier, batch_size=self.how.batch_size, learning_rate=rate)
        supervised.fit(
            network,
            images,
            settings,
            rng=generator_for(f"worth/{title}/batches", self.seed),
            title=title.replace("_", ", "),
            checkpoint=self.checkpoint,
            steps=steps,
            change=STRONG,
        )
