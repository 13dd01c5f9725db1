"""`make worth` asks DVC's queue for what is missing, and takes in what is finished."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from matplotlib.figure import Figure

from benchmarks import provenance, queue, worth
from benchmarks.worth import Cell
from src.core import files, params
from src.report import plots

PARAMS = params.read(ROOT / "params.yaml", ROOT / params.DATASETS)
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
HERE = {"processor": "AVX2, 2 threads", "commit": "abc1234"}
REAL = {"scratch": 0.5, "semi_supervised": 0.03, "guessed": 0.025, "guessed_tuned": 0.02}
SYNTHETIC = {"synthetic": 0.04, "synthetic_tuned": 0.035, "both": 0.02, "both_tuned": 0.015}
CELLS = [Cell("mnist", "10", 3, kind, "c0de") for kind in ("real", "synthetic", "teaching")]


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What DVC says is finished, and the files that it finds in there."""
    there: dict[str, Any] = {}
    errors = {"results/worth_real/errors.json": REAL, "results/worth/errors.json": SYNTHETIC}
    monkeypatch.setattr(queue, "finished", lambda: there)
    monkeypatch.setattr(worth.dvc.api, "read", lambda path, rev: json.dumps(errors[path]))
    return there


def test_a_cell_becomes_parameters_and_the_stage_that_it_needs() -> None:
    found = [worth.overrides(PARAMS, cell) for cell in CELLS]
    assert [arguments[-1] for arguments in found] == ["worth_real", "worth", "worth"]
    shared = {"dataset=mnist", "labels=10", "seed=3", f"worth.steps={PARAMS.label_train.steps}"}
    for arguments in found:
        assert shared | {"verdict.allow_failed=true"} <= set(arguments[1:-1:2])
        assert set(arguments[:-1:2]) == {"--set-param"}
    assert set(found[2]) - set(found[1]) == {"generate.latent_scale=1.5", "generate.relabel=true"}
    assert len({cell.name for cell in CELLS}) == 3
    for kind in ("small", "large"):
        assert {"small": "generate.count=6000", "large": "generate.count=600000"}[kind] in worth.overrides(
            PARAMS, CELLS[0]._replace(kind=kind)
        )


def test_all_stages_of_a_result_are_told_and_no_others() -> None:
    assert provenance.before(["worth_real"], STAGES) == {
        *("recipe", "download", "render", "train_extractor", "label_train", "worth_real"),
    }
    assert provenance.before(["worth"], STAGES) == {
        *("recipe", "download", "render", "train_extractor", "label_train", "worth"),
        *("train_gan", "train_labeller", "verdict", "generate"),
    }


def test_the_fingerprint_is_of_code_and_parameters_that_errors_come_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    params_of_worth = ["seed", "labels", "dataset", "worth", "recipes.${loss}"]
    stages = {
        "worth": {"deps": ["src/a.py", "data/x/y"], "outs": ["results/worth"], "params": params_of_worth}
    }
    stages["first"] = {"deps": ["src/b.py"], "outs": [{"data/x": {"cache": False}}], "params": ["validation"]}
    stages["other"] = {"deps": ["src/c.py"], "outs": ["data/z"], "params": ["evaluate"]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (tmp_path / "src").mkdir()
    for name in "abc":
        (tmp_path / f"src/{name}.py").write_text("old = 1")
    monkeypatch.chdir(tmp_path)

    def found(kind: str = "synthetic", **changes: Any) -> str:
        return worth.fingerprint(replace(PARAMS, **changes), worth.KINDS[kind])

    first = found()
    (tmp_path / "src/c.py").write_text("new = 1")
    rows = {**PARAMS.recipes, "lsgan": PARAMS.recipes["lsgan"] | {"ema": 0.5}}
    alike = [{}, {"seed": 7, "dataset": "fashion-mnist", "labels": 10}, {"recipes": rows}]
    alike += [{"evaluate": replace(PARAMS.evaluate, images=77)}]
    assert {found(**changes) for changes in alike} == {first}
    rows = {**PARAMS.recipes, "gan": PARAMS.recipes["gan"] | {"ema": 0.5}}
    others = [{"validation": 77}, {"recipes": rows}, {"worth": replace(PARAMS.worth, steps=77)}]
    others += [{"label_train": replace(PARAMS.label_train, steps=77)}]
    different = {first, found("teaching"), *(found(**changes) for changes in others)}
    assert len(different) == 6
    (tmp_path / "src/b.py").write_text("new = 1")
    assert found() not in different


def test_code_means_the_same_whatever_is_said_about_it(tmp_path: Path) -> None:
    path = tmp_path / "one.py"

    def meant(text: str) -> bytes:
        path.write_text(text)
        return provenance.meaning(path)

    plain = meant("def f(x):\n    return x\n")
    assert meant("def f(x):  # a comment\n\n    return (x)\n") == plain
    told = [meant(f'"""Module: {n}."""\ndef f(x):\n    """Function: {n}."""\n    return x\n') for n in (1, 2)]
    assert told[0] == told[1]
    assert len({plain, meant("def f(x):\n    return x + 1\n"), meant("def g(x):\n    return x\n")}) == 3
    assert meant("x = 'a'") != meant("x = 'b'")
    table = tmp_path / "table.yaml"
    table.write_text("a: 1 # told")
    assert provenance.meaning(table) == b"a: 1 # told"


def test_finished_cells_are_taken_in_once_and_replace_those_of_other_code(finished: dict[str, Any]) -> None:
    old = [
        HERE
        | {"dataset": "mnist", "labels": "10", "seed": "3", "arm": "scratch", "error": "0.9", "code": "01d"}
    ]
    assert worth.collect(old, CELLS, HERE) == old
    finished |= {cell.name: {"rev": "abc"} for cell in CELLS}
    rows = worth.collect(old, CELLS, HERE)
    found = {row["arm"]: float(row["error"]) for row in rows}
    assert found == REAL | SYNTHETIC | {"teaching": 0.04, "teaching_tuned": 0.035}
    assert {row["code"] for row in rows} == {"c0de"}
    assert worth.known(rows, CELLS) == {cell.name for cell in CELLS}
    assert worth.known(old, CELLS) == set()
    finished.clear()
    assert worth.collect(rows, CELLS, HERE) == rows


def test_what_is_written_has_curves_and_a_picture(
    finished: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks: list[str] = []
    save = plots.write_figure

    def write_figure(path: Path, figure: Figure) -> None:
        figure.draw_without_rendering()
        ticks.extend(label.get_text() for axes in figure.axes for label in axes.xaxis.get_ticklabels())
        save(path, figure)

    monkeypatch.setattr(plots, "write_figure", write_figure)
    finished |= {cell.name: {"rev": "abc"} for cell in CELLS}
    rows = worth.collect([], CELLS, HERE)
    worth.write(tmp_path / "worth.csv", rows)
    assert files.read_csv(tmp_path / "worth.csv") == [
        {name: row[name] for name in worth.COLUMNS} for row in rows
    ]
    curves = files.read_csv(tmp_path / "worth_curves.csv")
    assert {row["arm"][:9] for row in curves} == {f"mnist, {arm}:" for arm in "ABCDEF"}
    assert (tmp_path / "worth.png").stat().st_size > 10_000
    assert any("10" in tick for tick in ticks)
    assert not any("^" in tick for tick in ticks)


def test_only_what_is_missing_is_queued_and_failures_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, ...]] = []
    lists = iter([{"waits"}, {"waits", "new"}, {"waits", "new"}, set()])
    monkeypatch.setattr(queue, "dvc", lambda *arguments: asked.append(arguments) or "")
    monkeypatch.setattr(queue, "finished", lambda: {"done": {}})
    monkeypatch.setattr(queue, "waiting", lambda: next(lists))
    started: list[tuple[str, ...]] = []
    monkeypatch.setattr(queue.subprocess, "run", lambda command, **_: started.append(command))
    monkeypatch.setattr(queue.time, "sleep", lambda _: None)
    collected: list[int] = []
    wanted = {name: [f"--{name}"] for name in ("waits", "done", "known", "new")}
    queue.work(wanted, {"known"}, lambda: collected.append(1), jobs=3)
    assert asked == [("exp", "run", "--queue", "--name", "new", "--new")]
    assert started == [("dvc", "queue", "start", "--jobs", "3")]
    assert len(collected) == 2  # not where nothing has changed
    assert "no result of new, waits; why: dvc queue logs NAME" in capsys.readouterr().out


def test_cheap_arms_have_more_draws() -> None:
    assert [worth.draws(labels, "real") for labels in worth.LABELS] == [10, 10, 10, 10, 10, 5, 5]
    assert [worth.draws(labels, "synthetic") for labels in worth.LABELS] == [5, 5, 3, 3, 5, 3, 3]
    assert [worth.draws(labels, "rendered") for labels in worth.LABELS] == [0, 10, 10, 10, 10, 0, 0]
    assert [worth.draws(labels, "large") for labels in worth.LABELS] == [0, 3, 0, 0, 3, 0, 0]
