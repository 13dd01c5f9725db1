"""Train the same classifier on the labels in `labels` in several ways, and test each on real images.

DVC runs: python -m stages.worth --real data/raw --labelled data/labelled --synthetic data/synthetic ...
and with --watcher and --source in place of --synthetic, which depends on no GAN and so runs once for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from src.classifiers.arms import Arms
from src.core import checkpoint, files, params, stage
from src.core.machine import environment, set_up
from src.core.settings import Common, Supervised, Worth
from src.datasets import budget, labelled, ledger
from src.datasets.spec import read_spec
from src.networks import weights


@dataclass(frozen=True)
class Settings(Common):
    """What this stage reads of params.yaml."""

    classifier: Supervised
    worth: Worth


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the test error of each arm: those with synthetic images, or those without."""
    parser = stage.parser(
        __file__,
        __doc__,
        real="folder of the real images, to test on",
        labelled="folder of stage label_train",
        results="folder to write",
    )
    parser.add_argument("--synthetic", type=Path, help="folder of the synthetic set")
    parser.add_argument("--watcher", type=Path, help="network that guessed the labels")
    parser.add_argument(
        "--source", type=Path, help="folder of rendered images, where there are no real labels"
    )
    args = parser.parse_args(argv)
    settings = params.load(Settings)
    device = set_up(settings.device, settings.threads)
    spec, known = read_spec(args.real), ledger.read(args.labelled)
    guessed, _ = (p.to(device) for p in labelled.read_train(args.labelled, spec, settings.validation))
    own = guessed.at(budget.places(known).to(device))
    test = labelled.read(args.real, "test", spec).to(device)
    given = (args.real, args.labelled, args.synthetic, args.source, args.watcher)
    inputs = tuple(path for path in given if path)
    with checkpoint.opened(__file__, settings=(settings,), inputs=inputs) as resuming:
        arms = Arms(settings.worth, settings.classifier, spec, own, test, settings.seed, resuming)
        errors: dict[str, float] = {}
        if args.synthetic:
            synthetic = labelled.read(args.synthetic, "train", spec).to(device)
            errors |= arms.pretrained("synthetic", synthetic)
            errors |= arms.pretrained("both", arms.mixed(guessed, synthetic))
        else:
            source = None if len(own) else labelled.read_source(args.source)
            errors |= arms.scratch(source.to(device) if source else own)
            errors |= {"semi_supervised": arms.error(weights.read_classifier(args.watcher, spec).to(device))}
            errors |= arms.pretrained("guessed", guessed)
        with files.folder(args.results) as folder:
            files.write_json(folder / "environment.json", environment(device))
            files.write_json(folder / "errors.json", errors)


if __name__ == "__main__":
    stage.run(main)
