"""Download the data set that `dataset` in params.yaml names, verify it, and write it as IDX files.

DVC runs: python -m stages.download --output data/raw
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from src.core import params, stage
from src.datasets import fetch


@dataclass(frozen=True)
class Settings:
    """What this stage reads of params.yaml."""

    dataset: str


def main(argv: Sequence[str] | None = None) -> None:
    """Fetches the data set and says where it came from."""
    parser = stage.parser(__file__, __doc__, output="folder to write; gets MNIST/raw/ with 4 files")
    # Not known to DVC: whatever the source, the bytes are the same.
    parser.add_argument(
        "--folder",
        type=Path,
        default=os.environ.get("DATASET_FOLDER") or None,
        help="take the IDX files, plain or .gz, from this folder and from nowhere else "
        "(default: the environment variable DATASET_FOLDER, if set)",
    )
    args = parser.parse_args(argv)
    settings = params.load(Settings)
    dataset = fetch.rows()[settings.dataset]
    print(fetch.fetch(dataset, args.output, args.folder))


if __name__ == "__main__":
    stage.run(main)
