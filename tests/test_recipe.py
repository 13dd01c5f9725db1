"""Rows of `recipes`: the shipped ones are built as they stand, and a wrong one is refused by its key."""

import dataclasses
from contextlib import suppress
from typing import Any, get_args, get_type_hints

import pytest
import torch
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from src.core import params
from src.core.settings import OneOf
from src.gan import games
from src.gan.gan import GanRecipe
from src.gan.losses import LOSSES
from src.gan.penalties import PENALTIES
from src.gan.recipe import Recipe
from src.gan.step import Rule
from src.networks.pairs import PAIRS

ROWS = params.read(ROOT / "params.yaml", ROOT / "src" / "datasets" / "table.yaml").recipes
KEYS = [field.name for field in dataclasses.fields(GanRecipe)]


def made(name: str, **changes: Any) -> Any:
    return games.recipe(dict(ROWS[name]) | changes, f"recipes.{name}")


def refusal(row: dict[str, Any]) -> str:
    with pytest.raises(params.ConfigError) as error:
        games.recipe(row, "recipes.gan")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", ROWS)
def test_every_shipped_row_is_built_and_keeps_its_values(name: str) -> None:
    recipe = games.recipes(ROWS)[name]
    assert dataclasses.asdict(recipe) == ROWS[name]
    assert recipe == made(name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.latent = 1


def test_the_bases_give_each_row_what_it_does_not_say_itself() -> None:
    # In full, by hand.
    assert dataclasses.asdict(made("wgan")) == {
        "kind": "gan",
        "loss": "wgan",
        "network": "conv",
        "conditional": True,
        "latent": 64,
        "width": 16,
        "spectral_norm": True,
        "batch_size": 25,
        "images": 800_000,
        "critic_steps": 5,
        "weight_clip": 0.1,
        "penalty": "none",
        "penalty_weight": 0.0,
        "penalty_every": 1,
        "penalty_final": 1.0,
        "learning_rate": 0.002,
        "beta1": 0.0,
        "beta2": 0.9,
        "decay_from": 0.0,
        "ema": 0.998,
    }


@pytest.mark.parametrize("value", [1, 10_000])
def test_a_whole_number_serves_where_a_fraction_may_stand(value: int) -> None:
    found = made("gan", penalty_weight=value).penalty_weight
    assert (type(found), found) == (float, value)


def test_the_first_wrong_row_is_named() -> None:
    rows = {"good": ROWS["gan"], "bad": dict(ROWS["gan"]) | {"latent": 0}}
    with pytest.raises(params.ConfigError, match=r"^params\.yaml: recipes\.bad\.latent is 0; allowed: "):
        games.recipes(rows)


DECAY = "a number from 0 to 0.999999"

# Row, key, value, and the message from the value on, as far as the dots.
WRONG_VALUES = [
    ("gan", "kind", "diffusion", "'diffusion'; allowed: gan, cyclegan"),
    ("gan", "kind", ["gan"], "['gan']; allowed: a name"),
    ("gan", "loss", "lsgn", "'lsgn'; allowed: gan, minimax, wgan, lsgan, hinge, rpgan"),
    ("wgan", "network", True, "True; allowed: a name"),
    ("wgan", "network", "cnv", "'cnv'; allowed: mlp, conv"),
    ("gan", "penalty", "r3", "'r3'; allowed: none, gradient, r1, r2, r1_r2"),
    ("gan", "penalty", None, "None; allowed: a name"),
    ("gan", "penalty_final", 0, "0; allowed: a number above 0 to 1"),
    ("gan", "batch_size", 0, "0; allowed: a number from 1 to 65536"),
    ("gan", "images", 0, "0; allowed: a number from 1 to 1000000000"),
    ("wgan", "critic_steps", 1.5, "1.5; allowed: a whole number"),
    ("gan", "learning_rate", "1e-3", "'1e-3'; allowed: a number"),
    ("gan", "learning_rate", 0, "0; allowed: a number above 0 to 10"),
    ("gan", "learning_rate", True, "True; allowed: a number"),
    ("gan", "learning_rate", 10**400, f"1{400 * '0'}; allowed: a number"),
    ("lsgan", "conditional", 1, "1; allowed: true or false"),
    ("lsgan", "conditional", "yes", "'yes'; allowed: true or false"),
    ("source", "beta1", 1.0, f"1.0; allowed: {DECAY}"),
    ("source", "beta2", 1, f"1; allowed: {DECAY}"),
    ("source", "ema", -0.1, f"-0.1; allowed: {DECAY}"),
    ("gan", "beta3", 0.5, "0.5; allowed: no such key; kind, loss, penalty,..."),
]


@pytest.mark.parametrize(("name", "key", "value", "message"), WRONG_VALUES, ids=lambda part: str(part)[:30])
def test_a_wrong_value_is_refused(name: str, key: str, value: Any, message: str) -> None:
    with pytest.raises(params.ConfigError) as error:
        made(name, **{key: value})
    found, expected = str(error.value), f"params.yaml: recipes.{name}.{key} is {message}"
    assert found == expected or (message.endswith("...") and found.startswith(expected[:-3]))


def test_every_number_has_its_range() -> None:
    told = {key: refusal(dict(ROWS["gan"]) | {key: -1}) for key in KEYS}
    assert {key: text.partition("a number ")[2] for key, text in told.items() if " a number " in text} == {
        "penalty_weight": "from 0 to 10000",
        "penalty_every": "from 1 to 1000",
        "penalty_final": "above 0 to 1",
        "weight_clip": "from 0 to 100",
        "batch_size": "from 1 to 65536",
        "images": "from 1 to 1000000000",
        "critic_steps": "from 1 to 100",
        "learning_rate": "above 0 to 10",
        "beta1": "from 0 to 0.999999",
        "beta2": "from 0 to 0.999999",
        "decay_from": "from 0 to 1",
        "ema": "from 0 to 0.999999",
        "latent": "from 1 to 8192",
        "width": "from 1 to 8192",
    }


@pytest.mark.parametrize("key", KEYS)
def test_a_value_of_a_wrong_type_is_refused_by_its_name(key: str) -> None:
    found = refusal(dict(ROWS["gan"]) | {key: {}})
    assert found.startswith(f"params.yaml: recipes.gan.{key} is {{}}; allowed: ")


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_refused_by_its_name(key: str) -> None:
    found = refusal({name: value for name, value in ROWS["gan"].items() if name != key})
    more = " (gan, cyclegan)" if key == "kind" else ""
    assert found == f"params.yaml: recipes.gan.{key} is missing; add it{more}"


@pytest.mark.parametrize(("images", "allowed"), [(201, True), (300, True), (200, False), (1, False)])
def test_a_run_has_a_step_of_the_generator(images: int, allowed: bool) -> None:
    if allowed:
        assert made("gan", images=images, critic_steps=3).steps == 3
        return
    with pytest.raises(params.ConfigError) as error:
        made("gan", images=images, critic_steps=3)
    assert str(error.value) == (
        f"params.yaml: recipes.gan.images is {images}; allowed: 300 or more: critic_steps whole batches"
    )


@pytest.mark.parametrize(("images", "steps"), [(1, 1), (100, 1), (101, 2), (800_000, 8000)])
def test_steps_are_whole_batches_rounded_up(images: int, steps: int) -> None:
    assert made("gan", images=images).steps == steps


def test_the_rule_of_a_recipe_is_what_its_row_says() -> None:
    assert made("wgan-gp").rule == Rule(
        loss=LOSSES["wgan"], penalty=PENALTIES["gradient"], weight=10.0, final=1.0, every=1
    )
    assert made("wgan").rule == Rule(loss=LOSSES["wgan"], penalty=None, weight=0.0, final=1.0, every=1)


def test_a_discriminators_weights_are_clipped_as_its_row_says_and_a_generators_are_not() -> None:
    networks = [torch.nn.Linear(2, 1, bias=False) for _ in range(2)]
    critic, generator = made("wgan").critic(networks[0]), made("wgan").player(networks[1], ema=None)
    for network, player in zip(networks, (critic, generator), strict=True):
        network.weight.data.fill_(3.0)
        player.step(network.weight.sum())
    assert networks[0].weight.tolist() == [[pytest.approx(0.1)] * 2]
    assert networks[1].weight.min() > 2.9


def test_names_are_those_of_the_tables() -> None:
    hints = get_type_hints(GanRecipe, include_extras=True)
    for key, table in (("loss", LOSSES), ("penalty", PENALTIES), ("network", PAIRS)):
        assert get_args(hints[key])[1:] == (OneOf(table),)
        for name in table:
            assert getattr(made("gan", **{key: name}), key) == name


@pytest.mark.parametrize("key", ["loss", "penalty", "network"])
def test_a_new_row_of_a_table_is_allowed_by_being_there(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table: dict[str, Any] = {"loss": LOSSES, "penalty": PENALTIES, "network": PAIRS}[key]
    monkeypatch.setitem(table, "new", next(iter(table.values())))
    assert getattr(made("gan", **{key: "new"}), key) == "new"


def test_another_kind_of_game_has_keys_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass(frozen=True)
    class Other(Recipe):
        generators: int

    monkeypatch.setitem(games.GAMES, "other", games.Kind(Other, lambda *_, **__: None))
    shared = {field.name for field in dataclasses.fields(Recipe)}
    row = {name: value for name, value in ROWS["gan"].items() if name in shared} | {"kind": "other"}
    assert games.recipe(row | {"generators": 3}, "recipes.new") == Other(**row, generators=3)
    assert refusal(row) == "params.yaml: recipes.gan.generators is missing; add it"
    assert refusal(row | {"generators": 3, "latent": 64}).startswith(
        "params.yaml: recipes.gan.latent is 64; allowed: no such key; kind, loss"
    )
    assert (
        refusal(row | {"kind": "third"})
        == "params.yaml: recipes.gan.kind is 'third'; allowed: gan, cyclegan, other"
    )


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_subnormal=False) | st.text(max_size=8)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(key=st.sampled_from(KEYS) | scalars, value=anything)
def test_with_anything_at_any_place_it_is_built_or_says_why(key: Any, value: Any) -> None:
    with suppress(params.ConfigError):
        games.recipe(dict(ROWS["gan"]) | {key: value}, "recipes.gan")
