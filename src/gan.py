"""A recipe's row to a training run: builds networks, average and optimisers for the adversarial loop."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from src import adversarial, networks
from src.adversarial import Progress, Report
from src.batches import Shuffled
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
        pause: Called before each step, where `state_dict` may be taken.

    Attributes:
        generator: The generator's moving average, updated in place, which is what gets saved.
        discriminator: Updated in place.
        retries: How often the run went back, 0 or 1.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: LabelledImages,
        *,
        seed: int,
        reports: int,
        retry_factor: float,
        pause: Callable[[], None],
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
        self._generator = generator
        self._retry_factor = retry_factor
        self._schedules = schedules
        self._batches = Shuffled(len(data.images), recipe.batch_size, generator_for("gan/batches", seed))
        self._draws = [generator_for(f"gan/{purpose}", seed) for purpose in ("noise", "mix")]
        self._progress = Progress()
        self._parts: list[Any] = [
            generator,
            discriminator,
            average,
            optimizer_g,
            optimizer_d,
            *schedules,
        ]
        self._good = self._copy()
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
            "progress": self._progress,
            "pause": pause,
            "batches": self._batches,
            "noise": self._draws[0],
            "mix": self._draws[1],
        }
        self._reports = adversarial.train(**self._loop)

    def __iter__(self) -> Iterator[Report]:
        """Trains; yields a report at equal intervals.

        Raises:
            adversarial.NonFiniteError: The second time that a step is not finite.
        """
        while True:
            try:
                for report in self._reports:
                    if not self.retries:
                        self._good = self._copy()
                    yield report
                return
            except adversarial.NonFiniteError as fault:
                if self.retries:
                    raise
                tqdm.write(
                    f"{fault}\ngoing back to step {self._good['progress']['step']}, "
                    f"from there with {self._retry_factor} times the learning rate"
                )
            self._go_back()

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on, at a pause; torch's own objects are not copied."""
        return {
            **self._now(),
            "good": self._good,
            "retries": self.retries,
            "batches": self._batches.state_dict(),
            "draws": [rng.get_state() for rng in self._draws],
            # A report tells of the generator's last gradients, which may be some steps old.
            "gradients": [parameter.grad for parameter in self._generator.parameters()],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts a new run where another of the same arguments was when `state_dict` was taken."""
        self._put(state)
        self._good, self.retries = state["good"], state["retries"]
        self._batches.load_state_dict(state["batches"])
        for rng, drawn in zip(self._draws, state["draws"], strict=True):
            rng.set_state(drawn)
        for parameter, gradient in zip(self._generator.parameters(), state["gradients"], strict=True):
            parameter.grad = None if gradient is None else gradient.to(parameter.device)

    def _go_back(self) -> None:
        self._put(self._good)
        for schedule in self._schedules:
            schedule.base_lrs = [self._retry_factor * rate for rate in schedule.base_lrs]
            for group in schedule.optimizer.param_groups:
                group["lr"] *= self._retry_factor
        self._batches.shuffle()
        self._good, self.retries = {}, 1  # there is no going back a second time
        self._reports = adversarial.train(**self._loop)

    def _now(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self._parts], "progress": asdict(self._progress)}

    def _copy(self) -> dict[str, Any]:
        return copy.deepcopy(self._now())

    def _put(self, state: dict[str, Any]) -> None:
        for part, its_state in zip(self._parts, state["parts"], strict=True):
            part.load_state_dict(its_state)
        for name, value in state["progress"].items():
            setattr(self._progress, name, value)
