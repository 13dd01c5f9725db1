"""The one adversarial training loop: networks, losses, data and optimisers arrive as arguments."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from src.errors import PipelineError
from src.images import to_unit
from src.losses import Loss
from src.penalties import Penalty


class NonFiniteError(PipelineError):
    """A loss or a gradient became NaN or infinite."""


class Report(NamedTuple):
    """Means since the last report; scores are the discriminator's raw outputs, gradients those of this step.

    A gradient is the Euclidean norm over all parameters of one network; the learning rate is the generator's.
    """

    images_seen: int
    d_loss: float
    g_loss: float
    real_score: float
    fake_score: float
    d_gradient: float
    g_gradient: float
    learning_rate: float


@dataclass
class Progress:
    """Where a run stands: what the loop carries from one step to the next, beside networks and optimisers.

    Sums are those since the last report, of both losses and of the scores of real and of generated images,
    over so many steps, of which `g_updates` were the generator's too.
    """

    step: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0, 0.0])
    since: int = 0
    g_updates: int = 0


def train(
    generator: nn.Module,
    discriminator: nn.Module,
    average: AveragedModel,
    loss: Loss,
    *,
    images: Tensor,
    labels: Tensor,
    latent: int,
    optimizer_g: Optimizer,
    optimizer_d: Optimizer,
    schedules: Sequence[LRScheduler],
    images_total: int,
    batch_size: int,
    critic_steps: int,
    weight_clip: float,
    penalty: Penalty | None,
    penalty_weight: float,
    penalty_every: int,
    penalty_decay: float,
    reports: int,
    progress: Progress,
    pause: Callable[[], None],
    batches: Iterator[Tensor],
    noise: torch.Generator,
    mix: torch.Generator,
) -> Iterator[Report]:
    """Trains in place and yields a report at equal intervals; the caller owns progress bar and pictures.

    A step shows the discriminator one batch of real and one of generated images; each `critic_steps`-th
    step also updates the generator, on the same generated images, and its average (Goodfellow et al. 2014,
    algorithm 1). Generated images carry the labels of the real batch, so that both have the same class
    frequencies.

    Args:
        generator: Maps latents (n, latent) and labels (n,) to images (n, 1, 28, 28) in [-1, 1].
        discriminator: Maps images and labels to raw scores (n,).
        average: Moving average of the generator's weights; updated in place.
        loss: Both halves of the adversarial loss.
        images: All training images, uint8 (n, 1, 28, 28), on the device of the networks.
        labels: Their labels, int64 (n,), on the same device.
        latent: Length of a latent vector.
        optimizer_g: Optimiser of the generator's parameters.
        optimizer_d: Optimiser of the discriminator's parameters.
        schedules: Learning-rate schedules of both; advanced after each step.
        images_total: Real images shown in the whole run; rounded up to whole batches.
        batch_size: Real images in a step, and generated ones.
        critic_steps: Discriminator steps for each generator step.
        weight_clip: Discriminator weights are clipped to [-c, c] after its step (Arjovsky et al. 2017,
            algorithm 1, line 7); 0 leaves them alone.
        penalty: Added to the discriminator's loss, a row of `PENALTIES`; None for no penalty.
        penalty_weight: Its factor.
        penalty_every: It is taken in every so many-th step, and counts so many times as much there (lazy
            regularisation, Karras et al. 2020, section 3.1).
        penalty_decay: What is left of the factor at the end of the run, reached geometrically: a strong
            penalty keeps a young generator various, a weak one lets the discriminator see details later.
        reports: How many reports to yield; fewer, where there are fewer generator steps.
        progress: Where the run stands, new or not: images, reports and penalties count on; kept up to date.
        pause: Called before each step, where all that the run consists of can be put down.
        batches: Endless index batches of real images.
        noise: Draws the latents.
        mix: Draws what a penalty needs.

    Raises:
        NonFiniteError: A loss, or a gradient at a report, is NaN or infinite; names the step and which.
        PipelineError: There are too few images for a single generator step.
    """
    device = images.device
    steps = math.ceil(images_total / batch_size)
    if steps < critic_steps:
        raise PipelineError(
            f"params.yaml: recipes.<loss>.images is {images_total}; allowed: at least "
            f"{critic_steps * batch_size}: the generator takes a step after critic_steps batches"
        )
    reports = min(reports, steps // critic_steps)  # each has a generator step to tell of
    report_at = {math.ceil(steps * (i + 1) / reports) for i in range(reports)}
    clipped = [p for p in discriminator.parameters() if weight_clip]

    for step in range(progress.step + 1, steps + 1):
        pause()
        batch = next(batches).to(device)
        y = labels[batch]
        generating = step % critic_steps == 0
        # One pass of the generator serves both: it steps on the images that the discriminator has just seen.
        with torch.set_grad_enabled(generating):
            generated = generator(torch.randn(batch_size, latent, generator=noise).to(device), y)
        fake = generated.detach()
        # One pass over both halves is faster than two, and the same: no discriminator mixes rows of a batch.
        real = to_unit(images[batch])
        scores = discriminator(torch.cat([real, fake]), torch.cat([y, y]))
        real_scores, fake_scores = scores.chunk(2)
        d_loss = loss.discriminator(real=real_scores, fake=fake_scores)
        total = d_loss
        if penalty is not None and step % penalty_every == 0:
            slope = penalty(lambda x, y=y: discriminator(x, y), real=real, fake=fake, rng=mix)
            weight = penalty_weight * penalty_decay ** (step / steps)
            total = d_loss + weight * penalty_every * slope
        _finite(total, "discriminator loss", step)
        optimizer_d.zero_grad()
        total.backward()
        optimizer_d.step()
        for parameter in clipped:
            parameter.data.clamp_(-weight_clip, weight_clip)
        values = [d_loss.item(), 0.0]
        values += [real_scores.mean().item(), fake_scores.mean().item()]

        if generating:
            discriminator.requires_grad_(False)
            scores = discriminator(generated, y)
            discriminator.requires_grad_(True)  # what has been computed stays without its gradient
            g_loss = loss.generator(real=real_scores.detach(), fake=scores)
            values[1] = _finite(g_loss, "generator loss", step)
            optimizer_g.zero_grad()
            g_loss.backward()
            optimizer_g.step()
            average.update_parameters(generator)
            progress.g_updates += 1

        learning_rate = optimizer_g.param_groups[0]["lr"]
        for schedule in schedules:
            schedule.step()
        progress.sums = [before + value for before, value in zip(progress.sums, values, strict=True)]
        progress.since += 1
        progress.step = step
        if step in report_at:
            d_mean, _, real_mean, fake_mean = (total / progress.since for total in progress.sums)
            report = Report(
                images_seen=step * batch_size,
                d_loss=d_mean,
                g_loss=progress.sums[1] / progress.g_updates,
                real_score=real_mean,
                fake_score=fake_mean,
                d_gradient=_finite(_gradient(discriminator), "discriminator gradient", step),
                g_gradient=_finite(_gradient(generator), "generator gradient", step),
                learning_rate=learning_rate,
            )
            # Before the report is out: who takes it finds the run as it will go on.
            progress.sums, progress.since, progress.g_updates = [0.0, 0.0, 0.0, 0.0], 0, 0
            yield report


def _gradient(network: nn.Module) -> Tensor:
    return torch.nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])


def _finite(value: Tensor, name: str, step: int) -> float:
    number = value.item()
    if not math.isfinite(number):
        raise NonFiniteError(
            f"training diverged: {name} is {number} at step {step}; "
            "lower recipes.<loss>.learning_rate or set another seed"
        )
    return number
