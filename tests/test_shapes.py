"""All stages on data sets of other shapes and class counts, by the commands of dvc.yaml, in this process."""

import importlib
import json
import math
import os
import shlex
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torchvision
import yaml
from conftest import ROOT, write_set
from PIL import Image

from src.core import files
from src.core.params import DATASETS
from src.datasets import idx
from src.datasets.spec import ImageSpec, read_spec
from src.networks import sampling, weights
from src.networks.pairs import GENERATORS
from stages import finetune

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
TINY: dict[str, dict[str, Any]] = {
    "watch": {"log_points": 2, "checks": 2, "grids": 2, "check_images": 100},
    "verdict": {"allow_failed": True, "baselines": []},
    "extractor": {"width": 4, "epochs": 2, "batch_size": 20},
    "labeller": {"width": 2, "epochs": 1, "batch_size": 50},
    "classifier": {"width": 2, "epochs": 1, "batch_size": 50},
    "generate": {"count": 104, "test_count": 52},
    "evaluate": {"images": 30, "splits": 2},
    "pretrain": {"replicates": 2},
    "finetune": {"labels": [10, 40], "replicates": 2, "min_steps": 2},
    "worth": {"steps": 2, "batch_size": 20, "finetune_steps": 2},
}
TUNED = {"labels": [10], "replicates": 3, "min_steps": 2, "learning_rate": 0.001}


class Case(NamedTuple):
    """A data set, the recipe that trains on it, and whether its synthetic images are labelled anew."""

    spec: ImageSpec
    recipe: str
    relabel: bool


CASES = {
    "grey 28x28, 10 classes": Case(ImageSpec(1, 28, 28, 10), "lsgan", False),
    "colour 32x32, 7 classes": Case(ImageSpec(3, 32, 32, 7), "rpgan", True),
    "grey 64x64, 26 classes": Case(ImageSpec(1, 64, 64, 26), "spectral", False),
    "colour 36x20, 2 classes": Case(ImageSpec(3, 20, 36, 2), "wgan-gp", False),
    "colour 36x20, 2 classes, mlp": Case(ImageSpec(3, 20, 36, 2), "mlp", False),
    "colour 36x20, 2 classes, none told": Case(ImageSpec(3, 20, 36, 2), "source", False),
}


class Made(NamedTuple):
    """A case, and the folder in which all stages have run."""

    case: Case
    root: Path


def project(root: Path, case: Case) -> None:
    """Tiny images of a case, a table of data sets that has them as its only row, and parameters to match."""
    write_set(root / "mine", 240, 56, spec=case.spec)
    row = {"channels": case.spec.channels, "height": case.spec.height, "width": case.spec.width}
    row |= {"classes": [f"kind {label}" for label in range(case.spec.classes)], "torchvision_class": "MNIST"}
    row |= {"train": 240, "test": 56}
    row |= {"sha256": idx.hashes(root / "mine", case.spec)}
    (root / DATASETS).parent.mkdir(parents=True)
    (root / DATASETS).write_text(yaml.safe_dump({"own": row}))
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params |= {"dataset": "own", "loss": case.recipe, "validation": 100, "threads": 1}
    # Every stage reads all rows, which takes longer than most stages' work.
    params["recipes"] = {case.recipe: params["recipes"][case.recipe]}
    params["bases"] = params["recipes"]
    params["recipes"][case.recipe] |= {"images": 1000, "width": 4, "latent": 8}
    for section, values in TINY.items():
        params[section] |= values
    params["generate"]["relabel"] = case.relabel
    (root / "params.yaml").write_text(yaml.safe_dump(params))


# The first is near enough to the shipped data set and default for every day.
DAILY, *OTHERS = CASES
MARKED = [DAILY, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]


@pytest.fixture(scope="module", params=MARKED)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    case, root = CASES[request.param], tmp_path_factory.mktemp("shapes")
    project(root, case)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("DATASET_FOLDER", "mine")
        patch.delenv("DVC_ROOT", raising=False)
        for stage in STAGES.values():  # each stands below those that it needs
            _, _, module, *arguments = shlex.split(stage["cmd"])
            importlib.import_module(module).main(arguments)
        yield Made(case, root)


def sizes(path: Path) -> tuple[int, ...]:
    """The dimensions in an IDX file's header."""
    data = path.read_bytes()
    assert data[:3] == b"\0\0\x08"
    found = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    assert len(data) == 4 + 4 * data[3] + math.prod(found)
    return found


def test_the_synthetic_set_has_shape_classes_and_names_of_the_real_one(made: Made) -> None:
    spec = made.case.spec
    image = (spec.height, spec.width) if spec.channels == 1 else (spec.height, spec.width, 3)
    kind = "idx3" if spec.channels == 1 else "idx4"
    for folder, counts in (("raw", (240, 56)), ("synthetic", (104, 52))):
        raw = made.root / "data" / folder / "MNIST/raw"
        assert {path.name: sizes(path) for path in raw.iterdir()} == {
            f"train-images-{kind}-ubyte": (counts[0], *image),
            "train-labels-idx1-ubyte": (counts[0],),
            f"t10k-images-{kind}-ubyte": (counts[1], *image),
            "t10k-labels-idx1-ubyte": (counts[1],),
        }
        assert json.loads((made.root / "data" / folder / "spec.json").read_text()) == {
            "channels": spec.channels,
            "height": spec.height,
            "width": spec.width,
            "classes": spec.classes,
            "names": [f"kind {label}" for label in range(spec.classes)],
        }


def test_labels_are_those_asked_for_or_the_labellers(made: Made) -> None:
    case, manifest = made.case, files.read_json(made.root / "data/synthetic/manifest.json")
    labeller = made.root / "models/labeller"
    _, labels = idx.read_pair(made.root / "data/synthetic", "train", case.spec)
    trained = case.relabel or case.recipe == "source"
    assert files.read_json(labeller / "labeller.json")["trained"] == trained
    assert (labeller / "network.safetensors").exists() == trained
    assert ("changed" in manifest["labels"]) == case.relabel
    for split, total in (("train", 104), ("test", 52)):
        counts = manifest["class_counts"][split]
        assert (len(counts), sum(counts)) == (case.spec.classes, total)
    if not trained:
        assert labels.tolist() == [number % case.spec.classes for number in range(104)]


def test_the_card_tells_size_colour_and_classes(made: Made) -> None:
    spec, card = made.case.spec, (made.root / "data/synthetic/README.md").read_text()
    colour = "grey" if spec.channels == 1 else "colour"
    text = " ".join(card.split())
    assert (
        f"104 training and 52 test images, {spec.width}x{spec.height} {colour}, in {spec.classes} cl" in text
    )
    counts = files.read_json(made.root / "data/synthetic/manifest.json")["class_counts"]["train"]
    told = ", ".join(f"kind {label}: {count}" for label, count in enumerate(counts))
    assert f"Images a class: {told}." in text
    assert ("torchvision.datasets.MNIST" in text) == (spec.channels == 1)
    if spec.channels == 1:
        opened = torchvision.datasets.MNIST(str(made.root / "data/synthetic"))
        assert (len(opened), opened[0][0].size) == (104, (spec.width, spec.height))


def test_pictures_have_room_for_all_images_and_their_colours(made: Made) -> None:
    spec = made.case.spec
    mode = "L" if spec.channels == 1 else "RGB"
    grids = sorted((made.root / "results/gan/samples").glob("*.png"))
    assert [path.name for path in grids] == ["050_percent.png", "100_percent.png"]
    # A column for each class; of the 52 test images, as many rows as they fill.
    rows = dict.fromkeys(grids, 10)
    rows[made.root / "data/synthetic/samples.png"] = min(10, math.ceil(52 / spec.classes))
    for path, count in rows.items():
        with Image.open(path) as picture:
            assert picture.mode == mode
            assert picture.size == (spec.classes * spec.width, count * spec.height)
    with Image.open(made.root / "metrics/nearest.png") as picture:
        assert picture.mode == mode
        width, height = picture.size
        # The ten closest pairs, and one of each class; pixels three times as wide and high.
        assert height == 4 * 3 * spec.height
        assert width % (3 * spec.width) == 0
        assert 10 <= width // (3 * spec.width) <= max(10, spec.classes)
    for name in ("real_and_synthetic", "label_efficiency", "gan_curves"):
        with Image.open(made.root / "metrics" / f"{name}.png") as picture:
            picture.load()


def test_networks_are_for_these_images_and_classes(made: Made) -> None:
    spec, models = made.case.spec, made.root / "models"
    assert read_spec(made.root / "data/raw") == spec
    pretrained = [
        path for name in ("classifiers", "real_classifiers") for path in weights.classifiers(models / name)
    ]
    assert len(pretrained) == 4
    for path in (models / "extractor.safetensors", *pretrained):
        network = weights.read_classifier(path, spec)
        assert network(torch.zeros(2, *spec.shape)).shape == (2, spec.classes)
    generator = weights.read(models / "generator.safetensors", GENERATORS)
    images = sampling.pictures(generator, torch.zeros(3, 8), torch.tensor([0, 1, spec.classes - 1]))
    assert images.shape == (3, spec.channels, spec.height, spec.width)


def test_confusion_and_histogram_are_of_these_classes(made: Made) -> None:
    spec = made.case.spec
    for name in ("pretrain", "pretrain_real"):
        rows = files.read_numbers(made.root / "results" / name / "confusion.csv")
        assert [row["actual"] for row in rows] == [number % spec.classes for number in range(56)]
        assert {row["predicted"] for row in rows} <= set(range(spec.classes))
    rows = files.read_numbers(made.root / "metrics/class_histogram.csv")
    assert [row["class"] for row in rows] == list(range(spec.classes))
    counts = files.read_json(made.root / "data/synthetic/manifest.json")["class_counts"]["train"]
    assert [row["label"] for row in rows] == counts
    assert sum(row["extractor"] for row in rows) == 104


def test_every_number_is_finite_and_within_what_the_classes_allow(made: Made) -> None:
    spec, metrics = made.case.spec, made.root / "metrics"
    found = {path.stem: files.read_json(path) for path in metrics.glob("*.json")}
    outcome = found.pop("outcome")["outcome"]
    assert found["gan"].get(outcome, 1) == 1  # `still improving` has no flag
    assert set(found) == {"downstream", "extractor", "gan", "labels", "memorisation", "quality", "worth"}
    for numbers in found.values():
        assert all(type(value) in (int, float) and math.isfinite(value) for value in numbers.values())
    assert 0 <= found["gan"]["classes"] <= spec.classes
    assert 0 <= found["gan"]["class_kl"] <= math.log(spec.classes)
    assert 1 <= found["quality"]["is_real"] <= spec.classes
    assert found["downstream"]["labels_behind_synthetic"] == found["worth"]["labels"] == 140
    assert found["labels"]["budget"] == found["labels"]["total"] == 140 + found["labels"]["verdict"]
    assert all(0 <= error <= 1 for name, error in found["worth"].items() if name.startswith("error"))
    tables = [made.root / "results/gan/curves.csv", made.root / "results/gan/checks.csv"]
    for path in tables:
        assert all(math.isfinite(value) for row in files.read_numbers(path) for value in row.values())
    scores = files.read_csv(metrics / "scores.csv")
    assert all(
        math.isfinite(float(value)) for row in scores for name, value in row.items() if name != "score"
    )
    assert len(files.read_csv(made.root / "results/finetune/errors.csv")) == 4
    assert not list((made.root / ".checkpoints").rglob("*.safetensors"))
    assert not os.listdir(made.root / ".checkpoints/train_gan")


def test_each_replicate_of_finetuning_starts_from_a_pretrained_network_of_its_own(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In turn, where there are fewer networks than replicates."""
    rows = files.read_csv(made.root / "results/pretrain/accuracy.csv")
    errors = [1 - float(row["test_accuracy"]) for row in rows]
    params = made.root / "params.yaml"
    before = params.read_text()
    params.write_text(yaml.safe_dump(yaml.safe_load(before) | {"finetune": TUNED}))
    monkeypatch.setattr(finetune.supervised, "fit", lambda *_, **__: None)  # the networks stay as they are
    folders = ("--classifiers", "models/classifiers", "--results", str(tmp_path / "tuned"))
    try:
        finetune.main(["--data", "data/raw", *folders])
    finally:
        params.write_text(before)
    found = [float(row["test_error"]) for row in files.read_csv(tmp_path / "tuned/errors.csv")]
    assert found == pytest.approx([errors[0], errors[1], errors[0]])
