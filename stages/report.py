"""Turn what the expensive stages found into the small files of metrics/, and print them as a table.

DVC runs: python -m stages.report --extractor results/extractor.json ... --output metrics
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from src import config, files, plots
from src.errors import run

Rows = list[dict[str, str]]


def main(argv: Sequence[str] | None = None) -> None:
    """Writes extractor.json, downstream.json, the label-efficiency curves, and what ran where."""
    parser = argparse.ArgumentParser(prog="python -m stages.report", description=__doc__)
    parser.add_argument("--extractor", type=Path, required=True, help="JSON of train_extractor")
    parser.add_argument("--gan", type=Path, required=True, help="folder of train_gan's results")
    parser.add_argument("--quality", type=Path, required=True, help="JSON of evaluate's protocol")
    parser.add_argument("--synthetic", type=Path, required=True, help="folder of the synthetic set")
    parser.add_argument("--pretrain", type=Path, nargs="+", required=True, help="folders of pretrain")
    parser.add_argument("--finetune", type=Path, nargs="+", required=True, help="CSVs of finetune")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    args = parser.parse_args(argv)
    config.load()  # reads no parameter, but refuses bad ones as every stage does
    extractor = files.read_json(args.extractor)
    manifest = files.read_json(args.synthetic / "manifest.json")
    trained = {path.name: files.read_csv(path / "accuracy.csv") for path in args.pretrain}
    tuned = {path.stem: files.read_csv(path) for path in args.finetune}

    ran = {"train_extractor": extractor.pop("environment"), "generate": manifest["environment"]}
    ran["train_gan"] = files.read_json(args.gan / "end.json")["environment"]
    ran["evaluate"] = files.read_json(args.quality)["environment"]
    ran |= {stage: rows[0] for stage, rows in (trained | tuned).items()}
    columns = ("torch", "device", "processor", "threads")
    places = [(stage, *(ran[stage][column] for column in columns)) for stage in sorted(ran)]
    files.write_csv(args.output / "environment.csv", ["stage", *columns], places)
    files.write_json(args.output / "extractor.json", extractor)

    downstream = {"labels_behind_synthetic": manifest["labels"]["real_labels_seen"]}
    accuracy = [row for rows in trained.values() for row in rows]
    downstream |= spread("cas", accuracy, "test_accuracy", images="synthetic")
    downstream |= spread("cas_real", accuracy, "test_accuracy", images="real")
    downstream["cas_gap"] = downstream["cas_real"] - downstream["cas"]
    errors = [row for rows in tuned.values() for row in rows]
    counts = sorted({int(row["labels"]) for row in errors})
    arms = ("pretrained", "scratch")
    curve_rows = []
    for count in counts:
        for arm in arms:
            found = spread(f"error_{arm}_{count}", errors, "test_error", arm=arm, labels=str(count))
            downstream |= found
            curve_rows.append((count, arm, *found.values()))
    files.write_json(args.output / "downstream.json", downstream)
    files.write_csv(args.output / "label_efficiency.csv", ["labels", "arm", "error", "std"], curve_rows)
    figure = plots.error_curves(
        counts,
        {
            f"{arm} ({note})": (
                [downstream[f"error_{arm}_{count}"] for count in counts],
                [downstream[f"error_{arm}_{count}_std"] for count in counts],
            )
            for arm, note in zip(arms, ("on synthetic images", "random weights"), strict=True)
        },
        unlabelled=1 - downstream["cas"],
    )
    plots.write_figure(args.output / "label_efficiency.png", figure)


def spread(key: str, rows: Rows, column: str, **where: str) -> dict[str, float]:
    """Mean and sample standard deviation of a column over the rows that `where` picks, as two metrics."""
    picked = [row for row in rows if all(row[name] == value for name, value in where.items())]
    values = [float(row[column]) for row in picked]
    return {key: mean(values), f"{key}_std": stdev(values)}


if __name__ == "__main__":
    run(main)
