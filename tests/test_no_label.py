"""No label outside the budget reaches what is made: with garbage in their place, the bytes are the same."""

import importlib
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import GREY, ROOT, write_set

from src.core import files
from src.core.params import DATASETS
from src.datasets import idx
from src.networks import weights
from src.networks.classifier import ConvClassifier
from src.networks.network import build

pytestmark = pytest.mark.slow

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
CHAIN = ("recipe", "render", "label_train", "train_gan", "train_labeller", "verdict", "generate")
MADE = ("data/rendered", "data/labelled", "data/synthetic", "models", "results", "metrics")
INSTRUMENT = "models/extractor.safetensors"


TRAIN = 300


def write_project(folder: Path, loss: str, labels: int, *, relabel: bool, garbage: bool) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params |= {"validation": 100, "threads": 1, "loss": loss, "labels": labels}
    params |= {"label_draw": "random"}
    params["recipes"] = {loss: params["recipes"][loss] | {"images": 400, "width": 4, "batch_size": 20}}
    params["bases"] = params["recipes"]
    params["watch"] |= {"log_points": 4, "checks": 2, "grids": 2, "check_images": 100}
    params["render"] |= {"count": 100, "test_count": 100}
    tiny = {"width": 4, "contrast_steps": 5, "steps": 5, "batch_size": 20, "unlabelled": 20}
    params["label_train"] |= tiny | {"min_agreement": 0.0}
    params["labeller"] |= {"width": 2, "epochs": 1}
    params["generate"] |= {"count": 100, "test_count": 50, "relabel": relabel}
    params["evaluate"] |= {"images": 50}
    params["verdict"] |= {"allow_failed": True, "baselines": []}
    (folder / DATASETS).parent.mkdir(parents=True)
    shutil.copy(ROOT / DATASETS, folder / DATASETS)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    write_set(folder / "data/raw", TRAIN, 20)
    # Instruments depend on labels: here is one of each kind of labels, and nothing may depend on it.
    weights.write(folder / INSTRUMENT, build(ConvClassifier, GREY, seed=garbage, width=2))
    if garbage:
        for split in idx.SPLITS:
            (idx.folder(folder / "data/raw") / idx.names(split, GREY)[1]).write_bytes(b"garbage")


def spoil(folder: Path, drawn: list[int]) -> None:
    """Gives all training images another label but those of a draw."""
    path = idx.folder(folder / "data/raw") / idx.names("train", GREY)[1]
    given = np.array(idx.read_pair(folder / "data/raw", "train", GREY)[1])
    others = (given + 1) % 10
    others[drawn] = given[drawn]
    path.write_bytes(path.read_bytes()[:-TRAIN] + others.astype(np.uint8).tobytes())


def made(
    folder: Path,
    loss: str,
    monkeypatch: pytest.MonkeyPatch,
    drawn: list[int] | None = None,
    *,
    labels: int = 0,
    relabel: bool = False,
    garbage: bool = False,
) -> dict[str, str]:
    """The hashes of all that is written up to the synthetic set; other labels than `drawn` are spoilt."""
    write_project(folder, loss, labels, relabel=relabel, garbage=garbage)
    if drawn:
        spoil(folder, drawn)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for name in CHAIN:
        _, _, module, *arguments = shlex.split(STAGES[name]["cmd"])
        importlib.import_module(module).main(arguments)
    paths = [path for root in MADE for path in sorted(Path(root).rglob("*")) if path.is_file()]
    return {path.as_posix(): files.sha256(path) for path in paths if path.as_posix() != INSTRUMENT}


@pytest.mark.parametrize(("loss", "relabel"), [("gan", False), ("gan", True), ("cyclegan", False)])
def test_no_given_label_reaches_what_is_made(
    loss: str, relabel: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, garbage = (
        made(tmp_path / name, loss, monkeypatch, relabel=relabel, garbage=name == "garbage")
        for name in ("given", "garbage")
    )
    assert given == garbage
    assert len(given) > 30
    assert ("models/labeller/network.safetensors" in given) == relabel
    manifest = files.read_json(tmp_path / "garbage/data/synthetic/manifest.json")
    assert manifest["labels"]["real_labels_seen"] == 0


def test_no_label_outside_the_budget_reaches_what_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = {"labels": 120, "relabel": True}
    given = made(tmp_path / "given", "gan", monkeypatch, **how)
    manifest = files.read_json(tmp_path / "given/data/synthetic/manifest.json")["labels"]
    spoilt = made(tmp_path / "spoilt", "gan", monkeypatch, manifest["drawn"], **how)
    assert given == spoilt
    assert manifest["real_labels_seen"] == manifest["read"]["total"] == len(set(manifest["drawn"])) == 120
    other = made(tmp_path / "other", "gan", monkeypatch, manifest["drawn"][1:], **how)
    assert other != given  # the labels of the draw do reach it
