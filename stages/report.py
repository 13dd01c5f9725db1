"""Turn what the expensive stages found into the small files of metrics/.

DVC runs: python -m stages.report --extractor results/extractor.json ... --output metrics
"""

from collections.abc import Sequence
from pathlib import Path

from src.core import files, params, stage
from src.core.settings import Params
from src.report import downstream, worth

COLUMNS = ("torch", "device", "processor", "threads")


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the small files of metrics/, the label-efficiency curves, and what ran where."""
    parser = stage.parser(
        __file__,
        __doc__,
        extractor="JSON of train_extractor",
        gan="folder of train_gan's results",
        quality="JSON of evaluate's protocol",
        synthetic="folder of the synthetic set",
        output="folder to write to",
    )
    parser.add_argument("--pretrain", type=Path, nargs="+", required=True, help="folders of pretrain")
    parser.add_argument("--finetune", type=Path, nargs="+", required=True, help="folders of finetune")
    parser.add_argument("--worth", type=Path, nargs="+", required=True, help="folders of worth")
    args = parser.parse_args(argv)
    params.load(Params)  # reads no parameter, but refuses bad ones as every stage does
    extractor = files.read_json(args.extractor)
    manifest = files.read_json(args.synthetic / "manifest.json")
    ran = {
        "train_extractor": extractor.pop("environment"),
        "generate": manifest["environment"],
        "train_gan": files.read_json(args.gan / "end.json")["environment"],
        "evaluate": files.read_json(args.quality)["environment"],
    }
    for folder in (*args.pretrain, *args.finetune, *args.worth):
        ran[folder.name] = files.read_json(folder / "environment.json")
    places = [(name, *(ran[name][column] for column in COLUMNS)) for name in sorted(ran)]
    files.write_csv(args.output / "environment.csv", ["stage", *COLUMNS], places)
    files.write_json(args.output / "extractor.json", extractor)
    accuracies = [row for folder in args.pretrain for row in files.read_csv(folder / "accuracy.csv")]
    errors = [row for folder in args.finetune for row in files.read_csv(folder / "errors.csv")]
    files.write_json(args.output / "labels.json", manifest["labels"]["read"])
    arms = [files.read_json(folder / "errors.json") for folder in args.worth]
    worth.write(args.output, manifest["labels"]["real_labels_seen"], {**arms[0], **arms[1]})
    downstream.write(args.output, accuracies, errors, manifest["labels"]["real_labels_seen"])


if __name__ == "__main__":
    stage.run(main)
