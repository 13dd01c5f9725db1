"""A player of an adversarial game: a network, what trains it, and its moving average."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from src.networks.average import MovingAverage


class Player:
    """A network with its Adam, the schedule of its learning rate and, if asked for, its moving average.

    Args:
        network: On the device that it trains on.
        learning_rate: Adam's.
        betas: Adam's.
        decay_from: Part of the run after which the learning rate falls linearly to 0; 1: never.
        steps: Steps of the whole run.
        ema: Decay of the weights' moving average, in steps of this player; None: there is no average.
        weight_clip: Weights are clipped to [-c, c] after each step (Arjovsky et al. 2017, algorithm 1, line
            7); 0 leaves them alone.

    Attributes:
        network: As given; trained in place.
        average: The moving average, a network of the same class; the network itself where there is none.
        rate: The learning rate of the last step.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        learning_rate: float,
        betas: tuple[float, float],
        decay_from: float,
        steps: int,
        ema: float | None,
        weight_clip: float = 0,
    ) -> None:
        def factor(step: int) -> float:
            """The learning rate's factor: 1, and over the last part of the run linearly down to 0."""
            left = (steps - step) / steps
            return min(1.0, left / (1 - decay_from)) if decay_from < 1 else 1.0

        self.network, self._clip = network, weight_clip
        self._ema, self._averaged = ema, None if ema is None else MovingAverage(network)
        self.average: nn.Module = network if self._averaged is None else self._averaged.network
        self._optimizer = torch.optim.Adam(network.parameters(), learning_rate, betas, fused=True)
        self._schedule = LambdaLR(self._optimizer, factor)
        self.rate = learning_rate

    def step(self, loss: Tensor) -> None:
        """One step of the network down a loss, and of its average after it."""
        step_together([self], loss)

    def descend(self, loss: Tensor) -> None:
        """Leaves the loss's gradient in the network, and nothing of earlier ones."""
        self._optimizer.zero_grad()
        loss.backward()

    def move(self) -> None:
        """Moves the network down the gradient that is in it, and its average after it."""
        self._optimizer.step()
        if self._clip:
            for parameter in self.network.parameters():
                parameter.data.clamp_(-self._clip, self._clip)
        if self._averaged is not None:
            assert self._ema is not None
            # d starts small: first weights don't linger.
            count = self._averaged.updates
            self._averaged.update(min(self._ema, (1 + count) / (10 + count)))

    def advance(self) -> None:
        """Moves the learning rate on: once in each step of the run, whether or not this player took one."""
        self.rate = self._optimizer.param_groups[0]["lr"]
        with warnings.catch_warnings():
            # torch takes a generator that waits for its critic's first steps for a mistake.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            self._schedule.step()

    def slow_down(self, factor: float) -> None:
        """Multiplies the learning rate, from here to the end of the run."""
        self._schedule.base_lrs = [factor * rate for rate in self._schedule.base_lrs]
        for group in self._optimizer.param_groups:
            group["lr"] *= factor

    def gradient(self) -> float:
        """Euclidean norm of the last step's gradient, over all parameters."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        return torch.nn.utils.get_total_norm(gradients).item()

    def state_dict(self) -> dict[str, Any]:
        """All that the player consists of; nothing is copied."""
        state = {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            # A report tells of the last gradients, which may be some steps old.
            "gradients": [parameter.grad for parameter in self.network.parameters()],
            "rate": self.rate,
        }
        return state if self._averaged is None else state | {"average": self._averaged.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where `state_dict` was taken."""
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self.rate = state["rate"]
        for parameter, gradient in zip(self.network.parameters(), state["gradients"], strict=True):
            parameter.grad = None if gradient is None else gradient.to(parameter.device)
        if self._averaged is not None:
            self._averaged.load_state_dict(state["average"])


def step_together(players: Sequence[Player], loss: Tensor) -> None:
    """One step of several players' networks down a loss that they share, and of their averages after it."""
    for player in players:
        player._optimizer.zero_grad()
    loss.backward()
    for player in players:
        player.move()
