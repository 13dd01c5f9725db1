"""Print the result of the last run and where its pictures are. No DVC stage: it only reads metrics/.

Command: python -m stages.summary
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from src import files
from src.errors import run


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a short table from metrics/*.json."""
    parser = argparse.ArgumentParser(prog="python -m stages.summary", description=__doc__)
    parser.add_argument("--metrics", type=Path, default=Path("metrics"), help="folder of metrics")
    args = parser.parse_args(argv)
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


if __name__ == "__main__":
    run(main)
