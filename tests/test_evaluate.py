"""The stage that scores: sets of the pipeline and from outside, and what it refuses."""

import json
import math
import shutil
from pathlib import Path
from typing import Literal

import pytest
import torch
from conftest import ROOT, write_set
from PIL import Image

from src import checkpoints, files, idx, images, networks, supervised
from src.config import Supervised
from src.errors import PipelineError
from src.resume import Checkpoint
from stages import audit, evaluate

QUICK = Supervised(width=4, epochs=3, batch_size=50, learning_rate=0.01, shift=0)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with real images, another set, and two networks trained on the real ones."""
    folder = tmp_path_factory.mktemp("workshop")
    text = (ROOT / "params.yaml").read_text()
    for old, new in (("  images: 10000 ", "  images: 100 "), ("validation: 10000 ", "validation: 100 ")):
        assert text.count(f"\n{old}") == 1
        text = text.replace(f"\n{old}", f"\n{new}")
    (folder / "params.yaml").write_text(text)
    (folder / "src").mkdir()
    shutil.copy(ROOT / "src" / "datasets.yaml", folder / "src")
    write_set(folder / "real", 600, 200, seed=1)
    write_set(folder / "fake", 300, 100, seed=2)
    train, _ = images.read_train(folder / "real", 100)
    for name in ("extractor", "classifier"):
        network = networks.build("conv-classifier", seed=len(name), width=4)
        rng = torch.Generator().manual_seed(0)
        supervised.fit(network, train, QUICK, rng=rng, title=name, checkpoint=Checkpoint(None))
        checkpoints.write(folder / f"{name}.safetensors", network)
    return folder


@pytest.fixture(autouse=True)
def _there(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workshop)


def score(*arguments: str, output: Path) -> dict[str, dict[str, float]]:
    """scores.csv of a run, as numbers by score and column."""
    evaluate.main(
        ["--extractor", "extractor.safetensors", "--output", str(output), *arguments],
    )
    rows = files.read_csv(output / "scores.csv")
    return {row.pop("score"): {name: float(value) for name, value in row.items()} for row in rows}


def as_png(source: Path, split: str, target: Path, *, labelled: bool) -> None:
    data = images.read(source, "train" if split == "train" else "test")
    for number, (pixels, label) in enumerate(zip(data.images, data.labels.tolist(), strict=True)):
        path = target / (str(label) if labelled else "") / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[0].numpy()).save(path)


def test_two_sets_of_idx_files_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = score(
        *("--real", "real", "--synthetic", "fake", "--classifier", "classifier.safetensors"),
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
    as_png(Path("real"), "test", tmp_path / "real", labelled=True)
    as_png(Path("fake"), "train", tmp_path / "labelled", labelled=True)
    as_png(Path("fake"), "train", tmp_path / "flat", labelled=False)
    folders = ("--real", str(tmp_path / "real"), "--synthetic")
    labelled = score(*folders, str(tmp_path / "labelled"), output=tmp_path / "1")
    flat = score(*folders, str(tmp_path / "flat"), "--images", "60", output=tmp_path / "2")
    assert labelled["label_agreement"]["mean"] > 0.9
    assert "label_agreement" not in flat
    assert set(labelled) - {"label_agreement"} == set(flat)
    assert 0.3 < flat["fid"]["mean"] / flat["fid"]["real"] < 3
    # without labels the extractor's classes stand for them
    rows = files.read_csv(tmp_path / "2" / "class_histogram.csv")
    assert [row["label"] for row in rows] == [row["extractor"] for row in rows]


def test_the_same_images_score_the_same_twice(tmp_path: Path) -> None:
    for name in ("1", "2"):
        score("--real", "real", "--synthetic", "fake", output=tmp_path / name)
    for path in (tmp_path / "1").iterdir():
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes()


def replace_images(root: Path, split: Literal["train", "test"], start: int, pixels: bytes) -> None:
    """Writes pixels over those of image `start` and of what follows, behind the 16 bytes of an IDX header."""
    with (idx.folder(root) / idx.NAMES[split][0]).open("r+b") as file:
        file.seek(16 + start * 784)
        file.write(pixels)


@pytest.mark.parametrize(("split", "start"), [("test", 0), ("train", 500)])
def test_of_more_real_images_than_are_compared_some_are_chosen_at_random(
    tmp_path: Path, split: Literal["train", "test"], start: int
) -> None:
    # The first 50, of 200 test and of 100 validation images, are black: no others lie within their reach.
    shutil.copytree("real", tmp_path / "real")
    replace_images(tmp_path / "real", split, start, bytes(50 * 784))
    found = score(
        *("--real", str(tmp_path / "real"), "--synthetic", "fake", "--images", "50"), output=tmp_path / "out"
    )
    share = found["recall" if split == "test" else "precision"]["real"]
    assert 0.3 < share < 0.95


def test_the_audit_too_chooses_held_out_images_at_random(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree("real", tmp_path / "real")
    (tmp_path / "src").symlink_to(Path("src").resolve())
    text = Path("params.yaml").read_text()
    assert text.count("  images: 100 ") == 1
    (tmp_path / "params.yaml").write_text(text.replace("  images: 100 ", "  images: 50 "))
    train, _ = images.read_train(Path("real"), 100)
    # The first 50 of 100 validation images are training images.
    replace_images(tmp_path / "real", "train", 500, train.images[:50].numpy().tobytes())
    synthetic = str(Path("fake").resolve())
    monkeypatch.chdir(tmp_path)
    audit.main(
        [*("--real", "real", "--synthetic", synthetic), *("--metrics", "m.json", "--picture", "p.png")]
    )
    found = json.loads(Path("m.json").read_text())
    assert 0.3 < found["copies_real"] < 0.7
    assert found["copies"] == 0


def test_a_class_that_is_missing_counts_nothing(tmp_path: Path) -> None:
    as_png(Path("fake"), "train", tmp_path / "png", labelled=True)
    shutil.rmtree(tmp_path / "png" / "4")
    found = score("--real", "real", "--synthetic", str(tmp_path / "png"), output=tmp_path / "out")
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
        (["--synthetic", "nowhere"], r"nowhere is no folder"),
        (["--extractor", "nowhere"], r"nowhere: no such file; run `dvc repro`"),
        (["--classifier", "nowhere"], r"nowhere: no such file; run `dvc repro`"),
    ],
)
def test_what_cannot_be_scored_is_said(arguments: list[str], words: str) -> None:
    with pytest.raises(PipelineError, match=words):
        evaluate.main(
            ["--real", "real", "--synthetic", "fake", "--extractor", "extractor.safetensors", *arguments]
        )


def test_too_many_images_for_params_name_the_parameter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("real", "fake", "src"):
        (tmp_path / name).symlink_to(Path(name).resolve())
    text = Path("params.yaml").read_text().replace("  images: 100 ", "  images: 151 ")
    (tmp_path / "params.yaml").write_text(text)
    extractor = Path("extractor.safetensors").resolve()
    monkeypatch.chdir(tmp_path)
    arguments = ["--real", "real", "--synthetic", "fake", "--extractor", str(extractor)]
    with pytest.raises(
        PipelineError, match=r"^params\.yaml: evaluate\.images is 151; allowed: from 20 to 100"
    ):
        evaluate.main(arguments)


def test_constant_images_and_a_set_against_itself(tmp_path: Path) -> None:
    for number in range(100):
        Image.new("L", (28, 28), 0).save(tmp_path / f"{number}.png")
    found = score("--real", "real", "--synthetic", str(tmp_path), "--images", "50", output=tmp_path / "out")
    assert all(math.isfinite(value) for values in found.values() for value in values.values())
    assert found["is"]["mean"] == pytest.approx(1, abs=1e-6)
    assert found["recall"]["mean"] == 0
    with pytest.raises(PipelineError, match="both are the same images, and no floor"):
        score("--real", str(tmp_path), "--synthetic", "fake", "--images", "50", output=tmp_path)


def test_an_extractor_of_nan_is_an_error(tmp_path: Path) -> None:
    network = networks.build("conv-classifier", seed=0, width=4)
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    checkpoints.write(tmp_path / "nan.safetensors", network)
    with pytest.raises(PipelineError, match="NaN or infinite features"):
        evaluate.main(
            ["--real", "real", "--synthetic", "fake", "--extractor", str(tmp_path / "nan.safetensors")]
        )
