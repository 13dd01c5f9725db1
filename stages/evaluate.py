"""Score a synthetic set against real images, beside the same scores of other real images and of noise.

DVC runs: python -m stages.evaluate --real data/raw --synthetic data/synthetic --output metrics ...
For images of your own: python -m stages.evaluate --synthetic FOLDER [--real FOLDER] [--images N]
A folder has IDX files, or pictures, or pictures in subfolders 0, 1, ... that label them (docs/metrics.md).
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from src.core import files, params, stage
from src.core.machine import environment, set_up
from src.core.settings import Common, Evaluate
from src.datasets import album, folders
from src.networks import weights
from src.report import scorecard
from src.scores import comparison, inception
from src.scores.comparison import Judges, Sets

RAW, SYNTHETIC = Path("data/raw"), Path("data/synthetic")  # the pipeline's own sets


@dataclass(frozen=True)
class Settings(Common):
    """What this stage reads of params.yaml."""

    evaluate: Evaluate


def main(argv: Sequence[str] | None = None) -> None:
    """Prints all scores with their intervals, floors and ceilings, and writes what it is asked for."""
    parser = stage.parser(__file__, __doc__, synthetic="folder of the synthetic set")
    parser.add_argument("--real", type=Path, default=RAW, help="folder of the real images")
    parser.add_argument("--images", type=int, help="images on each side, instead of evaluate.images")
    parser.add_argument("--extractor", type=Path, default=Path("models/extractor.safetensors"))
    parser.add_argument("--classifier", type=Path, help="network trained on real images, for cas_reverse")
    parser.add_argument("--output", type=Path, help="folder to write quality.json, scores.csv, ... to")
    parser.add_argument("--manifest", type=Path, help="JSON of the protocol to write")
    args = parser.parse_args(argv)
    settings = params.load(Settings)
    wanted, seed = settings.evaluate, settings.seed
    device = set_up(settings.device, settings.threads)
    trained = weights.read_classifier(args.extractor).to(device)
    judges = Judges(
        extractor=trained if wanted.extractor == "trained" else inception.read().to(device),
        trained=trained,
        classifier=args.classifier and weights.read_classifier(args.classifier, trained.spec).to(device),
        device=device,
    )
    names = album.class_names(RAW, trained.spec)
    validation = settings.validation if args.real.resolve() == RAW.resolve() else None
    real = folders.real(args.real, trained.spec, seed, validation=validation, names=names)
    own = args.synthetic.resolve() == SYNTHETIC.resolve()
    synthetic = folders.synthetic(args.synthetic, trained.spec, seed, own=own, names=names)
    sets = Sets(real.reference, real.others, synthetic)
    count = wanted.images if args.images is None else args.images
    key = "--images is not given, and params.yaml: evaluate.images" if args.images is None else "--images"
    sets.require(count, key, fewest=wanted.fewest)
    if real.told:
        print(f"the other real images: {real.told}", file=sys.stderr)
    judged = comparison.judge(sets, judges, count=count, settings=wanted, seed=seed)
    if left := len(synthetic) - judged.sets * count:
        print(f"{judged.sets} sets of {count} synthetic images are scored, {left} left over", file=sys.stderr)
    print(scorecard.table(judged.scores))
    if args.output:
        scorecard.write(args.output, judged, trained.spec.classes)
    if args.manifest:
        own = files.sha256(args.extractor)
        protocol = comparison.protocol(wanted, count, judged) | {
            "environment": environment(device),
            "extractor_sha256": own if judges.extractor is trained else inception.SHA256,
            "labels_extractor_sha256": own,
        }
        if args.classifier:
            protocol["classifier_sha256"] = files.sha256(args.classifier)
        if real.told:
            protocol["real"] = f"random images of {real.told}"
        if (made := args.synthetic / "manifest.json").exists():
            protocol["synthetic_manifest_sha256"] = files.sha256(made)
        files.write_json(args.manifest, protocol)


if __name__ == "__main__":
    stage.run(main)
