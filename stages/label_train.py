"""Write what those that make images may look at: real training images, with the labels that `labels` allows.

With `labels: all` these are the given ones. With a number, that many are drawn, and the others guessed from
them and the images alone; with 0, from rendered digits and the images. Beside them lies the ledger: how many
labels were read, which, and where the others come from.

DVC runs: python -m stages.label_train --real data/raw --source data/rendered ... ...
"""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from src.core import files, params, stage
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
    settings, allowed = params.load(Settings), files.read_json(args.labels)
    spec, names = read_spec(args.real), read_names(args.real)
    if allowed["labels"] != "all":
        guessed(settings, args, allowed, spec, names)
        return
    count = len(idx.read_pair(args.real, "train", spec)[1]) - settings.validation
    with files.folder(args.output) as folder:
        ledger.copy(args.real, folder, spec, names, labels=count)
    files.write_bytes(args.watcher, args.extractor.read_bytes())


def guessed(
    settings: Settings, args: Namespace, allowed: dict[str, Any], spec: ImageSpec, names: list[str]
) -> None:
    """Draws labels, and guesses those of all other real training images, of the validation split too."""
    # Not at the top: these take seconds, which a run with all labels need not wait.
    from src.classifiers.guessing import guess
    from src.core import checkpoint
    from src.core.machine import set_up
    from src.datasets import budget, labelled
    from src.datasets.labelled import Labelled
    from src.networks import weights

    how, rendered = settings.label_train, allowed["rendered"]
    device = set_up(settings.device, settings.threads)
    pixels = labelled.read_pixels(args.real, "train", spec)
    usable, count = pixels[: len(pixels) - settings.validation], allowed["labels"]
    drawn = budget.read(args.real, usable, spec, allowed["draw"], count, settings.seed)
    source = None
    if rendered:
        source = labelled.usable_source(labelled.read_source(args.source), spec).to(device)
    else:
        drawn.require_all(names)
    inputs, pixels = (args.real, args.source, args.labels, args.extractor), pixels.to(device)
    with checkpoint.opened(__file__, settings=(settings,), inputs=inputs) as resuming:
        unseen, seed = settings.validation, settings.seed
        found = guess(drawn, source, pixels, spec, how, unseen=unseen, seed=seed, checkpoint=resuming)
        known = {"source": ledger.guessed(count, rendered=rendered)} | found.told
        for line in found.said:
            print(line)
        if found.opinion:
            found.opinion.require(how.min_agreement, args.source, args.real)
        with files.folder(args.output) as folder:
            drawn.write(folder, Labelled(pixels.cpu(), found.labels.cpu()), spec, names, known)
        weights.write(args.watcher, found.network)


if __name__ == "__main__":
    stage.run(main)
