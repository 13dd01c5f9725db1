"""params.yaml: the shipped one loads, and every kind of fault is refused with one line that names the key."""

import copy
import dataclasses
import functools
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from dvc.utils.serialize import parse_yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.core import params
from src.core.settings import Params

SHIPPED = yaml.safe_load((ROOT / "params.yaml").read_text())
TABLE = ROOT / "src" / "datasets" / "table.yaml"
PLACE = "a-place-to-fill"
# Nothing here looks into the rows of these two, and short ones are read much faster.
SHORT = SHIPPED | {part: {name: {"kind": "gan"} for name in SHIPPED[part]} for part in ("bases", "recipes")}


def edited(key: str, text: str | None) -> str:
    """The shipped parameters with the text of one value replaced, added, or (with None) removed."""
    everything = changed(key, PLACE)
    if text is None:
        *path, last = key.split(".")
        del functools.reduce(dict.__getitem__, path, everything)[last]
    return yaml.safe_dump(everything, sort_keys=False).replace(PLACE, text or "")


def changed(key: str, value: Any) -> dict[str, Any]:
    """The shipped parameters with one value replaced or added."""
    everything = copy.deepcopy(SHORT)
    *path, last = key.split(".")
    functools.reduce(dict.__getitem__, path, everything)[last] = value
    return everything


def read(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return params.read(path, TABLE)


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(params.ConfigError) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)
    return str(error.value)


def leaves(value: Any, key: str = "") -> list[str]:
    if not isinstance(value, dict):
        return [key]
    return [leaf for name, item in value.items() for leaf in leaves(item, f"{key}.{name}" if key else name)]


# Rows of recipes are for games.recipe to check, see test_recipe.py; nothing reads bases.
CHECKED = {key: value for key, value in SHIPPED.items() if key not in ("recipes", "bases")}
LEAVES = leaves(CHECKED)


def test_the_shipped_file_loads_and_keeps_its_values() -> None:
    found = params.read(ROOT / "params.yaml", TABLE)
    assert found.seed == SHIPPED["seed"]
    for key, value in SHIPPED.items():
        if key in ("recipes", "bases"):
            assert {name: dict(row) for name, row in getattr(found, key).items()} == value
        elif isinstance(value, dict):
            kept = dataclasses.asdict(getattr(found, key))
            assert {name: list(v) if isinstance(v, tuple) else v for name, v in kept.items()} == value
        else:
            assert getattr(found, key) == value
    assert isinstance(found.extractor.learning_rate, float)
    # A whole number serves where a fraction may stand.
    assert SHIPPED["generate"]["latent_scale"] == 1
    assert type(found.generate.latent_scale) is float


def test_from_the_projects_folder_the_paths_need_no_telling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert params.read() == params.read(ROOT / "params.yaml", TABLE)


@dataclasses.dataclass(frozen=True)
class Some:
    """What a stage might read."""

    loss: str
    count: int = params.at("generate.count")


def test_a_stage_gets_what_its_settings_ask_for_after_a_check_of_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert [params.key_of(field) for field in dataclasses.fields(Some)] == ["loss", "generate.count"]
    assert params.load(Some) == Some(SHIPPED["loss"], SHIPPED["generate"]["count"])
    path = tmp_path / "params.yaml"
    path.write_text(edited("finetune.replicates", "1"))
    with pytest.raises(params.ConfigError, match=r"finetune\.replicates is 1"):
        params.load(Some, path, TABLE)


def test_what_was_read_can_not_be_changed() -> None:
    found = params.read(ROOT / "params.yaml", TABLE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.seed = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.watch.grids = 1
    with pytest.raises(TypeError):
        found.recipes["gan"] = found.recipes["wgan"]
    with pytest.raises(TypeError):
        found.recipes["gan"]["latent"] = 1


@pytest.mark.parametrize("name", yaml.safe_load(TABLE.read_text()))
def test_every_row_of_the_table_of_data_sets_may_be_named(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, edited("dataset", name)).dataset == name


@pytest.mark.parametrize("name", SHIPPED["recipes"])
def test_every_row_of_recipes_may_be_named(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, edited("loss", name)).loss == name


def test_rows_of_recipes_are_not_looked_into(tmp_path: Path) -> None:
    assert read(tmp_path, edited("recipes.gan.beta3", "[wrong]")).recipes["gan"]["beta3"] == ["wrong"]


A_COUNT = "a number from 1 to 1000000000"
TOP = "no such key; seed, validation, device, threads, precision, dataset, loss, labels..."
LABELS = "one or more different whole numbers, smallest first"

# Key, what stands there as YAML, and the message from the value on, as far as the dots.
WRONG_VALUES = [
    ("loss", "lsgn", f"'lsgn'; allowed: {', '.join(SHIPPED['recipes'])}"),
    ("loss", "", "None; allowed: a name"),
    ("dataset", "mnst", "'mnst'; allowed: mnist, fashion-mnist..."),
    ("dataset", "7", "7; allowed: a name"),
    ("device", "gpu", "'gpu'; allowed: cpu, cuda"),
    ("device", "true", "True; allowed: cpu, cuda"),
    ("device", "[cpu]", "['cpu']; allowed: cpu, cuda"),
    ("precision", "float16", "'float16'; allowed: float32, tf32, bfloat16"),
    ("labels", "-1", "-1; allowed: all, or a number from 0 to 1000000000"),
    ("labels", "some", "'some'; allowed: all, or a number from 0 to 1000000000"),
    ("labels", "false", "False; allowed: all, or a number from 0 to 1000000000"),
    ("labels", "0.0", "0.0; allowed: all, or a number from 0 to 1000000000"),
    (
        "labels",
        "50001",
        "50001; allowed: all, or up to 50000, the training images that validation (10000) l...",
    ),
    ("label_draw", "even", "'even'; allowed: stratified, random, queried"),
    ("seed", "-1", "-1; allowed: a number from 0 to 2147483647"),
    ("seed", "2147483648", "2147483648; allowed: a number from 0 to 2147483647"),
    ("seed", "0.0", "0.0; allowed: a whole number"),
    ("seed", "1e3", "1000.0; allowed: a whole number"),
    ("threads", "0", "0; allowed: a number from 1 to 1024"),
    ("render.count", "0", f"0; allowed: {A_COUNT}"),
    ("render.test_count", "1.5", "1.5; allowed: a whole number"),
    ("generate.count", "-5", f"-5; allowed: {A_COUNT}"),
    ("generate.count", "true", "True; allowed: a whole number"),
    ("generate.latent_scale", "0", "0; allowed: a number above 0 to 10"),
    ("generate.latent_scale", "wide", "'wide'; allowed: a number"),
    ("generate.relabel", "1", "1; allowed: true or false"),
    ("generate.relabel", "no", "'no'; allowed: true or false"),
    ("classifier.batch_size", "0", "0; allowed: a number from 1 to 65536"),
    ("classifier.epochs", "1.5", "1.5; allowed: a whole number"),
    ("classifier.learning_rate", "'1e-3'", "'1e-3'; allowed: a number"),
    ("classifier.learning_rate", "0", "0; allowed: a number above 0 to 10"),
    ("classifier.learning_rate", "true", "True; allowed: a number"),
    ("classifier.learning_rate", "1" + 400 * "0", f"1{400 * '0'}; allowed: a number"),
    ("extractor.learning_rate", ".nan", "nan; allowed: a finite number"),
    ("extractor.learning_rate", ".inf", "inf; allowed: a finite number"),
    ("extractor.learning_rate", "-.INF", "-inf; allowed: a finite number"),
    ("extractor.learning_rate", "1e400", "inf; allowed: a finite number"),
    ("extractor.learning_rate", "10.5", "10.5; allowed: a number above 0 to 10"),
    ("watch.class_share", "1.5", "1.5; allowed: a number from 0 to 1"),
    ("watch.retry_factor", "0", "0; allowed: a number above 0 to 1"),
    ("verdict.max_missing_classes", "-1", "-1; allowed: a number from 0 to 1000000"),
    ("evaluate.splits", "1", "1; allowed: a number from 2 to 1000"),
    ("finetune.labels", "[100, 10]", f"[100, 10]; allowed: {LABELS}"),
    ("finetune.labels", "[10, 10]", f"[10, 10]; allowed: {LABELS}"),
    ("finetune.labels", "[]", f"[]; allowed: {LABELS}"),
    ("finetune.labels", "10", "10; allowed: a list"),
    ("watch", "[200, 5]", "[200, 5]; allowed: a section with keys and values"),
    ("generate", "", "None; allowed: a section with keys and values"),
    ("recipes", "{}", "{}; allowed: a table with one row or more"),
    ("recipes", "[gan]", "['gan']; allowed: a table with one row or more"),
    ("recipes.gan", "gan", "'gan'; allowed: a table with one row or more"),
    ("bases.conv", "7", "7; allowed: a table with one row or more"),
    ("sed", "1", f"1; allowed: {TOP}"),
    ("watch.log_point", "9", "9; allowed: no such key; log_points, grids,..."),
]


@pytest.mark.parametrize(("key", "text", "message"), WRONG_VALUES, ids=lambda part: str(part)[:30])
def test_a_wrong_value_is_refused(tmp_path: Path, key: str, text: str, message: str) -> None:
    found, expected = refusal(tmp_path, edited(key, text)), f"params.yaml: {key} is {message}"
    assert found == expected or (message.endswith("...") and found.startswith(expected[:-3]))


RANGES = {
    "from 0 to 2147483647": ["seed"],
    "from 1 to 1000000000": [
        *("validation", "render.count", "render.test_count", "generate.count", "generate.test_count"),
        "finetune.min_steps",
    ],
    "from 20 to 1000000000": ["evaluate.images"],
    "from 1 to 1024": ["threads"],
    "from 1 to 65536": [
        *("extractor.batch_size", "labeller.batch_size", "classifier.batch_size"),
        *("label_train.batch_size", "label_train.unlabelled"),
        "worth.batch_size",
    ],
    "from 1 to 8192": ["extractor.width", "labeller.width", "classifier.width", "label_train.width"],
    "from 0 to 8": ["extractor.shift", "labeller.shift", "classifier.shift", "label_train.shift"],
    "from 1 to 10000": ["watch.log_points"],
    "from 1 to 1000": [
        *("extractor.epochs", "labeller.epochs", "classifier.epochs", "watch.checks", "watch.patience"),
        *("watch.neighbours", "evaluate.neighbours"),
    ],
    "from 100 to 1000000": ["watch.check_images"],
    "from 1 to 1000000": ["label_train.steps", "worth.steps", "worth.finetune_steps"],
    "from 0 to 0.999999": ["label_train.ema"],
    "from 0 to 1000000": ["label_train.contrast_steps", "verdict.max_missing_classes"],
    "from 0 to 1000": ["verdict.max_fid_left"],
    "from 0 to 100": ["verdict.max_class_kl"],
    "from 0 to 10": ["verdict.min_diversity"],
    "from 0 to 1": [
        "watch.class_share",
        "verdict.min_agreement",
        "verdict.min_coverage",
        "verdict.min_precision",
        "label_train.min_agreement",
        "label_train.threshold",
        "worth.synthetic_share",
    ],
    "from 1 to 100": ["watch.grids"],
    "from 2 to 100": ["pretrain.replicates", "finetune.replicates"],
    "from 2 to 1000": ["evaluate.splits"],
    "above 0 to 1": ["watch.retry_factor"],
    "above 0 to 10": [
        *("extractor.learning_rate", "labeller.learning_rate", "classifier.learning_rate"),
        *("finetune.learning_rate", "generate.latent_scale", "label_train.learning_rate"),
        *("worth.learning_rate", "worth.finetune_learning_rate"),
    ],
}


def test_every_number_has_its_range() -> None:
    found = {}
    for key in LEAVES:
        with pytest.raises(params.ConfigError) as error:
            params.build(Params, changed(key, -1), "")
        if " is -1; allowed: a number " in str(error.value):
            found[key] = str(error.value).partition("a number ")[2]
    assert found == {key: words for words, keys in RANGES.items() for key in keys}


@pytest.mark.parametrize(
    ("labels", "key"),
    [("[10, '100']", "finetune.labels[1] is '100'"), ("[0, 10]", "finetune.labels[0] is 0")],
)
def test_a_wrong_item_of_a_list_is_named_by_its_place(tmp_path: Path, labels: str, key: str) -> None:
    assert f"params.yaml: {key}; allowed: a " in refusal(tmp_path, edited("finetune.labels", labels))


def test_the_leaves_are_found() -> None:
    assert {"seed", "watch.neighbours", "finetune.labels", "evaluate.splits"} <= set(LEAVES)
    assert len(LEAVES) > 40


@pytest.mark.parametrize("key", LEAVES)
def test_a_leaf_of_a_wrong_type_is_refused_by_its_name(tmp_path: Path, key: str) -> None:
    assert refusal(tmp_path, edited(key, "{}")).startswith(f"params.yaml: {key} is {{}}; allowed: ")


@pytest.mark.parametrize("key", [*SHIPPED, *(leaf for leaf in LEAVES if "." in leaf)])
def test_a_missing_key_is_refused_by_its_name(tmp_path: Path, key: str) -> None:
    assert refusal(tmp_path, edited(key, None)) == f"params.yaml: {key} is missing; add it"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- seed\n- 0\n", r"must hold keys and values, found ['seed', 0]"),
        ("", "must hold keys and values, found None"),
        ("# nothing\n", "must hold keys and values, found None"),
        ("seed: 0\n  loss: [", "not valid YAML: "),
        ("seed: 0\nloss: gan\nseed: 1\n", "not valid YAML: seed is given twice"),
        ("seed: 0\n---\nseed: 1\n", "not valid YAML: "),
        ("seed: !!python/object/apply:os.getcwd []\n", "not valid YAML: "),
        ("seed: !!int 2021-13-45\n", "not valid YAML: "),
        ("seed: !!bool maybe\n", "not valid YAML: "),
        ("seed: !!timestamp never\n", "not valid YAML: "),
        ("seed: !!float ''\n", "not valid YAML: "),
        ("seed: 0x" + 5000 * "f", "not valid YAML: a whole number of more than 1000 digits"),
        ("seed: " + 5000 * "{a: ", "not valid YAML: nested too deeply"),
    ],
    ids=lambda part: part[:30],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text).startswith(f"{tmp_path}/params.yaml: {message}")


def test_a_value_that_stands_for_billions_is_shown_in_part(tmp_path: Path) -> None:
    bomb = "&a0 [x]"
    for level in range(1, 40):
        bomb = f"&a{level} [{bomb}, {', '.join(8 * [f'*a{level - 1}'])}]"
    found = refusal(tmp_path, edited("seed", bomb))
    assert found.startswith("params.yaml: seed is [[")
    assert found.endswith("; allowed: a whole number")
    assert len(found) < 1000


def test_of_a_long_text_no_more_is_shown_than_anyone_reads(tmp_path: Path) -> None:
    assert f"device is '{498 * 'x'}'; allowed" in refusal(tmp_path, edited("device", 498 * "x"))
    cut = refusal(tmp_path, edited("device", 499 * "x")).partition("; allowed")[0]
    assert cut == f"params.yaml: device is '{247 * 'x'}...{248 * 'x'}'"


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"seed: \xff\xfe")
    with pytest.raises(params.ConfigError, match="not valid YAML"):
        params.read(tmp_path / "params.yaml", TABLE)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        params.ConfigError, match=r"nowhere\.yaml: no such file; run from the project's top folder"
    ):
        params.read(tmp_path / "nowhere.yaml", TABLE)
    with pytest.raises(params.ConfigError, match=r"table\.yaml: no such file"):
        params.read(ROOT / "params.yaml", tmp_path / "table.yaml")


# The language


def mapping(tmp_path: Path, text: str) -> dict[str, Any]:
    (tmp_path / "some.yaml").write_text(text)
    return params.mapping(tmp_path / "some.yaml")


# https://yaml.org/spec/1.2.2/#1032-tag-resolution
VALUES = {
    "5e-05": 5e-05,
    "1e-3": 0.001,
    "1E5": 100000.0,
    "-1.5e+2": -150.0,
    ".5": 0.5,
    "-.5": -0.5,
    "5.": 5.0,
    ".inf": math.inf,
    "010": 10,
    "+7": 7,
    "-08": -8,
    "0o17": 15,
    "0x1F": 31,
    "no": "no",
    "On": "On",
    "y": "y",
    "1:30": "1:30",
    "1.2.3": "1.2.3",
    "e5": "e5",
    "2021-12-31": "2021-12-31",
    "'010'": "010",
    "TRUE": True,
    "false": False,
    "~": None,
    "": None,
}


@pytest.mark.parametrize("text", VALUES)
def test_a_value_is_what_yaml_1_2_says(tmp_path: Path, text: str) -> None:
    found = mapping(tmp_path, f"key: {text}\n")
    assert found == {"key": VALUES[text]}
    assert type(found["key"]) is type(VALUES[text])
    if text != "2021-12-31":  # which is a date to DVC, and a text in no place that it would be allowed in
        assert parse_yaml(f"key: {text}\n", "some.yaml") == found


@pytest.mark.parametrize("text", ["1_000", "0b11", "0o18", "0xG", "1e", "--1"])
def test_what_is_no_number_to_yaml_1_2_is_a_text(tmp_path: Path, text: str) -> None:
    assert mapping(tmp_path, f"key: {text}\n") == {"key": text}


BASES = "a: &a {x: 1, y: 1, z: 1}\nb: &b {x: 2, y: 2, w: 2}\n"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("{<<: *a}", {"x": 1, "y": 1, "z": 1}),
        ("{<<: *a, y: 3}", {"x": 1, "y": 3, "z": 1}),
        ("{y: 3, <<: *a}", {"x": 1, "y": 3, "z": 1}),
        ("{<<: [*a, *b], z: 3}", {"x": 1, "y": 1, "z": 3, "w": 2}),
        ("{<<: [*b, *a], z: 3}", {"x": 2, "y": 2, "z": 3, "w": 2}),
        ("{<<: [*b, {w: 4, v: 4}]}", {"x": 2, "y": 2, "w": 2, "v": 4}),
    ],
)
def test_a_row_merges_bases_of_which_the_first_wins_and_its_own_keys_before_all(
    tmp_path: Path, row: str, expected: dict[str, int]
) -> None:
    text = f"{BASES}row: {row}\n"
    found = mapping(tmp_path, text)
    assert found["row"] == expected
    assert found["a"] == {"x": 1, "y": 1, "z": 1}
    assert parse_yaml(text, "some.yaml") == found


@pytest.mark.parametrize(
    ("row", "key"),
    [
        ("{<<: *a, z: 1, z: 1}", "z"),
        ("{<<: *a, <<: *b}", "<<"),
        ("{<<: [*a, {v: 1, v: 2}]}", "v"),
        ("[{deep: {v: 1, 'v': 2}}]", "v"),
    ],
)
def test_a_key_given_twice_in_one_mapping_is_refused(tmp_path: Path, row: str, key: str) -> None:
    with pytest.raises(params.ConfigError, match=rf"some\.yaml: not valid YAML: {key} is given twice"):
        mapping(tmp_path, f"{BASES}row: {row}\n")


@pytest.mark.parametrize("row", ["{<<: 3}", "{<<: [*a, 3]}", "{<<: *c}"])
def test_only_mappings_are_merged(tmp_path: Path, row: str) -> None:
    with pytest.raises(params.ConfigError, match=r"some\.yaml: not valid YAML: "):
        mapping(tmp_path, f"{BASES}row: {row}\n")


def test_dvc_reads_the_shipped_file_alike() -> None:
    path = ROOT / "params.yaml"
    assert params.mapping(path) == parse_yaml(path.read_text(), str(path))


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


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from([*SHIPPED, *LEAVES]), value=anything)
def test_with_anything_at_any_place_it_loads_or_says_why(tmp_path: Path, key: str, value: Any) -> None:
    # In one line, so that it fits the place.
    text = yaml.safe_dump([value], allow_unicode=True, default_flow_style=True, width=math.inf)[1:-2]
    with suppress(params.ConfigError):
        read(tmp_path, edited(key, text))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)
    | anything.map(yaml.safe_dump)
)
def test_of_any_text_it_says_why(tmp_path: Path, text: str) -> None:
    with pytest.raises(params.ConfigError):
        read(tmp_path, text)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    position=st.integers(0, len((ROOT / "params.yaml").read_text())),
    cut=st.integers(0, 40),
    new=st.text(st.characters(codec="ascii"), max_size=6),
)
def test_with_any_edit_of_the_shipped_text_it_loads_or_says_why(
    tmp_path: Path, position: int, cut: int, new: str
) -> None:
    shipped = (ROOT / "params.yaml").read_text()
    with suppress(params.ConfigError):
        read(tmp_path, shipped[:position] + new + shipped[position + cut :])
