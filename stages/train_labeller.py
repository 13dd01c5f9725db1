"""Train the classifier that labels synthetic images, on real training images, where one is asked for.

It is asked for by generate.relabel, and by a recipe whose generator knows no classes.

DVC runs: python -m stages.train_labeller --data data/labelled --output models/labeller
"""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from src.core import files, params, stage
from src.core.settings import Common, Supervised


@dataclass(frozen=True)
class Settings(Common):
    """What this stage reads of params.yaml: of the recipe, its kind and whether it is conditional."""

    labeller: Supervised
    loss: str
    recipes: Mapping[str, Mapping[str, Any]]
    relabel: bool = params.at("generate.relabel")


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the labeller and its accuracy on validation images; where none is asked for, only that."""
    parser = stage.parser(__file__, __doc__, data="folder of stage label_train", output="folder to write")
    args = parser.parse_args(argv)
    settings = params.load(Settings)
    row = settings.recipes[settings.loss]
    # A translation has its source image's label, whatever the discriminators are told.
    knows_classes = row["kind"] == "cyclegan" or row.get("conditional", True)
    if settings.relabel or not knows_classes:
        train(settings, args)
        return
    with files.folder(args.output) as folder:
        files.write_json(folder / "labeller.json", {"trained": False})


def train(settings: Settings, args: Namespace) -> None:
    """Trains the labeller and writes it with its accuracy on validation images."""
    # Not at the top: these take seconds, which a run that asks for no labeller need not wait.
    from src.classifiers import supervised
    from src.core import checkpoint
    from src.core.machine import set_up
    from src.core.seeding import generator_for, stream_seed
    from src.datasets import labelled
    from src.datasets.spec import read_spec
    from src.networks import weights
    from src.networks.classifier import ConvClassifier
    from src.networks.network import build

    device = set_up(settings.device, settings.threads)
    spec = read_spec(args.data)
    images, validation = labelled.read_train(args.data, spec, settings.validation)
    # Neither the extractor, which scores these labels, nor the downstream network.
    seed = stream_seed("labeller/weights", settings.seed)
    network = build(ConvClassifier, spec, seed=seed, width=settings.labeller.width).to(device)
    rng = generator_for("labeller/batches", settings.seed)
    key = (settings.labeller, settings.seed, settings.validation, settings.device, settings.threads)
    with checkpoint.opened(__file__, settings=key, inputs=(args.data,)) as resuming:
        supervised.fit(
            network, images.to(device), settings.labeller, rng=rng, title="labeller", checkpoint=resuming
        )
        accuracy = supervised.accuracy(network, validation.to(device))
        with files.folder(args.output) as folder:
            weights.write(folder / "network.safetensors", network)
            found = {"trained": True, "validation_accuracy": accuracy, "labels": len(images)}
            files.write_json(folder / "labeller.json", found)


if __name__ == "__main__":
    stage.run(main)
