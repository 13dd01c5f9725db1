"""Write what those that make images may look at: real training images, with the labels that `labels` allows.

With `labels: all` these are the given ones. With 0 they are guessed, from rendered digits and the real images
alone, and no given label is read. Beside them lies the ledger: how many labels were read, and whose they are.

DVC runs: python -m stages.label_train --real data/raw --source data/rendered ... ...
"""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass

from src.core import files, params, stage
from src.core.errors import PipelineError
from src.core.settings import Common, SemiSupervised
from src.datasets import idx, ledger
from src.datasets.spec import ImageSpec, read_names, read_spec


@dataclass(frozen=True)
class Settings(Common):
    """What this stage reads of params.yaml."""

    label_train: SemiSupervised


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the images with their labels, the ledger, and the network that a GAN run is watched by."""
    parser = stage.parser(
        __file__,
        __doc__,
        real="folder of the real images",
        source="folder of the rendered ones",
        labels="JSON of stage recipe",
        extractor="network trained on all given labels",
        output="folder to write",
        watcher="network to write",
    )
    args = parser.parse_args(argv)
    settings, labels = params.load(Settings), files.read_json(args.labels)["labels"]
    spec, names = read_spec(args.real), read_names(args.real)
    if labels == 0:
        guessed(settings, args, spec, names)
        return
    count = len(idx.read_pair(args.real, "train", spec)[1]) - settings.validation
    with files.folder(args.output) as folder:
        ledger.copy(args.real, folder, spec, names, labels=count)
    files.write_bytes(args.watcher, args.extractor.read_bytes())


def guessed(settings: Settings, args: Namespace, spec: ImageSpec, names: list[str]) -> None:
    """Guesses the labels of all real training images, those of the validation split too.

    Raises:
        PipelineError: The rendered images can't stand for the real ones; says why.
    """
    # Not at the top: these take seconds, which a run with all labels need not wait.
    from src.classifiers.guessing import guess
    from src.core import checkpoint
    from src.core.machine import set_up
    from src.datasets import labelled
    from src.networks import weights

    how = settings.label_train
    device = set_up(settings.device, settings.threads)
    source = labelled.usable_source(labelled.read_source(args.source), spec).to(device)
    pixels = labelled.read_pixels(args.real, "train", spec).to(device)
    inputs = (args.real, args.source, args.labels, args.extractor)
    with checkpoint.opened(__file__, settings=(settings,), inputs=inputs) as resuming:
        found = guess(
            source, pixels, spec, how, unseen=settings.validation, seed=settings.seed, checkpoint=resuming
        )
        if found.agreement < how.min_agreement:
            raise PipelineError(
                f"labels of {args.source} don't carry over to {args.real}: two classifiers that learnt them "
                f"agree on {found.agreement:.0%} of the real images, below label_train.min_agreement "
                f"({how.min_agreement:.0%}); set labels to all, or give a source of the same classes"
            )
        with files.folder(args.output) as folder:
            with labelled.writing(folder, "train", len(pixels), spec) as append:
                append(pixels.cpu(), found.labels.cpu())
            swaps = [{"guessed": a, "second_opinion": b, "images": n} for a, b, n in found.swapped]
            counts = found.labels.bincount(minlength=spec.classes).tolist()
            known = {"class_counts": counts, "agreement": found.agreement, "swapped": swaps}
            ledger.write(folder, spec, names, {"labels": 0, "source": ledger.GUESSED, **known})
        weights.write(args.watcher, found.network)


if __name__ == "__main__":
    stage.run(main)
