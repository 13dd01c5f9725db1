"""Write the labelled synthetic set in the layout of the real one, with its manifest and dataset card.

DVC runs: python -m stages.generate --data data/labelled --recipe results/recipe.json --generator ... ...
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from src.classifiers import supervised
from src.core import files, params, stage
from src.core.machine import environment, set_up
from src.core.settings import Common, Generate
from src.datasets import card, idx, labelled, ledger
from src.datasets.spec import read_names, read_spec
from src.networks import sampling, weights
from src.networks.pairs import GENERATORS
from src.report import grids, plots


@dataclass(frozen=True)
class Settings(Common):
    """What this stage reads of params.yaml."""

    dataset: str
    generate: Generate


def main(argv: Sequence[str] | None = None) -> None:
    """Generates both splits, block by block, and describes them."""
    parser = stage.parser(
        __file__,
        __doc__,
        data="folder of stage label_train",
        labels="JSON of stage recipe, with the budget",
        recipe="JSON of stage recipe",
        generator="network to draw from",
        labeller="folder of stage train_labeller",
        source="folder of labelled images, for a translator",
        outcome="JSON of stage verdict",
        output="folder to write",
    )
    args = parser.parse_args(argv)
    settings, chosen = params.load(Settings), files.read_json(args.recipe)
    device = set_up(settings.device, settings.threads)
    source, labeller = labelled.read_source(args.source), files.read_json(args.labeller / "labeller.json")
    generator = weights.read(args.generator, GENERATORS).to(device)
    spec, names = read_spec(args.data), read_names(args.data)
    train, _ = labelled.read_train(args.data, spec, settings.validation)
    label = None
    if labeller["trained"]:
        network = weights.read_classifier(args.labeller / "network.safetensors", spec).to(device)
        label = partial(supervised.predict, network)
    sizes = {"train": settings.generate.count, "test": settings.generate.test_count}
    scale, seed = settings.generate.latent_scale, settings.seed
    with files.folder(args.output) as folder:
        written = {
            split: sampling.write_split(
                folder, split, generator, sizes[split], scale=scale, seed=seed, label=label, source=source
            )
            for split in idx.SPLITS
        }
        known, recipe = ledger.read(args.data), chosen["recipe"]
        allowed, validation = files.read_json(args.labels)["labels"], settings.validation
        accuracy, changed = labeller.get("validation_accuracy"), sum(count for _, count in written.values())
        labels = card.labelling(
            known, recipe, allowed=allowed, validation=validation, accuracy=accuracy, changed=changed
        )
        manifest = card.Manifest(
            dataset=settings.dataset,
            loss=chosen["name"],
            recipe=recipe,
            environment=environment(device),
            seed=seed,
            real_images_seen=len(train),
            generator_sha256=files.sha256(args.generator),
            verdict=files.read_json(args.outcome)["outcome"],
            latent_scale=scale,
            labels=labels,
            class_counts={split: counts for split, (counts, _) in written.items()},
            sha256=idx.hashes(folder, spec),
        )
        card.write(folder, manifest, spec, names)
        rows, columns = sampling.grid_size(spec)
        pixels = labelled.read(folder, "test", spec).pixels[: rows * columns]
        plots.write_picture(folder / "samples.png", grids.tiled(pixels, columns))


if __name__ == "__main__":
    stage.run(main)
