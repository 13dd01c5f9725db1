"""The loop that learns from labelled images of one kind, and from unlabelled ones of another: FixMatch.

What the network's moving average is sure of on an image as it is, the network learns on the same image
strongly changed (Sohn et al. 2020, eq. 4). Guesses are first divided by their running mean, so that they
cover all classes evenly (distribution alignment, Berthelot et al. 2020, section 3.1). That fades over the
run: at first it keeps classes from being forgotten, but they need not be equally frequent.

Where labels were spread over a graph of the images, too, a guess is learnt if both say the same: alone, the
network grows sure of what it has got wrong (docs/results.md has Fashion-MNIST). Where it is not sure, it
learns what was spread. After a third of the steps labels are spread again, over a graph by the network's own
features (Iscen et al. 2019, who do so every epoch).
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from src.classifiers.augmentation import STRONG, shift
from src.classifiers.spreading import Spread, features
from src.classifiers.supervised import Losses
from src.core.checkpoint import Checkpoint, Part
from src.core.replay import Piece, Replay
from src.core.settings import SemiSupervised
from src.datasets.batches import Shuffled
from src.datasets.labelled import Labelled, to_unit
from src.networks.average import MovingAverage
from src.networks.classifier import ConvClassifier

AGAIN = 3  # labels are spread again after the steps' number divided by this


class Alignment:
    """The running mean of guesses, by which they are divided.

    Args:
        classes: How many there are.
        device: Where guesses lie.
    """

    DECAY = 0.99  # a step

    def __init__(self, classes: int, device: torch.device) -> None:
        self.mean = torch.full((classes,), 1 / classes, device=device)

    def __call__(self, guesses: Tensor, strength: Tensor) -> Tensor:
        """Takes in probabilities and returns them aligned: each row adds up to 1 again.

        Args:
            guesses: Of images, (n, classes).
            strength: A scalar. 1: so that all classes are guessed equally often; 0: not at all.
        """
        # p' = p / mean(p)^strength, normalised
        self.mean.copy_(self.DECAY * self.mean + (1 - self.DECAY) * guesses.mean(dim=0))
        aligned = guesses / self.mean**strength
        return aligned / aligned.sum(dim=1, keepdim=True)

    def state_dict(self) -> dict[str, Any]:
        """The mean."""
        return {"mean": self.mean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where `state_dict` was taken."""
        self.mean.copy_(state["mean"])


def fit(
    network: ConvClassifier,
    source: Labelled,
    target: Tensor,
    settings: SemiSupervised,
    *,
    rng: torch.Generator,
    title: str,
    checkpoint: Checkpoint,
    spread: Spread | None = None,
) -> None:
    """Trains a classifier in place, and leaves its moving average's weights in it, in eval mode.

    Args:
        network: Maps images (n, channels, height, width) in [-1, 1] to logits (n, classes).
        source: Labelled images, on the network's device.
        target: Unlabelled ones, uint8 (m, channels, height, width), there too.
        settings: Batches, steps, rates and thresholds.
        rng: Draws the order of the images and their changes.
        title: What the progress bar says; another for each classifier of a stage.
        checkpoint: Takes the training up where it was cut off.
        spread: Labels of the unlabelled images, spread from few of them; if they are, they are spread again.

    Raises:
        PipelineError: The loss is NaN or infinite; names the step.
    """
    if weights := checkpoint.finished(title):
        network.load_state_dict(weights)
        network.eval()
        return
    learner = _Learner(network, source, target, settings, rng, spread)
    checkpoint.track(title, **learner.parts)
    done, losses = learner.schedule.last_epoch, Losses(title, settings.steps)
    with tqdm(total=settings.steps, initial=done, desc=title, unit="step", mininterval=1) as bar:
        for step in range(done + 1, settings.steps + 1):
            checkpoint.pause()
            told = learner.step()
            if spread and step == settings.steps // AGAIN:
                spread.over(features(learner.average.network.get_submodule("body"), target))
            bar.update()
            if (loss := losses.add(step, told["loss"])) is not None:
                bar.set_postfix({"loss": f"{loss:.3f}", "sure": f"{told['sure'].item():.0%}"}, refresh=False)
    network.load_state_dict(learner.average.network.state_dict())
    network.eval()
    checkpoint.finish(title, network)


class _Learner:
    """The network with all that a step takes; arguments are those of `fit`."""

    def __init__(
        self,
        network: ConvClassifier,
        source: Labelled,
        target: Tensor,
        settings: SemiSupervised,
        rng: torch.Generator,
        spread: Spread | None,
    ) -> None:
        self._network, self._source, self._target, self._spread = network, source, target, spread
        self._settings, self._rng, self._shift = settings, rng, shift(settings.shift)
        self._replay = Replay(self._gradients, target.device)
        rate = settings.learning_rate
        self._optimizer = torch.optim.AdamW(network.parameters(), lr=rate, fused=True)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self._optimizer, rate, total_steps=settings.steps)
        self.average = MovingAverage(network)
        self._alignment = Alignment(network.spec.classes, target.device)
        self._told = Shuffled(len(source), settings.batch_size, rng)
        self._untold = Shuffled(len(target), settings.unlabelled, rng)
        network.train()
        self.average.network.eval()
        self.parts: dict[str, Part] = {
            "network": network,
            "optimizer": self._optimizer,
            "schedule": self.schedule,
            "average": self.average,
            "alignment": self._alignment,
            "told": self._told,
            "untold": self._untold,
        }
        if spread:
            self.parts["spread"] = spread

    def step(self) -> dict[str, Tensor]:
        """One step; returns its `loss`, and `sure`, the part of the images whose guess it learnt."""
        batch, images = next(self._told), next(self._untold)
        drawn = {
            "batch": batch,
            "images": images,
            "moves": self._shift.draw(len(images), self._rng),
            "of_source": STRONG.draw(len(batch), self._rng),
            "of_target": STRONG.draw(len(images), self._rng),
            "left": torch.tensor(1 - self.schedule.last_epoch / self._settings.steps),
        }
        ((_, told),) = self._replay(drawn)
        self._optimizer.step()
        self.schedule.step()
        self.average.update(self._settings.ema)
        return told

    def _gradients(
        self,
        *,
        batch: Tensor,
        images: Tensor,
        moves: Tensor,
        of_source: Tensor,
        of_target: Tensor,
        left: Tensor,
    ) -> Iterator[Piece]:
        source, target = self._source.pixels[batch], self._target[images]
        with torch.no_grad():
            seen = self.average.network(to_unit(self._shift.make(target, moves)))
            sure, guessed = self._alignment(seen.softmax(dim=1), left).max(dim=1)
            kept = sure >= self._settings.threshold
            weight = kept.float()
            if self._spread:
                told = self._spread.labels[images]
                weight = torch.where(kept, guessed == told, self._spread.sure[images]).float()
                guessed = told
        changed = torch.cat([STRONG.make(source, of_source), STRONG.make(target, of_target)])
        logits = self._network(changed.div_(127.5).sub_(1))
        of_labels, of_guesses = logits.split([len(batch), len(images)])
        # The mean is over all of them: guesses weigh the more, the more of them are sure.
        guesses = (cross_entropy(of_guesses, guessed, reduction="none") * weight).mean()
        loss = cross_entropy(of_labels, self._source.given[batch]) + guesses
        self._optimizer.zero_grad()
        loss.backward()
        yield self._network, {"loss": loss.detach(), "sure": kept.float().mean()}
