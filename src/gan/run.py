"""A training run: plays a game to its end, and goes back once where a step is not finite."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from tqdm import tqdm

from src.core.settings import Watch
from src.gan import loop
from src.gan.loop import Game, NonFiniteError, Progress, Report
from src.gan.recipe import Recipe


class Run:
    """A game with what it takes to play it to the end, in pieces if need be.

    Args:
        game: What is played.
        recipe: How many images it sees, in which batches.
        settings: How many reports there will be, and what the learning rate is multiplied by after a step
            that was not finite.
        pause: Called before each step, where `state_dict` may be taken.

    Attributes:
        game: As given.
        retries: How often the run went back, 0 or 1.
    """

    def __init__(self, game: Game, recipe: Recipe, settings: Watch, *, pause: Callable[[], None]) -> None:
        self.game, self.retries = game, 0
        self._recipe, self._settings, self._pause = recipe, settings, pause
        self._progress = Progress()
        self._good = self._copy()

    def reports(self) -> Iterator[Report]:
        """Trains, and yields a report at equal intervals.

        A step that is not finite takes the run back to its last report once, with a lower learning rate and
        other random numbers.

        Raises:
            NonFiniteError: The second time that a step is not finite.
        """
        while True:
            try:
                for report in self._play():
                    if not self.retries:
                        self._good = self._copy()
                    yield report
                return
            except NonFiniteError as fault:
                if self.retries:
                    raise
                tqdm.write(
                    f"{fault}\ngoing back to step {self._good['progress']['step']}, "
                    f"from there with {self._settings.retry_factor} times the learning rate"
                )
            self._go_back()

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on, at a pause; nothing is copied."""
        streams = {name: stream.state_dict() for name, stream in self.game.streams.items()}
        return {**self._now(), "good": self._good, "retries": self.retries, "streams": streams}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts a new run where another of the same arguments was when `state_dict` was taken."""
        self._put(state)
        self._good, self.retries = state["good"], state["retries"]
        for name, stream in self.game.streams.items():
            stream.load_state_dict(state["streams"][name])

    def _play(self) -> Iterator[Report]:
        return loop.play(
            self.game,
            self._progress,
            steps=self._recipe.steps,
            batch_size=self._recipe.batch_size,
            reports=self._settings.log_points,
            pause=self._pause,
        )

    def _go_back(self) -> None:
        self._put(self._good)
        for player in self.game.players.values():
            player.slow_down(self._settings.retry_factor)
        self._good, self.retries = {}, 1  # there is no going back a second time

    def _now(self) -> dict[str, Any]:
        players = {name: player.state_dict() for name, player in self.game.players.items()}
        return {"players": players, "progress": asdict(self._progress)}

    def _copy(self) -> dict[str, Any]:
        return copy.deepcopy(self._now())

    def _put(self, state: dict[str, Any]) -> None:
        for name, player in self.game.players.items():
            player.load_state_dict(state["players"][name])
        self._progress = Progress(**state["progress"])
