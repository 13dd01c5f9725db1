"""The committed run in Markdown: tables and text from the files of metrics/.

Every function takes the project's folder.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from src.core import files
from src.report import summary
from src.report.markdown import machine, number, spread, table

# The rows of metrics/scores.csv in words, with the form of their numbers.
SCORES = {
    "fid": ("FID (lower is better)", "distance"),
    "fid_infinity": ("FID at infinitely many images", "distance"),
    "kid": ("KID (0 is best)", "kernel"),
    "is": ("inception score", "distance"),
    "precision": ("precision: synthetic images that lie among real ones", "share"),
    "recall": ("recall: real images that lie among synthetic ones", "share"),
    "density": ("density: 1 is as dense as real images", "distance"),
    "coverage": ("coverage: real images with a synthetic one nearby", "share"),
    "label_agreement": ("labels that the extractor agrees with", "percent"),
    "cas_reverse": ("accuracy on them of a classifier trained on real images", "percent"),
}


def printed(root: Path) -> str:
    """The result as `make repro` prints it."""
    outcome = files.read_json(root / "metrics" / "outcome.json")["outcome"]
    quality, downstream, arms = (_metrics(root, name) for name in ("quality", "downstream", "worth"))
    text = summary.table(quality, downstream, arms, outcome)
    return "\n".join(("```", text.strip("\n"), "```"))


def worth(root: Path) -> str:
    """Test error over real labels, with and without pretraining on the synthetic set."""
    found = _metrics(root, "downstream")
    rows = [["0", spread(1 - found["cas"], found["cas_std"]), "–"]]
    for row in files.read_csv(root / "metrics" / "label_efficiency.csv"):
        if row["arm"] == "pretrained":
            rows.append([f"{int(row['labels']):,}"])
        rows[-1].append(spread(float(row["error"]), float(row["std"])))
    note = "Error on the real test images, mean ± standard deviation over the repetitions"
    return table(["real labels", "pretrained", "from scratch"], rows, f"{note}. {_ran(root)}")


def scores(root: Path) -> str:
    """Every score, with its interval, beside that of real images and that of noise."""
    rows = []
    for row in files.read_csv(root / "metrics" / "scores.csv"):
        told, form = SCORES[row["score"]]
        middle, low, high, real, noise = (
            number(float(row[name]), form) for name in ("mean", "low", "high", "real", "noise")
        )
        rows.append([told, f"{middle} ({low.removesuffix('%')} to {high})", real, noise])
    down, audit = _metrics(root, "downstream"), _metrics(root, "memorisation")
    arms = [spread(down[name], down[f"{name}_std"]) for name in ("cas", "cas_real")]
    rows.append(["CAS: accuracy on real images of a classifier trained on them", *arms, ""])
    close = f"{audit['close']:.1%} ({100 * audit['close_low']:.1f} to {audit['close_high']:.1%})"
    rows.append(["closer to a training image than 95% of new real images", close, "5%", ""])
    return table(["", "synthetic", "real", "random pixels"], rows, _ran(root))


def _metrics(root: Path, name: str) -> dict[str, Any]:
    return files.read_json(root / "metrics" / f"{name}.json")


def _ran(root: Path) -> str:
    rows = files.read_csv(root / "metrics" / "environment.csv")
    return f"The run that dvc.lock records, on {' and on '.join(dict.fromkeys(map(machine, rows)))}"


PARTS: Mapping[str, Callable[[Path], str]] = {"printed": printed, "worth": worth, "scores": scores}
