"""`make parts` draws sets with some of the rendering left out, and asks DVC's queue for the others."""

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, write_set

from benchmarks import compare, parts, queue, worth
from benchmarks.parts import Cell
from src.core import files, params
from src.datasets import rendered
from src.report import measured
from stages import pretrain

PARAMS = params.read(ROOT / "params.yaml", ROOT / params.DATASETS)
HERE = {"processor": "AVX2, 1 thread", "commit": "abc1234"}
CONFUSION = "actual,predicted\n4,9\n4,9\n4,4\n7,1\n1,1\n"


@pytest.fixture(scope="module")
def glyphs() -> dict[str, Any]:
    return rendered.glyphs()


def test_every_part_has_a_name_in_the_table() -> None:
    assert set(measured.SETS) == {*parts.RENDERED, *parts.PIPELINES}


@pytest.mark.parametrize(
    ("part", "sources", "bent"),
    [
        ("faces", {"faces"}, False),
        ("fonts", {"faces", "hershey"}, False),
        ("unbent", {"faces", "hershey", "strokes"}, False),
        ("rendered", {"faces", "hershey", "strokes"}, True),
    ],
)
def test_a_rendered_part_has_glyphs_of_some_sources_and_bends_or_not(
    part: str, sources: set[str], bent: bool, glyphs: dict[str, Any]
) -> None:
    found = parts.RENDERED[part](glyphs)
    assert found.keys() == glyphs.keys()
    assert any(glyph.written for those in found.values() for glyph in those) == bent
    places = {
        name: {(glyph.label, glyph.centres.tobytes()) for glyph in those} for name, those in glyphs.items()
    }
    there = {(glyph.label, glyph.centres.tobytes()) for those in found.values() for glyph in those}
    assert there == set().union(*(places[name] for name in sources))


def test_a_classifier_is_judged_by_what_it_takes_digits_for() -> None:
    found = parts.judged([(4, 9), (4, 9), (4, 4), (7, 1), (1, 1)])
    assert found.accuracy == 0.4
    assert found.swaps == Counter({(4, 9): 2, (7, 1): 1})
    row = found.row(Cell("faces", 3, "c0de"), HERE)
    assert (
        row
        == {"part": "faces", "seed": "3", "code": "c0de", "accuracy": "0.4", "swaps": "4>9:2 7>1:1"} | HERE
    )


def test_experiments_change_what_their_part_says_and_end_with_a_classifier() -> None:
    arguments = parts.overrides(Cell("told", 2, "c0de"))
    assert arguments[-1] == "pretrain"
    values = {"dataset=mnist", "seed=2", "loss=cyclegan", "recipes.cyclegan.conditional=true"}
    assert values | {"pretrain.replicates=2"} <= set(arguments[1:-1:2])
    assert set(arguments[:-1:2]) == {"--set-param"}


def test_a_rendered_part_is_learnt_from_as_stage_pretrain_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, glyphs: dict[str, Any]
) -> None:
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content |= {"seed": 3, "validation": 100, "threads": 1}
    content["classifier"] |= {"width": 4, "batch_size": 20}
    content["evaluate"] |= {"images": 100}
    content["finetune"] |= {"labels": [10]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / params.DATASETS).parent.mkdir(parents=True)
    shutil.copy(ROOT / params.DATASETS, tmp_path / params.DATASETS)
    monkeypatch.chdir(tmp_path)
    write_set(tmp_path / "data/raw", 400, 200)
    rendered.write_split(tmp_path / "drawn", "train", glyphs, 350, 3)
    given = ["--real", "data/raw", "--synthetic", "drawn", "--classifiers", "models", "--results", "found"]
    pretrain.main(given)
    found = parts.draw_and_learn(Cell("rendered", 3, "c0de"))
    rows = files.read_csv(tmp_path / "found/accuracy.csv")
    assert found.accuracy == pytest.approx(float(rows[0]["test_accuracy"]))
    pairs = files.read_csv(tmp_path / "found/confusion.csv")
    assert found == parts.judged((int(row["actual"]), int(row["predicted"])) for row in pairs)
    assert parts.draw_and_learn(Cell("faces", 3, "c0de")) != found


def every_experiment() -> Iterator[list[str]]:
    """The arguments of all kinds of experiments that benchmarks put on the queue."""
    yield from (parts.overrides(Cell(part, 0, "c0de")) for part in parts.PIPELINES)
    yield from (worth.overrides(PARAMS, worth.Cell("mnist", "10", 0, kind, "c0de")) for kind in worth.KINDS)
    for images in (400_000, 7):
        yield compare.overrides(PARAMS, compare.Experiment("mnist", "gan", images, 0, "c0de"))


@pytest.mark.parametrize("arguments", [*every_experiment()], ids=" ".join)
def test_values_of_experiments_are_allowed(arguments: list[str], tmp_path: Path) -> None:
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    for value in (value for name, value in pairwise(arguments) if name == "--set-param"):
        key, _, new = value.partition("=")
        *sections, last = key.split(".")
        place = content
        for section in sections:
            place = place[section]
        assert last in place
        place[last] = yaml.safe_load(new)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    params.read(tmp_path / "params.yaml", ROOT / params.DATASETS)


def test_a_part_is_repeated_when_its_own_code_or_parameters_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    every = [*parts.RENDERED, *parts.PIPELINES]
    codes = {part: parts.fingerprint(PARAMS, part) for part in every}
    assert len(set(codes.values())) == len(every)

    def changed(**values: Any) -> set[str]:
        other = replace(PARAMS, **values)
        return {part for part in every if parts.fingerprint(other, part) != codes[part]}

    rows = {**PARAMS.recipes, "cyclegan": PARAMS.recipes["cyclegan"] | {"pool": 7}}
    assert changed(recipes=rows) == {"cyclegan", "unkept", "told"}
    assert changed(label_train=replace(PARAMS.label_train, steps=7)) == set(parts.PIPELINES)
    assert changed(classifier=replace(PARAMS.classifier, epochs=7)) == set(every)
    assert changed(evaluate=replace(PARAMS.evaluate, images=77)) == set()


def test_finished_experiments_are_taken_in_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [Cell("guessed", seed, "c0de") for seed in (0, 1)]
    monkeypatch.setattr(queue, "finished", lambda: {cells[1].name: {"rev": "abc"}})
    asked: list[tuple[str, str]] = []

    def read(path: str, rev: str) -> str:
        asked.append((path, rev))
        return CONFUSION

    monkeypatch.setattr(parts.dvc.api, "read", read)
    (row,) = parts.finished(cells, set(), HERE)
    assert (row["seed"], row["accuracy"], row["swaps"]) == ("1", "0.4", "4>9:2 7>1:1")
    assert asked == [("results/pretrain/confusion.csv", "abc")]
    assert parts.known([row]) == {cells[1].name}
    assert parts.finished(cells, parts.known([row]), HERE) == []


def test_the_table_has_means_over_seeds_and_the_most_frequent_swaps() -> None:
    def row(part: str, seed: int, accuracy: float, swaps: str = "4>9:1") -> dict[str, str]:
        return {"part": part, "seed": str(seed), "accuracy": str(accuracy), "swaps": swaps, **HERE}

    rows = [row("told", 0, 0.9, "7>1:1"), row("rendered", 0, 0.6), row("rendered", 1, 0.7)]
    rows += [row("faces", 0, 0.5, "4>9:3 1>7:1"), row("faces", 1, 0.7, "4>9:5 2>3:6")]
    table = measured.parts(rows)
    # Differences of -10 and 0 points: 5 on either side of the mean, times 12.706, Student's t of one.
    beside = "-5.00 (-68.53 to +58.53)"
    assert f"| 60.00% ± 14.14% | 50.00% | {beside} | 4 as 9 (4), 2 as 3 (3), 1 as 7 (0) | 2 |" in table
    assert "| 90.00% | 90.00% | +30.00 | 7 as 1 (1) | 1 |" in table
    assert "| 65.00% ± 7.07% | 60.00% | – | 4 as 9 (1) | 2 |" in table
    assert table.index("type faces") < table.index("told guessed")
