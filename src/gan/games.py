"""The table of games, by the name that a recipe gives to `kind`; and rows of `recipes` checked by it."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, Protocol

from torch import nn

from src.core import params
from src.core.settings import OneOf
from src.datasets.labelled import Labelled
from src.datasets.spec import ImageSpec
from src.gan.cyclegan import Cyclegan, CycleganRecipe
from src.gan.gan import Gan, GanRecipe
from src.gan.loop import Game
from src.gan.recipe import Recipe


class Start(Protocol):
    """A game's class."""

    def __call__(
        self,
        recipe: Any,
        spec: ImageSpec,
        data: Labelled,
        *,
        seed: int,
        precision: str,
        source: Labelled | None,
        judge: nn.Module | None,
    ) -> Game:
        """Sets a game up.

        Args:
            recipe: One of its kind.
            spec: What the images look like.
            data: Real training images with their labels, on the device to train on.
            seed: The run's seed.
            precision: Of the networks' layers: float32, tf32 (which src.core.machine sets) or bfloat16.
            source: Labelled images that a translator starts from; None: there are none.
            judge: A classifier of translated images; None: there is none.
        """


class Kind(NamedTuple):
    """What a kind of recipe is: the keys that its rows have, and the game that they play."""

    recipe: type[Recipe]
    game: Start


GAMES: dict[str, Kind] = {"gan": Kind(GanRecipe, Gan), "cyclegan": Kind(CycleganRecipe, Cyclegan)}


def recipe(row: Mapping[str, Any], key: str) -> Recipe:
    """A row of `recipes` as the recipe of its kind.

    Args:
        row: What params.yaml holds, merge keys resolved.
        key: Its place there, for errors.

    Raises:
        params.ConfigError: One line that names the key, its value and what is allowed.
    """
    if "kind" not in row:
        raise params.ConfigError(f"params.yaml: {key}.kind is missing; add it ({', '.join(GAMES)})")
    kind = params.build(Annotated[str, OneOf(GAMES)], row["kind"], f"{key}.kind")
    made: Recipe = params.build(GAMES[kind].recipe, row, key)
    if made.steps < made.critic_steps:
        fewest = made.critic_steps * made.batch_size
        raise params.wrong(f"{key}.images", made.images, f"{fewest} or more: critic_steps whole batches")
    return made


def recipes(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Recipe]:
    """All rows of `recipes`, checked as `recipe` checks one."""
    return {name: recipe(row, f"recipes.{name}") for name, row in rows.items()}


def start(
    made: Recipe,
    spec: ImageSpec,
    data: Labelled,
    *,
    seed: int,
    precision: str = "float32",
    source: Labelled | None = None,
    judge: nn.Module | None = None,
) -> Game:
    """The game that a recipe plays, set up; arguments are those of `Start`."""
    return GAMES[made.kind].game(made, spec, data, seed=seed, precision=precision, source=source, judge=judge)
