"""Whether the audit notices training images in a synthetic set: they are planted in a set without any.

Command: python -m benchmarks.leak

Validation images, which nothing trained on, stand in for a synthetic set; training images replace a part of
them, as they are or a little brighter. Writes docs/leak.csv.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.provenance import provenance
from src.core import files, params, stage
from src.core.errors import PipelineError
from src.core.machine import set_up
from src.core.seeding import generator_for
from src.core.settings import Common
from src.datasets import labelled
from src.datasets.spec import read_spec
from src.scores import memorisation

SHARES = [0, 0.01, 0.02, 0.05, 0.1]


def main(argv: Sequence[str] | None = None) -> None:
    """Writes what the audit finds, for each part of training images, and prints it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leak", description=__doc__)
    parser.add_argument("--real", type=Path, default=Path("data/raw"), help="folder of the real images")
    parser.add_argument(
        "--brighter", type=int, default=3, help="grey levels, for training images in disguise"
    )
    parser.add_argument("--output", type=Path, default=Path("docs/leak.csv"), help="table to write")
    args = parser.parse_args(argv)
    settings = params.load(Common)
    here = provenance(set_up(settings.device, settings.threads))
    train, heldout = labelled.read_train(args.real, read_spec(args.real), settings.validation)
    half = len(heldout) // 2
    if half < 100:
        raise PipelineError(f"params.yaml: validation is {settings.validation}; allowed: 200 or more")
    clean, rest = heldout.pixels[:half], memorisation.nearest(heldout.pixels[half:], train.pixels)
    rng, rows = generator_for("leak/bootstrap", settings.seed), []
    for share in SHARES:
        for shift in (0, args.brighter) if share else (0,):
            planted = brighter(train.pixels[: round(share * half)], shift)
            mixed = torch.cat([planted, clean[len(planted) :]])
            found = memorisation.judge(memorisation.nearest(mixed, train.pixels), rest, rng)
            rows.append((share, shift, *found, *here.values()))
            print(f"{share:5.0%} planted, {shift} brighter: {found}", flush=True)
    columns = ["planted", "brighter", *memorisation.Memorisation._fields, *here]
    files.write_csv(args.output, columns, rows)


def brighter(pixels: Tensor, shift: int) -> Tensor:
    """Adds grey levels to every pixel that has ink, uint8."""
    return torch.where(pixels > 0, (pixels.int() + shift).clamp(max=255), pixels).byte()


if __name__ == "__main__":
    stage.run(main)
