"""Check all rows of `recipes` and resolve the one that `loss` names: its settings, and the code behind them.

DVC runs: python -m stages.recipe --output results/recipe.json --labels results/labels.json
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from src.core import files, params, stage
from src.core.settings import LabelDraw, Labels
from src.gan import games, source


@dataclass(frozen=True)
class Settings:
    """What this stage reads of params.yaml."""

    loss: str
    labels: Labels
    label_draw: LabelDraw
    recipes: Mapping[str, Mapping[str, Any]]
    rendered: bool = params.at("label_train.rendered")


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the resolved recipe, and which labels of real images may be used for what it makes."""
    parser = stage.parser(__file__, __doc__, output="JSON to write", labels="JSON of what labels may be used")
    args = parser.parse_args(argv)
    settings = params.load(Settings)
    recipe = games.recipes(settings.recipes)[settings.loss]
    resolved = {"name": settings.loss, "recipe": asdict(recipe), "code": source.fingerprints(recipe)}
    files.write_json(args.output, resolved)
    labels = 0 if recipe.kind == "cyclegan" else settings.labels
    rendered = labels == 0 or (labels != "all" and settings.rendered)
    budget = {"labels": labels, "draw": settings.label_draw, "rendered": rendered}
    # A file of its own: another recipe that may use the same labels does not guess the others again.
    files.write_json(args.labels, budget)


if __name__ == "__main__":
    stage.run(main)
