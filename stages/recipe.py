"""Check all rows of `recipes` and resolve the one that `loss` names: its settings, and the code behind them.

DVC runs: python -m stages.recipe --output results/recipe.json --labels results/labels.json
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from src.core import files, params, stage
from src.gan import games, source


@dataclass(frozen=True)
class Settings:
    """What this stage reads of params.yaml."""

    loss: str
    labels: Literal["all", 0]
    recipes: Mapping[str, Mapping[str, Any]]


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the resolved recipe, and whether what it makes may use labels of real images."""
    parser = stage.parser(__file__, __doc__, output="JSON to write", labels="JSON of what labels may be used")
    args = parser.parse_args(argv)
    settings = params.load(Settings)
    recipe = games.recipes(settings.recipes)[settings.loss]
    resolved = {"name": settings.loss, "recipe": asdict(recipe), "code": source.fingerprints(recipe)}
    files.write_json(args.output, resolved)
    # A file of its own: another recipe that may use the same labels does not guess them again.
    files.write_json(args.labels, {"labels": 0 if recipe.kind == "cyclegan" else settings.labels})


if __name__ == "__main__":
    stage.run(main)
