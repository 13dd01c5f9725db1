"""Compare recipes for equal images, for equal time and at their own length, by experiments on DVC's queue.

Command: python -m benchmarks.compare

Every recipe but those of `LEFT_OUT` becomes one experiment for a data set, a seed and a number of images. The
results are collected in a table, docs/compare.csv. A result of the same code and parameters is not computed
again, so that a comparison that was cut off continues where it stopped; one of other code is replaced.
"""

import argparse
import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import dvc.api

from benchmarks import queue
from benchmarks.provenance import before, code_of, provenance, stages
from benchmarks.rate import rate
from src.core import files, params, stage
from src.core.machine import set_up
from src.core.settings import Params
from src.gan import games, verdict
from src.report import measured

# Rows of `recipes` that are not compared unless --recipes names them, and why.
LEFT_OUT = {
    "cyclegan": "another task: it starts from the images of a labelled set",
    "large": "the default with twice the channels: no other loss, and three times as slow",
    "source": "unconditional, and made for 5,000,000 images: after 100,000 it has learnt next to nothing",
}
METRICS = ["fid", "fid_floor", "fid_ratio", "is_mean", "is_real", "label_agreement", "recall", "cas"]
METRICS += ["cas_real", "cas_gap", "diversity", "collapsed", "diverged", "mislabelled"]
METRICS += ["setback", "converged", "best_images_seen", "images_seen"]
# Compared at the length of their own row: those that docs/training.md holds to a target.
AT_OWN_LENGTH = {
    "mnist": ["gan", "minimax", "lsgan", "hinge", "rpgan", "wgan-gp", "wgan"],
    "fashion-mnist": ["gan", "lsgan"],
}
# Fewer checks and two classifiers each are enough to compare. And of the stages, those whose scores the
# tables show, with all that these need: neither the audit, nor fine-tuning, nor what labels are worth.
STAGES = ["verdict", "evaluate", "pretrain", "pretrain_real"]
SHORT = ["pretrain.replicates=2"]
FEWER_CHECKS = "watch.checks=8"  # not at a row's own length: how steadily it trains is seen from all of them

BUDGETS = ("images", "time", "own")

Row = dict[str, str]


class Experiment(NamedTuple):
    """A run of the pipeline with one recipe; `code` tells of which code and parameters."""

    dataset: str
    recipe: str
    images: int
    seed: int
    code: str

    @property
    def name(self) -> str:
        """The experiment's name."""
        return f"compare-{self.dataset}-{self.recipe}-{self.images}-{self.seed}-{self.code}"


def main(argv: Sequence[str] | None = None) -> None:
    """Runs what is missing, and prints the tables in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument(
        "--recipes", nargs="+", help=f"rows of recipes; default: all but {', '.join(LEFT_OUT)}"
    )
    parser.add_argument("--datasets", nargs="+", default=["mnist", "fashion-mnist"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--budgets", nargs="+", choices=BUDGETS, default=[*BUDGETS])
    parser.add_argument(
        "--images", type=int, default=measured.EQUAL_IMAGES, help="real images, for equal images"
    )
    parser.add_argument(
        "--reference", default=measured.EQUAL_TIME, help="equal time is what this recipe needs for them"
    )
    parser.add_argument("--results", type=Path, default=Path("docs/compare.csv"), help="table to add to")
    parser.add_argument(
        "--jobs", type=int, default=1, help="experiments at a time; see threads in params.yaml"
    )
    parser.add_argument("--table-only", action="store_true", help="run nothing, print what there is")
    args = parser.parse_args(argv)
    settings = params.read()
    recipes = args.recipes or compared(settings.recipes)
    rows: list[Row] = files.read_csv(args.results) if args.results.exists() else []
    here = provenance(set_up(settings.device, settings.threads))
    # A running time is of one machine and one hour, and so no metric: timed once, and kept with the results.
    rates = {
        row["recipe"]: float(row["images_a_second"])
        for row in rows
        if args.table_only or row["processor"] == here["processor"]
    }
    rates |= {name: rate(settings, name) for name in (args.reference, *recipes) if name not in rates}

    def budget(kind: str, recipe: str) -> int:
        """Real images of a run."""
        if kind == "own":
            return own_length(settings, recipe)
        if kind == "time":
            return measured.in_equal_time(rates[recipe], rates[args.reference], args.images)
        return int(args.images)

    wanted = {
        (dataset, kind, recipe, seed): Experiment(
            dataset, recipe, images := budget(kind, recipe), seed, fingerprint(settings, recipe, images)
        )
        for dataset, kind in product(args.datasets, args.budgets)
        for recipe, seed in product(rows_of(dataset, kind, args.recipes, recipes), args.seeds)
    }
    if not args.table_only:

        def take() -> None:
            nonlocal rows
            rows = collect(rows, set(wanted.values()), settings, rates, here)
            write(args.results, rows)

        todo = {one.name: [*overrides(settings, one), *STAGES] for one in wanted.values()}
        queue.work(todo, {key(row) for row in rows}, take, args.jobs)
    results = {key(row): row for row in rows}
    if args.table_only:  # of whatever code they come from, which the table's file tells: the last of each
        last = {key(row | {"code": ""}): row for row in rows}
        results = {
            one.name: last[name] for one in wanted.values() if (name := one._replace(code="").name) in last
        }
        if missing := sorted({one.name for one in wanted.values()} - set(results)):
            print(f"no result yet of {', '.join(missing)}")
    lengths = {
        "images": f"{args.images:,} images each",
        "time": f"{args.images / rates[args.reference]:.0f} s each",
        "own": "each at the length of its row",
    }
    for dataset, kind in product(args.datasets, args.budgets):
        print(f"\n{dataset}, {lengths[kind]}\n")
        print(table([one for where, one in wanted.items() if where[:2] == (dataset, kind)], results))


def compared(recipes: Iterable[str]) -> list[str]:
    """The recipes that are compared where none are named."""
    return [name for name in recipes if name not in LEFT_OUT]


def rows_of(dataset: str, kind: str, named: list[str] | None, recipes: list[str]) -> list[str]:
    """The recipes of a table: those that are named, else all, or at their own length those with a target."""
    return recipes if kind != "own" else named or AT_OWN_LENGTH.get(dataset, [])


def fingerprint(settings: Params, recipe: str, images: int) -> str:
    """Of all code and parameters that an experiment's numbers come from, but for data set and seed."""
    own = replace(games.recipe(settings.recipes[recipe], f"recipes.{recipe}"), images=images)
    resolved = replace(settings, recipes={recipe: asdict(own)})
    changed = _changed(settings, recipe, images)
    return code_of(before(STAGES, stages()), resolved, recipe, settings.labels, changed)


def own_length(settings: Params, recipe: str) -> int:
    """Real images of a run as long as the row says."""
    return int(settings.recipes[recipe]["images"])


def _changed(settings: Params, recipe: str, images: int) -> list[str]:
    return SHORT if images == own_length(settings, recipe) else [FEWER_CHECKS, *SHORT]


def overrides(settings: Params, one: Experiment) -> list[str]:
    """The parameters of an experiment, as arguments of `dvc exp run`."""
    values = [f"dataset={one.dataset}", f"loss={one.recipe}", f"seed={one.seed}"]
    values += [f"recipes.{one.recipe}.images={one.images}", "verdict.allow_failed=true"]
    values += _changed(settings, one.recipe, one.images)
    return [argument for value in values for argument in ("--set-param", value)]


def found() -> dict[str, dict[str, Any]]:
    """The metrics of each finished experiment on this commit, with its revision as `rev`."""
    metrics = {}
    for name, revision in queue.finished().items():
        files_of = (revision.get("data") or {}).get("metrics") or {}
        values: dict[str, Any] = {"rev": revision["rev"]}
        for path in ("metrics/gan.json", "metrics/quality.json"):  # in this order: they share some names
            values |= (files_of.get(path) or {}).get("data") or {}
        if "fid" in values:
            metrics[name] = values
    return metrics


def accuracies(rev: str) -> dict[str, float]:
    """The mean accuracies of classifiers trained on synthetic, and on real images, in an experiment."""
    means = []
    for folder in ("pretrain", "pretrain_real"):
        table = dvc.api.read(f"results/{folder}/accuracy.csv", rev=rev)
        means.append(mean(float(row["test_accuracy"]) for row in csv.DictReader(io.StringIO(table))))
    return {"cas": means[0], "cas_real": means[1], "cas_gap": means[1] - means[0]}


def collect(
    rows: list[Row],
    wanted: set[Experiment],
    settings: Params,
    rates: dict[str, float],
    here: dict[str, str],
) -> list[Row]:
    """The rows, with those of finished experiments that were missing; these replace rows of other code.

    Args:
        rows: Of docs/compare.csv.
        wanted: Experiments that are of interest.
        settings: All of params.yaml.
        rates: Images a second of each recipe.
        here: What the new rows were measured on (see `provenance`).
    """
    known, metrics = {key(row) for row in rows}, found()
    new = sorted(one for one in wanted if one.name in metrics and one.name not in known)
    scores = {one: metrics[one.name] | accuracies(metrics[one.name]["rev"]) for one in new}
    fields = [
        {field: str(value) for field, value in one._asdict().items()}
        | here
        | {"images_a_second": f"{rates[one.recipe]:.0f}"}
        | {"own_length": str(int(one.images == own_length(settings, one.recipe)))}
        | {name: str(scores[one][name]) for name in METRICS}
        for one in new
    ]
    last = {key(row | {"code": ""}): row for row in rows + fields}
    return list(last.values())


def key(row: Row) -> str:
    """The name of the experiment that a row came from."""
    return Experiment(row["dataset"], row["recipe"], int(row["images"]), int(row["seed"]), row["code"]).name


def write(path: Path, rows: list[Row]) -> None:
    """Writes the table of results, whole or not at all; rows of older code may lack a column."""
    columns = [*Experiment._fields, "processor", "commit", "images_a_second", "own_length", *METRICS]
    files.write_csv(path, columns, [[row.get(name, "") for name in columns] for row in rows])


def table(wanted: list[Experiment], results: dict[str, Row]) -> str:
    """A Markdown table: a row a recipe, mean and deviation over its seeds."""
    columns = ["FID / floor", "IS / real", "labels agree", "recall", "CAS", "gap to real"]
    columns += ["images", "a second"]
    lines = [f"| recipe | {' | '.join(columns)} | failed |", f"|---|{'---:|' * (len(columns) + 1)}"]
    for recipe in dict.fromkeys(one.recipe for one in wanted):
        rows = [results[one.name] for one in wanted if one.recipe == recipe and one.name in results]
        if not rows:
            continue
        shown = ("fid_ratio", "is_mean", "is_real", "label_agreement", "recall", "cas", "cas_gap")
        values = {name: [float(row[name]) for row in rows] for name in shown}
        inception = [a / b for a, b in zip(values["is_mean"], values["is_real"], strict=True)]
        failed = sum(row.get(name) == "1" for row in rows for name in verdict.FAILED)
        cells = [
            spread(values["fid_ratio"], "{:.2f}"),
            spread(inception, "{:.3f}"),
            spread(values["label_agreement"], "{:.2%}"),
            spread(values["recall"], "{:.3f}"),
            spread(values["cas"], "{:.2%}"),
            spread(values["cas_gap"], "{:.2%}"),
            f"{int(rows[0]['images']):,}",
            f"{float(rows[0]['images_a_second']):,.0f}",
            f"{failed} of {len(rows)}",
        ]
        lines.append(f"| `{recipe}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: list[float], form: str) -> str:
    """The mean, and with two values or more the sample deviation."""
    text = form.format(mean(values))
    return f"{text} ± {form.format(stdev(values))}" if len(values) > 1 else text


if __name__ == "__main__":
    stage.run(main)
