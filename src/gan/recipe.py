"""What every row of `recipes` has, whatever game it plays: a loss, a penalty, batches and a learning rate."""

import math
from dataclasses import dataclass
from typing import Annotated

from torch import nn

from src.core.settings import BatchSize, Bounds, Count, LearningRate, OneOf, PositiveShare, Share
from src.gan.losses import LOSSES
from src.gan.penalties import PENALTIES
from src.gan.player import Player
from src.gan.step import Rule

Decay = Annotated[float, Bounds(0, 0.999999)]


@dataclass(frozen=True)
class Recipe:
    """The fields that the rows of all kinds share; each kind of game adds its own."""

    kind: str
    loss: Annotated[str, OneOf(LOSSES)]
    penalty: Annotated[str, OneOf(PENALTIES)]
    penalty_weight: Annotated[float, Bounds(0, 10_000)]
    penalty_every: Annotated[int, Bounds(1, 1000)]
    penalty_final: PositiveShare
    weight_clip: Annotated[float, Bounds(0, 100)]
    batch_size: BatchSize
    images: Count
    critic_steps: Annotated[int, Bounds(1, 100)]
    learning_rate: LearningRate
    beta1: Decay
    beta2: Decay
    decay_from: Share
    ema: Decay

    @property
    def steps(self) -> int:
        """Steps of the whole run: its images, rounded up to whole batches."""
        return math.ceil(self.images / self.batch_size)

    @property
    def rule(self) -> Rule:
        """What holds for each step of a discriminator."""
        return Rule(
            loss=LOSSES[self.loss],
            penalty=PENALTIES[self.penalty],
            weight=self.penalty_weight,
            final=self.penalty_final,
            every=self.penalty_every,
        )

    def critic(self, network: nn.Module) -> Player:
        """A discriminator, on the device that it trains on, with what trains it."""
        return self.player(network, ema=None, weight_clip=self.weight_clip)

    def player(self, network: nn.Module, *, ema: float | None, weight_clip: float = 0) -> Player:
        """A network, on the device that it trains on, with what trains it; `ema` is None for no average."""
        return Player(
            network,
            learning_rate=self.learning_rate,
            betas=(self.beta1, self.beta2),
            decay_from=self.decay_from,
            steps=self.steps,
            ema=ema,
            weight_clip=weight_clip,
        )
