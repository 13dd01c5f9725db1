"""Compare the recipes, for the same number of images and for the same time, by experiments on DVC's queue.

Command: python -m benchmarks.compare

Every recipe becomes one experiment for a data set, a seed and a budget. What has been run is not run again:
cut off and started again, it goes on where it was. A running time depends on the machine and so is
no metric: the table gives the images that a recipe sees in a second, timed at the start of this command.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Sequence
from itertools import product
from statistics import mean, stdev
from typing import Any, NamedTuple

from benchmarks.rate import rate
from src import config
from src.errors import PipelineError, run

# The last two are hostile: their verdict must say so, and no other's.
RECIPES = ["gan", "minimax", "wgan", "wgan-gp", "lsgan", "hinge", "rpgan", "spectral", "mlp"]
RECIPES += ["collapse", "diverge"]
# One point of the label-efficiency curve and two classifiers each are enough to compare.
SHORT = ["finetune.labels=[100]", "finetune.replicates=2", "pretrain.replicates=2"]


class Run(NamedTuple):
    """One experiment of the comparison."""

    dataset: str
    budget: str
    recipe: str
    seed: int

    @property
    def name(self) -> str:
        """The experiment's name."""
        return f"compare-{self.dataset}-{self.budget}-{self.recipe}-{self.seed}"


def main(argv: Sequence[str] | None = None) -> None:
    """Queues what is missing, lets DVC run it, and prints both tables in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--recipes", nargs="+", default=RECIPES, help="rows of recipes")
    parser.add_argument("--datasets", nargs="+", default=["mnist", "fashion-mnist"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--budgets", nargs="+", choices=("images", "time"), default=["images", "time"])
    parser.add_argument("--images", type=int, default=400_000, help="real images, for equal images")
    parser.add_argument("--seconds", type=float, default=150, help="of training, for equal time")
    parser.add_argument("--table-only", action="store_true", help="run nothing, print what there is")
    args = parser.parse_args(argv)
    params = config.load()
    rates = {name: rate(params, name) for name in args.recipes}
    budgets = {
        "images": dict.fromkeys(args.recipes, args.images),
        "time": {name: round(args.seconds * rates[name], -3) for name in args.recipes},
    }
    runs = [Run(*values) for values in product(args.datasets, args.budgets, args.recipes, args.seeds)]
    if not args.table_only:
        finished, waiting = found(), queued()
        for run_ in runs:
            if run_.name not in finished and run_.name not in waiting:
                budget = budgets[run_.budget][run_.recipe]
                dvc("exp", "run", "--queue", "--name", run_.name, *overrides(run_, int(budget)))
        # The worker that it leaves behind holds on to its output: captured, this would wait for the last run.
        subprocess.run(("dvc", "queue", "start", "--jobs", "1"), stdout=subprocess.DEVNULL, check=True)
        while left := {run_.name for run_ in runs} & queued():
            print(f"{len(left)} of {len(runs)} experiments to go", flush=True)
            time.sleep(30)
    metrics = found()
    if missing := [run_.name for run_ in runs if run_.name not in metrics]:
        print(f"no result of {', '.join(missing)}; why: dvc queue logs NAME")
    for dataset, budget in product(args.datasets, args.budgets):
        what = f"{args.images:,} images" if budget == "images" else f"{args.seconds:.0f} s of training"
        print(f"\n{dataset}, {what}\n")
        print(table([r for r in runs if (r.dataset, r.budget) == (dataset, budget)], metrics, rates))


def overrides(run_: Run, budget: int) -> list[str]:
    """The parameters of an experiment, as arguments of `dvc exp run`."""
    values = [f"dataset={run_.dataset}", f"loss={run_.recipe}", f"seed={run_.seed}"]
    values += [f"recipes.{run_.recipe}.images={budget}", "verdict.allow_failed=true", *SHORT]
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
                for file in data.values():
                    values |= file.get("data") or {}
                if "cas" in values and "fid" in values:
                    metrics[revision["name"]] = values
    return metrics


def table(runs: list[Run], metrics: dict[str, dict[str, float]], rates: dict[str, float]) -> str:
    """A Markdown table: a row a recipe, mean and deviation over its seeds."""
    lines = [
        "| recipe | FID / floor | IS / real | labels agree | CAS | gap to real | images a second | failed |"
    ]
    lines += ["|---|---:|---:|---:|---:|---:|---:|---:|"]
    for recipe in dict.fromkeys(run_.recipe for run_ in runs):
        rows = [metrics[run_.name] for run_ in runs if run_.recipe == recipe and run_.name in metrics]
        if not rows:
            continue
        cells = [
            spread([row["fid_ratio"] for row in rows], "{:.2f}"),
            spread([row["is_mean"] / row["is_real"] for row in rows], "{:.3f}"),
            spread([row["label_agreement"] for row in rows], "{:.2%}"),
            spread([row["cas"] for row in rows], "{:.2%}"),
            spread([row["cas_gap"] for row in rows], "{:.2%}"),
            f"{rates[recipe]:,.0f}",
            f"{sum(int(row['collapsed'] + row['diverged']) for row in rows)} of {len(rows)}",
        ]
        lines.append(f"| `{recipe}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: list[float], form: str) -> str:
    """The mean, and with two values or more the sample deviation."""
    text = form.format(mean(values))
    return f"{text} ± {form.format(stdev(values))}" if len(values) > 1 else text


if __name__ == "__main__":
    run(main)
