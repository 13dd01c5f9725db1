"""The one classifier loop: extractor, labeller, pretraining, fine-tuning and training from scratch."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from src.core.checkpoint import Checkpoint
from src.core.errors import PipelineError
from src.core.settings import Supervised
from src.datasets.batches import Shuffled
from src.datasets.labelled import Labelled, to_unit

INFERENCE_BATCH = 1000

# Takes uint8 images (n, channels, height, width) and a generator, and gives others in [0, 255], of any type.
Change = Callable[[Tensor, torch.Generator], Tensor]


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
    pixels, labels = data.pixels, data.given
    steps = steps or steps_of(settings, len(data))
    network.train()
    fused = pixels.device.type in ("cpu", "cuda")
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, fused=fused)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=steps)
    batches = Shuffled(len(data), settings.batch_size, rng)
    checkpoint.track(title, network=network, optimizer=optimizer, schedule=schedule, batches=batches)
    done = schedule.last_epoch  # torch's word for the steps that it has made
    with tqdm(total=steps, initial=done, desc=title, unit="step", mininterval=1) as bar:
        for step in range(done + 1, steps + 1):
            checkpoint.pause()
            batch = next(batches).to(pixels.device)
            images = pixels[batch]
            inputs = to_unit(change(images, rng) if change else shifted(images, settings.shift, rng))
            loss = cross_entropy(network(inputs), labels[batch])
            if not math.isfinite(value := loss.item()):
                raise PipelineError(
                    f"{title}: loss is {value} at step {step}; lower its learning_rate in params.yaml"
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            bar.update()
            bar.set_postfix(loss=f"{value:.3f}", refresh=False)
    network.eval()
    checkpoint.finish(title, network)


def steps_of(settings: Supervised, images: int) -> int:
    """The number of steps in all epochs of so many images."""
    return math.ceil(settings.epochs * images / settings.batch_size)


def shifted(pixels: Tensor, limit: int, rng: torch.Generator) -> Tensor:
    """Moves each image by its own whole number of pixels in [-limit, limit] each way, filling with 0.

    Args:
        pixels: uint8 (n, channels, height, width).
        limit: Largest move; 0 returns the images as they are.
        rng: Draws the moves.
    """
    if limit == 0:
        return pixels
    count, _, height, width = pixels.shape
    down, right = torch.randint(0, 2 * limit + 1, (2, count), generator=rng).to(pixels.device)
    padded = nn.functional.pad(pixels, (limit, limit, limit, limit))
    # Every place that an image can be moved to, as a view: whole rows of pixels are copied, not single ones.
    places = padded.unfold(2, height, 1).unfold(3, width, 1)
    return places[torch.arange(count, device=pixels.device), :, down, right]


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
