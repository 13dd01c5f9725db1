"""A player: what a step does, its learning rate, its moving average, and how it is put down and taken up."""

import copy
import itertools
from typing import Any

import pytest
import torch
from conftest import same, weights
from torch import Tensor, nn

from src.gan.player import Player, step_together

SETTINGS: dict[str, Any] = {
    "learning_rate": 0.1,
    "betas": (0.5, 0.75),
    "decay_from": 1.0,
    "steps": 10,
    "ema": None,
}


class Point(nn.Module):
    """Two numbers."""

    def __init__(self, x: float = 0.0, y: float = 0.0) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.tensor([x, y]))


def started(network: nn.Module | None = None, **changes: Any) -> Player:
    return Player(network or Point(), **(SETTINGS | changes))


def sloped(player: Player, x: float, y: float) -> Tensor:
    """A loss with that gradient."""
    return (player.network.place * torch.tensor([x, y])).sum()


def rates(player: Player, count: int) -> list[float]:
    found = []
    for _ in range(count):
        player.step(sloped(player, 1.0, 1.0))
        player.advance()
        found.append(player.rate)
    return found


# Steps


def test_steps_are_adams_down_the_loss() -> None:
    player = started()
    player.step(sloped(player, 1.0, -2.0))
    # The first step is of the length of the learning rate, whatever the gradient's.
    assert player.network.place.tolist() == pytest.approx([-0.1, 0.1])
    player.step(sloped(player, 3.0, -2.0))
    # m = 0.5 m + 0.5 g = 0.25 + 1.5 over 1 - 0.5^2; v = 0.75 v + 0.25 g^2 = 0.1875 + 2.25 over 1 - 0.75^2:
    # 2.3333333 / sqrt(5.5714286) = 0.9885383 learning rates
    assert player.network.place.tolist() == pytest.approx([-0.1 - 0.09885383, 0.2], rel=1e-5)


def test_players_step_together_down_a_loss_that_they_share() -> None:
    pair = started(ema=0.0), started()
    for _ in range(2):  # of several steps, gradients don't add up
        step_together(pair, sloped(pair[0], 1.0, -2.0) + sloped(pair[1], -3.0, 4.0))
    alone = started()
    for _ in range(2):
        alone.step(sloped(alone, 1.0, -2.0))
    assert same(weights(pair[0].network), weights(alone.network))
    assert same(weights(pair[0].average), weights(alone.network))
    assert [player.gradient() for player in pair] == pytest.approx([5**0.5, 5.0])
    assert pair[1].network.place.tolist() == pytest.approx([0.2, -0.2])


def test_weights_are_clipped_after_the_step_and_a_clip_of_zero_clips_nothing() -> None:
    start = {"x": 0.0, "y": 0.05}
    free, clipped = started(Point(**start)), started(Point(**start), weight_clip=0.06, ema=0.0)
    for player in (free, clipped):
        player.step(sloped(player, 1.0, -2.0))
    assert free.network.place.tolist() == pytest.approx([-0.1, 0.15])
    for network in (clipped.network, clipped.average):  # which is of the clipped weights
        assert network.place.tolist() == pytest.approx([-0.06, 0.06])
    inside = started(Point(**start), weight_clip=0.12)
    inside.step(sloped(inside, 1.0, -2.0))
    assert inside.network.place.tolist() == pytest.approx([-0.1, 0.12])


def test_the_gradient_is_the_last_steps_over_all_weights() -> None:
    network = nn.ModuleDict({"a": Point(), "b": Point(), "idle": Point()})
    player = started(network)
    for scale in (100.0, 1.0):  # of several steps, gradients don't add up
        a, b = network["a"].place, network["b"].place
        player.step(scale * (1.0 * a[0] + 2.0 * a[1] - 4.0 * b[0] + 2.0 * b[1]))
    assert player.gradient() == pytest.approx(5.0)  # sqrt(1 + 4 + 16 + 4); nothing of weights without one


def test_a_gradient_that_is_not_finite_shows() -> None:
    player = started()
    player.step(sloped(player, float("nan"), 1.0))
    assert player.gradient() != player.gradient()


# The moving average


def test_the_average_follows_the_recursion() -> None:
    player = started(ema=0.35)
    history: list[list[Tensor]] = []
    for step in range(6):
        player.step(sloped(player, 1.0 + step, -2.0))
        history.append(weights(player.network))
    # The first weights are taken as they are; then a = d a + (1 - d) w, d = (1 + n) / (10 + n), at most 0.35.
    expected = history[0]
    for decay, following in zip((2 / 11, 3 / 12, 4 / 13, 0.35, 0.35), history[1:], strict=True):
        expected = [decay * a + (1 - decay) * w for a, w in zip(expected, following, strict=True)]
    torch.testing.assert_close(weights(player.average), expected)
    assert type(player.average) is Point
    assert not same(weights(player.average), weights(player.network))


def test_running_statistics_are_averaged_too() -> None:
    network = nn.BatchNorm1d(1, momentum=1.0)  # takes the mean of the last batch as it is
    player = started(network, ema=0.9)
    for mean in (3.0, 14.0):
        player.step(network(torch.tensor([[mean - 1], [mean + 1]])).sum())
    # 2/11 of the first, 9/11 of the second
    assert player.average.running_mean.item() == pytest.approx(12.0)
    assert network.running_mean.item() == pytest.approx(14.0)


def test_a_decay_of_nothing_averages_nothing() -> None:
    player = started(ema=0.0)
    rates(player, 3)
    assert same(weights(player.average), weights(player.network))
    assert player.average is not player.network


def test_without_an_average_the_network_stands_for_it() -> None:
    player = started(ema=None)
    assert player.average is player.network
    assert "average" not in player.state_dict()


# The learning rate


def test_the_learning_rate_falls_linearly_to_nothing_over_the_last_part() -> None:
    # Ten steps, decay from 0.6: the first six at the full rate, then 4/4, 3/4, 2/4, 1/4 of it are left.
    assert rates(started(decay_from=0.6), 10) == pytest.approx([0.1] * 7 + [0.075, 0.05, 0.025])


def test_the_step_itself_is_taken_at_that_rate() -> None:
    # A gradient that stays the same makes Adam's step as long as the learning rate.
    player = started(decay_from=0.6)
    places = [0.0]
    for _ in range(10):
        rates(player, 1)
        places.append(-player.network.place[0].item())
    moves = [after - before for before, after in itertools.pairwise(places)]
    assert moves == pytest.approx([0.1] * 7 + [0.075, 0.05, 0.025], rel=1e-4)


def test_a_rate_that_never_falls_stays_exactly_the_same() -> None:
    assert rates(started(decay_from=1), 10) == [0.1] * 10


@pytest.mark.filterwarnings("ignore:Detected call of")  # torch expects a step before each change of the rate
def test_the_rate_moves_on_in_steps_of_the_run_in_which_others_move() -> None:
    player = started(decay_from=0.0, steps=4)
    found = [player.rate]
    for _ in range(4):
        player.advance()
        found.append(player.rate)
    assert found == pytest.approx([0.1, 0.1, 0.075, 0.05, 0.025])
    assert player.network.place.tolist() == [0.0, 0.0]


def test_slowing_down_lasts_to_the_end_of_the_run() -> None:
    player = started(decay_from=0.5, steps=4)
    assert rates(player, 1) == pytest.approx([0.1])
    player.slow_down(0.25)
    assert rates(player, 3) == pytest.approx([0.025, 0.025, 0.0125])


# Putting down and taking up


@pytest.mark.parametrize("ema", [None, 0.5])
def test_a_player_goes_on_from_its_state(ema: float | None) -> None:
    def trained(player: Player, count: int) -> tuple[list[float], list[float], list[float]]:
        found = rates(player, count)
        return found, player.network.place.tolist(), player.average.place.tolist()

    player = started(ema=ema, decay_from=0.2)
    trained(player, 2)
    player.slow_down(0.5)
    player.step(sloped(player, 3.0, 4.0))
    player.advance()
    state = copy.deepcopy(player.state_dict())
    other = started(Point(7.0, 8.0), ema=ema, decay_from=0.2)
    other.load_state_dict(state)
    assert (other.gradient(), other.rate) == (5.0, player.rate) == (5.0, pytest.approx(0.05))
    assert trained(other, 3) == trained(player, 3)


def test_a_new_players_state_has_no_gradients() -> None:
    player, other = started(), started()
    other.step(sloped(other, 1.0, 1.0))
    other.load_state_dict(copy.deepcopy(player.state_dict()))
    assert other.network.place.grad is None
    assert same(weights(other.network), weights(player.network))
