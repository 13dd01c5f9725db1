"""Train the small network that scores images, on real training images.

DVC runs: python -m stages.train_extractor --data data/raw --extractor ... --result ...
"""

from collections.abc import Sequence
from dataclasses import dataclass

from src.classifiers import supervised
from src.core import checkpoint, files, params, stage
from src.core.machine import environment, set_up
from src.core.seeding import generator_for, stream_seed
from src.core.settings import Common, Supervised
from src.datasets import labelled
from src.datasets.spec import read_spec
from src.networks import weights
from src.networks.classifier import ConvClassifier
from src.networks.network import build


@dataclass(frozen=True)
class Settings(Common):
    """What this stage reads of params.yaml."""

    extractor: Supervised


def main(argv: Sequence[str] | None = None) -> None:
    """Trains the extractor and writes its weights and its accuracy on the real test images."""
    parser = stage.parser(
        __file__,
        __doc__,
        data="folder of the real images",
        extractor="network to write",
        result="JSON to write",
    )
    args = parser.parse_args(argv)
    settings = params.load(Settings)
    device = set_up(settings.device, settings.threads)
    spec = read_spec(args.data)
    train, _ = labelled.read_train(args.data, spec, settings.validation)
    seed = stream_seed("extractor/weights", settings.seed)
    extractor = build(ConvClassifier, spec, seed=seed, width=settings.extractor.width).to(device)
    with checkpoint.opened(__file__, settings=(settings,), inputs=(args.data,)) as resuming:
        supervised.fit(
            extractor,
            train.to(device),
            settings.extractor,
            rng=generator_for("extractor/batches", settings.seed),
            title="extractor",
            checkpoint=resuming,
        )
        test = labelled.read(args.data, "test", spec).to(device)
        weights.write(args.extractor, extractor)
        accuracy = supervised.accuracy(extractor, test)
        files.write_json(args.result, {"test_accuracy": accuracy, "environment": environment(device)})


if __name__ == "__main__":
    stage.run(main)
