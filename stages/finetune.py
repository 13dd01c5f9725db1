"""Fine-tune the pretrained classifiers on few real labels, or train the same from scratch on the same images.

DVC runs: python -m stages.finetune --data data/raw --classifiers ... --results ...
and the same without --classifiers, which depends on no GAN and so runs once for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from src.classifiers import supervised
from src.core import checkpoint, files, params, stage
from src.core.errors import PipelineError
from src.core.machine import environment, set_up
from src.core.seeding import generator_for, stream_seed
from src.core.settings import Common, Finetune, Supervised
from src.datasets import labelled
from src.datasets.spec import read_spec
from src.networks import weights
from src.networks.classifier import ConvClassifier
from src.networks.network import build


@dataclass(frozen=True)
class Settings(Common):
    """What this stage reads of params.yaml."""

    classifier: Supervised
    finetune: Finetune


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the test error for each number of labels and each replicate."""
    parser = stage.parser(__file__, __doc__, data="folder of the real images", results="folder to write")
    parser.add_argument("--classifiers", type=Path, help="pretrained networks; left out: random weights")
    args = parser.parse_args(argv)
    settings = params.load(Settings)
    tuning, seed = settings.finetune, settings.seed
    # Each arm at the learning rate that suits it: a pretrained network forgets at the rate of a new one.
    arm, how = "scratch", settings.classifier
    if args.classifiers:
        arm, how = "pretrained", replace(how, learning_rate=tuning.learning_rate)
    device = set_up(settings.device, settings.threads)
    spec = read_spec(args.data)
    train, _ = (part.to(device) for part in labelled.read_train(args.data, spec, settings.validation))
    test = labelled.read(args.data, "test", spec).to(device)
    if tuning.labels[-1] > len(train):
        most = f"at most the {len(train)} training images"
        raise PipelineError(f"params.yaml: finetune.labels has {tuning.labels[-1]}; allowed: {most}")

    pretrained = weights.classifiers(args.classifiers) if args.classifiers else []

    def fresh(replicate: int) -> ConvClassifier:
        """The network before it sees any of the labels."""
        if pretrained:  # each replicate starts from one of its own, so that the spread includes pretraining's
            return weights.read_classifier(pretrained[replicate % len(pretrained)], spec)
        weights_seed = stream_seed(f"finetune/{replicate}/weights", seed)
        return build(ConvClassifier, spec, seed=weights_seed, width=how.width)

    inputs = (args.data, args.classifiers) if args.classifiers else (args.data,)
    with checkpoint.opened(__file__, settings=(settings,), inputs=inputs) as resuming:
        rows = []
        for replicate in range(tuning.replicates):
            stream = f"finetune/{replicate}"
            order = supervised.balanced_order(train.given, generator_for(f"{stream}/labels", seed)).to(device)
            for count in tuning.labels:
                network = fresh(replicate).to(device)
                supervised.fit(
                    network,
                    train.at(order[:count]),
                    how,
                    steps=max(
                        tuning.min_steps, supervised.steps_of(how, count)
                    ),  # small sets are seen more often
                    # Both arms see the same images in the same order, moved alike: a paired comparison.
                    rng=generator_for(f"{stream}/batches", seed),
                    title=f"{arm}, {count} labels, {replicate + 1}/{tuning.replicates}",
                    checkpoint=resuming,
                )
                rows.append((count, replicate, arm, 1 - supervised.accuracy(network, test)))
        with files.folder(args.results) as folder:
            files.write_json(folder / "environment.json", environment(device))
            files.write_csv(folder / "errors.csv", ["labels", "replicate", "arm", "test_error"], rows)


if __name__ == "__main__":
    stage.run(main)
