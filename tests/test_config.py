"""params.yaml: the shipped one loads, and every kind of fault is refused with one line that names the key."""

import dataclasses
import functools
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src import config

SHIPPED = yaml.safe_load((ROOT / "params.yaml").read_text())
TABLE = ROOT / "src" / "datasets.yaml"


def edited(key: str, value: Any) -> dict[str, Any]:
    """The shipped parameters with one value replaced, added, or (with ...) removed."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    *path, last = key.split(".")
    place = functools.reduce(dict.__getitem__, path, params)
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return params


def refusal(tmp_path: Path, params: Any) -> str:
    """What `load` says of parameters, given as a value or as text."""
    path = tmp_path / "params.yaml"
    path.write_text(params if isinstance(params, str) else yaml.safe_dump(params, sort_keys=False))
    with pytest.raises(config.ConfigError) as error:
        config.load(path, TABLE)
    assert "\n" not in str(error.value)
    return str(error.value)


def leaves(value: Any, key: str = "") -> list[str]:
    if not isinstance(value, dict):
        return [key]
    return [leaf for name, item in value.items() for leaf in leaves(item, f"{key}.{name}" if key else name)]


LEAVES = leaves(SHIPPED)


def test_the_shipped_file_loads_and_keeps_its_values() -> None:
    params = config.load(ROOT / "params.yaml", TABLE)
    assert params.seed == SHIPPED["seed"]
    assert params.recipe is params.recipes[SHIPPED["loss"]]
    for name, row in SHIPPED["recipes"].items():
        assert dataclasses.asdict(params.recipes[name]) == row
    assert list(params.finetune.labels) == SHIPPED["finetune"]["labels"]
    assert isinstance(params.extractor.learning_rate, float)
    # A whole number serves where a fraction may stand.
    assert type(params.recipes["gan"].weight_clip) is float


def test_from_the_projects_folder_the_paths_need_no_telling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert config.load() == config.load(ROOT / "params.yaml", TABLE)


def test_what_was_read_can_not_be_changed() -> None:
    params = config.load(ROOT / "params.yaml", TABLE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        params.seed = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        params.recipe.latent = 1
    with pytest.raises(TypeError):
        params.recipes["gan"] = params.recipe


@pytest.mark.parametrize("name", yaml.safe_load(TABLE.read_text()))
def test_every_row_of_the_table_of_data_sets_may_be_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(edited("dataset", name)))
    assert config.load(path, TABLE).dataset == name


@pytest.mark.parametrize("name", SHIPPED["recipes"])
def test_every_row_of_recipes_may_be_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(edited("loss", name)))
    params = config.load(path, TABLE)
    assert params.recipe == params.recipes[name]


A_NUMBER = "a number (write 0.001, not 1e-3)"
A_COUNT = "a number from 1 to 1000000000"
TOP = "no such key; seed, dataset, validation, loss, device, threads, recipes,"

# Key, what stands there as YAML, and the message from the value on.
WRONG_VALUES = [
    ("loss", "lsgn", f"'lsgn'; allowed: {', '.join(SHIPPED['recipes'])}"),
    ("loss", "", "None; allowed: a name"),
    ("dataset", "mnst", "'mnst'; allowed: mnist, fashion-mnist"),
    ("dataset", "7", "7; allowed: a name"),
    ("device", "gpu", "'gpu'; allowed: cpu, cuda"),
    ("recipes.gan.loss", "lsgn", "'lsgn'; allowed: gan, minimax, wgan, lsgan"),
    ("recipes.wgan.network", "true", "True; allowed: mlp"),
    ("seed", "-1", "-1; allowed: a number from 0 to "),
    ("seed", "2147483648", "2147483648; allowed: a number from 0 to "),
    ("seed", "0.0", "0.0; allowed: a whole number"),
    ("threads", "0", "0; allowed: a number from 1 to 1024"),
    ("generate.count", "-5", f"-5; allowed: {A_COUNT}"),
    ("generate.count", "true", "True; allowed: a whole number"),
    ("generate.latent_scale", "0", "0; allowed: a number above 0 to 10"),
    ("generate.latent_scale", "wide", f"'wide'; allowed: {A_NUMBER}"),
    ("generate.relabel", "1", "1; allowed: true or false"),
    ("recipes.gan.batch_size", "0", "0; allowed: a number from 1 to 65536"),
    ("classifier.batch_size", "0", "0; allowed: a number from 1 to 65536"),
    ("recipes.wgan.critic_steps", "1.5", "1.5; allowed: a whole number"),
    ("recipes.gan.learning_rate", "1e-3", f"'1e-3'; allowed: {A_NUMBER}"),
    ("recipes.gan.learning_rate", "0", "0; allowed: a number above 0 to 10"),
    ("recipes.gan.learning_rate", "true", f"True; allowed: {A_NUMBER}"),
    ("extractor.learning_rate", ".nan", "nan; allowed: a finite number"),
    ("extractor.learning_rate", ".inf", "inf; allowed: a finite number"),
    ("extractor.learning_rate", "10.5", "10.5; allowed: a number above 0 to 10"),
    ("recipes.lsgan.conditional", "1", "1; allowed: true or false"),
    ("recipes.lsgan.conditional", "'yes'", "'yes'; allowed: true or false"),
    ("recipes.source.beta1", "1.0", "1.0; allowed: a number from 0 to 0.999999"),
    ("recipes.source.beta2", "1", "1; allowed: a number from 0 to 0.999999"),
    ("recipes.source.ema", "-0.1", "-0.1; allowed: a number from 0 to 0.999999"),
    ("evaluate.splits", "1", "1; allowed: a number from 2 to 1000"),
    (
        "finetune.labels",
        "[100, 10]",
        "[100, 10]; allowed: one or more different whole numbers, smallest first",
    ),
    ("finetune.labels", "[10, 10]", "[10, 10]; allowed: one or more different whole numbers, smallest first"),
    ("finetune.labels", "[]", "[]; allowed: one or more different whole numbers, smallest first"),
    ("finetune.labels", "10", "10; allowed: a list"),
    ("train", "[200, 5]", "[200, 5]; allowed: a section with keys and values"),
    ("generate", "", "None; allowed: a section with keys and values"),
    ("recipes", "{}", "{}; allowed: a table with one row or more"),
    ("recipes", "[gan]", "['gan']; allowed: a table with one row or more"),
    ("recipes.gan", "gan", "'gan'; allowed: a section with keys and values"),
    ("recipes.gan.learning_rate", "1" + 400 * "0", f"1{400 * '0'}; allowed: {A_NUMBER}"),
    ("sed", "1", f"1; allowed: {TOP}"),
    ("recipes.gan.beta3", "0.5", "0.5; allowed: no such key; loss, network, conditional, latent,"),
    ("train.log_point", "9", "9; allowed: no such key; log_points, grids"),
]


@pytest.mark.parametrize(("key", "text", "message"), WRONG_VALUES, ids=lambda part: str(part)[:30])
def test_a_wrong_value_is_refused(tmp_path: Path, key: str, text: str, message: str) -> None:
    found = refusal(tmp_path, edited(key, yaml.safe_load(text)))
    assert found.startswith(f"params.yaml: {key} is {message}")


@pytest.mark.parametrize(
    ("labels", "key"),
    [([10, "100"], "finetune.labels[1] is '100'"), ([0, 10], "finetune.labels[0] is 0")],
)
def test_a_wrong_item_of_a_list_is_named_by_its_place(tmp_path: Path, labels: list[Any], key: str) -> None:
    assert f"params.yaml: {key}; allowed: a " in refusal(tmp_path, edited("finetune.labels", labels))


def test_the_leaves_are_found() -> None:
    assert {"seed", "recipes.gan.beta1", "finetune.labels", "evaluate.splits"} <= set(LEAVES)
    assert len(LEAVES) > 50


@pytest.mark.parametrize("key", LEAVES)
def test_a_leaf_of_a_wrong_type_is_refused_by_its_name(tmp_path: Path, key: str) -> None:
    assert refusal(tmp_path, edited(key, {})).startswith(f"params.yaml: {key} is {{}}; allowed: ")


@pytest.mark.parametrize("key", [*SHIPPED, *(leaf for leaf in LEAVES if "." in leaf)])
def test_a_missing_key_is_refused_by_its_name(tmp_path: Path, key: str) -> None:
    assert refusal(tmp_path, edited(key, ...)) == f"params.yaml: {key} is missing; add it"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- seed\n- 0\n", r"must hold keys and values, found ['seed', 0]"),
        ("", "must hold keys and values, found None"),
        ("# nothing\n", "must hold keys and values, found None"),
        ("seed: 0\n  loss: [", "not valid YAML: "),
        ("seed: 2021-13-45\n", "not valid YAML: "),
        ("seed: 0\nloss: gan\nseed: 1\n", "not valid YAML: seed stands there twice"),
        ("seed: !!python/object/apply:os.getcwd []\n", "not valid YAML: "),
        ("seed: " + 5000 * "{a: ", "not valid YAML: nested too deeply"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text).startswith(f"{tmp_path}/params.yaml: {message}")


def test_a_value_that_stands_for_billions_is_shown_in_part(tmp_path: Path) -> None:
    bomb: Any = "x"
    for _ in range(40):
        bomb = [bomb] * 9  # safe_dump writes each as a reference to the one before
    found = refusal(tmp_path, edited("seed", bomb))
    assert found.startswith("params.yaml: seed is [[")
    assert found.endswith("; allowed: a whole number")
    assert len(found) < 1000


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"seed: \xff\xfe")
    with pytest.raises(config.ConfigError, match="not valid YAML"):
        config.load(tmp_path / "params.yaml", TABLE)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        config.ConfigError, match=r"nowhere\.yaml: no such file; run from the project's top folder"
    ):
        config.load(tmp_path / "nowhere.yaml", TABLE)
    with pytest.raises(config.ConfigError, match=r"table\.yaml: no such file"):
        config.load(ROOT / "params.yaml", tmp_path / "table.yaml")


# Anything at all


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_subnormal=False)
    | st.text(max_size=8)
    | st.dates()
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3),
    max_leaves=6,
)


def loads_or_says_why(path: Path) -> None:
    with suppress(config.ConfigError):
        config.load(path, TABLE)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from([*SHIPPED, *LEAVES]), value=anything)
def test_with_anything_at_any_place_it_loads_or_says_why(tmp_path: Path, key: str, value: Any) -> None:
    text = yaml.safe_dump(edited(key, value), allow_unicode=True, sort_keys=False)
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    loads_or_says_why(tmp_path / "params.yaml")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)
    | anything.map(yaml.safe_dump)
)
def test_of_any_text_it_says_why(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(config.ConfigError):
        config.load(tmp_path / "params.yaml", TABLE)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    position=st.integers(0, 4000),
    cut=st.integers(0, 40),
    new=st.text(st.characters(codec="ascii"), max_size=6),
)
def test_with_any_edit_of_the_shipped_text_it_loads_or_says_why(
    tmp_path: Path, position: int, cut: int, new: str
) -> None:
    shipped = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(shipped[:position] + new + shipped[position + cut :])
    loads_or_says_why(tmp_path / "params.yaml")
