"""The one classifier loop: extractor, labeller, pretraining, fine-tuning and training from scratch."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from src.batches import Shuffled
from src.config import Supervised
from src.errors import PipelineError
from src.images import LabelledImages, to_unit
from src.resume import Checkpoint

INFERENCE_BATCH = 1000


def fit(
    network: nn.Module,
    data: LabelledImages,
    settings: Supervised,
    *,
    rng: torch.Generator,
    title: str,
    checkpoint: Checkpoint,
    min_steps: int = 1,
) -> None:
    """Trains a classifier in place with AdamW on a one-cycle schedule; it ends in eval mode.

    Args:
        network: Maps images (n, 1, 28, 28) in [-1, 1] to logits (n, classes).
        data: Images uint8 (n, 1, 28, 28) and labels (n,), on the network's device.
        settings: Epochs; batch size (a set smaller than a batch is repeated within it); peak learning
            rate of the one-cycle schedule (Smith and Topin 2018); and by how many pixels each image of a
            batch is moved at random.
        rng: Draws the order of the images and their shifts.
        title: What the progress bar says; another for each classifier of a stage.
        checkpoint: Takes the training up where it was cut off.
        min_steps: Small sets are seen more often, until there have been so many steps.

    Raises:
        PipelineError: The loss is NaN or infinite; names the step.
    """
    if checkpoint.finished(title, network):
        network.eval()
        return
    steps = max(min_steps, math.ceil(settings.epochs * len(data.images) / settings.batch_size))
    network.train()
    fused = data.images.device.type in ("cpu", "cuda")
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, fused=fused)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=steps)
    batches = Shuffled(len(data.images), settings.batch_size, rng)
    checkpoint.track(title, network=network, optimizer=optimizer, schedule=schedule, batches=batches)
    done = schedule.last_epoch  # torch's word for the steps that it has made
    with tqdm(total=steps, initial=done, desc=title, unit="step", mininterval=1) as bar:
        for step in range(done + 1, steps + 1):
            checkpoint.pause()
            batch = next(batches).to(data.images.device)
            inputs = to_unit(shifted(data.images[batch], settings.shift, rng))
            loss = cross_entropy(network(inputs), data.labels[batch])
            value = loss.item()
            if not math.isfinite(value):
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


def shifted(images: Tensor, limit: int, rng: torch.Generator) -> Tensor:
    """Moves each image by its own whole number of pixels in [-limit, limit] each way, filling with 0.

    Args:
        images: uint8 (n, 1, height, width).
        limit: Largest move; 0 returns the images as they are.
        rng: Draws the moves.
    """
    if limit == 0:
        return images
    count, _, height, width = images.shape
    down, right = torch.randint(0, 2 * limit + 1, (2, count, 1), generator=rng).to(images.device)
    padded = nn.functional.pad(images.squeeze(1), (limit, limit, limit, limit))
    rows = down + torch.arange(height, device=images.device)
    columns = right + torch.arange(width, device=images.device)
    which = torch.arange(count, device=images.device)[:, None, None]
    return padded[which, rows[:, :, None], columns[:, None, :]].unsqueeze(1)


@torch.inference_mode()
def predict(network: nn.Module, images: Tensor) -> Tensor:
    """The most likely class, int64 (n,), of each image, uint8 (n, 1, 28, 28)."""
    network.eval()
    parts = [network(to_unit(part)).argmax(dim=1) for part in images.split(INFERENCE_BATCH)]
    return torch.cat(parts)


def accuracy(network: nn.Module, data: LabelledImages) -> float:
    """The fraction of images, in [0, 1], whose most likely class is their label."""
    return (predict(network, data.images) == data.labels).double().mean().item()


def balanced_order(labels: Tensor, rng: torch.Generator) -> Tensor:
    """A random order, int64 (n,), whose every prefix holds the classes as evenly as they allow.

    The first 10 indices are one example of each of 10 classes, the first 100 ten of each; a longer prefix
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
