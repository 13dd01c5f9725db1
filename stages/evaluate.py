"""Score a synthetic set against real images, beside the same scores of other real images and of noise.

DVC runs: python -m stages.evaluate --real data/raw --synthetic data/synthetic --metrics ... ...
For images of your own: python -m stages.evaluate --synthetic FOLDER [--real FOLDER] [--images N]
A folder has IDX files under MNIST/raw, or PNG files, or PNG files in subfolders 0 to 9 that label them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from src import checkpoints, config, files, inception, networks, pictures, scorecard, scores
from src.errors import PipelineError, run
from src.pictures import Pictures
from src.scores import Judges, Sample
from src.seeding import environment, generator_for, set_up


def main(argv: Sequence[str] | None = None) -> None:
    """Prints all scores with their intervals, floors and ceilings, and writes what it is asked for."""
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--real", type=Path, default=Path("data/raw"), help="folder of the real images")
    parser.add_argument("--synthetic", type=Path, required=True, help="folder of the synthetic set")
    parser.add_argument("--images", type=int, help="images on each side, instead of evaluate.images")
    parser.add_argument("--extractor", type=Path, default=Path("models/extractor.safetensors"))
    parser.add_argument("--classifier", type=Path, help="network trained on real images, for cas_reverse")
    parser.add_argument("--output", type=Path, help="folder to write quality.json, scores.csv, ... to")
    parser.add_argument("--manifest", type=Path, help="JSON of the protocol to write")
    args = parser.parse_args(argv)
    params = config.load()
    settings = params.evaluate
    n = settings.images if args.images is None else args.images
    device = set_up(params.device, params.threads)
    trained = checkpoints.read(args.extractor, networks.ConvClassifier).to(device)
    judges = Judges(
        extractor=trained if settings.extractor == "trained" else inception.read().to(device),
        trained=trained,
        classifier=args.classifier and checkpoints.read(args.classifier, networks.ConvClassifier).to(device),
    )
    reference, real = pictures.real(args.real, params.validation, params.seed)
    synthetic = pictures.synthetic(args.synthetic, params.seed)
    counts = [len(data.images) for data in (reference, real, synthetic)]
    most = min(*counts[:2], counts[2] // 2)
    if not scores.FEWEST <= n <= most:
        key = "params.yaml: evaluate.images" if args.images is None else "--images"
        raise PipelineError(
            f"{key} is {n}; allowed: from {scores.FEWEST} to {most}, as many as there are real images "
            f"({counts[0]} and {counts[1]} others) and half as many as there are synthetic ones ({counts[2]})"
        )
    labelled = real.labels is not None and synthetic.labels is not None
    reference = reference.chosen(n, generator_for("evaluate/reference", params.seed))
    real = real.chosen(n, generator_for("evaluate/real", params.seed))

    def look(data: Pictures) -> Sample:
        labels = data.labels.to(device) if labelled and data.labels is not None else None
        return judges.look(data.images.to(device), labels)

    rng = generator_for("evaluate/noise", params.seed)
    noise = torch.randint(256, reference.images.shape, generator=rng, dtype=torch.uint8)
    compared, everything = look(reference), look(synthetic)
    starts = range(0, counts[2] - n + 1, n)
    found = scores.compare(
        compared.embedded,
        [everything.part(start, start + n) for start in starts],
        real=look(real),
        noise=look(Pictures(noise, real.labels)),
        neighbours=settings.neighbours,
        splits=settings.splits,
        seed=params.seed,
    )
    print(scorecard.table(found))
    if args.output:
        shown = reference.labelled(compared.classes), synthetic.labelled(everything.classes)
        scorecard.write(args.output, found, real=shown[0], synthetic=shown[1], perceived=everything.classes)
    if args.manifest:
        own = files.sha256(args.extractor)
        protocol = {
            "environment": environment(device),
            "extractor": settings.extractor,
            "extractor_sha256": own if judges.extractor is trained else inception.SHA256,
            "labels_extractor_sha256": own,
            "images_each_side": n,
            "synthetic_sets": len(starts),
            "inception_score_splits": settings.splits,
            "neighbours": settings.neighbours,
            "reference": "random images of the real test split; of PNG: of one half",
            "real": "random images of the validation split (the end of train); of PNG: of the other half",
            "synthetic": "disjoint parts of the synthetic training split; of PNG: of all",
        }
        if (made := args.synthetic / "manifest.json").exists():
            protocol["synthetic_manifest_sha256"] = files.sha256(made)
        files.write_json(args.manifest, protocol)


if __name__ == "__main__":
    run(main)
