"""Train the small network that scores images, on real training images.

DVC runs: python -m stages.train_extractor --data data/raw --extractor ... --result ...
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from src import checkpoints, config, files, images, networks, resume, supervised
from src.errors import run
from src.seeding import environment, generator_for, set_up, stream_seed


def main(argv: Sequence[str] | None = None) -> None:
    """Trains the extractor and writes its weights and its accuracy on the real test images."""
    parser = argparse.ArgumentParser(prog="python -m stages.train_extractor", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real images")
    parser.add_argument("--extractor", type=Path, required=True, help="network to write")
    parser.add_argument("--result", type=Path, required=True, help="JSON to write")
    args = parser.parse_args(argv)
    params = config.load()
    settings = params.extractor
    device = set_up(params.device, params.threads)

    train, _ = images.read_train(args.data, params.validation)
    extractor = networks.build(
        "conv-classifier", seed=stream_seed("extractor/weights", params.seed), width=settings.width
    ).to(device)
    rng = generator_for("extractor/batches", params.seed)
    with resume.opened(
        __file__,
        settings=(settings, params.seed, params.validation, params.device, params.threads),
        inputs=(args.data,),
    ) as checkpoint:
        supervised.fit(
            extractor, train.to(device), settings, rng=rng, title="extractor", checkpoint=checkpoint
        )
        test = images.read(args.data, "test").to(device)
        checkpoints.write(args.extractor, extractor)
        result = {"test_accuracy": supervised.accuracy(extractor, test), "environment": environment(device)}
        files.write_json(args.result, result)


if __name__ == "__main__":
    run(main)
