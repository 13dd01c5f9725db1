"""A row of recipes to a training run: builds networks, average and optimisers for the adversarial loop."""

import math
from collections.abc import Iterator

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from src import adversarial, networks
from src.adversarial import Report
from src.config import Recipe
from src.images import LabelledImages
from src.losses import LOSSES
from src.penalties import PENALTIES
from src.seeding import generator_for, stream_seed


def start(
    recipe: Recipe, data: LabelledImages, *, seed: int, reports: int
) -> tuple[nn.Module, Iterator[Report]]:
    """Sets up a run; taking reports from the iterator trains.

    Args:
        recipe: What to train, and how.
        data: Real training images and their labels, on the device to train on.
        seed: The run's seed.
        reports: How many reports the iterator yields, at equal intervals.

    Returns:
        The generator's moving average, which training updates in place and which is what gets saved, and the
        iterator. Its exceptions are those of `adversarial.train`.
    """
    generator, discriminator = networks.build_pair(
        recipe.network,
        seed=stream_seed("gan/weights", seed),
        latent=recipe.latent,
        width=recipe.width,
        conditional=recipe.conditional,
        spectral_norm=recipe.spectral_norm,
    )
    generator, discriminator = generator.to(data.images.device), discriminator.to(data.images.device)
    average = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)

    def adam(network: nn.Module) -> torch.optim.Optimizer:
        betas = (recipe.beta1, recipe.beta2)
        return torch.optim.Adam(network.parameters(), recipe.learning_rate, betas, fused=True)

    steps = math.ceil(recipe.images / recipe.batch_size)

    def factor(step: int) -> float:
        """The learning rate's factor: 1, and over the last part of the run linearly down to 0."""
        left = (steps - step) / steps
        return min(1.0, left / (1 - recipe.decay_from)) if recipe.decay_from < 1 else 1.0

    optimizer_g, optimizer_d = adam(generator), adam(discriminator)
    run = adversarial.train(
        generator,
        discriminator,
        average,
        LOSSES[recipe.loss],
        images=data.images,
        labels=data.labels,
        latent=recipe.latent,
        optimizer_g=optimizer_g,
        optimizer_d=optimizer_d,
        schedules=[LambdaLR(optimizer, factor) for optimizer in (optimizer_g, optimizer_d)],
        images_total=recipe.images,
        batch_size=recipe.batch_size,
        critic_steps=recipe.critic_steps,
        weight_clip=recipe.weight_clip,
        penalty=PENALTIES[recipe.penalty],
        penalty_weight=recipe.penalty_weight,
        penalty_every=recipe.penalty_every,
        reports=reports,
        shuffle=generator_for("gan/batches", seed),
        noise=generator_for("gan/noise", seed),
        mix=generator_for("gan/mix", seed),
    )
    return average.module, run
