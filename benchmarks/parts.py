"""What each part of a set without labels buys: how digits are rendered, translated, and guessed.

Command: python -m benchmarks.parts (after `dvc repro` or `dvc pull`: DVC wants what dvc.lock names)

Each part is a set of MNIST's size that costs no label of a real image, but for the last, to compare with. A
classifier learns from it as in stage pretrain, one for each seed, and is tested on real images: its accuracy
(CAS), and which digits it swaps, go into docs/parts.csv. Rendered sets are drawn here; the others are
experiments on DVC's queue. A result of the same code and parameters is not computed again, so that the work
can be cut off and go on.
"""

import argparse
import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import dvc.api
import torch

from benchmarks import queue
from benchmarks.provenance import before, code_of, provenance, stages
from src.classifiers import supervised
from src.core import files, params, stage
from src.core.checkpoint import Checkpoint
from src.core.machine import set_up
from src.core.seeding import generator_for, stream_seed
from src.core.settings import Params
from src.datasets import labelled, rendered
from src.datasets.glyphs import Glyph
from src.datasets.labelled import Labelled
from src.networks.classifier import ConvClassifier
from src.networks.network import build
from src.report import measured

Glyphs = Mapping[str, Sequence[Glyph]]

REAL = Path("data/raw")
STAGE = "pretrain"
SHORT = ("pretrain.replicates=2",)  # the fewest that are allowed; the first one counts
COLUMNS = ["part", "seed", "accuracy", "swaps", "code", "processor", "commit"]

Row = dict[str, str]


def _only(*names: str) -> Callable[[Glyphs], Glyphs]:
    """Glyphs of some sources in the place of all, none of which bends."""

    def chosen(found: Glyphs) -> Glyphs:
        those = [replace(glyph, written=False) for name in names for glyph in found[name]]
        return dict.fromkeys(found, those)

    return chosen


def _unbent(found: Glyphs) -> Glyphs:
    return {name: [replace(glyph, written=False) for glyph in those] for name, those in found.items()}


# What each is told by stands in src/report/measured.py.
RENDERED: Mapping[str, Callable[[Glyphs], Glyphs]] = {
    "faces": _only("faces"),
    "fonts": _only("faces", "hershey"),
    "unbent": _unbent,
    "rendered": lambda found: found,
}
# Parameters of an experiment.
PIPELINES: Mapping[str, tuple[str, ...]] = {
    "cyclegan": ("loss=cyclegan",),
    "guessed": ("labels=0",),
    "unkept": ("loss=cyclegan", "recipes.cyclegan.label_weight=0"),
    "told": ("loss=cyclegan", "recipes.cyclegan.conditional=true"),
    "given": ("labels=all",),
}


class Cell(NamedTuple):
    """A part with a seed; `code` tells of which code and parameters."""

    part: str
    seed: int
    code: str

    @property
    def name(self) -> str:
        """The experiment's name."""
        return f"parts-{self.part}-{self.seed}-{self.code}"


class Found(NamedTuple):
    """What a classifier makes of the real test images.

    Attributes:
        accuracy: The part that it gets right.
        swaps: Of the others, how many of each digit are taken for each other one.
    """

    accuracy: float
    swaps: Counter[tuple[int, int]]

    def row(self, cell: Cell, here: Mapping[str, str]) -> Row:
        """The same as a row of the table: `4>9:31` are 31 fours taken for nines."""
        told = " ".join(f"{actual}>{taken}:{count}" for (actual, taken), count in self.swaps.most_common())
        own = {name: str(value) for name, value in cell._asdict().items()}
        return own | {"accuracy": str(self.accuracy), "swaps": told, **here}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs what is missing, and prints the table in Markdown."""
    every = [*RENDERED, *PIPELINES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parts", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=every, default=every)
    parser.add_argument("--seeds", nargs="+", type=int, default=[*range(5)])
    parser.add_argument("--results", type=Path, default=Path("docs/parts.csv"), help="table to add to")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; see threads in params.yaml")
    args = parser.parse_args(argv)
    settings = params.read()
    here = provenance(set_up(settings.device, settings.threads))
    rows: list[Row] = files.read_csv(args.results) if args.results.exists() else []
    codes = {part: fingerprint(settings, part) for part in args.parts}
    wanted = [Cell(part, seed, codes[part]) for part, seed in product(args.parts, args.seeds)]

    def take(new: Iterable[Row]) -> None:
        nonlocal rows
        rows = list({(row["part"], row["seed"]): row for row in [*rows, *new]}.values())
        files.write_csv(args.results, COLUMNS, [[row[name] for name in COLUMNS] for row in rows])

    drawn = [cell for cell in wanted if cell.part in RENDERED and cell.name not in known(rows)]
    with ProcessPoolExecutor(args.jobs, get_context("spawn")) as pool:
        for cell, found in zip(drawn, pool.map(draw_and_learn, drawn), strict=True):
            print(f"{cell.part}, seed {cell.seed}: {found.accuracy:.2%}", flush=True)
            take([found.row(cell, here)])
    run = [cell for cell in wanted if cell.part in PIPELINES]
    if run:
        todo = {cell.name: overrides(cell) for cell in run}
        queue.work(todo, known(rows), lambda: take(finished(run, known(rows), here)), args.jobs)
    print(measured.parts(rows))


def fingerprint(settings: Params, part: str) -> str:
    """Of all code and parameters that a part's accuracy comes from, but for its seed."""
    if part in RENDERED:
        return code_of(["render", STAGE], settings, settings.loss, part)
    changes = PIPELINES[part]
    loss = "cyclegan" if "loss=cyclegan" in changes else settings.loss
    return code_of(before([STAGE], stages()), settings, loss, changes, SHORT)


def known(rows: Iterable[Row]) -> set[str]:
    """Names of the cells that are in the table."""
    return {Cell(row["part"], int(row["seed"]), row["code"]).name for row in rows}


def draw_and_learn(cell: Cell) -> Found:
    """Draws a rendered set and learns from it as stage pretrain does from a set on disk."""
    settings = params.read()
    device = set_up(settings.device, settings.threads)
    real, _ = labelled.read_train(REAL, rendered.SPEC, settings.validation)
    count = min(settings.generate.count, len(real))
    glyphs = RENDERED[cell.part](rendered.glyphs())
    blocks = [*rendered.blocks(glyphs, count, purpose="render/train", seed=cell.seed)]
    images = Labelled(torch.cat([one.pixels for one in blocks]), torch.cat([one.given for one in blocks]))
    purpose = "classifier/synthetic/0"
    seed = stream_seed(f"{purpose}/weights", cell.seed)
    network = build(ConvClassifier, rendered.SPEC, seed=seed, width=settings.classifier.width).to(device)
    supervised.fit(
        network,
        images.to(device),
        settings.classifier,
        rng=generator_for(f"{purpose}/batches", cell.seed),
        title=f"classifier on {cell.part}, seed {cell.seed}",
        checkpoint=Checkpoint(None),
    )
    test = labelled.read(REAL, "test", rendered.SPEC)
    predicted = supervised.predict(network, test.pixels.to(device)).cpu()
    return judged(torch.stack([test.given, predicted], dim=1).tolist())


def judged(pairs: Iterable[Sequence[int]]) -> Found:
    """What pairs of a digit and what it is taken for say of a classifier."""
    counts = Counter((actual, taken) for actual, taken in pairs)
    right = sum(count for (actual, taken), count in counts.items() if actual == taken)
    swaps = Counter({pair: count for pair, count in counts.items() if pair[0] != pair[1]})
    return Found(right / counts.total(), swaps)


def overrides(cell: Cell) -> list[str]:
    """The arguments of `dvc exp run` for an experiment."""
    values = ["dataset=mnist", f"seed={cell.seed}", "verdict.allow_failed=true", *SHORT]
    values += PIPELINES[cell.part]
    return [argument for value in values for argument in ("--set-param", value)] + [STAGE]


def finished(wanted: Sequence[Cell], there: set[str], here: Mapping[str, str]) -> list[Row]:
    """The rows of finished experiments that are not in the table yet."""
    done = queue.finished()
    new = [cell for cell in wanted if cell.name in done and cell.name not in there]
    return [read(done[cell.name]["rev"]).row(cell, here) for cell in new]


def read(rev: str) -> Found:
    """What the classifier of an experiment makes of the real test images."""
    table = dvc.api.read(f"results/{STAGE}/confusion.csv", rev=rev)
    return judged((int(row["actual"]), int(row["predicted"])) for row in csv.DictReader(io.StringIO(table)))


if __name__ == "__main__":
    stage.run(main)
