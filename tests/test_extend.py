"""Extensions touch nothing but their table: one row each, and a recipe that names it trains."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import torch
from conftest import GREY, ROOT, same, weights
from torch import Tensor, nn

from src.core import params
from src.core.checkpoint import Part
from src.core.params import ConfigError
from src.core.seeding import Stream
from src.core.settings import Bounds
from src.datasets.batches import Shuffled
from src.datasets.labelled import Labelled, to_unit
from src.datasets.spec import ImageSpec
from src.gan import games, source, verdict
from src.gan.games import GAMES, Kind
from src.gan.loop import Report
from src.gan.losses import LOSSES, Loss
from src.gan.penalties import PENALTIES, Discriminator
from src.gan.player import Player
from src.gan.recipe import Recipe
from src.gan.run import Run
from src.gan.step import criticise, persuade
from src.gan.watch import Watch
from src.networks import pairs
from src.networks import weights as networks_on_disk
from src.networks.classifier import ConvClassifier
from src.networks.mlp import MLPDiscriminator, MLPGenerator
from src.networks.network import Network, build
from src.networks.pairs import GENERATORS, PAIRS, Pair

PARAMS = params.read(ROOT / "params.yaml", ROOT / "src/datasets/table.yaml")
SETTINGS = dataclasses.replace(PARAMS.watch, log_points=2, checks=2, grids=1, check_images=100)
TINY = {"latent": 3, "width": 4, "batch_size": 10, "images": 60}
ROW = {**PARAMS.recipes["mlp"], **TINY}


def noise(count: int, seed: int) -> Labelled:
    rng = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 1, 28, 28), generator=rng, dtype=torch.uint8)
    return Labelled(pixels, torch.arange(count) % 10)


def trained(row: Mapping[str, Any]) -> tuple[Run, list[Report]]:
    """A run of six real steps as params.yaml's row asks for it, and its two reports."""
    recipe = games.recipe(row, "recipes.new")
    run = Run(games.start(recipe, GREY, noise(40, 1), seed=0), recipe, SETTINGS, pause=lambda: None)
    before = weights(run.game.generator)
    found = list(run.reports())
    assert [report["images_seen"] for report in found] == [30, 60]
    after = weights(run.game.generator)
    assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    return run, found


def refusal(row: Mapping[str, Any]) -> str:
    with pytest.raises(ConfigError) as error:
        games.recipe(row, "recipes.new")
    return str(error.value).removeprefix("params.yaml: ")


@pytest.fixture(autouse=True)
def _others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another recipe trains to the same bytes, from code of the same fingerprints, without and with the row.

    It asks for `monkeypatch` in order to end before it: with the row still there.
    """
    run, found = trained(ROW)
    code = source.fingerprints(games.recipe(ROW, "recipes.new"))
    yield
    again, found_again = trained(ROW)
    assert found_again == found
    assert same(weights(again.game.generator), weights(run.game.generator))
    assert source.fingerprints(games.recipe(ROW, "recipes.new")) == code


# A loss: two functions


def exponential_discriminator(*, real: Tensor, fake: Tensor) -> Tensor:
    return (-real).exp().mean() + fake.exp().mean()


def exponential_generator(*, real: Tensor, fake: Tensor) -> Tensor:
    return (-fake).exp().mean()


def test_a_loss_is_two_functions_and_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ROW | {"loss": "exponential"}
    allowed = ", ".join(LOSSES)
    assert allowed.startswith("gan, minimax, ")
    assert refusal(row) == f"recipes.new.loss is 'exponential'; allowed: {allowed}"
    monkeypatch.setitem(LOSSES, "exponential", Loss(exponential_discriminator, exponential_generator))
    _, (first, _) = trained(row)
    real, fake = first["real_score"], first["fake_score"]
    assert first["d_loss"] == pytest.approx(math.exp(-real) + math.exp(fake), rel=0.05)
    assert first["g_loss"] > math.exp(-fake)  # once the discriminator's step has lowered the scores
    assert refusal(row | {"loss": "x"}) == f"recipes.new.loss is 'x'; allowed: {allowed}, exponential"


# A penalty: a function


def drift(discriminator: Discriminator, *, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    return discriminator(real).square().mean() + mix.mean()


def test_a_penalty_is_a_function_and_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ROW | {"penalty": "drift", "penalty_weight": 0.1, "penalty_every": 3}
    assert refusal(row) == f"recipes.new.penalty is 'drift'; allowed: {', '.join(PENALTIES)}"
    monkeypatch.setitem(PENALTIES, "drift", drift)
    _, found = trained(row)
    assert all(0 < report["penalty"] < 0.1 * 2 for report in found)  # 3 times 0.1 in one step of three


# A pair: two classes of networks


class ThinGenerator(Network):
    def __init__(self, spec: ImageSpec, *, latent: int, width: int, conditional: bool) -> None:
        super().__init__(spec, latent=latent, width=width, conditional=conditional)
        self.inner = nn.Linear(latent, width)
        self.outer = nn.Linear(width, spec.values)

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        return self.outer(self.inner(latent).tanh()).tanh().view(-1, *self.spec.shape)


class ThinDiscriminator(Network):
    def __init__(self, spec: ImageSpec, *, width: int, conditional: bool, spectral_norm: bool) -> None:
        super().__init__(spec, width=width, conditional=conditional, spectral_norm=spectral_norm)
        self.score = nn.Linear(spec.values, 1)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.score(images.flatten(1)).squeeze(1)


def test_a_pair_is_two_classes_and_a_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row = ROW | {"network": "thin"}
    assert refusal(row) == f"recipes.new.network is 'thin'; allowed: {', '.join(PAIRS)}"
    monkeypatch.setitem(PAIRS, "thin", Pair(ThinGenerator, ThinDiscriminator))
    run, _ = trained(row)
    assert type(run.game.discriminator) is ThinDiscriminator
    # What is derived from the table as its file is read: see the test below.
    monkeypatch.setitem(GENERATORS, "thin-generator", ThinGenerator)
    path = tmp_path / "generator.safetensors"
    networks_on_disk.write(path, run.game.generator, GENERATORS)
    again = networks_on_disk.read(path, GENERATORS)
    assert type(again) is ThinGenerator
    assert (again.spec, again.options) == (GREY, {"latent": 3, "width": 4, "conditional": True})
    latents, labels = torch.randn(5, 3), torch.arange(5)
    with torch.no_grad():
        assert torch.equal(again(latents, labels), run.game.generator.eval()(latents, labels))


def test_in_the_file_one_row_names_the_saved_generator_too() -> None:
    table, row = "PAIRS: dict[str, Pair] = {\n", '    "new": Pair(ConvGenerator, MLPDiscriminator),\n'
    text = Path(pairs.__file__).read_text()
    assert text.count(table) == 1
    read: dict[str, Any] = {"__name__": "pairs"}
    exec(text.replace(table, table + row), read)
    assert read["GENERATORS"].keys() == GENERATORS.keys() | {"new-generator"}


# A game: a class, and the keys of its rows


@dataclass(frozen=True)
class CommitteeRecipe(Recipe):
    """Keys of a game of one generator against several discriminators."""

    latent: Annotated[int, Bounds(1, 100)]
    critics: Annotated[int, Bounds(1, 4)]


class Committee:
    """The generator minimises the mean of what its discriminators say."""

    def __init__(
        self, recipe: CommitteeRecipe, spec: ImageSpec, data: Labelled, *, seed: int, **_: Any
    ) -> None:
        self._data, self._recipe = data, recipe
        options = {"width": 4, "conditional": True}

        def player(network: Network, ema: float | None) -> Player:
            betas = (recipe.beta1, recipe.beta2)
            rates = {"learning_rate": recipe.learning_rate, "betas": betas, "decay_from": recipe.decay_from}
            return Player(network, **rates, steps=recipe.steps, ema=ema)

        generator = build(MLPGenerator, spec, seed=seed, latent=recipe.latent, **options)
        critics = [
            build(MLPDiscriminator, spec, seed=seed + 1 + i, spectral_norm=False, **options)
            for i in range(recipe.critics)
        ]
        self._g, self._critics = player(generator, recipe.ema), [player(one, None) for one in critics]
        self.players = {"g": self._g} | {f"d{i}": one for i, one in enumerate(self._critics)}
        self._noise, self._mix = Stream("gan/noise", seed), Stream("gan/mix", seed)
        self._batches = Shuffled(len(data), recipe.batch_size, Stream("gan/batches", seed).rng)
        self.streams: Mapping[str, Part] = {"batches": self._batches, "noise": self._noise, "mix": self._mix}
        self.period = 1
        self.generator, self.discriminator = self._g.average, critics[0]

    def play(self, step: int, steps: int) -> dict[str, Tensor]:
        batch = next(self._batches)
        labels, rule = self._data.given[batch], self._recipe.rule
        fake = self._g.network(
            torch.randn(len(batch), self._recipe.latent, generator=self._noise.rng), labels
        )
        shown = {"real": to_unit(self._data.pixels[batch]), "fake": fake.detach(), "labels": labels}
        weight = rule.weight_at(step, steps)
        mix = torch.rand(len(batch), 1, 1, 1, generator=self._mix.rng)
        values, told = {}, []
        for i, critic in enumerate(self._critics):
            found = criticise(critic.network, rule, **shown, weight=weight, mix=mix)
            critic.step(found.total)
            values[f"d{i}_loss"] = found.loss.detach()
            scored = {"real_scores": found.real, "fake": fake, "labels": labels}
            told.append(persuade(critic.network, rule.loss, **scored))
        loss = torch.stack(told).mean()
        self._g.step(loss)
        return values | {"g_loss": loss.detach()}


OTHER_KEYS = ("network", "conditional", "width", "spectral_norm")
COMMITTEE = {key: value for key, value in ROW.items() if key not in OTHER_KEYS} | {
    "kind": "committee",
    "critics": 3,
}


def test_a_game_is_a_class_with_its_own_keys_and_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(COMMITTEE) == f"recipes.new.kind is 'committee'; allowed: {', '.join(GAMES)}"
    monkeypatch.setitem(GAMES, "committee", Kind(CommitteeRecipe, Committee))
    run, (_, last) = trained(COMMITTEE)
    losses = ["d0_loss", "d1_loss", "d2_loss", "g_loss"]
    gradients = ["g_gradient", "d0_gradient", "d1_gradient", "d2_gradient"]
    assert list(last) == ["images_seen", *losses, *gradients, "learning_rate"]
    assert last["learning_rate"] == 0.001
    # It is put down and taken up, and goes back after a step that is not finite, as any other.
    other = Run(
        games.start(games.recipe(COMMITTEE, "recipes.new"), GREY, noise(40, 1), seed=5),
        games.recipe(COMMITTEE, "recipes.new"),
        SETTINGS,
        pause=lambda: None,
    )
    other.load_state_dict(run.state_dict())
    assert same(weights(other.game.generator), weights(run.game.generator))
    assert source.fingerprints(games.recipe(COMMITTEE, "recipes.new")).keys() == {"kind", "loss", "penalty"}


def test_a_game_of_ones_own_is_watched_and_judged_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GAMES, "committee", Kind(CommitteeRecipe, Committee))
    recipe = games.recipe(COMMITTEE, "recipes.new")
    game = games.start(recipe, GREY, noise(40, 1), seed=0)
    watching = Watch(
        game,
        build(ConvClassifier, GREY, seed=9, width=2).eval(),
        train=noise(200, 1),
        heldout=noise(100, 2),
        settings=SETTINGS,
        seed=0,
    )
    run = Run(game, recipe, SETTINGS, pause=lambda: None)
    end = watching.follow(run, images=recipe.images, title="test")
    assert (end["stopped"], len(watching.curves), len(watching.checks)) == ("all images were seen", 2, 3)
    check = watching.checks[-1]._asdict()
    told = verdict.metrics(
        verdict.Verdict("converged", ()),
        watching.curves[-1],
        check,
        end["best"],
        fid_left=1.0,
        setback=1.0,
        retries=0,
    )
    assert told["g_loss"] == watching.curves[-1]["g_loss"]
    assert "d_loss" not in told


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"critics": 5}, "recipes.new.critics is 5; allowed: a number from 1 to 4"),
        ({"critics": 2.5}, "recipes.new.critics is 2.5; allowed: a whole number"),
        (
            {"conditional": True},
            "recipes.new.conditional is True; allowed: no such key; kind, loss, penalty, ",
        ),
        ({"critic": 3}, "recipes.new.critic is 3; allowed: no such key; kind, loss, penalty, "),
        ({"loss": "x"}, "recipes.new.loss is 'x'; allowed: gan, minimax, "),
        ({"critic_steps": 7}, "recipes.new.images is 60; allowed: 70 or more"),
    ],
)
def test_the_rows_of_a_game_of_ones_own_are_checked_by_its_keys(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], expected: str
) -> None:
    monkeypatch.setitem(GAMES, "committee", Kind(CommitteeRecipe, Committee))
    assert refusal(COMMITTEE | change).startswith(expected)


def test_a_key_that_a_game_of_ones_own_lacks_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GAMES, "committee", Kind(CommitteeRecipe, Committee))
    row = {key: value for key, value in COMMITTEE.items() if key != "critics"}
    assert refusal(row) == "recipes.new.critics is missing; add it"
    # and a row of the kind `gan` must not have it
    refused = refusal(ROW | {"critics": 3})
    assert refused.startswith("recipes.new.critics is 3; allowed: no such key; kind, loss, penalty, ")
