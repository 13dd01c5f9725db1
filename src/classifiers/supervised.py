"""The one classifier loop: extractor, labeller, pretraining, fine-tuning and training from scratch."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from src.classifiers.augmentation import Change, shift
from src.core.checkpoint import Checkpoint
from src.core.errors import PipelineError
from src.core.replay import Piece, Replay
from src.core.settings import Supervised
from src.datasets.batches import Shuffled
from src.datasets.labelled import Labelled, to_unit

INFERENCE_BATCH = 1000


class Losses:
    """Reads a loop's losses now and then: each reading waits for the device.

    Args:
        title: Of the training, for errors.
        steps: How many losses there will be; after the last one they are read.
    """

    EVERY = 50

    def __init__(self, title: str, steps: int) -> None:
        self._title, self._steps = title, steps
        self._unread: list[Tensor] = []

    def add(self, step: int, loss: Tensor) -> float | None:
        """Takes in a step's loss, and returns it where it is time to read.

        Raises:
            PipelineError: A loss since the last reading is NaN or infinite; names the step.
        """
        self._unread.append(loss)
        if step % self.EVERY and step != self._steps:
            return None
        values, self._unread = torch.stack(self._unread).tolist(), []
        for earlier, value in zip(range(len(values) - 1, -1, -1), values, strict=True):
            if not math.isfinite(value):
                raise PipelineError(
                    f"{self._title}: loss is {value} at step {step - earlier}; lower its learning_rate in "
                    "params.yaml"
                )
        return float(values[-1])


def fit(
    network: nn.Module,
    data: Labelled,
    settings: Supervised,
    *,
    rng: torch.Generator,
    title: str,
    checkpoint: Checkpoint,
    steps: int | None = None,
    change: Change | None = None,
) -> None:
    """Trains a classifier in place with AdamW on a one-cycle schedule; it ends in eval mode.

    Args:
        network: Maps images (n, channels, height, width) in [-1, 1] to logits (n, classes).
        data: Images with labels, on the network's device.
        settings: Epochs; batch size (a set smaller than a batch is repeated within it); peak learning
            rate of the one-cycle schedule (Smith and Topin 2018); and by how many pixels each image of a
            batch is moved at random.
        rng: Draws the order of the images and their shifts.
        title: What the progress bar says; another for each classifier of a stage.
        checkpoint: Takes the training up where it was cut off.
        steps: So many steps instead of `settings.epochs`.
        change: Changes each batch, instead of by `settings.shift`.

    Raises:
        PipelineError: The loss is NaN or infinite; names the step.
    """
    if weights := checkpoint.finished(title):
        network.load_state_dict(weights)
        network.eval()
        return
    pixels, labels, change = data.pixels, data.given, change or shift(settings.shift)
    steps = steps or steps_of(settings, len(data))
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=steps)
    batches = Shuffled(len(data), settings.batch_size, rng)
    checkpoint.track(title, network=network, optimizer=optimizer, schedule=schedule, batches=batches)
    done, losses = schedule.last_epoch, Losses(title, steps)

    def gradients(*, batch: Tensor, drawn: Tensor) -> Iterator[Piece]:
        loss = cross_entropy(network(to_unit(change.make(pixels[batch], drawn))), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        yield network, {"loss": loss.detach()}

    replay = Replay(gradients, pixels.device)
    with tqdm(total=steps, initial=done, desc=title, unit="step", mininterval=1) as bar:
        for step in range(done + 1, steps + 1):
            checkpoint.pause()
            batch = next(batches)
            ((_, told),) = replay({"batch": batch, "drawn": change.draw(len(batch), rng)})
            optimizer.step()
            schedule.step()
            bar.update()
            if (value := losses.add(step, told["loss"])) is not None:
                bar.set_postfix(loss=f"{value:.3f}", refresh=False)
    network.eval()
    checkpoint.finish(title, network)


def steps_of(settings: Supervised, images: int) -> int:
    """The number of steps in all epochs of so many images."""
    return math.ceil(settings.epochs * images / settings.batch_size)


@torch.inference_mode()
def predict(network: nn.Module, pixels: Tensor) -> Tensor:
    """The most likely class, int64 (n,), of each image, uint8 (n, channels, height, width), on any device."""
    network.eval()
    device = next(network.parameters()).device
    parts = [network(to_unit(part.to(device))).argmax(dim=1) for part in pixels.split(INFERENCE_BATCH)]
    return torch.cat(parts)


def accuracy(network: nn.Module, data: Labelled) -> float:
    """The fraction of images, in [0, 1], whose most likely class is their label."""
    return (predict(network, data.pixels) == data.given).double().mean().item()


def balanced_order(labels: Tensor, rng: torch.Generator) -> Tensor:
    """A random order, int64 (n,), whose every prefix holds the classes as evenly as they allow.

    Of k classes the first k indices are one example of each, the first 2 k two of each; a longer prefix
    contains every shorter one.

    Args:
        labels: int64 (n,).
        rng: Draws the order.
    """
    order = torch.randperm(len(labels), generator=rng)
    labels = labels.cpu()[order]
    rank = torch.empty_like(order)
    for value in labels.unique():
        members = labels == value
        rank[members] = torch.arange(int(members.sum()))
    return order[torch.argsort(rank, stable=True)]
