"""A run: back to its last report after a step that is not finite, once; and on from where it was cut off."""

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import GREY, ROOT, same, weights
from torch import Tensor

from src.core import params
from src.datasets import labelled
from src.datasets.labelled import Labelled
from src.gan import games
from src.gan.gan import Gan, GanRecipe
from src.gan.loop import NonFiniteError, Report
from src.gan.losses import LOSSES, Loss
from src.gan.run import Run

PARAMS = params.read(ROOT / "params.yaml", ROOT / "src/datasets/table.yaml")
RECIPE = games.recipe(PARAMS.recipes["mlp"], "recipes.mlp")
TINY = dataclasses.replace(RECIPE, latent=3, width=4, batch_size=10, images=60, learning_rate=0.1)
SETTINGS = dataclasses.replace(PARAMS.watch, log_points=3, retry_factor=0.25)
PENALISED = dataclasses.replace(TINY, penalty="gradient", penalty_weight=1.0, penalty_every=2, ema=0.5)


@pytest.fixture
def data(image_set: Path) -> Labelled:
    return labelled.read(image_set, "train", GREY)


def started(
    recipe: GanRecipe, data: Labelled, pause: Callable[[], None] = lambda: None, seed: int = 0
) -> Run:
    return Run(Gan(recipe, GREY, data, seed=seed), recipe, SETTINGS, pause=pause)


def broken_at(bad: set[int], which: str = "discriminator") -> Loss:
    """The usual loss, whose so-many-th values of one half are NaN."""
    count = 0
    halves = LOSSES["gan"]._asdict()
    whole = halves[which]

    def half(*, real: Tensor, fake: Tensor) -> Tensor:
        nonlocal count
        count += 1
        value = whole(real=real, fake=fake)
        return value * float("nan") if count in bad else value

    return Loss(**halves | {which: half})


class Broken:
    """A run whose loss is NaN at some of its steps, with what it did at each."""

    def __init__(self, data: Labelled, monkeypatch: pytest.MonkeyPatch, loss: Loss, **changes: Any) -> None:
        monkeypatch.setitem(LOSSES, "gan", loss)
        self.run = started(dataclasses.replace(TINY, **changes), data)
        self.steps: list[int] = []
        self.before: list[list[Tensor]] = []  # weights
        self.rates: list[float] = []  # of the steps
        self.latents: list[Tensor] = []
        game, d, g = self.run.game, self.run.game.players["d"], self.run.game.players["g"]
        play, advance = game.play, d.advance

        def follow(step: int, steps: int) -> dict[str, Tensor]:
            self.steps.append(step)
            self.before.append(weights(d.network) + weights(g.network) + weights(g.average))
            return play(step, steps)

        def move_on() -> None:
            advance()
            self.rates.append(d.rate)

        game.play, d.advance = follow, move_on
        g.network.register_forward_hook(lambda _, inputs, output: self.latents.append(inputs[0]))


def images_seen(found: list[Report]) -> list[float]:
    return [report["images_seen"] for report in found]


# Falling back


def test_a_step_that_is_not_finite_goes_back_once_at_a_lower_rate(
    data: Labelled, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Reports after steps 2, 4 and 6; step 4 is NaN: back to step 2, then steps 3 to 6 once more.
    broken = Broken(data, monkeypatch, broken_at({4}))
    found = list(broken.run.reports())
    assert images_seen(found) == [20, 40, 60]
    assert broken.run.retries == 1
    assert broken.steps == [1, 2, 3, 4, 3, 4, 5, 6]
    assert broken.rates == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.025, 0.025, 0.025, 0.025])
    assert [report["learning_rate"] for report in found] == pytest.approx([0.1, 0.025, 0.025])
    # The second third step starts from the weights that the first one started from.
    assert same(broken.before[4], broken.before[2])
    assert not same(broken.before[5], broken.before[3])
    # Its random numbers are others.
    assert len(torch.cat(broken.latents).unique(dim=0)) == 8 * 10
    for network in (broken.run.game.generator, broken.run.game.discriminator):
        assert all(w.isfinite().all() for w in weights(network))
    said = " ".join(capsys.readouterr().out.split())
    assert "d_loss is nan at step 4" in said
    assert "going back to step 2, from there with 0.25 times the learning rate" in said


def test_means_are_of_the_steps_that_counted(data: Labelled, monkeypatch: pytest.MonkeyPatch) -> None:
    # The third step's value, given twice, counts once.
    values = iter([1.0, 2.0, 3.0, float("nan"), 5.0, 6.0, 7.0, 9.0])
    halves = LOSSES["gan"]
    loss = Loss(lambda *, real, fake: next(values) + 0 * real.sum(), halves.generator)
    found = list(Broken(data, monkeypatch, loss).run.reports())
    assert [report["d_loss"] for report in found] == [1.5, 5.5, 8.0]


def test_before_the_first_report_it_goes_back_to_the_start(
    data: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Broken(data, monkeypatch, broken_at({2}))
    assert images_seen(list(broken.run.reports())) == [20, 40, 60]
    assert broken.steps == [1, 2, 1, 2, 3, 4, 5, 6]
    assert same(broken.before[2], broken.before[0])


def test_a_generators_step_that_is_not_finite_goes_back_too(
    data: Labelled, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Broken(data, monkeypatch, broken_at({3}, "generator"))
    assert images_seen(list(broken.run.reports())) == [20, 40, 60]
    assert broken.run.retries == 1
    assert "g_loss is nan at step 3" in " ".join(capsys.readouterr().out.split())
    assert all(w.isfinite().all() for w in weights(broken.run.game.generator))


def test_the_second_time_it_gives_up(data: Labelled, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Broken(data, monkeypatch, broken_at({4, 6}))
    found = []
    with pytest.raises(NonFiniteError, match=r"d_loss is nan at step 4; lower"):
        found.extend(broken.run.reports())
    assert broken.run.retries == 1
    assert broken.steps == [1, 2, 3, 4, 3, 4]


def test_the_schedule_goes_on_from_where_it_was(data: Labelled, monkeypatch: pytest.MonkeyPatch) -> None:
    # Rates without a fault: 0.1 up to step 4, then 0.1 (step 5 of 6: 2/2 of it are left), 0.05.
    broken = Broken(data, monkeypatch, broken_at({5}), decay_from=2 / 3)
    rates = [report["learning_rate"] for report in broken.run.reports()]
    assert rates == pytest.approx([0.1, 0.1, 0.25 * 0.05])


# CutOffError off, and taken up


class CutOffError(Exception):
    """Stands for the end of a process."""


def cut_off(recipe: GanRecipe, data: Labelled, pauses: int) -> tuple[list[Report], dict[str, Any]]:
    """The reports of a run that ends at its so-many-th pause, and its state there."""
    left = pauses
    state: dict[str, Any] = {}

    def pause() -> None:
        nonlocal left
        left -= 1
        if not left:
            state.update(copy.deepcopy(run.state_dict()))
            raise CutOffError

    run, found = started(recipe, data, pause), []
    with pytest.raises(CutOffError):
        found.extend(run.reports())
    return found, state


@pytest.mark.parametrize("pauses", [1, 2, 3, 4, 6])
def test_a_run_goes_on_as_if_it_had_never_stopped(data: Labelled, pauses: int) -> None:
    recipe = dataclasses.replace(PENALISED, decay_from=0.5)
    whole = started(recipe, data)
    expected = list(whole.reports())
    first, state = cut_off(recipe, data, pauses)
    other = started(recipe, data, seed=9)  # whatever it had of its own
    other.load_state_dict(state)
    assert [*first, *other.reports()] == expected
    assert same(weights(other.game.generator), weights(whole.game.generator))
    assert same(weights(other.game.discriminator), weights(whole.game.discriminator))


@pytest.mark.parametrize("pauses", [2, 4, 6, 8])  # steps 1, 2, 3, 4 (NaN), 3, 4, 5, 6
def test_so_does_one_that_goes_back_before_or_after(
    data: Labelled, monkeypatch: pytest.MonkeyPatch, pauses: int
) -> None:
    monkeypatch.setitem(LOSSES, "gan", broken_at({4}))
    whole = started(PENALISED, data)
    expected = list(whole.reports())
    monkeypatch.undo()
    monkeypatch.setitem(LOSSES, "gan", broken_at({4}))
    first, state = cut_off(PENALISED, data, pauses)
    # The loss counts on in another process, where the NaN may still be to come.
    monkeypatch.undo()
    monkeypatch.setitem(LOSSES, "gan", broken_at({4 - (pauses - 1)}))
    other = started(PENALISED, data, seed=9)
    other.load_state_dict(state)
    assert [*first, *other.reports()] == expected
    assert other.retries == 1
    assert same(weights(other.game.generator), weights(whole.game.generator))


def test_a_run_that_has_gone_back_gives_up_after_a_cut_too(
    data: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LOSSES, "gan", broken_at({4}))
    _, state = cut_off(TINY, data, 6)
    monkeypatch.undo()
    monkeypatch.setitem(LOSSES, "gan", broken_at({1}))
    other = started(TINY, data)
    other.load_state_dict(state)
    with pytest.raises(NonFiniteError, match="d_loss is nan at step 4"):
        list(other.reports())
