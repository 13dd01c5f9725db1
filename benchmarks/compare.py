"""Compare the recipes, for the same number of images and for the same time, by experiments on DVC's queue.

Command: python -m benchmarks.compare

Every recipe becomes one experiment for a data set, a seed and a number of images. The results are collected
in a table, docs/compare.csv; what stands there from the same code and parameters is not run again: cut off
and started again, on this machine or another, it goes on where it was.
"""

import argparse
import hashlib
import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from benchmarks.rate import rate
from src import config, files
from src.errors import PipelineError, run

# The last two are hostile: their verdict must say so, and no other's.
RECIPES = ["lsgan", "gan", "minimax", "wgan", "wgan-gp", "hinge", "rpgan", "spectral", "mlp"]
RECIPES += ["collapse", "diverge"]
METRICS = ["fid", "fid_floor", "fid_ratio", "is_mean", "is_real", "label_agreement", "recall", "cas"]
METRICS += ["cas_real", "cas_gap", "diversity", "collapsed", "diverged", "converged", "best_images_seen"]
METRICS += ["images_seen"]
# Fewer checks, one point of the label-efficiency curve and two classifiers each are enough to compare.
SHORT = ["train.checks=8", "finetune.labels=[100]", "finetune.replicates=2", "pretrain.replicates=2"]

Row = dict[str, str]


class Run(NamedTuple):
    """One experiment of the comparison; `code` tells of which code and parameters."""

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
    """Queues what is missing, lets DVC run it, and prints both tables in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--recipes", nargs="+", default=RECIPES, help="rows of recipes")
    parser.add_argument("--datasets", nargs="+", default=["mnist", "fashion-mnist"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--budgets", nargs="+", choices=("images", "time"), default=["images", "time"])
    parser.add_argument("--images", type=int, default=100_000, help="real images, for equal images")
    parser.add_argument("--reference", default="lsgan", help="equal time is what this recipe needs for them")
    parser.add_argument("--results", type=Path, default=Path("docs/compare.csv"), help="table to add to")
    parser.add_argument("--table-only", action="store_true", help="run nothing, print what there is")
    args = parser.parse_args(argv)
    params = config.load()
    rows: list[Row] = files.read_csv(args.results) if args.results.exists() else []
    # A running time is of one machine and one hour, and so no metric: timed once, and kept with the results.
    rates = {row["recipe"]: float(row["images_a_second"]) for row in rows}
    rates |= {name: rate(params, name) for name in (args.reference, *args.recipes) if name not in rates}

    def budget(kind: str, recipe: str) -> int:
        """Real images of a run; in tenths, so that recipes of about the same speed share their runs."""
        tenths = round(10 * rates[recipe] / rates[args.reference]) if kind == "time" else 10
        return int(max(1, tenths) * args.images // 10)

    runs = {
        (dataset, kind, recipe, seed): Run(
            dataset, recipe, images := budget(kind, recipe), seed, fingerprint(params, recipe, images)
        )
        for dataset, kind, recipe, seed in product(args.datasets, args.budgets, args.recipes, args.seeds)
    }
    if not args.table_only:
        finished, waiting = {key(row) for row in rows} | set(found()), queued()
        for run_ in dict.fromkeys(runs.values()):
            if run_.name not in finished and run_.name not in waiting:
                dvc("exp", "run", "--queue", "--name", run_.name, *overrides(run_))
        # The worker that it leaves behind holds on to its output: captured, this would wait for the last run.
        subprocess.run(("dvc", "queue", "start", "--jobs", "1"), stdout=subprocess.DEVNULL, check=True)
        while True:
            left = {run_.name for run_ in runs.values()} & queued()
            rows = collect(rows, set(runs.values()), rates)
            write(args.results, rows)
            if not left:
                break
            print(f"{len(left)} of {len(set(runs.values()))} experiments to go", flush=True)
            time.sleep(30)
    results = {key(row): row for row in rows}
    if args.table_only:  # of whatever code they come from, which the table's file tells: the last of each
        last = {key(row | {"code": ""}): row for row in rows}
        results = {
            run_.name: last[name] for run_ in runs.values() if (name := run_._replace(code="").name) in last
        }
    if missing := sorted({run_.name for run_ in runs.values()} - set(results)):
        print(f"no result of {', '.join(missing)}; why: dvc queue logs NAME")
    for dataset, kind in product(args.datasets, args.budgets):
        seconds = args.images / rates[args.reference]
        print(f"\n{dataset}, {f'{args.images:,} images' if kind == 'images' else f'{seconds:.0f} s'} each\n")
        print(table([run_ for where, run_ in runs.items() if where[:2] == (dataset, kind)], results))


def fingerprint(params: config.Params, recipe: str, images: int) -> str:
    """Of all code and parameters that an experiment's numbers come from, but for data set and seed."""
    own = replace(params.recipes[recipe], images=images)
    resolved = replace(params, dataset="", seed=0, loss="", recipes={recipe: own})
    digest = hashlib.sha256(repr((resolved, SHORT)).encode())
    for path in [Path("dvc.yaml"), *sorted([*Path("src").glob("*.*"), *Path("stages").glob("*.py")])]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def overrides(run_: Run) -> list[str]:
    """The parameters of an experiment, as arguments of `dvc exp run`."""
    values = [f"dataset={run_.dataset}", f"loss={run_.recipe}", f"seed={run_.seed}"]
    values += [f"recipes.{run_.recipe}.images={run_.images}", "verdict.allow_failed=true", *SHORT]
    return [argument for value in values for argument in ("--set-param", value)]


def dvc(*arguments: str) -> str:
    """What a command of DVC prints.

    Raises:
        PipelineError: It fails; with the last line that it said.
    """
    result = subprocess.run(("dvc", *arguments), capture_output=True, text=True, check=False)
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines() or ["no reason given"]
        raise PipelineError(f"dvc {' '.join(arguments[:3])}: {lines[-1]}")
    return result.stdout


def queued() -> set[str]:
    """Names of experiments that wait or run."""
    lines = [line.split() for line in dvc("queue", "status").splitlines()]
    return {line[1] for line in lines if len(line) > 2 and line[-1] in ("Queued", "Running")}


def found() -> dict[str, dict[str, float]]:
    """All metrics of each finished experiment on this commit."""
    metrics = {}
    for row in json.loads(dvc("exp", "show", "--json")):
        for experiment in row.get("experiments") or []:
            if (experiment.get("executor") or {}).get("state") not in (None, "success"):
                continue  # shown with the metrics of the commit that it starts from
            for revision in experiment["revs"]:
                data = (revision.get("data") or {}).get("metrics") or {}
                values: dict[str, Any] = {}
                for _, file in sorted(
                    data.items()
                ):  # quality.json after gan.json, which shares names with it
                    values |= file.get("data") or {}
                if "cas" in values and "fid" in values:
                    metrics[revision["name"]] = values
    return metrics


def collect(rows: list[Row], runs: set[Run], rates: dict[str, float]) -> list[Row]:
    """The rows, with those of finished experiments that were missing."""
    known, metrics = {key(row) for row in rows}, found()
    new = sorted(run_ for run_ in runs if run_.name in metrics and run_.name not in known)
    fields = [
        {field: str(value) for field, value in run_._asdict().items()}
        | {"images_a_second": f"{rates[run_.recipe]:.0f}"}
        | {name: str(metrics[run_.name][name]) for name in METRICS}
        for run_ in new
    ]
    return rows + fields


def key(row: Row) -> str:
    """The name of the experiment that a row came from."""
    return Run(row["dataset"], row["recipe"], int(row["images"]), int(row["seed"]), row["code"]).name


def write(path: Path, rows: list[Row]) -> None:
    """Writes the table of results, whole or not at all."""
    columns = [*Run._fields, "images_a_second", *METRICS]
    files.write_csv(path, columns, [[row[column] for column in columns] for row in rows])


def table(runs: list[Run], results: dict[str, Row]) -> str:
    """A Markdown table: a row a recipe, mean and deviation over its seeds."""
    columns = ["FID / floor", "IS / real", "labels agree", "recall", "CAS", "gap to real"]
    columns += ["images", "a second"]
    lines = [f"| recipe | {' | '.join(columns)} | failed |", f"|---|{'---:|' * (len(columns) + 1)}"]
    for recipe in dict.fromkeys(run_.recipe for run_ in runs):
        rows = [results[run_.name] for run_ in runs if run_.recipe == recipe and run_.name in results]
        if not rows:
            continue
        values = {name: [float(row[name]) for row in rows] for name in METRICS}
        inception = [a / b for a, b in zip(values["is_mean"], values["is_real"], strict=True)]
        failed = sum(values["collapsed"]) + sum(values["diverged"])
        cells = [
            spread(values["fid_ratio"], "{:.2f}"),
            spread(inception, "{:.3f}"),
            spread(values["label_agreement"], "{:.2%}"),
            spread(values["recall"], "{:.3f}"),
            spread(values["cas"], "{:.2%}"),
            spread(values["cas_gap"], "{:.2%}"),
            f"{int(rows[0]['images']):,}",
            f"{float(rows[0]['images_a_second']):,.0f}",
            f"{failed:.0f} of {len(rows)}",
        ]
        lines.append(f"| `{recipe}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: list[float], form: str) -> str:
    """The mean, and with two values or more the sample deviation."""
    text = form.format(mean(values))
    return f"{text} ± {form.format(stdev(values))}" if len(values) > 1 else text


if __name__ == "__main__":
    run(main)
