"""Downloads the data set named in params.yaml as four verified IDX files.

Command: ``python -m stages.download --output data/raw``
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from src import config, datasets
from src.errors import run


def main(argv: Sequence[str] | None = None) -> None:
    """Fetch the data set and say where it came from.

    Args:
        argv: The command line's arguments; those of the process if None.

    Raises:
        PipelineError: If no source gave the right files.
    """
    parser = argparse.ArgumentParser(
        prog="python -m stages.download",
        description="Download a data set, verify it and write it as uncompressed IDX files.",
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="folder to write; gets MNIST/raw/ with 4 files"
    )
    # Not known to DVC: whatever the source, the bytes are the same.
    parser.add_argument(
        "--folder",
        type=Path,
        default=os.environ.get("DATASET_FOLDER") or None,
        help="take the IDX files, plain or .gz, from this folder and from nowhere else "
        "(default: the environment variable DATASET_FOLDER, if set)",
    )
    arguments = parser.parse_args(argv)
    dataset = datasets.rows()[config.load().dataset]
    print(datasets.fetch(dataset, arguments.output, arguments.folder))


if __name__ == "__main__":
    run(main)
