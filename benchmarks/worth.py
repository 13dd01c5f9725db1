"""What is a synthetic set worth? All arms, for several budgets of labels and several draws, on DVC's queue.

Command: python -m benchmarks.worth (after `dvc repro` or `dvc pull`: DVC wants what dvc.lock names)

Each budget and draw is up to six experiments: the arms without a generator; two of them with rendered digits
besides the labels; those with a generator; and those with a set made to teach, with a tenth of the images,
and with ten times as many. Errors are collected in a long table, docs/worth.csv, curves in
docs/worth_curves.csv and docs/worth.png. A result of the same code and parameters is not computed again, so
that the work can be cut off and go on in any order.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import dvc.api
import matplotlib

from benchmarks import queue
from benchmarks.provenance import before, code_of, provenance, stages
from src.core import files, params, stage
from src.core.machine import set_up
from src.core.settings import Params
from src.report import budgets, plots

LABELS = ("0", "10", "20", "50", "100", "1000", "all")


class Kind(NamedTuple):
    """A kind of experiment: its stage, what it changes, and by which names its arms are kept."""

    stage: str
    changes: tuple[str, ...]
    arms: dict[str, str]

    @property
    def errors(self) -> str:
        """The file of its errors."""
        return f"results/{self.stage}/errors.json"


def _another_set(name: str, *changes: str) -> Kind:
    return Kind("worth", changes, {"synthetic": name, "synthetic_tuned": f"{name}_tuned"})


_OWN = ("scratch", "semi_supervised", "guessed", "guessed_tuned")
_SYNTHETIC = ("synthetic", "synthetic_tuned", "both", "both_tuned")
KINDS = {
    "real": Kind("worth_real", (), {arm: arm for arm in _OWN}),
    "rendered": Kind(
        "worth_real",
        ("label_train.rendered=true",),
        {"semi_supervised": "rendered", "guessed_tuned": "rendered_tuned"},
    ),
    "synthetic": Kind("worth", (), {arm: arm for arm in _SYNTHETIC}),
    # docs/results.md, "A set to teach with"
    "teaching": _another_set("teaching", "generate.latent_scale=1.5", "generate.relabel=true"),
    "small": _another_set("small", "generate.count=6000", "evaluate.images=3000"),  # half of them at most
    "large": _another_set("large", "generate.count=600000"),  # ten times the real training images
}
COLUMNS = ["dataset", "labels", "seed", "arm", "error", "code", "processor", "commit"]

Row = dict[str, str]


class Cell(NamedTuple):
    """An experiment; `code` tells of which code and parameters."""

    dataset: str
    labels: str
    seed: int
    kind: str
    code: str

    @property
    def name(self) -> str:
        """The experiment's name."""
        return f"worth-{self.dataset}-{self.labels}-{self.seed}-{self.kind}-{self.code}"


def main(argv: Sequence[str] | None = None) -> None:
    """Runs what is missing, and prints the tables in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worth", description=__doc__)
    parser.add_argument("--datasets", nargs="+", default=["mnist", "fashion-mnist"])
    parser.add_argument("--labels", nargs="+", default=LABELS, help="budgets")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=[*KINDS])
    parser.add_argument("--draws", type=int, help="of each at most; default: see `draws`")
    parser.add_argument("--results", type=Path, default=Path("docs/worth.csv"), help="table to add to")
    parser.add_argument(
        "--jobs", type=int, default=1, help="experiments at a time; see threads in params.yaml"
    )
    parser.add_argument("--table-only", action="store_true", help="run nothing, print what there is")
    args = parser.parse_args(argv)
    rows: list[Row] = files.read_csv(args.results) if args.results.exists() else []
    if not args.table_only:
        settings = params.read()
        here = provenance(set_up(settings.device, settings.threads))
        code = {kind: fingerprint(settings, KINDS[kind]) for kind in args.kinds}
        wanted = [
            Cell(dataset, labels, seed, kind, code[kind])
            for dataset, labels, kind in product(args.datasets, args.labels, args.kinds)
            for seed in range(min(args.draws or 10**9, draws(labels, kind)))
            if dataset == "mnist" or (labels != "0" and kind != "rendered")  # nothing renders the others
        ]

        def take() -> None:
            nonlocal rows
            rows = collect(rows, wanted, here)
            write(args.results, rows)

        todo = {cell.name: overrides(settings, cell) for cell in wanted}
        queue.work(todo, known(rows, wanted), take, args.jobs)
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        own = [row for row in rows if row["dataset"] == dataset]
        print(f"\n{dataset}\n\n{budgets.table_of_errors(own)}\n\n{budgets.table_of_differences(own)}")


def draws(labels: str, kind: str) -> int:
    """How many draws there are of a budget: more of what is cheap or varies most."""
    if kind == "rendered":
        return 10 if labels in ("10", "20", "50", "100") else 0
    if kind == "real":
        return 5 if labels in ("1000", "all") else 10
    if kind in ("small", "large"):
        return 3 if labels in ("10", "100") else 0
    return 5 if labels in ("0", "10", "100") else 3


def fingerprint(settings: Params, kind: Kind) -> str:
    """Of all code and parameters that a kind's errors come from, but for data set, seed and labels."""
    needed = before([kind.stage], stages())
    return code_of(needed, settings, settings.loss, settings.label_train.steps, kind.changes)


def overrides(settings: Params, cell: Cell) -> list[str]:
    """The arguments of `dvc exp run` for a cell."""
    kind = KINDS[cell.kind]
    values = [f"dataset={cell.dataset}", f"labels={cell.labels}", f"seed={cell.seed}"]
    # As many steps as the learner without synthetic images has: equal work.
    values += [f"worth.steps={settings.label_train.steps}", "verdict.allow_failed=true", *kind.changes]
    return [argument for value in values for argument in ("--set-param", value)] + [kind.stage]


def known(rows: Iterable[Row], wanted: Iterable[Cell]) -> set[str]:
    """Names of the cells whose errors are in the table."""
    there = {(row["dataset"], row["labels"], int(row["seed"]), row["arm"], row["code"]) for row in rows}
    return {
        cell.name
        for cell in wanted
        if all(
            (cell.dataset, cell.labels, cell.seed, arm, cell.code) in there
            for arm in KINDS[cell.kind].arms.values()
        )
    }


def collect(rows: list[Row], wanted: Sequence[Cell], here: dict[str, str]) -> list[Row]:
    """The rows with the errors of finished experiments, which replace those of other code.

    Args:
        rows: Of docs/worth.csv.
        wanted: Cells that are of interest.
        here: What new rows were measured on (see `provenance`).
    """
    done, there = queue.finished(), known(rows, wanted)
    new = []
    for cell in wanted:
        if cell.name not in done or cell.name in there:
            continue
        kind = KINDS[cell.kind]
        errors = json.loads(dvc.api.read(kind.errors, rev=done[cell.name]["rev"]))
        told = {"dataset": cell.dataset, "labels": cell.labels, "seed": str(cell.seed), "code": cell.code}
        new += [{"arm": name, "error": str(errors[arm]), **told, **here} for arm, name in kind.arms.items()]
    last = {tuple(row[name] for name in COLUMNS[:4]): row for row in rows + new}
    return list(last.values())


def write(path: Path, rows: list[Row]) -> None:
    """Writes the table, and for each data set the points of the curves and a picture of them."""
    files.write_csv(path, COLUMNS, [[row[name] for name in COLUMNS] for row in rows])
    points = [
        (dataset, *point)
        for dataset in dict.fromkeys(row["dataset"] for row in rows)
        for point in budgets.curves([row for row in rows if row["dataset"] == dataset])
    ]
    head = ["dataset", "labels", "arm", "error", "std"]
    # `dvc plots` tells lines apart by the arm alone.
    lines = [(dataset, labels, f"{dataset}, {arm}", *rest) for dataset, labels, arm, *rest in points]
    files.write_csv(path.with_name(f"{path.stem}_curves.csv"), head, lines)
    if points:
        with matplotlib.rc_context({"axes.formatter.min_exponent": 5}):  # 30, not 3 x 10^1
            plots.write_figure(path.with_suffix(".png"), plots.worth_curves(points))


if __name__ == "__main__":
    stage.run(main)
