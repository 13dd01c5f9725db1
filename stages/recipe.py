"""Check all rows of `recipes` and resolve the one that `loss` names: its settings, and the code behind them.

DVC runs: python -m stages.recipe --output results/recipe.json
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from src.core import files, params, stage
from src.gan import games, source


@dataclass(frozen=True)
class Settings:
    """What this stage reads of params.yaml."""

    loss: str
    recipes: Mapping[str, Mapping[str, Any]]


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the resolved recipe."""
    parser = stage.parser(__file__, __doc__, output="JSON to write")
    args = parser.parse_args(argv)
    settings = params.load(Settings)
    recipe = games.recipes(settings.recipes)[settings.loss]
    resolved = {"name": settings.loss, "recipe": asdict(recipe), "code": source.fingerprints(recipe)}
    files.write_json(args.output, resolved)


if __name__ == "__main__":
    stage.run(main)
