"""dvc.yaml and the code say the same: dependencies, parameters, paths, and what git ignores."""

import ast
import importlib
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from source import modules, reached

DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES: dict[str, dict[str, Any]] = DVC["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
# Files of src that are read, not imported.
READ = {"download": {"src/datasets.yaml"}}


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


def source(name: str) -> Path:
    return ROOT / "stages" / f"{script(name)}.py"


def arguments(name: str) -> list[str]:
    return shlex.split(STAGES[name]["cmd"])[3:]


def inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def test_there_is_something_to_look_at() -> None:
    assert {"download", "train_gan", "generate", "report"} <= set(STAGES)
    assert len(OUTS) > 10


def test_every_stage_has_its_file_and_every_file_its_stage() -> None:
    files = {name.removeprefix("stages.") for name in modules("stages")}
    assert files - {"recover", "summary"} == {script(name) for name in STAGES}


@pytest.mark.parametrize("name", STAGES)
def test_the_command_runs_the_stage_of_that_name(name: str) -> None:
    command = shlex.split(STAGES[name]["cmd"])
    assert command[:2] == ["python", "-m"]
    assert re.fullmatch(rf"{script(name)}(_[a-z]+)?", name)
    assert "${" not in STAGES[name]["cmd"]
    assert len(STAGES[name]["desc"]) > 20


@pytest.mark.parametrize("name", STAGES)
def test_code_dependencies_are_exactly_what_the_stage_imports(name: str) -> None:
    code = {dep for dep in STAGES[name]["deps"] if dep.split("/")[0] in ("src", "stages")}
    imported = {f"{module.replace('.', '/')}.py" for module in reached(source(name))}
    assert code == imported | {f"stages/{script(name)}.py"} | READ.get(name, set())
    assert len(set(STAGES[name]["deps"])) == len(STAGES[name]["deps"])


def used_parameters(path: Path) -> set[str]:
    """The parameters that a stage reads: attributes of `params` or of a call of `config.load`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("params", "config.load()"):
            found.add(node.attr)
    if "recipe" in found:
        found = found - {"recipe"} | {"loss", "recipes.${loss}"}
    return found


@pytest.mark.parametrize("name", STAGES)
def test_parameters_are_exactly_those_that_the_stage_reads(name: str) -> None:
    declared = STAGES[name].get("params", [])
    sections = {key if "${" in key else key.split(".")[0] for key in declared}
    assert sections == used_parameters(source(name))
    assert len(sections) == len(declared)
    for key in declared:
        section, _, rest = key.partition(".")
        assert section in PARAMS
        if rest and "${" not in rest:  # one value of a section: no other may be read, nor all of it passed on
            text = source(name).read_text()
            assert rest in PARAMS[section]
            assert text.count(f"params.{section}") == len(re.findall(rf"params\.{key}\b", text)) > 0


@pytest.mark.parametrize("name", STAGES)
def test_parameters_are_read_under_their_names_only(name: str) -> None:
    # `params` passed on whole, or under another name, would hide from the test above what is read.
    text = source(name).read_text()
    tree = ast.parse(text)
    read = [node.value for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    whole = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Name)
        and node.id == "params"
        and isinstance(node.ctx, ast.Load)
        and node not in read
    ]
    assert not whole
    assert text.count("config.load()") == 1
    assert "getattr" not in text


def test_every_parameter_is_read_by_a_stage() -> None:
    used = set().union(*(used_parameters(source(name)) for name in STAGES))
    assert {key.split(".")[0] for key in used} == set(PARAMS)


# What a stage reads but its training does not depend on: a name for the progress bar, what comes after.
BESIDE_TRAINING = {
    "train_gan": {"loss"},
    "generate": {"dataset", "generate", "loss", "recipe", "generator", "verdict"},
}
TRAINING = [name for name in STAGES if "resume.opened(" in source(name).read_text()]


def mentioned(tree: ast.AST, node: ast.AST, owner: str) -> set[str]:
    """Attributes of `owner` in an expression, or in what the names in it were assigned."""
    found = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and ast.unparse(part.value) == owner:
            found.add(part.attr)
        elif isinstance(part, ast.Name):
            for other in ast.walk(tree):
                if isinstance(other, ast.Assign) and part.id in map(ast.unparse, ast.walk(other.targets[0])):
                    found |= mentioned(tree, other.value, owner) if part.id != owner else set()
    return found


def test_every_stage_that_trains_has_a_checkpoint() -> None:
    calls = [name for name in STAGES if re.search(r"supervised\.fit\(|gan\.Run\(", source(name).read_text())]
    assert len(calls) == 7
    assert calls == TRAINING


@pytest.mark.parametrize("name", TRAINING)
def test_a_checkpoint_is_of_all_parameters_and_inputs_of_its_stage(name: str) -> None:
    # A stage must not go on from a run with another value of anything that it reads.
    tree = ast.parse(source(name).read_text())
    (call,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "resume.opened"
    )
    given = {word.arg: word.value for word in call.keywords}
    assert ast.unparse(call.args[0]) == "__file__"
    beside = BESIDE_TRAINING.get(script(name), set())
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "params"
    }
    assert mentioned(tree, given["settings"], "params") == read - beside
    flags = dict(zip(arguments(name)[::2], arguments(name)[1::2], strict=True))
    deps = {flag.removeprefix("--") for flag, path in flags.items() if path in STAGES[name]["deps"]}
    assert mentioned(tree, given["inputs"], "args") >= deps - beside


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


def test_plots_show_outputs() -> None:
    paths = plotted()
    assert len(paths) >= 5
    for path in paths:
        assert any(inside(path, out) for out in OUTS), path


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


@pytest.mark.parametrize("name", [*STAGES, "recover", "summary"])
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
