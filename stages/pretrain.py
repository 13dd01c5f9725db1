"""Train the downstream classifier on synthetic images only, or on real ones to compare with.

DVC runs: python -m stages.pretrain --real data/raw --synthetic data/synthetic --classifier ...
and the same without --synthetic, which depends on no GAN and so runs once for all of them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from src import checkpoints, config, files, images, networks, resume, supervised
from src.errors import run
from src.seeding import environment, generator_for, set_up, stream_seed


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the first network, the accuracies on real test images, and the first one's predictions."""
    parser = argparse.ArgumentParser(prog="python -m stages.pretrain", description=__doc__)
    parser.add_argument("--real", type=Path, required=True, help="folder of the real images")
    parser.add_argument("--synthetic", type=Path, help="folder of the synthetic set; left out: real images")
    parser.add_argument("--classifier", type=Path, required=True, help="network to write")
    parser.add_argument("--results", type=Path, required=True, help="folder to write")
    args = parser.parse_args(argv)
    params = config.load()
    settings = params.classifier
    device = set_up(params.device, params.threads)
    real, _ = images.read_train(args.real, params.validation)
    arm, data = ("synthetic", images.read(args.synthetic, "train")) if args.synthetic else ("real", real)
    # The same number of images in both arms: more of them, or more steps, would be worth something alone.
    size = min(params.generate.count, len(real.images))
    data = images.LabelledImages(data.images[:size], data.labels[:size]).to(device)
    test = images.read(args.real, "test").to(device)

    with resume.opened(
        __file__,
        settings=(
            *(settings, params.pretrain, params.generate.count),
            *(params.seed, params.validation, params.device, params.threads),
        ),
        inputs=(args.real, args.synthetic) if args.synthetic else (args.real,),
    ) as checkpoint:
        trained, accuracies = [], []
        for replicate in range(params.pretrain.replicates):
            purpose = f"classifier/{arm}/{replicate}"
            network = networks.build(
                "conv-classifier", seed=stream_seed(f"{purpose}/weights", params.seed), width=settings.width
            ).to(device)
            supervised.fit(
                network,
                data,
                settings,
                rng=generator_for(f"{purpose}/batches", params.seed),
                title=f"classifier on {arm} images, {replicate + 1}/{params.pretrain.replicates}",
                checkpoint=checkpoint,
            )
            trained.append(network)
            accuracies.append((arm, replicate, supervised.accuracy(network, test)))

        checkpoints.write(args.classifier, trained[0])
        with files.folder(args.results) as folder:
            ran = environment(device)
            columns = ["images", "replicate", "test_accuracy", *ran]
            rows = [(*row, *ran.values()) for row in accuracies]
            files.write_csv(folder / "accuracy.csv", columns, rows)
            predictions = supervised.predict(trained[0], test.images)
            confusion = zip(test.labels.tolist(), predictions.tolist(), strict=True)
            files.write_csv(folder / "confusion.csv", ["actual", "predicted"], confusion)


if __name__ == "__main__":
    run(main)
