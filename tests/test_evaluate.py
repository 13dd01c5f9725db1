"""The stage that scores: sets of the pipeline and from outside, and what it refuses."""

import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Literal

import pytest
import torch
from conftest import GREY, ROOT, write_set
from matplotlib.figure import Figure
from PIL import Image

from src.classifiers import supervised
from src.core import files
from src.core.checkpoint import Checkpoint
from src.core.errors import PipelineError
from src.core.params import DATASETS
from src.core.seeding import generator_for
from src.core.settings import Supervised
from src.datasets import idx, labelled
from src.datasets.spec import write_spec
from src.networks import weights
from src.networks.classifier import ConvClassifier
from src.networks.network import build
from src.report import plots
from src.report.comparability import require_comparable
from src.scores import frechet
from stages import audit, evaluate

SIDE_BY_SIDE = plots.side_by_side
QUICK = Supervised(width=4, epochs=3, batch_size=50, learning_rate=0.01, shift=0)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with real images, another set, and two networks trained on the real ones."""
    folder = tmp_path_factory.mktemp("workshop")
    text = (ROOT / "params.yaml").read_text()
    for old, new in {
        "  images: 10000 ": "  images: 100 ",
        "validation: 10000 ": "validation: 100 ",
        "threads: 2 ": "threads: 1 ",
    }.items():
        assert text.count(f"\n{old}") == 1
        text = text.replace(f"\n{old}", f"\n{new}")
    (folder / "params.yaml").write_text(text)
    (folder / DATASETS).parent.mkdir(parents=True)
    shutil.copy(ROOT / DATASETS, folder / DATASETS)
    write_set(folder / "data/raw", 600, 200, seed=1)
    write_set(folder / "fake", 300, 100, seed=2)
    train, _ = labelled.read_train(folder / "data/raw", GREY, 100)
    for name in ("extractor", "classifier"):
        network = build(ConvClassifier, GREY, seed=len(name), width=4)
        rng = torch.Generator().manual_seed(0)
        supervised.fit(network, train, QUICK, rng=rng, title=name, checkpoint=Checkpoint(None))
        weights.write(folder / f"{name}.safetensors", network)
    return folder


@pytest.fixture(autouse=True)
def _there(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workshop)
    # These two take most of the time, and have tests of their own.
    monkeypatch.setattr(frechet, "POINTS", 3)
    monkeypatch.setattr(plots, "side_by_side", lambda *_: Figure(figsize=(1, 1)))


def score(*arguments: str, output: Path) -> dict[str, dict[str, float]]:
    """scores.csv of a run, as numbers by score and column."""
    evaluate.main(
        ["--extractor", "extractor.safetensors", "--output", str(output), *arguments],
    )
    rows = files.read_csv(output / "scores.csv")
    return {row.pop("score"): {name: float(value) for name, value in row.items()} for row in rows}


def as_png(source: Path, split: Literal["train", "test"], target: Path, *, by_class: bool) -> None:
    data = labelled.read(source, split, GREY)
    for number, (pixels, label) in enumerate(zip(data.pixels, data.given.tolist(), strict=True)):
        path = target / (str(label) if by_class else "") / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[0].numpy()).save(path)


def test_two_sets_of_idx_files_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = score(
        *("--real", "data/raw", "--synthetic", "fake", "--classifier", "classifier.safetensors"),
        *("--manifest", str(tmp_path / "m.json")),
        output=tmp_path,
    )
    assert list(found) == [
        "fid", "fid_infinity", "kid", "is", "precision", "recall", "density", "coverage",
        "label_agreement", "cas_reverse",
    ]  # fmt: skip
    for values in found.values():
        assert all(math.isfinite(value) for value in values.values())
        assert values["low"] <= values["mean"] <= values["high"]
    # The other set is of the same kind, so it scores as real ones do; random pixels do not.
    assert 0.3 < found["fid"]["mean"] / found["fid"]["real"] < 3
    assert found["fid"]["noise"] > 5 * found["fid"]["mean"]
    assert found["label_agreement"]["real"] > 0.9
    assert found["label_agreement"]["mean"] > 0.9
    assert found["cas_reverse"]["mean"] > 0.9
    assert found["label_agreement"]["noise"] < 0.3
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {
        "quality.json", "scores.csv", "class_histogram.csv", "real_and_synthetic.png", "m.json",
    }  # fmt: skip
    protocol = json.loads((tmp_path / "m.json").read_text())
    assert protocol["extractor_sha256"] == files.sha256(Path("extractor.safetensors"))
    assert (protocol["images_each_side"], protocol["synthetic_sets"]) == (100, 3)
    metrics = json.loads((tmp_path / "quality.json").read_text())
    assert metrics["fid_ratio"] == pytest.approx(found["fid"]["mean"] / found["fid"]["real"])
    rows = files.read_csv(tmp_path / "class_histogram.csv")
    assert [row["label"] for row in rows] == ["30"] * 10
    agreeing = sum(int(row["agreeing"]) for row in rows)
    assert agreeing / 300 == pytest.approx(found["label_agreement"]["mean"])
    assert sum(int(row["extractor"]) for row in rows) == 300
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["mean", "95", "%", "interval", "real", "noise"]
    assert lines[1].split()[:2] == ["fid", f"{found['fid']['mean']:.4f}"]


def test_folders_of_png_files_are_scored_with_and_without_labels(tmp_path: Path) -> None:
    as_png(Path("data/raw"), "test", tmp_path / "real", by_class=True)
    as_png(Path("fake"), "train", tmp_path / "labelled", by_class=True)
    as_png(Path("fake"), "train", tmp_path / "flat", by_class=False)
    folders = ("--real", str(tmp_path / "real"), "--synthetic")
    named = score(*folders, str(tmp_path / "labelled"), output=tmp_path / "1")
    flat = score(*folders, str(tmp_path / "flat"), "--images", "60", output=tmp_path / "2")
    assert named["label_agreement"]["mean"] > 0.9
    assert "label_agreement" not in flat
    assert set(named) - {"label_agreement"} == set(flat)
    assert 0.3 < flat["fid"]["mean"] / flat["fid"]["real"] < 3
    # without labels the extractor's classes stand for them
    rows = files.read_csv(tmp_path / "2" / "class_histogram.csv")
    assert [row["label"] for row in rows] == [row["extractor"] for row in rows]


def test_the_same_images_score_the_same_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "side_by_side", SIDE_BY_SIDE)
    for name in ("1", "2"):
        score("--real", "data/raw", "--synthetic", "fake", output=tmp_path / name)
    for path in (tmp_path / "1").iterdir():
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes()


def replace_images(root: Path, split: Literal["train", "test"], start: int, pixels: bytes) -> None:
    """Writes pixels over those of image `start` and of what follows, behind the 16 bytes of an IDX header."""
    with (idx.folder(root) / idx.names(split, GREY)[0]).open("r+b") as file:
        file.seek(16 + start * 784)
        file.write(pixels)


@pytest.fixture
def moved(workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in like the workshop, with real images and parameters to change."""
    for path in workshop.iterdir():
        if path.name not in ("data", "params.yaml"):
            (tmp_path / path.name).symlink_to(path)
    shutil.copytree(workshop / "data", tmp_path / "data")
    shutil.copy(workshop / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def edit_params(old: str, new: str) -> None:
    text = Path("params.yaml").read_text()
    assert text.count(f"\n{old} ") == 1
    Path("params.yaml").write_text(text.replace(f"\n{old} ", f"\n{new} "))


@pytest.mark.parametrize(("split", "start"), [("test", 0), ("train", 500)])
def test_of_more_real_images_than_are_compared_some_are_chosen_at_random(
    moved: Path, split: Literal["train", "test"], start: int
) -> None:
    # The first 50, of 200 test and of 100 validation images, are black: no others lie within their reach.
    replace_images(Path("data/raw"), split, start, bytes(50 * 784))
    found = score(*("--real", "data/raw", "--synthetic", "fake", "--images", "50"), output=moved / "out")
    share = found["recall" if split == "test" else "precision"]["real"]
    assert 0.3 < share < 0.95


def test_the_audit_too_chooses_held_out_images_at_random(moved: Path) -> None:
    edit_params("  images: 100", "  images: 50")
    train, _ = labelled.read_train(Path("data/raw"), GREY, 100)
    # The first 50 of 100 validation images are training images.
    replace_images(Path("data/raw"), "train", 500, train.pixels[:50].numpy().tobytes())
    audit.main(
        [*("--real", "data/raw", "--synthetic", "fake"), *("--metrics", "m.json", "--picture", "p.png")]
    )
    found = json.loads(Path("m.json").read_text())
    assert 0.3 < found["copies_real"] < 0.7
    assert found["copies"] == 0


def test_a_class_that_is_missing_counts_nothing(tmp_path: Path) -> None:
    as_png(Path("fake"), "train", tmp_path / "png", by_class=True)
    shutil.rmtree(tmp_path / "png" / "4")
    found = score("--real", "data/raw", "--synthetic", str(tmp_path / "png"), output=tmp_path / "out")
    assert all(math.isfinite(value) for values in found.values() for value in values.values())
    rows = files.read_csv(tmp_path / "out" / "class_histogram.csv")
    assert (rows[4]["label"], rows[4]["agreeing"]) == ("0", "0")
    assert found["fid"]["mean"] > 1.5 * found["fid"]["real"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--images", "101"],
            r"^--images is 101; allowed: from 20 to 100, as many as .*\(200 and 100 others\)",
        ),
        (["--images", "19"], r"^--images is 19; allowed: from 20 to 100"),
        (["--images", "-5"], r"^--images is -5; allowed: from 20 to 100"),
        (["--images", "0"], r"^--images is 0; allowed"),
        (["--synthetic", "nowhere"], r"nowhere is not a folder"),
        (["--extractor", "nowhere"], r"nowhere: no such file; run `dvc repro`"),
        (["--classifier", "nowhere"], r"nowhere: no such file; run `dvc repro`"),
    ],
)
def test_what_cannot_be_scored_is_said(arguments: list[str], words: str) -> None:
    with pytest.raises(PipelineError, match=words):
        evaluate.main(
            ["--real", "data/raw", "--synthetic", "fake", "--extractor", "extractor.safetensors", *arguments]
        )


def test_too_many_images_for_params_name_the_option(moved: Path) -> None:
    edit_params("validation: 100", "validation: 151")
    edit_params("  images: 100", "  images: 151")
    words = r"^--images is not given, and params\.yaml: evaluate\.images is 151; allowed: from 20 to 150, "
    with pytest.raises(PipelineError, match=words):
        score("--real", "data/raw", "--synthetic", "fake", output=moved / "out")
    edit_params("validation: 151", "validation: 150")
    with pytest.raises(
        PipelineError, match=r"^params\.yaml: evaluate\.images is 151; allowed: from 20 to 150"
    ):
        score("--real", "data/raw", "--synthetic", "fake", output=moved / "out")


@pytest.mark.parametrize("validation", [20, 10_000])
def test_the_validation_split_is_that_of_the_pipelines_own_set(
    moved: Path, validation: int, capsys: pytest.CaptureFixture[str]
) -> None:
    # Another set has as many others as its own split into training and test images gives.
    edit_params("  images: 100", "  images: 20")
    edit_params("validation: 100", f"validation: {validation}")
    write_set(moved / "other", 500, 100, seed=3)
    others = ("--real", "other", "--synthetic", "fake", "--manifest", "m.json")
    score(*others, "--images", "90", output=moved / "out")
    told = "the last 100 of the 500 training images of other"
    printed = capsys.readouterr().err.splitlines()
    assert f"the other real images: {told}" in printed
    assert "3 sets of 90 synthetic images are scored, 30 left over" in printed
    assert json.loads(Path("m.json").read_text())["real"] == f"random images of {told}"
    with pytest.raises(PipelineError, match=r"^--images is 101; allowed: from 20 to 100"):
        score(*others, "--images", "101", output=moved / "out")


def test_the_pipelines_own_sets_are_scored_as_ever_without_a_word(
    moved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(moved / "fake", moved / "data/synthetic")
    manifest = ("--manifest", "m.json")
    here = score("--synthetic", "data/synthetic", *manifest, output=moved / "1")
    assert capsys.readouterr().err.count("\n") == 0
    assert here == score("--real", str(moved / "data/raw"), "--synthetic", "fake", output=moved / "2")
    found = json.loads(Path("m.json").read_text())
    assert "validation split" in found["real"]
    test = labelled.read(Path("data/raw"), "test", GREY)
    chosen = test.chosen(100, generator_for("evaluate/reference", 0)).pixels
    assert found["reference_sha256"] == hashlib.sha256(chosen.numpy().tobytes()).hexdigest()
    (moved / "data/synthetic/MNIST/raw/train-labels-idx1-ubyte").unlink()
    with pytest.raises(PipelineError, match=r"train-labels-idx1-ubyte does not exist .* run dvc repro"):
        score("--synthetic", "data/synthetic", output=moved / "3")


def test_protocols_of_other_real_images_or_networks_do_not_compare(moved: Path) -> None:
    write_set(moved / "other", 500, 100, seed=3)
    protocols = {}
    for name, arguments in {
        "mine": ("--real", "data/raw", "--classifier", "classifier.safetensors"),
        "again": ("--real", "data/raw", "--classifier", "classifier.safetensors"),
        "others": ("--real", "other", "--classifier", "classifier.safetensors"),
        "classifier": ("--real", "data/raw", "--classifier", "extractor.safetensors"),
    }.items():
        score(*arguments, "--synthetic", "fake", "--manifest", f"{name}.json", output=moved / name)
        protocols[name] = json.loads(Path(f"{name}.json").read_text())
    scores = json.loads((moved / "mine" / "quality.json").read_text())
    require_comparable(protocols["mine"], protocols["again"], "main", scores)
    for name, key in {"others": "reference_sha256", "classifier": "classifier_sha256"}.items():
        with pytest.raises(PipelineError, match=f"can't be compared: {key} is"):
            require_comparable(protocols["mine"], protocols[name], "main", scores)


def test_folders_may_go_by_the_class_names_of_the_pipelines_set(moved: Path) -> None:
    as_png(Path("fake"), "train", moved / "numbers", by_class=True)
    write_spec(Path("data/raw"), GREY, [f"kind/{label}" for label in range(10)])
    shutil.copytree(moved / "numbers", moved / "names")
    for label in range(10):
        (moved / "names" / str(label)).rename(moved / "names" / f"kind_{label}")
    found = [score("--synthetic", name, output=moved / "out" / name) for name in ("numbers", "names")]
    assert found[0] == found[1]
    assert found[0]["label_agreement"]["mean"] > 0.9


def test_small_sets_are_told_what_is_missing(moved: Path) -> None:
    as_png(Path("fake"), "train", moved / "png", by_class=False)
    for path in sorted((moved / "png").iterdir())[39:]:
        path.unlink()
    needed = "needed: 20 real images and 20 others, not "
    with pytest.raises(PipelineError, match=rf"{needed}200 and 100, and 40 synthetic ones, not 39$"):
        score("--synthetic", "png", "--images", "20", output=moved / "out")
    with pytest.raises(PipelineError, match=rf"{needed}19 and 19, and 40 synthetic ones, not 300$"):
        score("--real", "png", "--synthetic", "fake", "--images", "20", output=moved / "out")


def test_constant_images_and_a_set_against_itself(tmp_path: Path) -> None:
    (tmp_path / "png").mkdir()
    for number in range(100):
        Image.new("L", (28, 28), 0).save(tmp_path / "png" / f"{number}.png")
    alike = str(tmp_path / "png")
    found = score("--real", "data/raw", "--synthetic", alike, "--images", "50", output=tmp_path / "out")
    assert all(math.isfinite(value) for values in found.values() for value in values.values())
    assert found["is"]["mean"] == pytest.approx(1, abs=1e-6)
    assert found["recall"]["mean"] == 0
    with pytest.raises(PipelineError, match="both are the same images, and no floor"):
        score("--real", alike, "--synthetic", "fake", "--images", "50", output=tmp_path)


def test_an_extractor_of_nan_is_an_error(tmp_path: Path) -> None:
    network = build(ConvClassifier, GREY, seed=0, width=4)
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    weights.write(tmp_path / "nan.safetensors", network)
    with pytest.raises(PipelineError, match="NaN or infinite features"):
        evaluate.main(
            ["--real", "data/raw", "--synthetic", "fake", "--extractor", str(tmp_path / "nan.safetensors")]
        )
