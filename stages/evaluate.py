"""Score the synthetic set against real test images, beside the same scores of real images and of noise.

DVC runs: python -m stages.evaluate --real data/raw --synthetic data/synthetic --extractor ...
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from src import checkpoints, config, files, images, networks, plots, quality, sampling, scores, supervised
from src.errors import PipelineError, run
from src.quality import Embedded
from src.seeding import generator_for, set_up


def main(argv: Sequence[str] | None = None) -> None:
    """Writes all scores with their intervals, floors and ceilings, and pictures of both sets."""
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate", description=__doc__)
    parser.add_argument("--real", type=Path, required=True, help="folder of the real images")
    parser.add_argument("--synthetic", type=Path, required=True, help="folder of the synthetic set")
    parser.add_argument("--extractor", type=Path, required=True, help="network that scores")
    parser.add_argument("--classifier", type=Path, required=True, help="network trained on real images")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON to write")
    parser.add_argument("--scores", type=Path, required=True, help="CSV of intervals to write")
    parser.add_argument("--histogram", type=Path, required=True, help="CSV of classes to write")
    parser.add_argument("--picture", type=Path, required=True, help="PNG of both sets to write")
    parser.add_argument("--manifest", type=Path, required=True, help="JSON of the protocol to write")
    args = parser.parse_args(argv)
    params = config.load()
    settings, n = params.evaluate, params.evaluate.images
    device = set_up(params.device, params.threads)
    extractor = checkpoints.read(args.extractor, networks.ConvClassifier).to(device)
    classifier = checkpoints.read(args.classifier, networks.ConvClassifier).to(device)
    test = images.read(args.real, "test")
    _, validation = images.read_train(args.real, params.validation)
    synthetic = images.read(args.synthetic, "train")
    # The spread needs two sets of synthetic images at least.
    most = min(len(test.images), len(validation.images), len(synthetic.images) // 2)
    if n > most:
        raise PipelineError(
            f"params.yaml: evaluate.images is {n}; allowed: at most {most}, as many as there are test and "
            "validation images, and half as many as there are synthetic ones"
        )

    def embed(pictures: torch.Tensor) -> Embedded:
        return quality.embed(extractor, pictures.to(device))

    rng = generator_for("evaluate/noise", params.seed)
    noise = torch.randint(256, test.images[:n].shape, generator=rng, dtype=torch.uint8)
    everything = embed(synthetic.images)
    starts = range(0, len(synthetic.images) - n + 1, n)
    found = scores.compare(
        embed(test.images[:n]),
        [Embedded(*(part[start : start + n] for part in everything)) for start in starts],
        real=embed(validation.images[:n]),
        noise=embed(noise),
        neighbours=settings.neighbours,
        splits=settings.splits,
        seed=params.seed,
    )
    intended = synthetic.labels.bincount(minlength=networks.CLASSES)
    perceived = everything.logits.argmax(dim=1).bincount(minlength=networks.CLASSES)
    shares = quality.class_shares(everything.logits)
    metrics = scores.flat(found) | {
        "cas_reverse": supervised.accuracy(classifier, images.read(args.synthetic, "test").to(device)),
        "class_share_max": shares.max().item(),
        "class_share_min": shares.min().item(),
        "label_agreement": quality.label_agreement(everything.logits, synthetic.labels),
    }
    files.write_json(args.metrics, metrics)
    files.write_csv(args.scores, ["score", *scores.Score._fields], [(k, *v) for k, v in found.items()])
    rows = zip(range(networks.CLASSES), intended.tolist(), perceived.tolist(), strict=True)
    files.write_csv(args.histogram, ["class", "label", "extractor"], rows)
    grids = [
        sampling.tiled(images.by_class(data, networks.CLASSES, each=10), columns=10)
        for data in (test, synthetic)
    ]
    titles = ("real test images", f"synthetic images (loss: {params.loss})")
    plots.write_figure(args.picture, plots.side_by_side(grids[0], grids[1], titles))
    protocol = {
        "extractor_sha256": files.sha256(args.extractor),
        "images_each_side": n,
        "synthetic_sets": len(starts),
        "inception_score_splits": settings.splits,
        "neighbours": settings.neighbours,
        "reference": "first images of the real test split",
        "real": "first images of the validation split (the last of the real training split)",
        "synthetic": "disjoint parts of the synthetic training split; labels and classes: all of it",
        "synthetic_manifest_sha256": files.sha256(args.synthetic / "manifest.json"),
    }
    files.write_json(args.manifest, protocol)


if __name__ == "__main__":
    run(main)
