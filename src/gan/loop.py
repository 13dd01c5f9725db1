"""The one adversarial loop: plays a game step by step, and tells at equal intervals how it goes."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from src.core.checkpoint import Part
from src.core.errors import PipelineError
from src.gan.player import Player
from src.networks.network import Network

# Means over the steps since the last report, of the values that the game's steps gave, with `images_seen`,
# the gradient norm of each player's last step (`<player>_gradient`), and the highest `learning_rate` of all.
Report = dict[str, float]

# A device's values are read together, at a report, or after so many steps: each reading waits for the device.
READ_EVERY = 1000


class NonFiniteError(PipelineError):
    """A value of a step became NaN or infinite."""


class Game(Protocol):
    """What the loop plays.

    Attributes:
        players: All that learn, by name.
        streams: Whatever draws random numbers, by name: a second try does not turn these back.
        period: Steps after which every player has moved.
        generator: What the run is for; its weights are saved. Maps latents and labels to images.
        discriminator: Maps images and labels to raw scores.
    """

    players: Mapping[str, Player]
    streams: Mapping[str, Part]
    period: int
    generator: Network
    discriminator: Network

    def play(self, step: int, steps: int) -> dict[str, Tensor]:
        """Plays one step; on a GPU, without waiting for what it has set going there.

        Args:
            step: Which, from 1.
            steps: How many there will be.

        Returns:
            Values to report, scalars on the device, the same names in every step in which the same players
            move.
        """


@dataclass
class Progress:
    """What the loop carries from one step to the next.

    Attributes:
        step: Steps that were played.
        unread: Of each step since the last reading, which it was and its values, on the device.
        sums: Of each value that was read since the last report.
        counts: Steps behind each sum.
    """

    step: int = 0
    unread: list[tuple[int, Mapping[str, Tensor]]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, step: int, values: Mapping[str, Tensor]) -> None:
        """Takes in a step, unread."""
        self.unread.append((step, values))
        self.step = step

    def read(self) -> None:
        """Adds up all that is unread.

        Raises:
            NonFiniteError: A value is NaN or infinite; says which, and in which step.
        """
        if not self.unread:
            return
        told = [(step, name, value) for step, values in self.unread for name, value in values.items()]
        read = torch.stack([value.detach().float() for _, _, value in told]).tolist()
        self.unread = []
        for (step, name, _), value in zip(told, read, strict=True):
            self.sums[name] = self.sums.get(name, 0.0) + _finite(name, value, step)
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """The mean of each value since the last report, which this one now is."""
        found = {name: total / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return found


def play(
    game: Game,
    progress: Progress,
    *,
    steps: int,
    batch_size: int,
    reports: int,
    pause: Callable[[], None],
) -> Iterator[Report]:
    """Plays on from where `progress` stands; the caller owns progress bar and pictures.

    Args:
        game: Changed in place.
        progress: Kept up to date.
        steps: Steps of the whole run.
        batch_size: Real images in a step.
        reports: How many reports the whole run yields, at equal intervals; fewer, where the game has fewer
            periods.
        pause: Called before each step, where all that the run consists of can be put down.

    Raises:
        NonFiniteError: A value of a step, or a gradient at a report, is NaN or infinite; says which. A step's
            values are looked at when the next report is due.
    """
    reports = min(reports, steps // game.period)  # so that each has a move of every player to tell of
    report_at = {math.ceil(steps * (i + 1) / reports) for i in range(reports)}
    for step in range(progress.step + 1, steps + 1):
        pause()
        progress.add(step, game.play(step, steps))
        for player in game.players.values():
            player.advance()
        if step in report_at or len(progress.unread) == READ_EVERY:
            progress.read()
        if step in report_at:
            gradients = {f"{name}_gradient": player.gradient() for name, player in game.players.items()}
            for name, value in gradients.items():
                _finite(name, value, step)
            rate = max(player.rate for player in game.players.values())
            # The sums are emptied before the report is out: who takes it finds the run as it will go on.
            yield {"images_seen": step * batch_size, **progress.means(), **gradients, "learning_rate": rate}


def _finite(name: str, value: float, step: int) -> float:
    if not math.isfinite(value):
        raise NonFiniteError(
            f"training diverged: {name} is {value} at step {step}; "
            "lower recipes.<loss>.learning_rate or set another seed"
        )
    return value
