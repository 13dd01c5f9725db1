"""Print the result of the last run and where its pictures are. No DVC stage: it only reads metrics/.

Command: python -m stages.summary
Or, beside the result of another commit, branch or experiment: python -m stages.summary --against REVISION
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from src import files, scores
from src.errors import PipelineError, run


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a short table from metrics/*.json."""
    parser = argparse.ArgumentParser(prog="python -m stages.summary", description=__doc__)
    parser.add_argument("--metrics", type=Path, default=Path("metrics"), help="folder of metrics")
    parser.add_argument("--against", metavar="REVISION", help="compare with the scores there instead")
    args = parser.parse_args(argv)
    if args.against:
        compare(args.metrics, args.against)
        return
    quality = files.read_json(args.metrics / "quality.json")
    downstream = files.read_json(args.metrics / "downstream.json")
    print(
        f"""
Synthetic set                            value    real images
  FID (lower is better)             {quality["fid"]:10.2f}     {quality["fid_floor"]:10.2f}
  Inception score (at most 10)      {quality["is_mean"]:10.2f}     {quality["is_real"]:10.2f}
  labels the extractor agrees with  {quality["label_agreement"]:10.2%}
  accuracy of a classifier trained on it, tested on real images
                                    {downstream["cas"]:10.2%}     {downstream["cas_real"]:10.2%}
  real labels that went into it     {downstream["labels_behind_synthetic"]:10,}

Error on real test images            pretrained        from scratch"""
    )
    prefix = "error_scratch_"
    counts = [key.removeprefix(prefix) for key in downstream if key.startswith(prefix)]
    for count in sorted(int(c) for c in counts if c.isdigit()):
        cells = [
            f"{downstream[f'error_{arm}_{count}']:7.2%} ± {downstream[f'error_{arm}_{count}_std']:.2%}"
            for arm in ("pretrained", "scratch")
        ]
        print(f"  {count:>6,} real labels          {cells[0]:>16}  {cells[1]:>16}")
    print("\nPictures:")
    for path in sorted(args.metrics.glob("*.png")):
        print(f"  {path}")
    print("Everything else: dvc metrics show, dvc plots show, dvc exp show")


def compare(metrics: Path, revision: str) -> None:
    """Prints the scores of the synthetic set beside those at another revision.

    Raises:
        PipelineError: Both were not made in the same way, or the other's are not there.
    """
    import dvc.api  # takes a second that the plain summary does not need
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError

    protocol = Path("results/quality_manifest.json")
    try:
        there = [json.loads(dvc.api.read(str(p), rev=revision)) for p in (protocol, metrics / "quality.json")]
    except (DvcException, SCMError, OSError) as error:
        raise PipelineError(f"no scores at {revision}: {error}; try dvc fetch, or another revision") from None
    scores.require_comparable(files.read_json(protocol), there[0], revision)
    here = files.read_json(metrics / "quality.json")
    print(f"{'':24}{'here':>12}  {revision[:12]:>12}")
    for name in sorted(set(here) | set(there[1])):
        cells = [f"{values[name]:12.4f}" if name in values else f"{'-':>12}" for values in (here, there[1])]
        print(f"{name:24}{'  '.join(cells)}")


if __name__ == "__main__":
    run(main)
