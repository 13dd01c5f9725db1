"""dvc.yaml and the code say the same: dependencies, parameters, paths, and what git ignores."""

import ast
import dataclasses
import importlib
import inspect
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from conftest import ROOT
from source import modules, reached

from src.core import params
from src.core.settings import Params
from src.gan import games, losses, penalties, source
from src.networks import pairs

DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES: dict[str, dict[str, Any]] = DVC["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
# Files of src that are read, not imported.
READ = {name: {"src/datasets/table.yaml"} for name in ("download", "render")}
# Code that can refuse, and never change a byte of what a stage writes.
EXEMPT = {f"src/core/{name}.py" for name in ("errors", "stage", "parent", "params", "limits", "settings")}
# Code whose rows, as far as the recipe names them, have fingerprints in RESOLVED.
TABLES = {f"src/gan/{name}.py" for name in ("losses", "penalties", "games", "gan", "cyclegan")} | {
    f"src/networks/{name}.py" for name in ("pairs", "mlp", "conv")
}
RESOLVED = "results/recipe.json"


def outs(stage: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A stage's outputs with their options."""
    found: dict[str, dict[str, Any]] = {}
    for out in stage["outs"]:
        found |= out if isinstance(out, dict) else {out: {}}
    return found


OUTS = {path: options for stage in STAGES.values() for path, options in outs(stage).items()}


def script(name: str) -> str:
    """A stage's script: two stages may run one, told apart by what they add to its name."""
    return shlex.split(STAGES[name]["cmd"])[2].removeprefix("stages.") if name in STAGES else name


def file_of(name: str) -> Path:
    return ROOT / "stages" / f"{script(name)}.py"


def arguments(name: str) -> list[str]:
    return shlex.split(STAGES[name]["cmd"])[3:]


def inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def test_there_is_something_to_look_at() -> None:
    assert {"recipe", "download", "train_gan", "generate", "report"} <= set(STAGES)
    assert len(OUTS) > 10


def test_every_stage_has_its_file_and_every_file_its_stage() -> None:
    files = {name.removeprefix("stages.") for name in modules("stages")}
    assert files - {"docs", "recover", "summary"} == {script(name) for name in STAGES}


@pytest.mark.parametrize("name", STAGES)
def test_the_command_runs_the_stage_of_that_name(name: str) -> None:
    command = shlex.split(STAGES[name]["cmd"])
    assert command[:2] == ["python", "-m"]
    assert re.fullmatch(rf"{script(name)}(_[a-z]+)?", name)
    assert "${" not in STAGES[name]["cmd"]
    assert len(STAGES[name]["desc"]) > 20


@pytest.mark.parametrize("name", STAGES)
def test_code_dependencies_are_exactly_what_can_change_a_byte(name: str) -> None:
    code = {dep for dep in STAGES[name]["deps"] if dep.split("/")[0] in ("src", "stages")}
    imported = {f"{module.replace('.', '/')}.py" for module in reached(file_of(name))}
    elsewhere = TABLES if RESOLVED in STAGES[name]["deps"] else set()
    assert code == (imported - EXEMPT - elsewhere) | {f"stages/{script(name)}.py"} | READ.get(name, set())
    assert len(set(STAGES[name]["deps"])) == len(STAGES[name]["deps"])


def test_what_no_stage_depends_on_is_there() -> None:
    assert all((ROOT / path).is_file() for path in EXEMPT | TABLES)


ROWS: dict[str, dict[str, Any]] = {
    "kind": games.GAMES,
    "loss": losses.LOSSES,
    "penalty": penalties.PENALTIES,
    "network": pairs.PAIRS,
}


def test_the_tables_are_all_code_that_the_resolved_recipe_has_fingerprints_of() -> None:
    parts = [part for table in ROWS.values() for row in table.values() if row for part in row_of(row)]
    of_rows = {Path(inspect.getfile(part)) for part in parts}
    holding = {Path(module.__file__) for module in (games, losses, penalties, pairs)}
    assert {path.relative_to(ROOT).as_posix() for path in of_rows | holding} == TABLES


def row_of(row: Any) -> tuple[Any, ...]:
    return row if isinstance(row, tuple) else (row,)


@pytest.mark.parametrize("key", ROWS)
def test_a_fingerprint_changes_with_its_row_and_with_no_other(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = games.recipe(PARAMS["recipes"]["rpgan"], "recipes.rpgan")
    before = source.fingerprints(recipe)
    assert set(before) == set(ROWS)
    monkeypatch.setitem(ROWS[key], "new", Path)  # a row that another recipe may name
    assert source.fingerprints(recipe) == before
    monkeypatch.setitem(ROWS[key], getattr(recipe, key), Path)
    after = source.fingerprints(recipe)
    assert {name for name in before if before[name] != after[name]} == {key}


# Parameters


def leaves(value: Any, key: str) -> set[str]:
    """The keys of all values under one of params.yaml; a list is a value."""
    if not isinstance(value, dict):
        return {key}
    return set().union(*(leaves(item, f"{key}.{name}") for name, item in value.items()))


def at(key: str) -> set[str]:
    """The leaves of params.yaml at a key of dvc.yaml."""
    key = key.replace("${loss}", PARAMS["loss"])
    value: Any = PARAMS
    for name in key.split("."):
        value = value[name]
    return leaves(value, key)


# What the rows of `recipes` are read for, where not for all that the one that `loss` names holds.
OF_THE_ROW = {"train_labeller": {"recipes.${loss}.conditional", "recipes.${loss}.kind"}}
# Reads nothing, and refuses bad parameters as every stage does.
CHECKS_ONLY = "report"


def settings_of(name: str) -> Any:
    return importlib.import_module(f"stages.{script(name)}").Settings


def fields_of(name: str) -> dict[str, str]:
    """The key of params.yaml for each field of a stage's settings."""
    return {field.name: params.key_of(field) for field in dataclasses.fields(settings_of(name))}


READING = [name for name in STAGES if name != CHECKS_ONLY]


@pytest.mark.parametrize("name", READING)
def test_parameters_are_exactly_those_of_the_stages_settings(name: str) -> None:
    declared = [leaf for key in STAGES[name]["params"] for leaf in sorted(at(key))]
    assert len(set(declared)) == len(declared)
    keys = set(fields_of(name).values())
    if "recipes" in keys:
        keys = keys - {"recipes"} | OF_THE_ROW.get(name, {"recipes.${loss}"})
        # dvc.yaml's key has the row's name in it: who reads one value of a row need not care for the name.
        keys -= {"loss"} if name in OF_THE_ROW else set()
    assert set(declared) == set().union(*map(at, keys))


@pytest.mark.parametrize("name", READING)
def test_a_stages_settings_are_frozen_and_of_the_types_that_are_checked(name: str) -> None:
    settings = settings_of(name)
    assert settings.__dataclass_params__.frozen
    hints = get_type_hints(settings)
    for field, key in fields_of(name).items():
        kind: Any = Params
        for part in key.split("."):
            kind = get_type_hints(kind)[part]
        assert hints[field] == kind, key


@pytest.mark.parametrize("name", sorted({script(name) for name in STAGES}))
def test_all_settings_are_read_and_under_their_names_only(name: str) -> None:
    # Settings passed on whole, or under another name, would hide what is read: only a checkpoint's key may,
    # and a function of the same file that calls them settings, too.
    text = (ROOT / "stages" / f"{name}.py").read_text()
    tree = ast.parse(text)
    assert text.count("params.load(") == 1
    assert "getattr" not in text
    assert "asdict(settings" not in text
    if name == CHECKS_ONLY:
        assert "\n    params.load(Params)" in text
        assert "params" not in STAGES[name]
        assert "class Settings" not in text
        return
    assert attributes(tree, "settings") | attributes(tree, "params.load(Settings)") == set(fields_of(name))
    allowed = set(map(id, follow(tree, key_of(tree)))) if "checkpoint.opened(" in text else set()
    owners = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    own = {node.name: node.args.args[0].arg for node in tree.body if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and own.get(ast.unparse(node.func)) == "settings":
            allowed.add(id(node.args[0]))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "settings" and isinstance(node.ctx, ast.Load):
            assert id(node) in owners | allowed, f"line {node.lineno}"


def test_of_the_recipes_rows_the_labeller_reads_two_values() -> None:
    tree = ast.parse(file_of("train_labeller").read_text())
    uses = [ast.unparse(node) for node in ast.walk(tree)]
    assert {"row = settings.recipes[settings.loss]", "row['kind']", "row.get('conditional', True)"} <= {*uses}
    assert sum(use == "row" for use in uses) == 3  # where it is made, and these
    assert ast.unparse(tree).count("settings.recipes") == ast.unparse(tree).count("settings.loss") == 1


def test_every_parameter_is_read_by_its_name() -> None:
    read = set()
    for path in (*modules("src").values(), *modules("stages").values()):
        tree = ast.parse(path.read_text())
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        read |= {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and id(node) not in called
        }
    every = {leaf for key in PARAMS if key != "bases" for leaf in leaves(PARAMS[key], key)}
    assert len(every) > 100
    assert {leaf for leaf in every if leaf.rpartition(".")[2] not in read} == set()


def test_every_parameter_is_one_of_a_stage() -> None:
    used = set().union(*(at(key) for stage in STAGES.values() for key in stage.get("params", [])))
    assert used == {
        *(leaf for key in PARAMS if key not in ("bases", "recipes") for leaf in leaves(PARAMS[key], key)),
        *at("recipes.${loss}"),  # which merges of bases what it needs
    }


# Checkpoints


TRAINING = [name for name in STAGES if "checkpoint.opened(" in file_of(name).read_text()]
# What a stage reads, but its training does not depend on: whether there is to be one at all.
BESIDE_TRAINING = {"train_labeller": {"loss", "recipes", "relabel"}}


def attributes(tree: ast.AST, owner: str) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == owner
    }


def opening(tree: ast.AST) -> ast.Call:
    """The call that opens a stage's checkpoint."""
    (call,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "checkpoint.opened"
    )
    return call


def key_of(tree: ast.AST) -> ast.expr:
    return {word.arg: word.value for word in opening(tree).keywords}["settings"]


def assigned(tree: ast.AST, name: str) -> Iterator[ast.expr]:
    """All that a name stands for."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign):
            continue
        (target,) = node.targets
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = zip(target.elts, node.value.elts, strict=True)
        else:
            pairs = zip([target], [node.value], strict=True)
        yield from (value for one, value in pairs if name in map(ast.unparse, ast.walk(one)))


def follow(tree: ast.AST, node: ast.AST, known: frozenset[str] = frozenset({"args"})) -> Iterator[ast.AST]:
    """The parts of an expression, and those of what the names in it stand for."""
    for part in ast.walk(node):
        yield part
        if isinstance(part, ast.Name) and part.id not in known:
            for value in assigned(tree, part.id):
                yield from follow(tree, value, known | {part.id})


def test_every_stage_that_trains_has_a_checkpoint() -> None:
    calls = [
        name
        for name in STAGES
        if re.search(r"supervised\.fit\(|\bRun\(|\bguess\(|\bArms\(", file_of(name).read_text())
    ]
    assert len(calls) == 10
    assert calls == TRAINING


def test_experiments_that_draw_differently_from_one_generator_wait_for_no_lock() -> None:
    # What waits for a lock are stages that train: none of these depends on how the generator is drawn from,
    # and those after it train on what was drawn, which is of their fingerprint.
    generated = {"generate", "generate.latent_scale"}
    assert {name for name in STAGES if generated & set(STAGES[name].get("params", []))} == {"generate"}
    assert "generate" not in TRAINING
    after = [name for name in TRAINING if "data/synthetic" in STAGES[name]["deps"]]
    assert after == ["pretrain", "worth"]
    assert "inputs = (args.real, args.synthetic)" in file_of("pretrain").read_text()
    assert (
        "given = (args.real, args.labelled, args.synthetic, args.source, args.watcher)"
        in file_of("worth").read_text()
    )


@pytest.mark.parametrize("name", TRAINING)
def test_a_checkpoint_is_of_all_parameters_and_inputs_of_its_stage(name: str) -> None:
    # A stage must not go on from a run with another value of anything that it reads.
    tree = ast.parse(file_of(name).read_text())
    call = opening(tree)
    given = {word.arg: word.value for word in call.keywords}
    assert ast.unparse(call.args[0]) == "__file__"
    key = list(follow(tree, given["settings"]))
    owners = {id(part.value) for part in key if isinstance(part, ast.Attribute)}
    named = {part.attr for part in key if isinstance(part, ast.Attribute) and told(part.value) == "settings"}
    whole = any(told(part) == "settings" and id(part) not in owners for part in key)
    assert whole or named == set(fields_of(name)) - BESIDE_TRAINING[name]
    flags = dict(zip(arguments(name)[::2], arguments(name)[1::2], strict=True))
    deps = {flag.removeprefix("--") for flag, path in flags.items() if path in STAGES[name]["deps"]}
    found = [*key, *follow(tree, given["inputs"])]
    assert {
        part.attr for part in found if isinstance(part, ast.Attribute) and told(part.value) == "args"
    } >= deps


def told(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("name", STAGES)
def test_paths_of_the_command_are_dependencies_or_outputs(name: str) -> None:
    paths = [argument for argument in arguments(name) if not argument.startswith("--")]
    deps, made = set(STAGES[name]["deps"]), set(outs(STAGES[name]))
    for path in paths:
        known = path in deps or path in made
        # A folder in which the stage reads some files only, or writes several outputs.
        parent = any(Path(path) in Path(other).parents for other in deps | made)
        assert known or parent, path
    # and the other way round: each dependency that is data, and each output, is reached by some argument
    data = {dep for dep in deps if dep.split("/")[0] not in ("src", "stages")}
    for path in data | made:
        assert any(inside(path, argument) for argument in paths), path


@pytest.mark.parametrize("name", STAGES)
def test_data_dependencies_are_made_by_another_stage(name: str) -> None:
    for dep in STAGES[name]["deps"]:
        if dep.split("/")[0] in ("src", "stages"):
            assert (ROOT / dep).is_file()
        else:
            assert any(inside(dep, out) for out in OUTS), dep
            assert not any(inside(dep, out) for out in outs(STAGES[name])), dep


def test_no_output_is_made_twice_or_lies_in_another() -> None:
    listed = [path for stage in STAGES.values() for path in outs(stage)]
    assert len(set(listed)) == len(listed)
    assert not [(a, b) for a in listed for b in listed if a != b and inside(a, b)]


def ignored(path: str) -> bool:
    command = ["git", "check-ignore", "--no-index", "--quiet", path]
    code = subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode
    assert code in (0, 1)
    return code == 0


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="git answers in a repository only")
@pytest.mark.parametrize("path", OUTS)
def test_git_ignores_what_dvc_keeps_and_nothing_else(path: str) -> None:
    cached = OUTS[path].get("cache", True)
    assert ignored(path) is cached


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="git answers in a repository only")
def test_git_and_dvc_ignore_checkpoints() -> None:
    assert ignored(".checkpoints/train_gan/0123/000001-abc.safetensors")
    assert ".checkpoints" in (ROOT / ".dvcignore").read_text().splitlines()


def test_metrics_are_small_files_in_git() -> None:
    metrics = DVC["metrics"]
    assert metrics
    assert set(metrics) == {path for path in OUTS if path.startswith("metrics/") and path.endswith(".json")}
    for path in metrics:
        assert OUTS[path] == {"cache": False}


@pytest.mark.parametrize("name", STAGES)
def test_expensive_stages_keep_all_in_the_cache(name: str) -> None:
    # Objects of uncached outputs are never pushed: a clone would have to run their stage again.
    uncached = {path for path, options in outs(STAGES[name]).items() if options.get("cache") is False}
    assert all(path.startswith("metrics/") for path in uncached)
    assert not uncached or name in ("audit", "evaluate", "report", "verdict")


def plotted() -> list[str]:
    paths: list[str] = []
    for plot in DVC["plots"]:
        if isinstance(plot, str):
            paths.append(plot)
        else:
            for options in plot.values():
                paths += [
                    path for axis in (options["y"], options["x"]) if isinstance(axis, dict) for path in axis
                ]
    return paths


def test_plots_show_outputs_and_committed_tables() -> None:
    paths = plotted()
    assert len(paths) >= 5
    for path in paths:
        assert any(inside(path, out) for out in OUTS) or (ROOT / "docs" / Path(path).name).is_file(), path


def test_templates_of_plots_exist() -> None:
    own = {path.stem for path in (ROOT / ".dvc" / "plots").glob("*.json")}
    shipped = {
        *("simple", "linear", "confusion", "confusion_normalized", "scatter", "smooth"),
        *("bar_horizontal", "bar_horizontal_sorted"),
    }
    used = {
        options["template"] for plot in DVC["plots"] if isinstance(plot, dict) for options in plot.values()
    }
    assert used
    assert used <= own | shipped


def test_artifacts_are_outputs_with_type_and_description() -> None:
    assert DVC["artifacts"]
    for artifact in DVC["artifacts"].values():
        assert artifact["path"] in OUTS
        assert artifact["type"] in ("model", "dataset")
        assert len(artifact["desc"]) > 10


def keys(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


def test_nothing_is_frozen_or_run_for_ever() -> None:
    assert {"cmd", "cache"} <= keys(DVC)
    assert not keys(DVC) & {"frozen", "persist", "always_changed", "foreach", "matrix", "vars"}


@pytest.mark.parametrize("name", [*STAGES, "docs", "recover", "summary"])
def test_a_stage_explains_its_arguments(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        importlib.import_module(f"stages.{script(name)}").main(["--help"])
    assert leaving.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: python -m stages.{script(name)} ")
    if name in STAGES:
        flags = [argument for argument in arguments(name) if argument.startswith("--")]
        assert flags
        for flag in flags:
            assert f"\n  {flag} " in text


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_without_its_arguments_says_which_are_missing(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        importlib.import_module(f"stages.{script(name)}").main([])
    assert leaving.value.code == 2
    text = capsys.readouterr().err
    needed = {argument for argument in arguments(name) if argument.startswith("--")}
    for other in STAGES:  # what another stage with this script leaves out is optional
        if script(other) == script(name):
            needed &= set(arguments(other))
    if name == "evaluate":  # it scores image sets from outside too, and then writes only what it is asked for
        needed = {"--synthetic"}
    assert needed
    for flag in needed:
        assert flag in text.partition("the following arguments are required")[2]
