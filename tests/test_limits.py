"""Values of params.yaml that leave each other no room: the first stage refuses them."""

import importlib
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from src.core import params
from src.core.params import DATASETS, ConfigError

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# Values that just fit a data set of 400 training and 100 test images.
FITTING: dict[str, Any] = {
    "dataset": "small",
    "validation": 100,
    "finetune.labels": [10, 300],
    "generate.count": 200,
    "evaluate.images": 100,
    "evaluate.splits": 50,
    "evaluate.neighbours": 99,
    "watch.check_images": 100,
    "watch.neighbours": 99,
}


def write(folder: Path, values: dict[str, Any], sizes: dict[str, Any]) -> None:
    """The shipped params.yaml with other values, and a table with a data set of such sizes."""
    found = yaml.safe_load((ROOT / "params.yaml").read_text())
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        (found[section] if section else found)[name] = value
    (folder / DATASETS).parent.mkdir(parents=True, exist_ok=True)
    (folder / DATASETS).write_text(yaml.safe_dump({"small": sizes}))
    (folder / "params.yaml").write_text(yaml.safe_dump(found))


def read(tmp_path: Path, values: dict[str, Any], **sizes: Any) -> params.Params:
    write(tmp_path, FITTING | values, {"train": 400, "test": 100} | sizes)
    return params.read(tmp_path / "params.yaml", tmp_path / DATASETS)


def test_values_that_just_fit_are_taken(tmp_path: Path) -> None:
    found = read(tmp_path, {})
    assert found.evaluate.fewest == 100
    assert read(tmp_path, {"device": "cuda", "precision": "tf32"}).precision == "tf32"
    assert read(tmp_path, {"evaluate.splits": 10, "evaluate.neighbours": 5}).evaluate.fewest == 20
    assert read(tmp_path, {"evaluate.splits": 11, "evaluate.neighbours": 5}).evaluate.fewest == 22


CHECK = "fewer than the images of a check: the smallest of watch.check_images"
WRONG = [
    ({"precision": "tf32"}, "precision is 'tf32'; allowed: float32 or bfloat16 where device is cpu"),
    (
        {"validation": 400},
        "validation is 400; allowed: from 20 to 399, fewer than the 400 training images of small",
    ),
    (
        {"verdict.baselines": ["source", "soruce"]},
        "verdict.baselines is ['soruce']; allowed: rows of recipes: ",
    ),
    ({"validation": 19}, "validation is 19; allowed: from 20 to 399, "),
    ({"finetune.labels": [10, 301]}, "finetune.labels is [10, 301]; allowed: numbers up to 300, "),
    ({"generate.count": 39}, "generate.count is 39; allowed: 40 or more"),
    (
        {"evaluate.images": 101},
        "evaluate.images is 101; allowed: from 20 to 100, the smallest of validation (100), ",
    ),
    ({"generate.count": 199}, "evaluate.images is 100; allowed: from 20 to 99, "),
    (
        {"evaluate.neighbours": 100},
        "evaluate.neighbours is 100; allowed: from 1 to 99, fewer than evaluate.images",
    ),
    (
        {"evaluate.splits": 51},
        "evaluate.splits is 51; allowed: from 2 to 50, half of evaluate.images (100) at most",
    ),
    ({"watch.neighbours": 100}, f"watch.neighbours is 100; allowed: from 1 to 99, {CHECK} (100), "),
    (
        {"validation": 350, "finetune.labels": [10]},
        f"watch.neighbours is 99; allowed: from 1 to 49, {CHECK} (100), ",
    ),
]


@pytest.mark.parametrize(("values", "words"), WRONG, ids=lambda part: str(part)[:50])
def test_a_value_without_room_is_named_with_what_is_allowed(
    tmp_path: Path, values: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, values)
    assert str(error.value).startswith(f"params.yaml: {words}")
    assert "\n" not in str(error.value)


def test_the_test_images_count_too(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"evaluate\.images is 100; allowed: from 20 to 90, .* the 90 test images"
    ):
        read(tmp_path, {}, test=90)


@pytest.mark.parametrize("sizes", [{"test": 19}, {"train": 20}])
def test_a_data_set_that_is_too_small_is_refused(tmp_path: Path, sizes: dict[str, int]) -> None:
    with pytest.raises(
        ConfigError, match=r"dataset is 'small'; allowed: a data set of more than 20 training images"
    ):
        read(tmp_path, {}, **sizes)


@pytest.mark.parametrize(("value", "shown"), [(None, "None"), (0, "0"), ("many", "'many'"), (True, "True")])
def test_a_row_must_tell_its_numbers_of_images(tmp_path: Path, value: object, shown: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"table\.yaml: small\.test is {shown}; allowed: the number of test images"
    ):
        read(tmp_path, {}, test=value)


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_refuses_before_it_does_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write(tmp_path, FITTING | {"evaluate.images": 101}, {"train": 400, "test": 100})
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(shlex.split(STAGES[name]["cmd"])[2])
    with pytest.raises(ConfigError, match=r"evaluate\.images is 101; allowed: from 20 to 100"):
        module.main(shlex.split(STAGES[name]["cmd"])[3:])
    assert {path.name for path in tmp_path.iterdir()} == {"params.yaml", "src"}
