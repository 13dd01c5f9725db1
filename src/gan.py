"""A recipe's row to a training run: builds networks, average and optimisers for the adversarial loop."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from src import adversarial, networks
from src.adversarial import Report
from src.config import Recipe
from src.images import LabelledImages
from src.losses import LOSSES
from src.penalties import PENALTIES
from src.seeding import generator_for, stream_seed


class Run:
    """A training run: taking its reports one by one, by iterating over it, trains.

    A step that is not finite takes the run back to its last report once, with a lower learning rate.

    Args:
        recipe: What to train, and how.
        data: Real training images and their labels, on the device to train on.
        seed: The run's seed.
        reports: How many reports there will be, at equal intervals.
        retry_factor: What the learning rate is multiplied by after a step that was not finite.

    Attributes:
        generator: The generator's moving average, updated in place, which is what gets saved.
        discriminator: Updated in place.
        retries: How often the run went back, 0 or 1.
    """

    def __init__(
        self, recipe: Recipe, data: LabelledImages, *, seed: int, reports: int, retry_factor: float
    ) -> None:
        generator, discriminator = networks.build_pair(
            recipe.network,
            seed=stream_seed("gan/weights", seed),
            latent=recipe.latent,
            width=recipe.width,
            conditional=recipe.conditional,
            spectral_norm=recipe.spectral_norm,
        )
        device = data.images.device
        generator, discriminator = generator.to(device), discriminator.to(device)

        def ema(averaged: Any, current: Any, count: Any) -> None:
            """Average = d average + (1 - d) weights, d starting small: first weights don't linger."""
            decay = min(recipe.ema, (1 + int(count)) / (10 + int(count)))
            get_ema_multi_avg_fn(decay)(averaged, current, count)

        average = AveragedModel(generator, multi_avg_fn=ema, use_buffers=True)

        def adam(network: nn.Module) -> torch.optim.Optimizer:
            betas = (recipe.beta1, recipe.beta2)
            return torch.optim.Adam(network.parameters(), recipe.learning_rate, betas, fused=True)

        steps = math.ceil(recipe.images / recipe.batch_size)

        def factor(step: int) -> float:
            """The learning rate's factor: 1, and over the last part of the run linearly down to 0."""
            left = (steps - step) / steps
            return min(1.0, left / (1 - recipe.decay_from)) if recipe.decay_from < 1 else 1.0

        optimizer_g, optimizer_d = adam(generator), adam(discriminator)
        schedules = [LambdaLR(optimizer, factor) for optimizer in (optimizer_g, optimizer_d)]
        self.generator: nn.Module = average.module
        self.discriminator = discriminator
        self.retries = 0
        self._batch_size = recipe.batch_size
        self._retry_factor = retry_factor
        self._schedules = schedules
        self._state: tuple[Any, ...] = (
            generator,
            discriminator,
            average,
            optimizer_g,
            optimizer_d,
            *schedules,
        )
        self._loop: dict[str, Any] = {
            "generator": generator,
            "discriminator": discriminator,
            "average": average,
            "loss": LOSSES[recipe.loss],
            "images": data.images,
            "labels": data.labels,
            "latent": recipe.latent,
            "optimizer_g": optimizer_g,
            "optimizer_d": optimizer_d,
            "schedules": schedules,
            "images_total": recipe.images,
            "batch_size": recipe.batch_size,
            "critic_steps": recipe.critic_steps,
            "weight_clip": recipe.weight_clip,
            "penalty": PENALTIES[recipe.penalty],
            "penalty_weight": recipe.penalty_weight,
            "penalty_every": recipe.penalty_every,
            "penalty_decay": recipe.penalty_decay,
            "reports": reports,
            "shuffle": generator_for("gan/batches", seed),
            "noise": generator_for("gan/noise", seed),
            "mix": generator_for("gan/mix", seed),
        }
        self._reports = adversarial.train(**self._loop, first_step=0)

    def __iter__(self) -> Iterator[Report]:
        """Trains; yields a report at equal intervals.

        Raises:
            adversarial.NonFiniteError: The second time that a step is not finite.
        """
        good, steps = self._copy(), 0
        try:
            for report in self._reports:
                good, steps = self._copy(), report.images_seen // self._batch_size
                yield report
            return
        except adversarial.NonFiniteError as fault:
            tqdm.write(
                f"{fault}\ngoing back to step {steps}, "
                f"from there with {self._retry_factor} times the learning rate"
            )
        for part, state in zip(self._state, good, strict=True):
            part.load_state_dict(state)
        for schedule in self._schedules:
            schedule.base_lrs = [self._retry_factor * rate for rate in schedule.base_lrs]
            for group in schedule.optimizer.param_groups:
                group["lr"] *= self._retry_factor
        self.retries = 1
        yield from adversarial.train(**self._loop, first_step=steps)

    def _copy(self) -> list[dict[str, Any]]:
        return [copy.deepcopy(part.state_dict()) for part in self._state]
