"""The two moves: what the discriminator's step minimises and reports, and what the generator is told."""

import dataclasses
from typing import Any

import pytest
import torch
from conftest import GREY, same, weights
from torch import Tensor

from src.gan.losses import LOSSES, Loss
from src.gan.penalties import PENALTIES
from src.gan.player import Player
from src.gan.step import Criticism, Rule, criticise, persuade
from src.networks.mlp import MLPDiscriminator
from src.networks.network import build

RULE = Rule(loss=LOSSES["gan"], penalty=None, weight=0.0, final=1.0, every=1)
# The loss itself has no slope: only a penalty moves anything.
FLAT = Loss(*[lambda *, real, fake: 0 * (real.sum() + fake.sum())] * 2)
LABELS = torch.arange(10)


def noise(seed: int, spread: float = 1.0) -> Tensor:
    return spread * (2 * torch.rand(10, 1, 28, 28, generator=torch.Generator().manual_seed(seed)) - 1)


REAL, FAKE = noise(1), noise(2, spread=0.1)
MIX = torch.linspace(0, 1, 10).view(10, 1, 1, 1)


@pytest.fixture
def player() -> Player:
    network = build(MLPDiscriminator, GREY, seed=0, width=4, conditional=True, spectral_norm=False)
    return Player(network, learning_rate=0.1, betas=(0.0, 0.9), decay_from=1.0, steps=6, ema=None)


def criticised(player: Player, step: int = 1, **changes: Any) -> Criticism:
    """A step of the player's."""
    rule = dataclasses.replace(RULE, **changes)
    given = {"real": REAL, "fake": FAKE, "labels": LABELS, "mix": MIX}
    found = criticise(player.network, rule, **given, weight=rule.weight_at(step, steps=6))
    player.step(found.total)
    return found


def slope(player: Player) -> float:
    """The last step's gradient of the score's bias."""
    return player.network.head.score.bias.grad.item()


# The discriminator's step


def test_one_pass_scores_real_and_generated_images_with_their_labels(player: Player) -> None:
    shown: list[tuple[Tensor, Tensor]] = []
    with torch.no_grad():
        real, fake = player.network(REAL, LABELS), player.network(FAKE, LABELS)
    player.network.register_forward_hook(lambda _, inputs, output: shown.append(inputs))
    found = criticised(player)
    ((images, labels),) = shown
    assert torch.equal(images, torch.cat([REAL, FAKE]))
    assert labels.tolist() == [*range(10), *range(10)]
    torch.testing.assert_close(found.real.detach(), real)
    torch.testing.assert_close(found.fake.detach(), fake)
    assert abs(real.mean() - fake.mean()) > 1e-3


def test_generated_images_may_have_labels_of_their_own(player: Player) -> None:
    shown: list[Tensor] = []
    player.network.register_forward_hook(lambda _, inputs, output: shown.append(inputs[1]))
    given = {"real": REAL, "fake": FAKE, "labels": LABELS, "fake_labels": LABELS.flip(0)}
    rule = dataclasses.replace(RULE, penalty=PENALTIES["r1_r2"])
    criticise(player.network, rule, **given, weight=1.0, mix=MIX)
    assert shown[0].tolist() == [*range(10), *range(9, -1, -1)]
    assert [labels.tolist() for labels in shown[1:]] == [[*range(10)]] * 2  # a penalty's


def test_the_loss_is_the_discriminators_half_of_those_scores(player: Player) -> None:
    found = criticised(player, loss=LOSSES["lsgan"])
    expected = LOSSES["lsgan"].discriminator(real=found.real, fake=found.fake).item()
    assert found.loss.item() == expected > 0
    assert found.penalty is None


def test_steps_go_down_that_loss(player: Player) -> None:
    values = [criticised(player, step).loss.item() for step in range(1, 6)]
    assert values[-1] < values[0] - 0.1


def test_each_step_moves_the_weights_and_nothing_random(player: Player) -> None:
    state = torch.random.get_rng_state()
    before = weights(player.network)
    criticised(player)
    assert not same(weights(player.network), before)
    assert torch.equal(torch.random.get_rng_state(), state)


# Its penalty


def test_a_penalty_counts_in_every_so_many_th_step_and_so_many_times_as_much(player: Player) -> None:
    calls: list[tuple[Tensor, Tensor]] = []

    def penalty(discriminator: Any, *, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
        calls.append((real, fake))
        assert torch.equal(discriminator(real), player.network(REAL, LABELS))  # the labels are bound
        assert mix is MIX
        return player.network.head.score.bias.sum()

    found, slopes = [], []
    for step in range(1, 7):
        bias = player.network.head.score.bias.item()
        value = criticised(player, step, loss=FLAT, penalty=penalty, weight=0.5, every=3).penalty
        found.append(None if value is None else value.item() / bias)
        slopes.append(slope(player))
    assert len(calls) == 2  # steps 3 and 6 of 6
    assert all(torch.equal(real, REAL) and torch.equal(fake, FAKE) for real, fake in calls)
    assert found == [None, None, pytest.approx(1.5), None, None, pytest.approx(1.5)]  # weight 0.5, times 3
    assert slopes == pytest.approx([0, 0, 1.5, 0, 0, 1.5])


def test_the_loss_is_told_without_the_penalty(player: Player) -> None:
    def penalty(*_: Any, **__: Any) -> Tensor:
        return player.network.head.score.bias.sum() + 100

    assert criticised(player, loss=FLAT, penalty=penalty, weight=0.5).loss.item() == 0.0


def test_a_penalty_fades_geometrically_to_what_is_left_at_the_end(player: Player) -> None:
    def penalty(*_: Any, **__: Any) -> Tensor:
        return player.network.head.score.bias.sum()

    slopes = []
    for step in (3, 6):
        criticised(player, step, loss=FLAT, penalty=penalty, weight=0.5, every=3, final=0.04)
        slopes.append(slope(player))
    # Steps 3 and 6 of 6: 0.5 * 3 times 0.04^0.5 = 0.2 and 0.04.
    assert slopes == pytest.approx([1.5 * 0.2, 1.5 * 0.04], rel=1e-5)


@pytest.mark.parametrize("name", [name for name, penalty in PENALTIES.items() if penalty])
def test_every_penalty_reaches_the_weights(player: Player, name: str) -> None:
    found = criticised(player, loss=FLAT, penalty=PENALTIES[name], weight=2.0)
    assert found.penalty.item() > 0
    assert player.gradient() > 0


# What the generator is to minimise


@pytest.mark.parametrize("name", ["lsgan", "rpgan"])
def test_the_generators_half_is_of_the_scores_that_it_is_given(player: Player, name: str) -> None:
    images = FAKE.clone().requires_grad_(True)
    scores = torch.linspace(-1, 1, 10, requires_grad=True)
    half = LOSSES[name].generator
    found = persuade(player.network, LOSSES[name], real_scores=scores, fake=images, labels=LABELS)
    with torch.no_grad():
        expected = half(real=scores, fake=player.network(FAKE, LABELS))
        shuffled = half(real=scores, fake=player.network(FAKE, LABELS.flip(0)))
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    assert found.item() != pytest.approx(shuffled.item(), rel=1e-6)
    found.backward()
    assert (images.grad.flatten(1).abs().sum(dim=1) > 0).all()
    assert scores.grad is None  # real scores are there to be compared with


def test_the_generators_loss_leaves_no_gradient_in_the_discriminator(player: Player) -> None:
    found = criticised(player)
    before = [parameter.grad.clone() for parameter in player.network.parameters()]
    images = FAKE.clone().requires_grad_(True)
    persuade(player.network, RULE.loss, real_scores=found.real, fake=images, labels=LABELS).backward()
    after = [parameter.grad for parameter in player.network.parameters()]
    assert same(after, before)
    assert all(parameter.requires_grad for parameter in player.network.parameters())
