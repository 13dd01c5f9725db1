"""Fine-tune the pretrained classifier on few real labels, or train the same from scratch on the same images.

DVC runs: python -m stages.finetune --data data/raw --classifier ... --result ...
and the same without --classifier, which depends on no GAN and so runs once for all of them.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from src import checkpoints, config, files, images, networks, resume, supervised
from src.errors import PipelineError, run
from src.seeding import environment, generator_for, set_up, stream_seed


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the test error for each number of labels and each replicate."""
    parser = argparse.ArgumentParser(prog="python -m stages.finetune", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real images")
    parser.add_argument("--classifier", type=Path, help="the pretrained network; left out: random weights")
    parser.add_argument("--result", type=Path, required=True, help="CSV to write")
    args = parser.parse_args(argv)
    params = config.load()
    settings = params.finetune
    # Each arm at the learning rate that suits it: a pretrained network forgets at the rate of a new one.
    arm, recipe = "scratch", params.classifier
    if args.classifier:
        arm, recipe = "pretrained", replace(params.classifier, learning_rate=settings.learning_rate)
    device = set_up(params.device, params.threads)
    train, _ = images.read_train(args.data, params.validation)
    train, test = train.to(device), images.read(args.data, "test").to(device)
    if settings.labels[-1] > len(train.images):
        raise PipelineError(
            f"params.yaml: finetune.labels has {settings.labels[-1]}; allowed: "
            f"at most the {len(train.images)} training images"
        )

    with resume.opened(
        __file__,
        settings=(recipe, settings, params.seed, params.validation, params.device, params.threads),
        inputs=(args.data, args.classifier) if args.classifier else (args.data,),
    ) as checkpoint:
        rows = []
        for replicate in range(settings.replicates):
            stream = f"finetune/{replicate}"
            order = supervised.balanced_order(
                train.labels, generator_for(f"{stream}/labels", params.seed)
            ).to(device)
            for count in settings.labels:
                subset = images.LabelledImages(*(part[order[:count]] for part in train))
                network: nn.Module
                if args.classifier:
                    network = checkpoints.read(args.classifier, networks.ConvClassifier)
                else:
                    weights = stream_seed(f"{stream}/weights", params.seed)
                    network = networks.build("conv-classifier", seed=weights, width=recipe.width)
                supervised.fit(
                    network.to(device),
                    subset,
                    recipe,
                    min_steps=settings.min_steps,
                    # Both arms see the same images in the same order, moved alike: a paired comparison.
                    rng=generator_for(f"{stream}/batches", params.seed),
                    title=f"{arm}, {count} labels, {replicate + 1}/{settings.replicates}",
                    checkpoint=checkpoint,
                )
                error = 1 - supervised.accuracy(network, test)
                rows.append((count, replicate, arm, error, *environment(device).values()))
        columns = ["labels", "replicate", "arm", "test_error", *environment(device)]
        files.write_csv(args.result, columns, rows)


if __name__ == "__main__":
    run(main)
