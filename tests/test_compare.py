"""The comparison of recipes reads DVC's answers right; the arithmetic floor counts what it says it counts."""

import json
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT, write_set

from benchmarks import compare, epoch, queue, rate
from benchmarks.compare import Experiment
from src.core import files, params
from src.core.errors import PipelineError
from src.core.settings import Params
from src.gan import games

PARAMS = params.read(ROOT / "params.yaml", ROOT / params.DATASETS)
METRICS = {"fid_ratio": 2.0, "is_mean": 9.0, "is_real": 10.0, "label_agreement": 0.95, "cas_gap": 0.03}
METRICS |= {
    "collapsed": 0,
    "diverged": 0,
    "mislabelled": 0,
    "converged": 0,
    "recall": 0.5,
    "diversity": 0.9,
    "fid": 2.0,
}
METRICS |= {"setback": 1.5, "fid_floor": 1.0, "cas_real": 0.9, "best_images_seen": 500, "images_seen": 500}


def experiment(name: str, state: str | None, cas: float) -> dict[str, Any]:
    # The last by name counts, whatever the order they come in: gan.json and quality.json share some names.
    early = {"data": {"cas": cas, "recall": 0.1}}
    data = {"metrics": {"metrics/quality.json": {"data": METRICS}, "metrics/gan.json": early}}
    # Of a stage that did not run DVC shows what the commit has.
    data["metrics"]["metrics/downstream.json"] = {"data": {"fid_ratio": 77.0}}
    executor = state and {"state": state, "name": "dvc-task"}
    return {"name": name, "executor": executor, "revs": [{"rev": "abc", "name": name, "data": data}]}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """DVC's answers without DVC, and what it was asked."""
    shown = [
        {"rev": "workspace", "experiments": None},
        {
            "rev": "main",
            "experiments": [
                experiment("done", None, 0.9),
                experiment("done-too", "success", 0.8),
                experiment("at-work", "running", 0.7),
                experiment("waiting", "queued", 0.7),
                experiment("broken", "failed", 0.7),
            ],
        },
    ]
    status = """\
Task     Name      Created    Status
3a53fa4  at-work   11:58 PM   Running
c44e848  waiting   11:58 PM   Queued
caffbf9  broken    11:50 PM   Failed
caffbf8  done-too  11:50 PM   Success

Worker status: 1 active, 0 idle
"""
    asked: list[tuple[str, ...]] = []

    def answer(*arguments: str) -> str:
        asked.append(arguments)
        return {"exp": json.dumps(shown), "queue": status}[arguments[0]]

    monkeypatch.setattr(queue, "dvc", answer)
    return asked


def test_only_finished_experiments_count(answers: list[tuple[str, ...]]) -> None:
    found = compare.found()
    assert {name: metrics["cas"] for name, metrics in found.items()} == {"done": 0.9, "done-too": 0.8}
    assert found["done"]["fid_ratio"] == 2.0
    assert found["done"]["recall"] == 0.5


def test_accuracies_are_means_over_the_classifiers_of_the_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    head = "images,replicate,test_accuracy\n"
    tables = {
        "results/pretrain/accuracy.csv": f"{head}synthetic,0,0.75\nsynthetic,1,0.5\n",
        "results/pretrain_real/accuracy.csv": f"{head}real,0,0.875\nreal,1,0.625\n",
    }
    monkeypatch.setattr(compare.dvc.api, "read", lambda path, rev: {"abc": tables}[rev][path])
    assert compare.accuracies("abc") == {"cas": 0.625, "cas_real": 0.75, "cas_gap": 0.125}


def test_waiting_and_running_experiments_are_told_from_the_rest(answers: list[tuple[str, ...]]) -> None:
    assert queue.waiting() == {"at-work", "waiting"}


def test_a_run_becomes_parameters_of_an_experiment() -> None:
    one = Experiment("fashion-mnist", "wgan-gp", 12_000, 2, "c0de")
    assert one.name == "compare-fashion-mnist-wgan-gp-12000-2-c0de"
    arguments = compare.overrides(PARAMS, one)
    values = arguments[1::2]
    assert set(arguments[::2]) == {"--set-param"}
    assert {"dataset=fashion-mnist", "loss=wgan-gp", "seed=2", "recipes.wgan-gp.images=12000"} <= set(values)
    assert {"verdict.allow_failed=true", "watch.checks=8"} <= set(values)
    # At its own length a run is watched as often as usual.
    assert not any("checks" in value for value in compare.overrides(PARAMS, one._replace(images=800_000)))


def test_what_is_in_the_file_is_not_run_again_unless_code_or_parameters_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    for name in ("a", "b", "unused"):
        (tmp_path / f"src/{name}.py").write_text("old = 1")
    row_of = ["dataset", "seed", "loss", "recipes.${loss}", "recipes.${loss}.kind"]
    told: dict[str, dict[str, list[str]]] = {
        "first": {"deps": ["src/a.py"], "outs": ["a"], "params": row_of},
        **{name: {"deps": ["a", "src/b.py"], "outs": [name]} for name in compare.STAGES},
        "other": {"deps": ["verdict", "src/unused.py"], "outs": ["o"], "params": ["audit"]},
    }
    told["verdict"]["params"] = ["validation"]
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": told}))
    first = compare.fingerprint(PARAMS, "lsgan", 100)
    other_seed = replace(PARAMS, seed=7, dataset="fashion-mnist")
    assert compare.fingerprint(other_seed, "lsgan", 100) == first  # these stand in the name themselves
    # Other rows, and which of a row's values come from a base, make no difference to this one.
    row = dict(reversed(PARAMS.recipes["lsgan"].items()))
    alone = replace(PARAMS, bases={"unused": {}}, recipes={"lsgan": row | {"images": 5}})
    assert compare.fingerprint(alone, "lsgan", 100) == first
    (tmp_path / "src/unused.py").write_text("new = 1")  # of no stage that the tables show
    assert compare.fingerprint(PARAMS, "lsgan", 100) == first
    different = {
        first,
        compare.fingerprint(PARAMS, "lsgan", 200),
        compare.fingerprint(PARAMS, "gan", 100),
        compare.fingerprint(replace(PARAMS, validation=77), "lsgan", 100),
        compare.fingerprint(replace(PARAMS, labels=77), "lsgan", 100),
        compare.fingerprint(replace(alone, recipes={"lsgan": row | {"ema": 0.5}}), "lsgan", 100),
    }
    for name in ("a", "b"):
        (tmp_path / f"src/{name}.py").write_text("new = 1")
        different.add(compare.fingerprint(PARAMS, "lsgan", 100))
    different.add(compare.fingerprint(PARAMS, "lsgan", 400_000))
    monkeypatch.setattr(compare, "FEWER_CHECKS", "watch.checks=9")
    assert len(different | {compare.fingerprint(PARAMS, "lsgan", 100)}) == 10


def test_what_all_experiments_change_are_keys_of_params_yaml() -> None:
    for value in [*compare.SHORT, compare.FEWER_CHECKS]:
        section, key = value.partition("=")[0].split(".")
        assert hasattr(getattr(PARAMS, section), key)


def test_finished_experiments_are_added_to_the_file_once(
    answers: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = {Experiment("mnist", recipe, 500, 0, "c0de") for recipe in ("gan", "mlp")}
    metrics = METRICS | {"cas": 0.9, "rev": "abc"}
    monkeypatch.setattr(compare, "found", lambda: {"compare-mnist-gan-500-0-c0de": metrics})
    monkeypatch.setattr(compare, "accuracies", lambda rev: {"abc": {"cas": 0.25}}[rev])
    here = {"processor": "AVX2, 2 threads", "commit": "abc1234"}
    rows = compare.collect([], wanted, PARAMS, {"gan": 1234.5, "mlp": 1.0}, here)
    assert compare.collect(rows, wanted, PARAMS, {}, here) == rows
    compare.write(tmp_path / "results.csv", rows)
    (row,) = files.read_csv(tmp_path / "results.csv")
    assert row == rows[0]
    assert (row["recipe"], row["images"], row["cas"]) == ("gan", "500", "0.25")
    assert (row["images_a_second"], row["own_length"]) == ("1234", "0")
    whole = {Experiment("mnist", "gan", 400_000, 0, "c0de")}
    monkeypatch.setattr(compare, "found", lambda: {one.name: metrics for one in whole})
    (last,) = compare.collect([], whole, PARAMS, {"gan": 1.0}, here)
    assert last["own_length"] == "1"
    assert (row["processor"], row["commit"]) == ("AVX2, 2 threads", "abc1234")
    assert compare.key(row) == "compare-mnist-gan-500-0-c0de"


def test_a_result_of_other_code_is_replaced_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = (Experiment("mnist", "gan", 500, 0, code) for code in ("01d", "c0de"))
    other = old._replace(recipe="mlp")
    here = {"processor": "AVX2, 2 threads", "commit": "abc1234"}
    found = ((old, 0.25), (other, 0.5), (new, 0.75))
    results = {one.name: METRICS | {"rev": str(cas)} for one, cas in found}
    monkeypatch.setattr(compare, "accuracies", lambda rev: {"cas": float(rev)})
    monkeypatch.setattr(compare, "found", lambda: results)
    rates = {"gan": 1.0, "mlp": 1.0}
    before = compare.collect([], {old, other}, PARAMS, rates, here)
    assert [(row["recipe"], row["code"], row["cas"]) for row in before] == [
        ("gan", "01d", "0.25"),
        ("mlp", "01d", "0.5"),
    ]
    after = compare.collect(before, {new}, PARAMS, rates, here)
    assert [(row["recipe"], row["code"], row["cas"]) for row in after] == [
        ("gan", "c0de", "0.75"),
        ("mlp", "01d", "0.5"),
    ]


def test_every_recipe_is_compared_but_those_that_are_left_out_by_name() -> None:
    assert compare.compared(["gan", "large", "new", "source"]) == ["gan", "new"]
    assert set(compare.LEFT_OUT) < set(PARAMS.recipes)
    assert set().union(*compare.AT_OWN_LENGTH.values()) < set(compare.compared(PARAMS.recipes))


def test_the_committed_results_have_one_row_for_each_run() -> None:
    rows = files.read_csv(ROOT / "docs" / "compare.csv")
    runs = [(row["dataset"], row["recipe"], row["images"], row["seed"]) for row in rows]
    assert len(set(runs)) == len(runs) > 0
    assert {row["recipe"] for row in rows} <= set(compare.compared(PARAMS.recipes))


def test_a_table_alone_takes_the_last_result_of_each_run_whatever_its_code(
    answers: list[tuple[str, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results.csv"
    rows = [
        {name: str(value) for name, value in (one._asdict() | METRICS | {"cas": cas}).items()}
        | {"processor": "AVX2, 2 threads", "commit": "abc1234", "images_a_second": "3000"}
        for one, cas in (
            (Experiment("mnist", "lsgan", 500, 0, "01d"), 0.5),
            (Experiment("mnist", "lsgan", 500, 0, "1e55-01d"), 0.75),
            (Experiment("mnist", "lsgan", 600, 0, "1e55-01d"), 0.9),
        )
    ]
    compare.write(results, rows)
    # A table of older code has fewer columns.
    newer = {"mislabelled": "", "own_length": ""}
    old = [{name: value for name, value in row.items() if name not in newer} for row in rows]
    compare.write(tmp_path / "old.csv", old)
    assert files.read_csv(tmp_path / "old.csv") == [row | newer for row in old]
    before, asked = results.read_bytes(), len(answers)
    arguments = ["--images", "500", "--seeds", "0", "--recipes", "lsgan", "--datasets", "mnist"]
    compare.main([*arguments, "--budgets", "images", "--results", str(results), "--table-only"])
    printed = capsys.readouterr().out
    assert "mnist, 500 images each" in printed
    assert "| 75.00% |" in printed
    assert "50.00%" not in printed
    assert "90.00%" not in printed
    assert results.read_bytes() == before
    assert len(answers) == asked  # DVC was not called


def test_the_table_has_means_and_deviations_over_seeds() -> None:
    wanted = [Experiment("mnist", recipe, 500, seed, "c0de") for recipe in ("gan", "mlp") for seed in (0, 1)]
    metrics = [METRICS | {"cas": 0.9}, METRICS | {"cas": 0.8, "collapsed": 1}, METRICS | {"cas": 0.7}]
    rates = {"gan": "3000.4", "mlp": "20000"}
    results = {
        one.name: {name: str(value) for name, value in (one._asdict() | values).items()}
        | {"images_a_second": rates[one.recipe]}
        for one, values in zip(wanted, metrics, strict=False)
    }
    header, _, gan, mlp = compare.table(wanted, results).splitlines()
    assert header.count("|") == gan.count("|") == mlp.count("|")
    cells = [cell.strip() for cell in gan.strip("|").split("|")]
    # 0.9 and 0.8: mean 0.85, deviation 0.1 / sqrt 2
    assert cells == [
        "`gan`", "2.00 ± 0.00", "0.900 ± 0.000", "95.00% ± 0.00%", "0.500 ± 0.000", "85.00% ± 7.07%",
        "3.00% ± 0.00%", "500", "3,000", "1 of 2",
    ]  # fmt: skip
    assert mlp == "| `mlp` | 2.00 | 0.900 | 95.00% | 0.500 | 70.00% | 3.00% | 500 | 20,000 | 0 of 1 |"


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Params:
    """Parameters with one small recipe under two names, in a folder with 50 images to train on."""
    write_set(tmp_path / "data/raw", 60, 10)
    monkeypatch.chdir(tmp_path)
    for module, name, value in ((rate, "WARM_UP", 4), (rate, "TIMED", 16), (epoch, "EPOCH", 200)):
        monkeypatch.setattr(module, name, value)
    small = {"latent": 3, "width": 4, "batch_size": 10, "images": 10, "conditional": False}
    row = {**PARAMS.recipes["source"], **small}
    return replace(PARAMS, recipes={"tiny": row, "source": row}, threads=1, validation=10)


def test_operations_are_those_of_every_product_forward_and_backward(tiny: Params) -> None:
    generator = [3 * 4, 4 * 8, 8 * 784]
    discriminator = [784 * 8, 8 * 4, 4 * 1]
    g, d = sum(generator), sum(discriminator)
    # For each real image, D's step: one generated, two scored, gradients of weights and of all but pixels.
    expected = g + 2 * d + 2 * d + 2 * (d - discriminator[0])
    # G's step: the same scored again, gradients through D to the pixels, then of G's weights and inputs.
    expected += d + d + g + (g - generator[0])
    assert rate.operations_per_image(tiny, "tiny") == pytest.approx(2 * expected)


def test_a_training_run_has_all_its_images_and_reports(tiny: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = games.recipe(tiny.recipes["tiny"], "recipes.tiny")
    reports = list(rate.training(tiny, replace(recipe, images=100), reports=5))
    assert [report["images_seen"] for report in reports] == [20, 40, 60, 80, 100]
    assert rate.rate(tiny, "tiny") > 0
    monkeypatch.setattr(params, "read", lambda: tiny)
    assert epoch.ours(Path("data/raw")) > 0


def test_the_profile_names_operations_with_their_shares(tiny: Params) -> None:
    lines = rate.shares(tiny, "tiny", rows=1000)
    found = {name: float(share.strip("%")) for share, name in (line.split(maxsplit=1) for line in lines)}
    assert sum(found.values()) == pytest.approx(100, abs=5)  # of rounding
    assert {"aten::addmm", "aten::mm", "aten::_fused_adam_"} <= set(found)
    assert len(rate.shares(tiny, "tiny", rows=3)) == 3


def test_the_matrix_rate_counts_both_halves_of_a_product_over_the_fastest_of_several_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([0.0, 4.0, 10.0, 12.0, 20.0, 23.0])  # products of 4, 2 and 3 seconds
    monkeypatch.setattr(rate.time, "perf_counter", lambda: next(clock))
    assert rate.matrix_rate(torch.device("cpu"), side=10, repetitions=3) == 2 * 10**3 / 2


def test_rates_are_told_for_each_batch_size_beside_the_floor(
    tiny: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(params, "read", lambda: replace(tiny, loss="tiny", precision="bfloat16"))
    monkeypatch.setattr(rate, "rate", lambda settings, name: settings.recipes[name]["batch_size"] * 10.0)
    monkeypatch.setattr(
        rate, "operations_per_image", lambda settings, name: {"float32": 2e6}[settings.precision]
    )
    monkeypatch.setattr(rate, "matrix_rate", lambda device, dtype: {torch.bfloat16: 4e9}[dtype])
    rate.main(["--rounds", "1", "--batches", "10", "40"])
    assert capsys.readouterr().out.splitlines() == [
        "tiny: 2.0 million operations for each real image",
        "batches of 10, bfloat16, round 1: ours 100 images/s, arithmetic floor 2,000 images/s",
        "the loop runs at 0.05 of the floor's rate (median)",
        "batches of 40, bfloat16, round 1: ours 400 images/s, arithmetic floor 2,000 images/s",
        "the loop runs at 0.20 of the floor's rate (median)",
    ]


def test_a_command_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match=r"^dvc exp show --json: ERROR: "):
        queue.dvc("exp", "show", "--json")


@pytest.mark.parametrize(
    ("look", "arguments", "answer"),
    [(queue.finished, ("exp", "show", "--json"), "[]"), (queue.waiting, ("queue", "status"), "")],
)
def test_dvc_is_asked_again_while_a_worker_clears_up(
    look: Callable[[], Collection[str]],
    arguments: tuple[str, ...],
    answer: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = ["gone", answer, "gone", "gone", "gone"]

    def dvc(*asked: str) -> str:
        assert asked == arguments
        if (found := answers.pop(0)) == "gone":
            raise PipelineError("no such directory")
        return found

    monkeypatch.setattr(queue, "dvc", dvc)
    monkeypatch.setattr(queue, "WAIT", 0)
    assert not look()
    assert len(answers) == 3
    with pytest.raises(PipelineError, match=r"^no such directory$"):
        look()
    assert not answers


def test_an_experiment_is_not_queued_again_without_the_changes_that_dvc_put_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def dvc(*arguments: str) -> str:
        asked.append(" ".join(arguments[:3]))
        if arguments[:2] == ("exp", "run"):
            raise PipelineError("the index is locked")
        return {"exp": "[]", "queue": ""}[arguments[0]]

    monkeypatch.setattr(queue, "dvc", dvc)
    monkeypatch.setattr(queue, "WAIT", 0)
    with pytest.raises(PipelineError, match=r"^the index is locked$"):
        queue.work({"one": []}, set(), lambda: None)
    assert asked == ["queue status", "exp show --json", "exp run --queue"]


def test_the_reason_is_told_not_the_greeting_after_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = tmp_path / "dvc"
    command.write_text(
        "#!/bin/sh\necho 'ERROR: unexpected error - gone' >&2\necho 'Hit us up' >&2\nexit 255\n"
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(PipelineError, match=r"^dvc queue status: ERROR: unexpected error - gone$"):
        queue.dvc("queue", "status")
