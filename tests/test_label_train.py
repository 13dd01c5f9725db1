"""Stage label_train: the one door to labels, given or guessed, and its ledger."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import GREY, ROOT, write_set

from src.classifiers import augmentation, contrast, semi_supervised, supervised
from src.core import files
from src.core.errors import PipelineError
from src.core.params import DATASETS
from src.datasets import clusters, idx
from src.datasets.spec import ImageSpec, read_spec
from src.networks import weights
from stages import label_train

TRAIN, VALIDATION = 300, 100


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml, real images, rendered ones that look alike, and an extractor."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params |= {"validation": VALIDATION, "threads": 1}
    params["evaluate"] |= {"images": VALIDATION}
    params["watch"] |= {"check_images": VALIDATION}
    params["label_train"] |= {"width": 4, "contrast_steps": 5, "steps": 6, "batch_size": 20, "unlabelled": 20}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    (tmp_path / DATASETS).parent.mkdir(parents=True)
    shutil.copy(ROOT / DATASETS, tmp_path / DATASETS)
    write_set(tmp_path / "raw", TRAIN, 20, seed=0)
    write_set(tmp_path / "rendered", 200, 0 + 10, seed=1)
    (tmp_path / "extractor").write_bytes(b"an extractor")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def labelled_with(labels: Any, draw: str = "stratified", **changes: Any) -> dict[str, Any]:
    """Runs the stage with that `labels` in labels.json, and gives the ledger."""
    rendered = changes.pop("rendered", labels == 0)
    files.write_json(Path("labels.json"), {"labels": labels, "draw": draw, "rendered": rendered})
    if changes:
        params = yaml.safe_load(Path("params.yaml").read_text())
        params["label_train"] |= changes
        Path("params.yaml").write_text(yaml.safe_dump(params))
    label_train.main(ARGUMENTS)
    return files.read_json(Path("labelled/manifest.json"))


ARGUMENTS = ["--real", "raw", "--source", "rendered", "--labels", "labels.json", "--extractor", "extractor"]
ARGUMENTS += ["--output", "labelled", "--watcher", "watcher"]


def written(root: str) -> tuple[Any, Any]:
    return idx.read_pair(Path(root), "train", GREY)


def test_with_all_labels_the_set_is_the_given_one(project: Path) -> None:
    ledger = labelled_with("all")
    for ours, given in zip(written("labelled"), written("raw"), strict=True):
        assert np.array_equal(ours, given)
    assert read_spec(project / "labelled") == GREY
    assert ledger == {
        **{"labels": TRAIN - VALIDATION, "source": "given", "draw": "all", "drawn": "the first 200"},
        "looked_at": TRAIN - VALIDATION,
    }
    assert Path("watcher").read_bytes() == b"an extractor"
    assert {path.name for path in idx.folder(project / "labelled").iterdir()} == set(idx.names("train", GREY))


def test_with_all_labels_nothing_slow_is_loaded(project: Path) -> None:
    allowed = {"labels": "all", "draw": "stratified", "rendered": False}
    files.write_json(project / "labels.json", allowed)
    code = f"import sys; from stages import label_train; label_train.main({ARGUMENTS}); "
    code += "print('torch' in sys.modules)"
    env = {"PYTHONPATH": str(ROOT), "PATH": ""}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=project, env=env, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["False"]


def test_with_0_labels_they_are_guessed_and_counted(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for change in ("TURN", "STRETCH", "SHEAR", "MOVE", "BEND"):  # here the row of the bar is the class
        monkeypatch.setattr(augmentation, change, 0.0)
    ledger = labelled_with(0, steps=300, min_agreement=0.0, threshold=0.5, shift=0)
    images, guesses = written("labelled")
    assert np.array_equal(images, written("raw")[0])
    assert (guesses == written("raw")[1]).mean() > 0.9  # the rendered bars are the real ones, on other noise
    assert ledger["labels"] == 0
    assert ledger["class_counts"] == np.bincount(guesses, minlength=10).tolist()
    assert "guessed by a classifier" in ledger["source"]
    pairs = ledger["swapped"]
    assert sum(pair["images"] for pair in pairs) <= round(TRAIN * (1 - ledger["agreement"]))
    assert all(pair["guessed"] != pair["second_opinion"] for pair in pairs)
    assert [pair["images"] for pair in pairs] == sorted((pair["images"] for pair in pairs), reverse=True)
    watcher = weights.read_classifier(Path("watcher"), GREY)
    real = idx.read_pair(Path("raw"), "train", GREY)[0]
    assert supervised.predict(watcher, torch.tensor(real).unsqueeze(1)).tolist() == guesses.tolist()


@pytest.mark.parametrize("draw", ["stratified", "random", "queried"])
@pytest.mark.parametrize("rendered", [False, True])
def test_a_number_of_labels_is_kept_and_the_others_are_guessed_from_them(
    project: Path, draw: str, rendered: bool
) -> None:
    ledger = labelled_with(60, draw, rendered=rendered, min_agreement=0.0)
    images, labels = written("labelled")
    given = written("raw")[1]
    assert np.array_equal(images, written("raw")[0])
    drawn = ledger["drawn"]
    assert ledger["labels"] == len(set(drawn)) == 60
    assert max(drawn) < TRAIN - VALIDATION
    assert ledger["draw"] == draw
    assert np.array_equal(labels[drawn], given[drawn])
    # After six steps a network knows nothing: its guesses are wrong, but not those labels.
    rest = np.setdiff1d(np.arange(TRAIN), drawn)
    assert (labels[rest] == given[rest]).mean() < 0.9
    assert ledger["class_counts"] == np.bincount(labels, minlength=10).tolist()
    assert ledger["source"].startswith("given for 60 images, and for the others guessed by a classifier")
    assert ("data/rendered" in ledger["source"]) == ("agreement" in ledger) == rendered
    if draw == "stratified":
        assert np.bincount(given[drawn]).tolist() == [6] * 10
        assert 60 <= ledger["looked_at"] <= TRAIN - VALIDATION
    else:
        assert ledger["looked_at"] == 60


@pytest.mark.parametrize(
    ("changes", "spreads"),
    [({}, True), ({"contrast_steps": 0}, False), ({"rendered": True, "min_agreement": 0.0}, False)],
)
def test_labels_are_spread_first_unless_rendered_digits_teach_or_nobody_wants_it(
    changes: dict[str, Any], spreads: bool, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    learn = contrast.learn

    def noted(pixels: torch.Tensor, *given: Any, **options: Any) -> contrast.Encoder:
        seen.append(tuple(pixels.shape))
        return learn(pixels, *given, **options)

    monkeypatch.setattr(contrast, "learn", noted)
    labelled_with(20, **changes)
    assert seen == [(TRAIN - VALIDATION, 1, 28, 28)] * spreads  # of validation images nothing is learnt


def test_labels_outside_the_budget_are_not_read(project: Path) -> None:
    def bytes_of() -> list[bytes]:
        paths = [path for path in sorted(Path("labelled").rglob("*")) if path.is_file()]
        return [path.read_bytes() for path in [*paths, Path("watcher")]]

    ledger = labelled_with(150, "random")
    once, path = bytes_of(), idx.folder(project / "raw") / "train-labels-idx1-ubyte"
    given = np.array(written("raw")[1])
    garbage = np.full(TRAIN, 3, dtype=np.uint8)
    garbage[ledger["drawn"]] = given[ledger["drawn"]]
    content = path.read_bytes()
    path.write_bytes(content[:-TRAIN] + garbage.tobytes())
    labelled_with(150, "random")
    assert bytes_of() == once


def test_a_draw_without_some_class_is_refused_unless_others_teach_it(project: Path) -> None:
    with pytest.raises(
        PipelineError, match=r"labels is 5, and there are none of the classes .* among them; take"
    ):
        labelled_with(5, "stratified")
    assert not Path("labelled").exists()
    assert labelled_with(5, rendered=True, min_agreement=0.0)["labels"] == 5


def test_with_0_labels_no_given_label_is_read(project: Path) -> None:
    labelled_with(0, min_agreement=0.0)
    once = [path.read_bytes() for path in sorted(Path("labelled").rglob("*")) if path.is_file()]
    watcher = Path("watcher").read_bytes()
    for name in ("train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"):
        (idx.folder(Path("raw")) / name).write_bytes(b"garbage")
    labelled_with(0)
    again = [path.read_bytes() for path in sorted(Path("labelled").rglob("*")) if path.is_file()]
    assert again == once
    assert Path("watcher").read_bytes() == watcher


@pytest.mark.parametrize(("taken", "fails"), [(12, False), (18, True)])
def test_guessers_that_disagree_on_a_class_are_told(
    taken: int,
    fails: bool,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    guesses = torch.arange(TRAIN) % 10  # 30 of each class
    others = guesses.clone()
    others[(guesses == 3).nonzero().flatten()[:taken]] = 4
    answers = iter([guesses, others])
    monkeypatch.setattr(semi_supervised, "fit", lambda *_, **__: None)
    monkeypatch.setattr(supervised, "fit", lambda *_, **__: None)
    monkeypatch.setattr(supervised, "predict", lambda *_: next(answers))
    if not fails:
        ledger = labelled_with(0)
        assert ledger["agreement"] == pytest.approx(288 / 300)
        # Class 3 has 18 of 30; class 4, which 12 more are taken for, 30 of 42.
        assert ledger["class_agreement"] == pytest.approx([1, 1, 1, 0.6, 30 / 42, 1, 1, 1, 1, 1])
        assert ledger["swapped"] == [{"guessed": 3, "second_opinion": 4, "images": 12}]
        told = "agrees with 96.0% of the guesses; guessed where it says otherwise: 3 for 4 (12)"
        assert told in capsys.readouterr().out
        return
    words = (
        r"don't carry over to raw.*agree on 94% of the real images, but on 40% .* class 3, below .* \(50%\)"
    )
    with pytest.raises(PipelineError, match=words):
        labelled_with(0)
    assert not Path("labelled").exists()


@pytest.mark.parametrize(("shuffled", "told"), [(False, False), (True, True)])
def test_guesses_that_have_little_to_do_with_the_images_are_told(
    shuffled: bool,
    told: bool,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    guesses = torch.arange(TRAIN) % 10  # as the images are
    if shuffled:
        guesses = guesses[torch.randperm(TRAIN, generator=torch.Generator().manual_seed(0))]
    monkeypatch.setattr(semi_supervised, "fit", lambda *_, **__: None)
    monkeypatch.setattr(supervised, "predict", lambda *_: guesses)
    shared, seen = clusters.shared, []
    monkeypatch.setattr(clusters, "shared", lambda *given: (seen.append(len(given[0])), shared(*given))[1])
    ledger = labelled_with(20)
    assert seen == [TRAIN - VALIDATION]
    assert len(ledger["shared_clusters"]) == 10
    assert (min(ledger["shared_clusters"]) < 0.2) == told
    words = "warning: guesses and clusters of the images disagree: of those taken for class"
    assert (words in capsys.readouterr().out) == told


def test_a_source_of_another_shape_or_without_a_class_is_refused(project: Path) -> None:
    write_set(project / "rendered", 50, 10, spec=ImageSpec(channels=1, height=20, width=28, classes=10))
    with pytest.raises(
        PipelineError, match=r"the source images are 28x20 with 1 channels; allowed: 28x28 grey"
    ):
        labelled_with(0)
    write_set(project / "rendered", 7, 10)
    with pytest.raises(
        PipelineError, match=r"the source images have none of class 7, 8, 9; allowed: images of every class"
    ):
        labelled_with(0)
