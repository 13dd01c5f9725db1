"""The game of a generator and a discriminator: from a recipe, who steps when on what, what comes of it."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import GREY, ROOT, same, weights, write_set
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from src.core import params
from src.core.params import ConfigError
from src.core.seeding import generator_for
from src.datasets import labelled
from src.datasets.labelled import Labelled
from src.datasets.spec import ImageSpec
from src.gan import games, loop, losses, penalties
from src.gan.gan import Gan, GanRecipe
from src.gan.loop import NonFiniteError, Progress, Report
from src.gan.losses import Loss
from src.networks.classifier import ConvClassifier
from src.networks.mlp import MLPDiscriminator, MLPGenerator
from src.networks.network import build

ROWS = params.read(ROOT / "params.yaml", ROOT / "src/datasets/table.yaml").recipes
RECIPES = games.recipes(ROWS)
TINY = dataclasses.replace(RECIPES["mlp"], latent=3, width=4, batch_size=10, images=60)
COLOUR = ImageSpec(channels=3, height=20, width=28, classes=7)
FLAT = Loss(*[lambda *, real, fake: 0 * (real.sum() + fake.sum())] * 2)


@pytest.fixture
def data(image_set: Path) -> Labelled:
    return labelled.read(image_set, "train", GREY)


def noise() -> Labelled:
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (40, 1, 28, 28), generator=rng, dtype=torch.uint8)
    return Labelled(pixels, torch.arange(40) % 10)


class Played:
    """A game on 40 noise images, played through the loop, with a log of its steps."""

    def __init__(self, reports: int = 2, frozen: str = "", **changes: Any) -> None:
        recipe = dataclasses.replace(TINY, **changes)
        self.game = Gan(recipe, GREY, noise(), seed=0)
        self.g, self.d = (self.game.players[name].network for name in ("g", "d"))
        self.log: list[str] = []
        for name, player in self.game.players.items():
            player.move = self.followed(name, player.move)
            if name == frozen:
                player.slow_down(0.0)
        self.reports: Iterator[Report] = loop.play(
            self.game,
            Progress(),
            steps=recipe.steps,
            batch_size=recipe.batch_size,
            reports=reports,
            pause=lambda: None,
        )

    def followed(self, name: str, move: Any) -> Any:
        def follow() -> None:
            move()
            self.log.append(name)
            self.stepped(name)

        return follow

    def stepped(self, name: str) -> None:
        """Called after each step of a player."""


# A recipe to a game


def test_a_recipe_reaches_networks_optimisers_and_rule() -> None:
    recipe = GanRecipe(
        kind="gan",
        loss="lsgan",
        network="mlp",
        conditional=False,
        latent=5,
        width=6,
        spectral_norm=True,
        batch_size=7,
        images=77,
        critic_steps=2,
        weight_clip=0.3,
        penalty="r1",
        penalty_weight=0.7,
        penalty_every=3,
        penalty_final=0.2,
        learning_rate=0.004,
        beta1=0.25,
        beta2=0.75,
        decay_from=0.5,
        ema=0.5,
    )
    game = Gan(recipe, COLOUR, Labelled(torch.zeros(9, *COLOUR.shape).byte(), torch.arange(9) % 7), seed=0)
    assert (type(game.generator), type(game.discriminator)) == (MLPGenerator, MLPDiscriminator)
    assert game.generator.spec == game.discriminator.spec == COLOUR
    assert game.generator.options == {"latent": 5, "width": 6, "conditional": False}
    assert game.discriminator.options == {"width": 6, "conditional": False, "spectral_norm": True}
    assert game.discriminator is game.players["d"].network is game.players["d"].average
    assert game.generator is game.players["g"].average is not game.players["g"].network
    assert game.period == 2
    for player in game.players.values():
        (group,) = player.state_dict()["optimizer"]["param_groups"]
        assert (group["lr"], group["betas"]) == (0.004, (0.25, 0.75))
        assert len(group["params"]) == len(list(player.network.parameters()))
    rule = recipe.rule
    assert (rule.loss, rule.penalty) == (losses.LOSSES["lsgan"], penalties.r1)
    assert (rule.weight, rule.final, rule.every) == (0.7, 0.2, 3)
    assert recipe.steps == 11
    assert game.play(1, 11).keys() == {"d_loss", "penalty", "real_score", "fake_score"}
    assert game.play(2, 11).keys() == {"d_loss", "penalty", "real_score", "fake_score", "g_loss"}


def test_a_last_batch_is_as_whole_as_the_others() -> None:
    assert dataclasses.replace(TINY, images=91).steps == 10


def test_the_learning_rate_falls_where_the_recipe_says() -> None:
    run = Played(images=100, learning_rate=0.1, decay_from=0.6, reports=10)
    expected = [0.1] * 7 + [0.075, 0.05, 0.025]
    assert [report["learning_rate"] for report in run.reports] == pytest.approx(expected)


def test_every_stream_has_random_numbers_of_its_own() -> None:
    state = Played().game.streams
    assert set(state) == {"batches", "noise", "mix"}
    drawn = [bytes(stream.state_dict()["rng"].numpy()) for stream in state.values()]
    assert len(set(drawn)) == 3


def test_a_run_too_short_for_a_generator_step_is_refused() -> None:
    row = {**ROWS["mlp"], "images": 70, "batch_size": 10, "critic_steps": 8}
    with pytest.raises(ConfigError, match=r"recipes\.mlp\.images is 70; allowed: 80 or more: critic_steps"):
        games.recipe(row, "recipes.mlp")
    assert games.recipe({**row, "images": 71}, "recipes.mlp").steps == 8


# Who steps when, and on what


@pytest.mark.parametrize(
    ("critic_steps", "expected"), [(1, "dgdgdgdgdgdgdg"), (3, "dddgdddgd"), (7, "dddddddg")]
)
def test_the_generator_steps_after_so_many_steps_of_the_discriminator(
    critic_steps: int, expected: str
) -> None:
    run = Played(images=70, critic_steps=critic_steps)
    list(run.reports)
    assert "".join(run.log) == expected


def test_scores_are_the_discriminators_means_of_real_and_of_generated_images() -> None:
    run = Played(images=20, reports=1)
    seen: list[tuple[Tensor, Tensor]] = []
    run.d.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output.detach())))
    (report,) = run.reports
    both = [(pictures, scores) for pictures, scores in seen if len(scores) == 20]  # the discriminator's steps
    assert len(both) == 2
    real = torch.stack([scores[:10].mean() for _, scores in both]).mean().item()
    fake = torch.stack([scores[10:].mean() for _, scores in both]).mean().item()
    assert report["real_score"] == pytest.approx(real, rel=1e-5)
    assert report["fake_score"] == pytest.approx(fake, rel=1e-5)
    assert abs(real - fake) > 1e-3
    # The first half are the noise images, spread over [-1, 1]; the second an untrained generator's, near 0.
    assert both[0][0][:10].std() > 0.5
    assert both[0][0][10:].std() < 0.3


def test_generated_images_carry_the_labels_of_the_real_ones() -> None:
    run = Played(images=10, reports=1)
    asked: list[Tensor] = []
    shown: list[tuple[Tensor, Tensor]] = []
    run.g.register_forward_hook(lambda _, inputs, output: asked.append(inputs[1]))
    run.d.register_forward_hook(lambda _, inputs, output: shown.append(inputs))
    list(run.reports)
    real = shown[0][1][:10]
    assert [labels.tolist() for labels in asked] == [real.tolist()]
    assert [labels.tolist() for _, labels in shown] == [real.tolist() * 2, real.tolist()]
    assert len(set(real.tolist())) > 1
    # and those of the real ones are their own
    data = noise()
    bytes_ = labelled.to_bytes(shown[0][0][:10])
    own = [data.given[(data.pixels == image).flatten(1).all(dim=1)].item() for image in bytes_]
    assert own == real.tolist()


def test_the_noise_is_drawn_afresh_for_every_batch() -> None:
    run = Played(images=20, reports=1)
    drawn: list[Tensor] = []
    run.g.register_forward_hook(lambda _, inputs, output: drawn.append(inputs[0]))
    list(run.reports)
    assert [latents.shape for latents in drawn] == [(10, 3)] * 2
    values = torch.cat(drawn).flatten().tolist()
    assert len(set(values)) == len(values)
    # from a stream of its own, which a penalty that draws numbers does not shift
    rng = generator_for("gan/noise", 0)
    assert torch.equal(torch.cat(drawn), torch.cat([torch.randn(10, 3, generator=rng) for _ in range(2)]))
    other = Played(images=20, reports=1, penalty="gradient", penalty_weight=1.0)
    other.g.register_forward_hook(lambda _, inputs, output: drawn.append(inputs[0]))
    list(other.reports)
    assert torch.equal(torch.cat(drawn[:2]), torch.cat(drawn[2:]))


def test_the_generator_steps_on_the_images_that_the_discriminator_has_just_seen() -> None:
    run = Played(images=40, reports=1, critic_steps=2)
    made: list[Tensor] = []
    shown: list[Tensor] = []
    run.g.register_forward_hook(lambda _, inputs, output: made.append(output))
    run.d.register_forward_hook(lambda _, inputs, output: shown.append(inputs[0].detach()))
    list(run.reports)
    # real and generated, twice, then generated alone
    assert [len(pictures) for pictures in shown] == [20, 20, 10] * 2
    assert torch.equal(shown[1][10:], shown[2])
    assert torch.equal(shown[4][10:], shown[5])
    assert not torch.equal(shown[2], shown[5])
    assert [pictures.requires_grad for pictures in made] == [False, True] * 2  # a gradient only where needed


# Who changes what


def test_a_step_of_one_network_leaves_the_other_alone() -> None:
    class Watched(Played):
        before: dict[str, list[Tensor]]

        def stepped(self, name: str) -> None:
            now = {"g": weights(self.g), "d": weights(self.d)}
            other = "d" if name == "g" else "g"
            assert same(now[other], self.before[other]), f"a step of {name} changed {other}"
            assert not same(now[name], self.before[name]), f"a step of {name} changed nothing"
            self.before = now

    run = Watched(critic_steps=2)
    run.before = {"g": weights(run.g), "d": weights(run.d)}
    list(run.reports)
    assert run.log == ["d", "d", "g"] * 3


def test_the_generators_step_leaves_no_gradient_in_the_discriminator() -> None:
    class Watched(Played):
        gradients: list[Tensor]

        def stepped(self, name: str) -> None:
            found = [parameter.grad.clone() for parameter in self.d.parameters()]
            if name == "g":
                assert same(found, self.gradients)
            self.gradients = found

    run = Watched()
    list(run.reports)
    assert len(run.log) == 12
    assert all(parameter.requires_grad for parameter in run.d.parameters())


def test_each_half_goes_down_its_own_loss() -> None:
    # With the other one frozen, steps lower a network's loss, as the values tell.
    only_d = [report["d_loss"] for report in Played(frozen="g", images=300, reports=3).reports]
    assert only_d[-1] < only_d[0] - 0.1
    only_g = [report["g_loss"] for report in Played(frozen="d", images=300, reports=3).reports]
    assert only_g[-1] < only_g[0] - 0.01


def test_a_report_holds_this_steps_gradient_norms() -> None:
    run = Played(critic_steps=3, images=80, reports=1)
    norms: dict[str, list[float]] = {"d": [], "g": []}
    run.stepped = lambda name: norms[name].append(run.game.players[name].gradient())
    (report,) = run.reports
    assert (len(norms["d"]), len(norms["g"])) == (8, 2)
    assert (report["d_gradient"], report["g_gradient"]) == (norms["d"][-1], norms["g"][-1])
    assert min(report["d_gradient"], report["g_gradient"]) > 0


def test_weights_of_the_discriminator_are_clipped_after_each_step() -> None:
    seen: list[float] = []
    run = Played(weight_clip=0.02, learning_rate=0.1)
    run.d.register_forward_pre_hook(lambda *_: seen.append(max(w.abs().max().item() for w in weights(run.d))))
    list(run.reports)
    assert len(seen) == 12  # six steps of each
    assert seen[0] > 0.02
    assert seen[1:] == pytest.approx([0.02] * 11)  # what the generator is trained against, too
    assert max(w.abs().max() for w in weights(run.g)) > 0.02


def test_a_clip_of_zero_clips_nothing() -> None:
    run = Played(weight_clip=0.0)
    list(run.reports)
    assert max(w.abs().max() for w in weights(run.d)) > 0.1


# Penalties


def test_a_penalty_is_added_told_and_drawn_with_as_the_recipe_says(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Tensor, Tensor]] = []

    drawn = generator_for("gan/mix", 0)

    def penalty(discriminator: Any, *, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
        calls.append((real, fake))
        assert discriminator(real).shape == (10,)
        assert torch.equal(mix, torch.rand(10, 1, 1, 1, generator=drawn))
        return run.d.head.score.bias.sum() * 0 + 1

    monkeypatch.setitem(losses.LOSSES, "gan", FLAT)
    monkeypatch.setitem(penalties.PENALTIES, "test", penalty)
    run = Played(reports=6, penalty="test", penalty_weight=0.5, penalty_every=3, penalty_final=0.04)
    found = list(run.reports)
    assert len(calls) == 2  # steps 3 and 6 of 6
    real, fake = calls[0]
    assert real.std() > 0.5 > fake.std()
    assert not fake.requires_grad
    # 0.5 * 3, times 0.04^(1/2) and 0.04
    assert [report["penalty"] for report in found] == pytest.approx([0, 0, 0.3, 0, 0, 0.06])
    assert [report["d_loss"] for report in found] == [0.0] * 6  # reports tell of the loss without it


def test_a_penalty_that_is_not_finite_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def penalty(*_: Any, **__: Any) -> Tensor:
        return torch.tensor(float("nan"), requires_grad=True)

    monkeypatch.setitem(penalties.PENALTIES, "test", penalty)
    with pytest.raises(NonFiniteError, match=r"diverged: penalty is nan at step 2; lower"):
        list(Played(penalty="test", penalty_weight=1.0, penalty_every=2).reports)


def test_a_run_that_diverges_by_itself_is_stopped_in_one_line() -> None:
    with pytest.raises(NonFiniteError, match=r"training diverged: \w+ is (nan|-?inf) at step \d;") as error:
        list(Played(loss="wgan", learning_rate=1e20, reports=1).reports)
    assert "\n" not in str(error.value)


# Nothing is waited for, and less than float32


class Read(TorchDispatchMode):
    """Notes each number that is read back from a tensor, which on a GPU waits for all that came before it."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        if name.startswith(("aten._local_scalar_dense", "aten.is_nonzero", "aten.nonzero", "aten.equal")):
            self.read.append(args[0])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["gan", "wgan-gp", "rpgan", "spectral"])
def test_a_step_reads_nothing_back(name: str) -> None:
    recipe = games.recipe(ROWS[name], name)
    game = Gan(dataclasses.replace(recipe, batch_size=10, images=400, width=4), GREY, noise(), seed=0)
    with Read() as reading:
        for step in range(1, 11):  # steps with and without a penalty, with and without the generator
            game.play(step, 40)
    assert not reading.read
    with Read() as reading:
        torch.ones(()).item()
    assert len(reading.read) == 1


def test_layers_run_in_bfloat16_where_that_is_asked_for_and_all_else_in_float32() -> None:
    recipe = dataclasses.replace(games.recipe(ROWS["gan"], "gan"), batch_size=10, images=160, width=4)
    seen: dict[str, set[torch.dtype]] = {}
    ends: dict[str, list[Tensor]] = {}
    told: dict[str, list[float]] = {}
    for precision in ("float32", "bfloat16"):
        game = Gan(recipe, GREY, noise(), seed=0, precision=precision)
        inside = seen.setdefault(precision, set())
        for network in (game.players["g"].network, game.players["d"].network):
            for layer in network.modules():
                if isinstance(layer, torch.nn.Conv2d):
                    layer.register_forward_hook(
                        lambda _m, _i, output, inside=inside: inside.add(output.dtype)
                    )
        values = [game.play(step, 16) for step in range(1, 17)]  # penalties at 8 and 16
        assert {value.dtype for found in values for value in found.values()} == {torch.float32}
        ends[precision] = weights(game.generator)
        told[precision] = [value["d_loss"].item() for value in values]
    assert seen == {"float32": {torch.float32}, "bfloat16": {torch.bfloat16}}
    assert all(end.dtype in (torch.float32, torch.int64) for end in ends["bfloat16"])
    assert not same(ends["float32"], ends["bfloat16"])
    # 8 bits of a product: the loss of the same weights differs by less than a hundredth, and does differ
    assert 0 < abs(told["bfloat16"][0] / told["float32"][0] - 1) < 0.01
    assert told["bfloat16"] == pytest.approx(told["float32"], rel=0.1)


def test_the_generator_meets_the_discriminator_as_its_step_has_left_it_rounded_too() -> None:
    recipe = dataclasses.replace(TINY, loss="wgan", learning_rate=0.5)
    data = Labelled(noise().pixels, torch.zeros(40, dtype=torch.int64))
    game = Gan(recipe, GREY, data, seed=0, precision="bfloat16")
    fakes: list[Tensor] = []
    game.players["g"].network.register_forward_hook(lambda _m, _i, output: fakes.append(output.detach()))
    values = game.play(1, 6)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        scores = game.discriminator(fakes[0].float(), data.given[:10])
    assert values["g_loss"].item() == pytest.approx(-scores.float().mean().item(), rel=0.02)
    assert values["g_loss"].item() != pytest.approx(-values["fake_score"].item(), rel=0.5)


# The average


def test_what_comes_out_is_the_generators_average() -> None:
    history: list[list[Tensor]] = []
    run = Played(ema=0.35)
    run.stepped = lambda name: history.append(weights(run.g)) if name == "g" else None
    list(run.reports)
    assert len(history) == 6
    expected = history[0]
    for decay, following in zip((2 / 11, 3 / 12, 4 / 13, 0.35, 0.35), history[1:], strict=True):
        expected = [decay * a + (1 - decay) * w for a, w in zip(expected, following, strict=True)]
    torch.testing.assert_close(weights(run.game.generator), expected)
    assert not same(weights(run.game.generator), weights(run.g))


def test_without_averaging_the_generator_itself_comes_out() -> None:
    run = Played(ema=0)
    list(run.reports)
    assert same(weights(run.game.generator), weights(run.g))


# Reproducibility


def trained(
    recipe: GanRecipe, data: Labelled, *, seed: int = 0, reports: int = 3
) -> tuple[Gan, list[Report]]:
    game = Gan(recipe, GREY, data, seed=seed)
    pieces = {"steps": recipe.steps, "batch_size": recipe.batch_size, "reports": reports}
    return game, list(loop.play(game, Progress(), **pieces, pause=lambda: None))


def test_a_seed_gives_the_same_bytes_and_another_one_others(data: Labelled) -> None:
    def bytes_of(seed: int, disturbance: int) -> tuple[list[bytes], list[Report]]:
        torch.manual_seed(disturbance)
        game, found = trained(TINY, data, seed=seed)
        return [w.numpy().tobytes() for w in weights(game.generator)], found

    once = bytes_of(4, 1)
    assert bytes_of(4, 2) == once
    others = bytes_of(5, 1)
    assert all(a != b for a, b in zip(once[0], others[0], strict=True))
    assert once[1] != others[1]


def test_the_first_weights_depend_on_the_seed_too(data: Labelled) -> None:
    first, again, other = (weights(Gan(TINY, GREY, data, seed=seed).generator) for seed in (4, 4, 5))
    assert same(first, again)
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


# What comes of it


def check_real_steps(recipe: GanRecipe, spec: ImageSpec, data: Labelled) -> None:
    recipe = dataclasses.replace(recipe, batch_size=20, images=4 * recipe.critic_steps * 20)
    # The last two are a translator's, and no matter to the others.
    judge = build(ConvClassifier, spec, seed=0, width=2)
    game = games.start(recipe, spec, data, seed=0, source=data, judge=judge)
    before = weights(game.generator)
    pieces = {"steps": recipe.steps, "batch_size": recipe.batch_size, "reports": 2}
    found = list(loop.play(game, Progress(), **pieces, pause=lambda: None))
    assert [report["images_seen"] for report in found] == [recipe.images // 2, recipe.images]
    assert torch.tensor([list(report.values()) for report in found]).isfinite().all()
    assert all(report["d_loss"] != 0 != report["g_loss"] for report in found)
    for old, new in zip(before, weights(game.generator), strict=True):
        assert new.isfinite().all()
        assert not torch.equal(old, new)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_takes_real_steps(data: Labelled, name: str) -> None:
    check_real_steps(RECIPES[name], GREY, data)


@pytest.mark.parametrize("name", ["mlp", "lsgan", "wgan-gp", "spectral"])
def test_recipes_take_real_steps_on_other_images_too(tmp_path: Path, name: str) -> None:
    write_set(tmp_path, 70, 10, spec=COLOUR)
    recipe = dataclasses.replace(RECIPES[name], width=8)
    check_real_steps(recipe, COLOUR, labelled.read(tmp_path, "train", COLOUR))


def test_the_discriminator_learns_to_tell_real_from_generated(data: Labelled) -> None:
    recipe = dataclasses.replace(RECIPES["mlp"], width=16, batch_size=50, images=50 * 50)
    _, (first,) = trained(recipe, data, reports=1)
    assert first["real_score"] > first["fake_score"] + 0.5


def test_a_conditional_generator_learns_what_the_classes_look_like(data: Labelled) -> None:
    recipe = dataclasses.replace(
        RECIPES["mlp"], width=32, batch_size=50, learning_rate=0.001, images=50 * 500, ema=0.95
    )
    game, _ = trained(recipe, data, reports=1)
    labels = torch.arange(200) % 10
    with torch.no_grad():
        pictures = game.generator(
            torch.randn(200, recipe.latent, generator=torch.Generator().manual_seed(0)), labels
        )
    # The class is where the bright bar is: rows 4 + 2 label and the next.
    bars = torch.stack(
        [pictures[:, 0, 4 + 2 * c : 6 + 2 * c, 6:22].mean(dim=(1, 2)) for c in range(10)], dim=1
    )
    assert (bars.argmax(dim=1) == labels).double().mean() > 0.7  # 1.0 with each of six seeds; by chance 0.1
