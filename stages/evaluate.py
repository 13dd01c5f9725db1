"""Score the synthetic set against real test images, beside the same scores of real images.

DVC runs: python -m stages.evaluate --real data/raw --synthetic data/synthetic --extractor ...
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from src import checkpoints, config, files, images, networks, plots, quality, sampling
from src.errors import PipelineError, run
from src.seeding import set_up


def main(argv: Sequence[str] | None = None) -> None:
    """Writes FID and IS with their floors, the agreement of labels, and a picture of both sets."""
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate", description=__doc__)
    parser.add_argument("--real", type=Path, required=True, help="folder of the real images")
    parser.add_argument("--synthetic", type=Path, required=True, help="folder of the synthetic set")
    parser.add_argument("--extractor", type=Path, required=True, help="network that scores")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON to write")
    parser.add_argument("--histogram", type=Path, required=True, help="CSV of classes to write")
    parser.add_argument("--picture", type=Path, required=True, help="PNG of both sets to write")
    parser.add_argument("--manifest", type=Path, required=True, help="JSON of the protocol to write")
    args = parser.parse_args(argv)
    params = config.load()
    device = set_up(params.device, params.threads)
    extractor = checkpoints.read(args.extractor, networks.ConvClassifier).to(device)
    test = images.read(args.real, "test")
    _, validation = images.read_train(args.real, params.validation)
    synthetic = images.read(args.synthetic, "train")

    n = params.evaluate.images
    for name, data in (("test", test), ("validation", validation), ("synthetic", synthetic)):
        if len(data.images) < n:
            raise PipelineError(
                f"params.yaml: evaluate.images is {n}; allowed: at most the {len(data.images)} {name} images"
            )
    of_test, of_validation, of_synthetic = (
        quality.embed(extractor, data.images.to(device)) for data in (test, validation, synthetic)
    )
    # The same n on both sides of every distance: FID falls as n grows, also between real images.
    reference = of_test.features[:n]
    fid = quality.fid(reference, of_synthetic.features[:n])
    floor = quality.fid(reference, of_validation.features[:n])
    splits, seed = params.evaluate.splits, params.seed
    is_mean, is_std = quality.inception_score(of_synthetic.logits[:n], splits=splits, seed=seed)
    is_real, _ = quality.inception_score(of_validation.logits[:n], splits=splits, seed=seed)
    intended = synthetic.labels.bincount(minlength=networks.CLASSES)
    perceived = of_synthetic.logits.argmax(dim=1).bincount(minlength=networks.CLASSES)
    shares = quality.class_shares(of_synthetic.logits)
    overlap = quality.manifold(reference, of_synthetic.features[:n], neighbours=params.evaluate.neighbours)
    overlap_real = quality.manifold(
        reference, of_validation.features[:n], neighbours=params.evaluate.neighbours
    )

    metrics = {
        "class_share_max": shares.max().item(),
        "class_share_min": shares.min().item(),
        "fid": fid,
        "fid_floor": floor,
        "fid_ratio": fid / floor,
        "is_mean": is_mean,
        "is_std": is_std,
        "is_real": is_real,
        "label_agreement": quality.label_agreement(of_synthetic.logits, synthetic.labels),
    }
    metrics |= overlap._asdict()
    metrics |= {f"{name}_real": value for name, value in overlap_real._asdict().items()}
    files.write_json(args.metrics, metrics)
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
        "inception_score_splits": splits,
        "neighbours": params.evaluate.neighbours,
        "reference": "first images of the real test split",
        "floor": "first images of the validation split (the last of the real training split)",
        "synthetic": "first images of the synthetic training split; labels and classes: all of it",
        "synthetic_manifest_sha256": files.sha256(args.synthetic / "manifest.json"),
    }
    files.write_json(args.manifest, protocol)


if __name__ == "__main__":
    run(main)
