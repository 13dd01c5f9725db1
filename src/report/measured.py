"""What benchmarks and single runs found, in Markdown: tables and text from the CSV files of docs/.

Every function takes the project's folder.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev

from src.core import files
from src.core.errors import PipelineError
from src.report import budgets
from src.report.markdown import Row, average, number, seeds, spread, table, where

EQUAL_IMAGES = 100_000  # what the comparison of recipes shows each in its first half
EQUAL_TIME = "lsgan"  # and in its second as many as fit into this recipe's time, in tenths
# The faults of docs/sensitivity.csv that are shown, with their levels.
FAULTS = {
    ("noise", "0"): "none",
    ("noise", "16"): "noise of 16 grey levels",
    ("noise", "32"): "noise of 32 grey levels",
    ("blur", "0.5"): "blur of half a pixel",
    ("blur", "1"): "blur of one pixel",
    ("dropped", "1"): "one class missing",
    ("duplicated", "0.5"): "half are copies of the rest",
    ("duplicated", "0.98"): "98% are copies of the rest",
    ("swapped", "0.1"): "10% wrong labels",
    ("pixels", "0"): "random pixels",
}
# Of the arms on budgets of labels: as shipped, and with guesses of labels that were not spread.
WORTH, UNSPREAD = "worth.csv", "worth_unspread.csv"
# The scores of docs/sensitivity.csv and docs/sample_size.csv, by the names that they have in tables.
SCORED = {
    "FID": "fid",
    "FID at infinity": "fid_infinity",
    "KID": "kid",
    "IS": "is",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "labels agree": "label_agreement",
}

PLAIN = "rendered"  # what the other parts of docs/parts.csv are held against
# These parts, as the table names them.
SETS = {
    "faces": "rendered digits: type faces only",
    "fonts": "with Hershey's strokes",
    "unbent": "with digits as people write them",
    "rendered": "the same, and strokes bend: as rendered",
    "unkept": "`cyclegan`, labels not kept",
    "cyclegan": "`cyclegan`",
    "told": "`cyclegan`, discriminators told guessed labels",
    "guessed": "the default GAN on guessed labels",
    "given": "the default GAN on 50,000 given labels",
}


def cost(root: Path) -> str:
    """What a run takes, in a sentence."""
    found = _costs(root)
    if not found:
        return "Time, memory and disk space: not measured yet."
    stages, folders = _spent(found), _sizes(found)
    seconds, peak = stages["total"]
    environment = folders.pop("environment", None)
    beside = f", beside a Python environment of {environment:,.0f} MiB" if environment else ""
    return (
        f"`dvc repro` takes {seconds / 60:.0f} minutes and up to {peak:,.0f} MiB of memory, and leaves "
        f"{sum(folders.values()):,.0f} MiB on disk{beside} (measured {where(found)})."
    )


def costs(root: Path) -> str:
    """Seconds and memory of each stage, and the disk space that a run takes."""
    found = _costs(root)
    if not found:
        return "Not measured yet."
    spent = [[f"`{name}`", f"{s:,.0f}", f"{mib:,.0f}"] for name, (s, mib) in _spent(found).items()]
    sizes = [[f"`{name}`", f"{size:,.0f}"] for name, size in _sizes(found).items()]
    note = f"Measured {where(found)}. `total` is all of `dvc repro`"
    first = table(["stage", "seconds", "peak memory, MiB"], spent, note)
    return f"{first}\n\n{table(['folder', 'MiB'], sizes, 'Disk space after that run')}"


def compare(root: Path, dataset: str) -> str:
    """The recipes beside each other: for equal images, and for equal time."""
    found = [row for row in _compared(root, dataset) if not _longer(row)]
    reference = average([row for row in found if row["recipe"] == EQUAL_TIME], "images_a_second")
    rows = []
    for recipe in dict.fromkeys(row["recipe"] for row in found):
        mine = [row for row in found if row["recipe"] == recipe]
        speed = average(mine, "images_a_second")
        seconds = EQUAL_IMAGES / speed
        fitting = in_equal_time(speed, reference)
        equal, timed = ([row for row in mine if int(row["images"]) == n] for n in (EQUAL_IMAGES, fitting))
        first = [*_judged(equal), _verdict(equal), f"{seconds:.{int(seconds < 10)}f}"]
        rows.append([f"`{recipe}`", *first, f"{fitting:,}", *_judged(timed)])
    three = ["FID / floor", "IS / real", "CAS"]
    head = ["recipe", *three, "verdict", "seconds", "images in equal time", *three]
    real = f"Real images: FID {average(found, 'fid_floor'):.2f}, CAS {average(found, 'cas_real'):.1%}"
    many = seeds(len({row["seed"] for row in found}))
    caption = f"On {dataset}, {EQUAL_IMAGES:,} images each; {many}; {where(found)}. {real}"
    return table(head, rows, caption)


def in_equal_time(speed: float, reference: float, images: int = EQUAL_IMAGES) -> int:
    """The number of images that takes as long as `images` take at the rate `reference`.

    Args:
        speed: Images a second.
        reference: Images a second.
        images: The result is in tenths of it, one at least: recipes of about the same speed share their runs.
    """
    return max(1, round(10 * speed / reference)) * images // 10


def own_length(root: Path, dataset: str) -> str:
    """The recipes beside each other, each at the length of its own row."""
    found = [row for row in _compared(root, dataset) if _longer(row)]
    if not found:
        return "Not measured yet."
    rows = []
    for recipe in dict.fromkeys(row["recipe"] for row in found):
        mine = [row for row in found if row["recipe"] == recipe]
        gaps = [{"points": str(100 * float(row["cas_gap"]))} for row in mine]
        scores = [_spread(mine, "fid_ratio"), _spread(gaps, "points"), f"{average(mine, 'cas'):.2%}"]
        worst = max(float(row["setback"]) for row in mine)
        images = f"{int(mine[0]['images']):,}"
        rows.append([f"`{recipe}`", images, *scores, f"{worst:.2f}", _verdict(mine), str(len(mine))])
    head = ["recipe", "images", "FID / floor", "CAS gap, points", "CAS", "worst setback", "verdict", "seeds"]
    return table(head, rows, f"On {dataset}; mean ± standard deviation over seeds; {where(found)}")


def _compared(root: Path, dataset: str) -> list[dict[str, str]]:
    return [row for row in files.read_csv(root / "docs" / "compare.csv") if row["dataset"] == dataset]


def _longer(row: Row) -> bool:
    """Whether a run was as long as its recipe's row says, and not by chance as long as all others."""
    return row.get("own_length") == "1" and int(row["images"]) != EQUAL_IMAGES


def _spread(rows: Sequence[Row], name: str, form: str = ".2f") -> str:
    """Mean and, of several rows, deviation of a column."""
    values = [float(row[name]) for row in rows]
    return f"{mean(values):{form}}" + (f" ± {stdev(values):{form}}" if len(values) > 1 else "")


def worth(root: Path, dataset: str, name: str = WORTH) -> str:
    """What a synthetic set is worth over the budget of labels: errors of all arms, and their differences."""
    found = _budgets(root, dataset, name)
    if not found:
        return "Not measured yet."
    tables = (budgets.table_of_errors(found), budgets.table_of_differences(found), budgets.where_zero(found))
    return "\n\n".join(part for part in tables if part)


def worth_told(root: Path, labels: str, dataset: str = "mnist") -> str:
    """The same for one budget, in sentences."""
    return budgets.told(_budgets(root, dataset, WORTH), labels)


def _budgets(root: Path, dataset: str, name: str) -> list[dict[str, str]]:
    path = root / "docs" / name
    return [row for row in files.read_csv(path) if row["dataset"] == dataset] if path.exists() else []


def parts(rows: Sequence[Row]) -> str:
    """What each part of a set without labels buys, from the rows of docs/parts.csv."""
    lines = []
    plain = {row["seed"]: float(row["accuracy"]) for row in rows if row["part"] == PLAIN}
    for name, told in SETS.items():
        if not (mine := [row for row in rows if row["part"] == name]):
            continue
        accuracies, swaps = [float(row["accuracy"]) for row in mine], Counter[str]()
        gains = [float(row["accuracy"]) - plain[row["seed"]] for row in mine if row["seed"] in plain]
        for row in mine:
            swaps.update({pair: int(n) for pair, n in (one.split(":") for one in row["swaps"].split())})
        shown = [f"{pair.replace('>', ' as ')} ({n / len(mine):.0f})" for pair, n in swaps.most_common(3)]
        middle = mean(accuracies)
        told_mean = spread(middle, stdev(accuracies)) if len(mine) > 1 else f"{middle:.2%}"
        beside = budgets.points(budgets.interval(gains)) if gains and name != PLAIN else "–"
        cells = [told_mean, f"{min(accuracies):.2%}", beside, ", ".join(shown)]
        lines.append([told, *cells, str(len(mine))])
    head = ["a classifier learns from", "CAS", "worst seed", "better than as rendered, points"]
    head += ["digits taken for another most often", "seeds"]
    note = "Mean ± standard deviation over seeds; paired differences with 95% intervals"
    return table(head, lines, f"{note}; {where(rows)}")


def parts_of(root: Path) -> str:
    """The same, where there are any."""
    path = root / "docs" / "parts.csv"
    return parts(files.read_csv(path)) if path.exists() else "Not measured yet."


def experiment(root: Path, name: str) -> str:
    """A table of docs/experiments.csv: what single runs of earlier commits found.

    Raises:
        PipelineError: There is no such table.
    """
    found = [row for row in files.read_csv(root / "docs" / "experiments.csv") if row["table"] == name]
    if not found:
        raise PipelineError(f"docs/experiments.csv has no rows of the table {name}")
    columns = list(dict.fromkeys(row["score"] for row in found))
    cells: dict[str, dict[str, str]] = {}
    for row in found:
        deviation = f" ± {row['spread']}" if row["spread"] else ""
        cells.setdefault(row["setting"], {})[row["score"]] = row["value"] + deviation
    rows = [[setting, *(values.get(column, "") for column in columns)] for setting, values in cells.items()]
    many = seeds(max(int(row["seeds"]) for row in found))
    return table(["", *columns], rows, f"{many}; {where(found)}")


def leak(root: Path) -> str:
    """Whether the audit notices training images in a set."""
    found = files.read_csv(root / "docs" / "leak.csv")
    rows = []
    for row in found:
        planted = f"{float(row['planted']):.0%}"
        if row["brighter"] != "0":
            planted += f", {row['brighter']} grey levels brighter"
        close, low, high = (f"{float(row[name]):.3f}" for name in ("close", "close_low", "close_high"))
        flagged = "yes" if row["memorised"] == "1" else "no"
        rows.append([planted, f"{close} ({low} to {high})", f"{float(row['copies']):.0%}", flagged])
    head = ["training images in the set", "close (95% interval)", "exact copies", "flagged"]
    return table(head, rows, where(found))


def sensitivity(root: Path) -> str:
    """What each score makes of known faults in real images."""
    found = files.read_csv(root / "docs" / "sensitivity.csv")
    shown = [row for row in found if (row["fault"], row["level"]) in FAULTS]
    rows = [[FAULTS[row["fault"], row["level"]], *_scored(row)] for row in shown]
    return table(["fault", *SCORED], rows, where(found))


def sample_size(root: Path) -> str:
    """Real images against real images, over their number: means over choices of them."""
    found = files.read_csv(root / "docs" / "sample_size.csv")
    rows = []
    for count in dict.fromkeys(row["images"] for row in found):
        mine = [row for row in found if row["images"] == count]
        cells = _scored({name: str(average(mine, name)) for name in SCORED.values()})
        limits = [float(row["fid_infinity"]) for row in mine]
        cells[list(SCORED).index("FID at infinity")] = f"{min(limits):.1f} to {max(limits):.1f}"
        rows.append([f"{int(count):,}", *cells])
    return table(["images on each side", *SCORED], rows, where(found))


def _scored(row: Row) -> list[str]:
    return [number(float(row[name]), "kernel" if name == "kid" else "distance") for name in SCORED.values()]


def _costs(root: Path) -> list[dict[str, str]]:
    """The rows of docs/costs.csv; none where nothing was measured."""
    path = root / "docs" / "costs.csv"
    return files.read_csv(path) if path.exists() else []


def _spent(rows: Sequence[Row]) -> dict[str, tuple[float, float]]:
    return {row["stage"]: (float(row["seconds"]), float(row["peak_mib"])) for row in rows if row["seconds"]}


def _sizes(rows: Sequence[Row]) -> dict[str, float]:
    return {row["stage"]: float(row["disk_mib"]) for row in rows if row["disk_mib"]}


def _judged(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return ["–"] * 3
    ratio = average(rows, "fid_ratio")
    digits = 2 if ratio < 10 else 1 if ratio < 100 else 0
    likeness = mean(float(row["is_mean"]) / float(row["is_real"]) for row in rows)
    return [_spread(rows, "fid_ratio", f",.{digits}f"), f"{likeness:.3f}", _spread(rows, "cas", ".1%")]


def _verdict(rows: Sequence[Row]) -> str:
    names = ("collapsed", "diverged", "mislabelled", "converged")
    counts = Counter(name for row in rows for name in names if row.get(name) == "1")
    told = [f"{name} {n} of {len(rows)}" if n < len(rows) else name for name, n in counts.items()]
    return ", ".join(told) or "–"


EXPERIMENTS = (
    *(
        "seeds",
        "wide",
        "wide-fashion",
        "budget",
        "fashion-guesses",
        "fashion-spread",
        "spread-by-features",
        "spread-again",
        "spread-or-not",
        "own-cpu",
        "longer",
        "source",
        "epoch",
    ),  # docs/results.md
    *(
        "class-scale",
        "penalty",
        "schedule",
        "scale-1",
        "tried",
        "breakout",
        "later",
        "average",
        "average-other",
        "wgan",
        "rpgan",
        "fresh",
    ),  # docs/training.md, and all that follow
    *("truncation", "labeller", "rejection", "mistakes", "rate", "profile"),
    *("gpu-recorded", "gpu-rate", "gpu-stages", "gpu-batch", "gpu-advice", "gpu-dvc", "gpu-shared"),
    *("draws", "zero", "translated", "clusters", "spreading"),  # docs/labels.md
    "threads",  # docs/reproducing.md
    "peers",  # docs/metrics.md
)
PARTS: Mapping[str, Callable[[Path], str]] = {
    "cost": cost,
    "costs": costs,
    "leak": leak,
    "sensitivity": sensitivity,
    "sample-size": sample_size,
    **{f"compare-{name}": partial(compare, dataset=name) for name in ("mnist", "fashion-mnist")},
    "parts": parts_of,
    **{f"worth-{labels}": partial(worth_told, labels=labels) for labels in ("0", "10", "100")},
    "worth-fashion-mnist-10": partial(worth_told, labels="10", dataset="fashion-mnist"),
    **{f"own-length-{name}": partial(own_length, dataset=name) for name in ("mnist", "fashion-mnist")},
    **{f"worth-{name}": partial(worth, dataset=name) for name in ("mnist", "fashion-mnist")},
    "worth-unspread": partial(worth, dataset="mnist", name=UNSPREAD),
    **{f"experiment-{name}": partial(experiment, name=name) for name in EXPERIMENTS},
}
