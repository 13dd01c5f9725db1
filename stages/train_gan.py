"""Train what the resolved recipe describes, on real training images, and keep its best generator.

DVC runs: python -m stages.train_gan --data data/labelled --recipe results/recipe.json ...
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from src.core import checkpoint, files, params, stage
from src.core.machine import environment, set_up
from src.core.settings import Common, Precision, Watch
from src.datasets import labelled
from src.datasets.spec import read_spec
from src.gan import games, watch
from src.gan.cyclegan import Cyclegan, CycleganRecipe
from src.gan.run import Run
from src.networks import sampling, weights
from src.networks.pairs import GENERATORS
from src.report import grids, plots

SHOWN = 20  # images in a row of the pictures of translations


@dataclass(frozen=True)
class Settings(Common):
    """What this stage reads of params.yaml."""

    watch: Watch
    precision: Precision


def main(argv: Sequence[str] | None = None) -> None:
    """Trains and writes the best averaged generator, the curves, the checks and the sample grids."""
    parser = stage.parser(
        __file__,
        __doc__,
        data="folder of stage label_train",
        recipe="JSON of stage recipe",
        source="folder of labelled images, for a translator",
        extractor="network that scores checks, and that label_weight holds a translator to",
        generator="network to write",
        results="folder to write curves to",
    )
    args = parser.parse_args(argv)
    settings, chosen = params.load(Settings), files.read_json(args.recipe)
    recipe = games.recipe(chosen["recipe"], f"recipes.{chosen['name']}")
    device = set_up(settings.device, settings.threads, settings.precision)
    spec = read_spec(args.data)
    train, heldout = (p.to(device) for p in labelled.read_train(args.data, spec, settings.validation))
    extractor = weights.read_classifier(args.extractor, spec).to(device)
    translating = isinstance(recipe, CycleganRecipe)
    seed, source = settings.seed, labelled.read_source(args.source if translating else None)
    judge = weights.read_classifier(args.extractor, spec) if translating else None
    key, inputs = (recipe, settings), (args.data, args.extractor, args.source)
    with checkpoint.opened(__file__, settings=key, inputs=inputs) as resuming:
        game = games.start(
            recipe, spec, train, seed=seed, precision=settings.precision, source=source, judge=judge
        )
        run = Run(game, recipe, settings.watch, pause=resuming.pause)
        watching = watch.Watch(
            game, extractor, train=train, heldout=heldout, settings=settings.watch, seed=seed, source=source
        )
        resuming.track("gan", run=run, watch=watching)
        end = watching.follow(run, images=recipe.images, title=chosen["name"])
        # Everything is written at the end: a run that is killed leaves what stood there before.
        with files.folder(args.results) as folder:
            columns = list(watching.curves[0])
            rows = [[report[column] for column in columns] for report in watching.curves]
            files.write_csv(folder / "curves.csv", columns, rows)
            files.write_csv(folder / "checks.csv", watch.Check._fields, watching.checks)
            found = {"spec": asdict(spec), "environment": environment(device)}
            files.write_json(folder / "end.json", end | found)
            for percent, pixels in watching.grids.items():
                picture = grids.tiled(pixels, columns=sampling.grid_size(spec)[1])
                plots.write_picture(folder / "samples" / f"{percent:03d}_percent.png", picture)
            if isinstance(game, Cyclegan):
                for name, shown in game.translations(SHOWN, seed).items():
                    picture = grids.sheet(shown, SHOWN)
                    plots.write_picture(folder / "samples" / f"{name}_translated.png", picture)
        weights.write(args.generator, watching.best_generator(), GENERATORS)


if __name__ == "__main__":
    stage.run(main)
