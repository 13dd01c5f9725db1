"""Train the downstream classifier on synthetic images only, or on real ones to compare with.

DVC runs: python -m stages.pretrain --real data/raw --synthetic data/synthetic --classifiers ...
and the same without --synthetic, which depends on no GAN and so runs once for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from src.classifiers import supervised
from src.core import checkpoint, files, params, stage
from src.core.machine import environment, set_up
from src.core.seeding import generator_for, stream_seed
from src.core.settings import Common, Pretrain, Supervised
from src.datasets import labelled
from src.datasets.spec import read_spec
from src.networks import weights
from src.networks.classifier import ConvClassifier
from src.networks.network import build


@dataclass(frozen=True)
class Settings(Common):
    """What this stage reads of params.yaml."""

    classifier: Supervised
    pretrain: Pretrain
    count: int = params.at("generate.count")


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the networks, their accuracies on real test images, and the first one's predictions."""
    parser = stage.parser(
        __file__,
        __doc__,
        real="folder of the real images",
        classifiers="folder to write the networks to",
        results="folder to write",
    )
    parser.add_argument("--synthetic", type=Path, help="folder of the synthetic set; left out: real images")
    args = parser.parse_args(argv)
    settings = params.load(Settings)
    device = set_up(settings.device, settings.threads)
    spec = read_spec(args.real)
    real, _ = labelled.read_train(args.real, spec, settings.validation)
    arm, data = "real", real
    if args.synthetic:
        arm, data = "synthetic", labelled.read(args.synthetic, "train", spec)
    # The same number of images in both arms: more of them, or more steps, would be worth something alone.
    data = data.part(0, min(settings.count, len(real))).to(device)
    test = labelled.read(args.real, "test", spec).to(device)

    inputs = (args.real, args.synthetic) if args.synthetic else (args.real,)
    with checkpoint.opened(__file__, settings=(settings,), inputs=inputs) as resuming:
        trained, accuracies = [], []
        for replicate in range(settings.pretrain.replicates):
            purpose = f"classifier/{arm}/{replicate}"
            seed = stream_seed(f"{purpose}/weights", settings.seed)
            network = build(ConvClassifier, spec, seed=seed, width=settings.classifier.width).to(device)
            supervised.fit(
                network,
                data,
                settings.classifier,
                rng=generator_for(f"{purpose}/batches", settings.seed),
                title=f"classifier on {arm} images, {replicate + 1}/{settings.pretrain.replicates}",
                checkpoint=resuming,
            )
            trained.append(network)
            accuracies.append((arm, replicate, supervised.accuracy(network, test)))
        with files.folder(args.classifiers) as folder:
            for replicate, network in enumerate(trained):
                weights.write(folder / f"{replicate}.safetensors", network)
        with files.folder(args.results) as folder:
            files.write_json(folder / "environment.json", environment(device))
            files.write_csv(folder / "accuracy.csv", ["images", "replicate", "test_accuracy"], accuracies)
            predictions = supervised.predict(trained[0], test.pixels)
            confusion = zip(test.given.tolist(), predictions.tolist(), strict=True)
            files.write_csv(folder / "confusion.csv", ["actual", "predicted"], confusion)


if __name__ == "__main__":
    stage.run(main)
