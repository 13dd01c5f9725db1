"""Stages: a bad parameter stops each before it touches anything; the report's sums are right."""

import importlib
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from matplotlib.figure import Figure
from PIL import Image

from src.core import files
from src.core.errors import PipelineError
from src.core.params import DATASETS, ConfigError
from src.report import downstream, plots
from stages import recipe, report, summary, verdict

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def write_params(folder: Path, old: str = "", new: str = "") -> None:
    """The project's own params.yaml in a folder, with one text replaced, and the table of data sets."""
    text = (ROOT / "params.yaml").read_text()
    assert not old or text.count(old) == 1
    (folder / "params.yaml").write_text(text.replace(old, new) if old else text)
    (folder / DATASETS).parent.mkdir(parents=True)
    shutil.copy(ROOT / DATASETS, folder / DATASETS)


@pytest.mark.parametrize("name", STAGES)
def test_a_bad_parameter_stops_a_stage_before_it_writes_anything(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_params(tmp_path, "\nloss: gan ", "\nloss: lsgn ")
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    module = importlib.import_module(shlex.split(STAGES[name]["cmd"])[2])
    with pytest.raises(ConfigError, match=r"params\.yaml: loss is 'lsgn'; allowed: gan, "):
        module.main(shlex.split(STAGES[name]["cmd"])[3:])
    assert contents(tmp_path) == before


# recipe


def test_the_selected_recipe_is_written_in_full_with_merged_values_and_fingerprints_of_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_params(tmp_path, "\nloss: gan ", "\nloss: wgan ")
    monkeypatch.chdir(tmp_path)
    recipe.main(["--output", "recipe.json", "--labels", "labels.json"])
    found = json.loads(Path("recipe.json").read_text())
    code = found.pop("code")
    assert found == {
        "name": "wgan",
        "recipe": {
            "kind": "gan", "loss": "wgan", "network": "conv", "conditional": True, "latent": 64, "width": 16,
            "spectral_norm": True, "batch_size": 25, "images": 800000, "critic_steps": 5,
            "weight_clip": 0.1, "penalty": "none", "penalty_weight": 0.0, "penalty_every": 1,
            "penalty_final": 1.0, "learning_rate": 0.002, "beta1": 0.0, "beta2": 0.9, "decay_from": 0.0,
            "ema": 0.998,
        },
    }  # fmt: skip
    assert set(code) == {"kind", "loss", "network", "penalty"}
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in code.values())


def test_a_bad_row_of_another_recipe_stops_the_stage_of_recipes_before_it_writes_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_params(tmp_path, "    loss: wgan\n    weight_clip: 0.1", "    loss: wgn\n    weight_clip: 0.1")
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    words = r"^params\.yaml: recipes\.wgan\.loss is 'wgn'; allowed: gan, minimax, wgan, lsgan, hinge, rpgan$"
    with pytest.raises(ConfigError, match=words):
        recipe.main(["--output", "recipe.json", "--labels", "labels.json"])
    assert contents(tmp_path) == before


# report


ROWS = [
    {"arm": "a", "labels": "10", "error": "0.1"},
    {"arm": "a", "labels": "10", "error": "0.3"},
    {"arm": "a", "labels": "100", "error": "0.9"},
    {"arm": "b", "labels": "10", "error": "0.5"},
    {"arm": "a", "labels": "10", "error": "0.5"},
]


def test_spread_is_mean_and_sample_deviation_of_the_rows_picked() -> None:
    # 0.1, 0.3, 0.5: mean 0.3, deviation sqrt((0.04 + 0 + 0.04) / 2) = 0.2
    found = downstream.spread("e", ROWS, "error", arm="a", labels="10")
    assert list(found) == ["e", "e_std"]
    assert found == {"e": pytest.approx(0.3), "e_std": pytest.approx(0.2)}
    # all with 10 labels: 0.1, 0.3, 0.5, 0.5: mean 0.35, deviation sqrt(0.11 / 3)
    found = downstream.spread("e", ROWS, "error", labels="10")
    assert found == {"e": pytest.approx(0.35), "e_std": pytest.approx(0.1914854)}


WHERE = '{"torch": "2.0", "device": "cuda", "processor": "Some GPU", "threads": 3}'
HERE = '{"torch": "2.1", "device": "cpu", "processor": "AVX2", "threads": 2}'
SPEC = '{"channels": 1, "height": 28, "width": 28, "classes": 10}'
REAL = '{"classes": 10, "class_kl": 0.001, "diversity": 1.0, "precision": 0.9, '
REAL += '"coverage": 0.95, "agreement": 0.99}'


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """What the stages before the report leave, made by hand."""
    texts = {
        "results/extractor.json": '{"test_accuracy": 0.99, "environment": ' + WHERE + "}",
        "results/gan/curves.csv": "images_seen,d_loss,g_loss,real_score,fake_score,d_gradient,g_gradient\n"
        "100,1.5,0.5,2.0,-2.0,3.0,4.0\n200,1.25,0.75,1.0,-1.0,5.0,6.0\n",
        "results/recipe.json": '{"name": "lsgan"}',
        "results/gan/checks.csv": "images_seen,fid,classes,class_kl,diversity,precision,recall,"
        "coverage,agreement,train_score,heldout_score\n0,99.5,3,1.5,0.0,0.0,0.0,0.0,0.1,0.0,0.0\n"
        "100,2.5,10,0.01,0.9,0.8,0.7,0.8,0.95,0.5,0.25\n200,3.5,10,0.02,0.8,0.75,0.6,0.85,0.9,0.5,0.125\n",
        "results/gan/end.json": '{"stopped": "all images were seen", "non_finite": false, "retries": 1, '
        '"exhausted": false, "best": {"images_seen": 100, "fid": 2.5}, "conditional": true, "real": '
        + REAL
        + ', "spec": '
        + SPEC
        + ', "environment": '
        + WHERE
        + "}",
        "results/quality_manifest.json": '{"environment": ' + WHERE + "}",
        "data/synthetic/manifest.json": '{"labels": {"real_labels_seen": 50000, "read": {"total": 7}}, '
        '"environment": ' + WHERE + "}",
        "results/pretrain/accuracy.csv": "images,replicate,test_accuracy\nsynthetic,0,0.8\nsynthetic,1,0.9\n",
        "results/pretrain_real/accuracy.csv": "images,replicate,test_accuracy\nreal,0,0.95\nreal,1,0.97\n",
        "results/finetune/errors.csv": "labels,replicate,arm,test_error\n100,0,pretrained,0.125\n"
        "100,1,pretrained,0.125\n20,0,pretrained,0.25\n20,1,pretrained,0.5\n",
        "results/finetune_scratch/errors.csv": "labels,replicate,arm,test_error\n100,0,scratch,0.25\n"
        "100,1,scratch,0.75\n20,0,scratch,0.5\n20,1,scratch,0.5\n",
    }
    texts["results/worth_real/errors.json"] = (
        '{"scratch": 0.5, "semi_supervised": 0.25, "guessed": 0.25, "guessed_tuned": 0.125}'
    )
    texts["results/worth/errors.json"] = (
        '{"synthetic": 0.5, "synthetic_tuned": 0.375, "both": 0.25, "both_tuned": 0.0625}'
    )
    arms = ("worth", "worth_real")
    for name in ("pretrain", "pretrain_real", "finetune", "finetune_scratch", *arms):
        texts[f"results/{name}/environment.json"] = HERE
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    write_params(tmp_path)
    return tmp_path


def test_the_report_sums_up_what_the_stages_found(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    report.main(shlex.split(STAGES["report"]["cmd"])[3:])
    made = {str(path.relative_to(finished)) for path in (finished / "metrics").iterdir()}
    declared = {path for out in STAGES["report"]["outs"] for path in out}
    assert made == declared
    read = {path.stem: json.loads(path.read_text()) for path in (finished / "metrics").glob("*.json")}
    assert read["extractor"] == {"test_accuracy": 0.99}
    root_half = 0.5**0.5  # the deviation of two values is their distance times this
    assert read["downstream"] == pytest.approx(
        {
            "labels_behind_synthetic": 50000,
            "cas": 0.85,
            "cas_std": 0.1 * root_half,
            "cas_real": 0.96,
            "cas_real_std": 0.02 * root_half,
            "cas_gap": 0.11,
            "error_pretrained_20": 0.375,
            "error_pretrained_20_std": 0.25 * root_half,
            "error_scratch_20": 0.5,
            "error_scratch_20_std": 0.0,
            "error_pretrained_100": 0.125,
            "error_pretrained_100_std": 0.0,
            "error_scratch_100": 0.5,
            "error_scratch_100_std": 0.5 * root_half,
        }
    )
    curve = files.read_csv(finished / "metrics" / "label_efficiency.csv")
    assert [(row["labels"], row["arm"], float(row["error"])) for row in curve] == [
        ("20", "pretrained", 0.375),
        ("20", "scratch", 0.5),
        ("100", "pretrained", 0.125),
        ("100", "scratch", 0.5),
    ]
    assert float(curve[3]["std"]) == pytest.approx(0.5 * root_half)
    found = (finished / "metrics" / "environment.csv").read_text().splitlines()
    assert found[0] == "stage,torch,device,processor,threads"
    elsewhere, here = "2.0,cuda,Some GPU,3", "2.1,cpu,AVX2,2"
    assert found[1:] == [
        *(f"evaluate,{elsewhere}", f"finetune,{here}", f"finetune_scratch,{here}", f"generate,{elsewhere}"),
        *(f"pretrain,{here}", f"pretrain_real,{here}", f"train_extractor,{elsewhere}"),
        *(f"train_gan,{elsewhere}", f"worth,{here}", f"worth_real,{here}"),
    ]
    assert read["labels"] == {"total": 7}
    assert (read["worth"]["labels"], read["worth"]["gain_besides"]) == (50000, 0.0625)
    for path in (finished / "metrics").glob("*.png"):
        with Image.open(path) as image:
            image.load()


def test_the_report_names_what_is_missing(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (finished / "results" / "extractor.json").unlink()
    monkeypatch.chdir(finished)
    with pytest.raises(PipelineError, match=r"results/extractor\.json does not exist; run dvc repro"):
        report.main(shlex.split(STAGES["report"]["cmd"])[3:])


# verdict


@pytest.fixture
def small_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    # The charts take most of the time, and have tests of their own.
    monkeypatch.setattr(plots, "training_curves", lambda *_: Figure(figsize=(1, 1)))


def judge(folder: Path, monkeypatch: pytest.MonkeyPatch, **edits: tuple[str, str]) -> dict[str, float]:
    """metrics/gan.json of a run whose files were edited: name=(old text, new text)."""
    places = {"params": "params.yaml", "checks": "results/gan/checks.csv", "end": "results/gan/end.json"}
    for name, (old, new) in edits.items():
        path = folder / places[name]
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    monkeypatch.chdir(folder)
    verdict.main(shlex.split(STAGES["verdict"]["cmd"])[3:])
    return json.loads((folder / "metrics/gan.json").read_text())


def test_the_verdict_comes_with_the_last_numbers_and_the_best_ones(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judge(finished, monkeypatch) == {
        "images_seen": 200, "d_loss": 1.25, "g_loss": 0.75, "real_score": 1.0, "fake_score": -1.0,
        "d_gradient": 5.0, "g_gradient": 6.0, "validation_fid": 3.5, "fid_left": 3.5 / 99.5,
        "setback": 3.5 / 2.5,
        "classes": 10, "class_kl": 0.02,
        "diversity": 0.8, "precision": 0.75, "recall": 0.6, "coverage": 0.85, "agreement": 0.9,
        "train_score": 0.5, "heldout_score": 0.125,
        "best_images_seen": 100, "best_validation_fid": 2.5, "retries": 1,
        "collapsed": 0, "diverged": 0, "mislabelled": 0, "converged": 0,
    }  # fmt: skip
    assert json.loads((finished / "metrics/outcome.json").read_text()) == {"outcome": "still improving"}
    with Image.open(finished / "metrics/gan_curves.png") as picture:
        assert picture.width > 600
    words = "still improving: all images were seen; best validation FID 2.50 at 100 images"
    assert words in capsys.readouterr().out


@pytest.mark.usefixtures("small_picture")
@pytest.mark.parametrize(
    ("edits", "key", "words"),
    [
        ({"checks": ("10,0.02,", "9,0.02,")}, "collapsed", r"\(collapsed\): missing classes, 1, are more"),
        (
            {"end": ('"classes": 10, "class_kl"', '"classes": 26, "class_kl"')},
            "collapsed",
            r"\(collapsed\): missing classes, 16, are more",
        ),
        (
            {"checks": ("0.8,0.75,", "0.8,0.01,")},
            "diverged",
            r"\(diverged\): precision 0\.010, of 0\.900 for real images, is below",
        ),
        ({"checks": ("0.85,0.9,", "0.1,0.9,")}, "collapsed", r"\(collapsed\): coverage 0\.100, of 0\.950"),
        (
            {"checks": ("0.85,0.9,", "0.85,0.11,")},
            "mislabelled",
            r"\(mislabelled\): agreement 0\.110, of 0\.990",
        ),
        ({"checks": ("200,3.5,", "200,99.4,")}, "diverged", r"\(diverged\): fid_left 0\.999 is above"),
        (
            {"end": ('finite": false', 'finite": true')},
            "diverged",
            r"\(diverged\): a loss or gradient was NaN",
        ),
    ],
)
def test_a_failed_run_leaves_its_verdict_and_ends_the_pipeline_unless_allowed(
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    edits: dict[str, tuple[str, str]],
    key: str,
    words: str,
) -> None:
    with pytest.raises(PipelineError, match=words) as error:
        judge(finished, monkeypatch, **edits)
    assert "results/gan/samples" in str(error.value)
    assert "set verdict.allow_failed to true" in str(error.value)
    assert json.loads((finished / "metrics/gan.json").read_text())[key] == 1
    capsys.readouterr()
    allowed = judge(finished, monkeypatch, params=("allow_failed: false", "allow_failed: true"))
    flags = ("collapsed", "diverged", "mislabelled", "converged")
    assert {name: allowed[name] for name in flags} == {name: int(name == key) for name in flags}
    assert json.loads((finished / "metrics/outcome.json").read_text()) == {"outcome": key}
    assert re.search(rf"warning: the GAN run failed {words}.*verdict.allow_failed", capsys.readouterr().out)


@pytest.mark.usefixtures("small_picture")
def test_a_failed_baseline_is_recorded_and_the_pipeline_goes_on(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (finished / "results/recipe.json").write_text('{"name": "source"}')
    found = judge(finished, monkeypatch, checks=("10,0.02,", "9,0.02,"))
    assert found["collapsed"] == 1
    assert json.loads((finished / "metrics/outcome.json").read_text()) == {"outcome": "collapsed"}
    assert "going on, as verdict.baselines has source" in capsys.readouterr().out


@pytest.mark.usefixtures("small_picture")
def test_a_run_whose_patience_ran_out_converged(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judge(finished, monkeypatch, end=('exhausted": false', 'exhausted": true'))["converged"] == 1


# summary


def test_the_summary_prints_the_numbers_of_the_metrics(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished)
    report.main(shlex.split(STAGES["report"]["cmd"])[3:])
    quality = {"fid": 12.345, "fid_floor": 1.5, "is_mean": 8.25, "is_real": 9.75, "label_agreement": 0.875}
    quality["label_agreement_real"] = 0.9925
    (finished / "metrics" / "quality.json").write_text(json.dumps(quality))
    (finished / "metrics" / "outcome.json").write_text('{"outcome": "still improving"}')
    capsys.readouterr()
    summary.main([])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "The GAN run: still improving" in lines
    assert "FID (lower is better) 12.35 1.50" in lines or "FID (lower is better) 12.34 1.50" in lines
    assert "Inception score 8.25 9.75" in lines
    assert "labels the extractor agrees with 87.50% 99.25%" in lines
    assert "85.00% 96.00%" in lines
    # smallest number first, each with mean and deviation
    shown = [line for line in lines if "real labels" in line and "±" in line]
    assert shown == [
        "20 real labels 37.50% ± 17.68% 50.00% ± 0.00%",
        "100 real labels 12.50% ± 0.00% 50.00% ± 35.36%",
    ]
    assert "metrics/label_efficiency.png" in lines


def test_the_summary_compares_with_another_revision_only_what_compares(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished)
    protocol = {"extractor_sha256": "a" * 64, "reference_sha256": "c" * 64, "real_sha256": "d" * 64}
    protocol |= {"images_each_side": 100, "neighbours": 5, "inception_score_splits": 10}
    here, there = {"fid": 1.25, "kid": 0.5}, {"fid": 2.5, "old": 7.0}
    (finished / "metrics").mkdir(exist_ok=True)
    (finished / "metrics" / "quality.json").write_text(json.dumps(here))
    (finished / "results" / "quality_manifest.json").write_text(json.dumps(protocol))
    theirs = {"results/quality_manifest.json": protocol, "metrics/quality.json": there}

    def read(path: str, rev: str) -> str:
        assert rev == "main"
        return json.dumps(theirs[path])

    monkeypatch.setattr("dvc.api.read", read)
    summary.main(["--against", "main"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["here", "main"], ["fid", "1.2500", "2.5000"], ["kid", "0.5000", "-"], ["old", "-", "7.0000"],
    ]  # fmt: skip
    theirs["results/quality_manifest.json"] = protocol | {"extractor_sha256": "b" * 64}
    with pytest.raises(PipelineError, match=r"at main can't be compared: extractor_sha256 is a+ here and b+"):
        summary.main(["--against", "main"])
    # Who judged the labels counts where both have label scores, and only there.
    theirs["results/quality_manifest.json"] = protocol | {"labels_extractor_sha256": "e" * 64}
    summary.main(["--against", "main"])
    for scores in (here, there):
        scores["label_agreement"] = 0.5
    (finished / "metrics" / "quality.json").write_text(json.dumps(here))
    with pytest.raises(PipelineError, match=r"labels_extractor_sha256 is not known here and e+ there"):
        summary.main(["--against", "main"])


def test_without_metrics_the_summary_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match=r"metrics/quality\.json does not exist; run dvc repro"):
        summary.main([])
