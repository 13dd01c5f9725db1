"""The loop: when it reports, what a report holds, how it goes on, and when it gives up."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from src.core.errors import PipelineError
from src.gan import loop
from src.gan.loop import NonFiniteError, Progress, Report


class Mover:
    """A player that only counts: its rate is that of the step before, its gradient what it is told."""

    def __init__(self, rate: float, fall: float = 0.0, gradient: float = 5.0) -> None:
        self.rate, self._fall, self._gradient = rate, fall, gradient
        self.moves = 0

    def advance(self) -> None:
        self.moves += 1
        self.rate -= self._fall

    def gradient(self) -> float:
        return self._gradient


class Scripted:
    """A game whose values are given: each step has a `d_loss`, the last of each period a `g_loss` too."""

    def __init__(self, period: int = 1, d: list[float] | None = None, g: list[float] | None = None) -> None:
        self.period = period
        self.players: dict[str, Any] = {"d": Mover(0.1), "g": Mover(0.1)}
        self.log: list[tuple[int, int]] = []
        self._d, self._g = iter(d or [0.5] * 99), iter(g or [0.25] * 99)

    def play(self, step: int, steps: int) -> dict[str, Tensor]:
        self.log.append((step, steps))
        values = {"d_loss": torch.tensor(next(self._d), requires_grad=True)}
        return values if step % self.period else values | {"g_loss": torch.tensor(next(self._g))}


def played(
    game: Scripted,
    steps: int = 6,
    reports: int = 2,
    progress: Progress | None = None,
    pause: Callable[[], None] = lambda: None,
) -> Iterator[Report]:
    return loop.play(game, progress or Progress(), steps=steps, batch_size=10, reports=reports, pause=pause)


def images_seen(found: Iterator[Report]) -> list[float]:
    return [report["images_seen"] for report in found]


# When


@pytest.mark.parametrize(
    ("steps", "reports", "expected"),
    [
        (12, 4, [30, 60, 90, 120]),
        (12, 1, [120]),
        (5, 5, [10, 20, 30, 40, 50]),
        (5, 50, [10, 20, 30, 40, 50]),
        (10, 5, [20, 40, 60, 80, 100]),
        (10, 3, [40, 70, 100]),  # steps 3.33 and 6.67, rounded up
    ],
)
def test_reports_come_at_equal_intervals(steps: int, reports: int, expected: list[int]) -> None:
    assert images_seen(played(Scripted(), steps, reports)) == expected


def test_no_report_comes_without_a_move_of_every_player_to_tell_of() -> None:
    found = list(played(Scripted(period=3), steps=7, reports=7))
    assert images_seen(found) == [40, 70]  # the generator moves at 3 and 6: 2 reports
    assert [report["g_loss"] for report in found] == [0.25, 0.25]


def test_every_step_is_played_once_after_a_pause_and_all_players_move_on() -> None:
    game, progress = Scripted(period=2), Progress()
    pauses: list[tuple[int, int, int]] = []

    def pause() -> None:
        pauses.append((progress.step, len(game.log), game.players["g"].moves))

    list(played(game, steps=4, progress=progress, pause=pause))
    assert game.log == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert pauses == [(0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3)]  # where everything fits together
    assert [player.moves for player in game.players.values()] == [4, 4]


# What


def test_a_report_holds_means_since_the_last_one() -> None:
    # Six steps, two reports; the generator steps at 2, 4 and 6.
    game = Scripted(2, d=[1.0, 2.0, 6.0, 4.0, 5.0, 9.0], g=[10.0, 20.0, 30.0])
    first, second = played(game)
    assert (first["d_loss"], first["g_loss"]) == (3.0, 10.0)
    assert (second["d_loss"], second["g_loss"]) == (6.0, 25.0)


def test_a_report_holds_gradients_and_the_highest_learning_rate_of_the_step() -> None:
    game = Scripted()
    game.players = {"d": Mover(0.1, gradient=3.0), "g": Mover(0.5, 0.05, gradient=4.0), "e": Mover(0.4)}
    first, second = played(game)
    assert first == {
        "images_seen": 30,
        "d_loss": 0.5,
        "g_loss": 0.25,
        "d_gradient": 3.0,
        "g_gradient": 4.0,
        "e_gradient": 5.0,
        "learning_rate": 0.4,  # of e, where g has fallen to 0.35
    }
    assert list(first) == list(second)


# Going on


def test_a_run_that_goes_on_counts_steps_images_and_reports_from_where_it_was() -> None:
    assert images_seen(played(Scripted(), reports=3)) == [20, 40, 60]
    game = Scripted(period=2)
    unread = [(3, {"d_loss": torch.tensor(2.0)})]
    progress = Progress(step=3, unread=unread, sums={"d_loss": 4.0}, counts={"d_loss": 1})
    first, second = played(game, reports=3, progress=progress)
    assert images_seen([first, second]) == [40, 60]
    assert game.log == [(4, 6), (5, 6), (6, 6)]
    assert (first["d_loss"], first["g_loss"]) == (6.5 / 3, 0.25)  # 4.0, 2.0 and 0.5
    assert second["d_loss"] == 0.5


def test_who_takes_a_report_finds_the_run_as_it_will_go_on() -> None:
    progress = Progress()
    found = played(Scripted(), progress=progress)
    next(found)
    assert progress == Progress(step=3)


# Giving up


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_is_named_with_its_step(value: float) -> None:
    game = Scripted(2, d=[0.5, 0.5, value])
    with pytest.raises(
        NonFiniteError, match=rf"^training diverged: d_loss is {value} at step 3; lower"
    ) as error:
        list(played(game))
    assert isinstance(error.value, PipelineError)
    assert "\n" not in str(error.value)
    assert len(game.log) == 3  # no report is due before


def test_so_is_one_of_the_generator() -> None:
    with pytest.raises(NonFiniteError, match=r"training diverged: g_loss is nan at step 4; lower"):
        list(played(Scripted(2, g=[0.5, float("nan"), 0.5])))


def test_it_is_found_when_a_report_is_due_and_the_first_one_is_named() -> None:
    game = Scripted(d=[0.5, float("inf"), float("nan"), 0.5])
    with pytest.raises(NonFiniteError, match=r"d_loss is inf at step 2; lower"):
        list(played(game, steps=8))
    assert len(game.log) == 4


def test_or_after_so_many_steps_without_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "READ_EVERY", 3)
    game, progress = Scripted(d=[1.0, 2.0, 3.0, 4.0, float("nan"), 6.0, 7.0, 8.0]), Progress()
    with pytest.raises(NonFiniteError, match=r"d_loss is nan at step 5; lower"):
        list(played(game, steps=8, reports=1, progress=progress))
    assert len(game.log) == 6
    (report,) = played(Scripted(d=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]), steps=8, reports=1)
    assert report["d_loss"] == 4.5


def test_a_gradient_that_is_not_finite_stops_the_run_at_the_next_report() -> None:
    game = Scripted()
    game.players["d"] = Mover(0.1, gradient=float("nan"))
    with pytest.raises(NonFiniteError, match=r"training diverged: d_gradient is nan at step 3; lower"):
        list(played(game))
