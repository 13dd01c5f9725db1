"""The import rule of the design: who may import whom, read from the code's text."""

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from conftest import ROOT
from source import PACKAGES, imports, modules, own_imports

# What each module of src may import of src. A module imports what is listed here and nothing else of the
# project, so that losses know nothing of data, the loop nothing of files, and nothing in src of a stage.
MAY_IMPORT = {
    "adversarial": {"losses", "penalties", "images", "errors"},
    "batches": set(),
    "card": set(),
    "checkpoints": {"networks", "files", "errors"},
    "config": {"errors"},
    "datasets": {"wheel", "idx", "files", "errors"},
    "distances": {"quality", "seeding"},
    "errors": {"parent"},
    "files": {"errors"},
    "gan": {"adversarial", "batches", "networks", "losses", "penalties", "config", "images", "seeding"},
    "idx": {"files", "errors"},
    "images": {"idx", "errors"},
    "inception": {"images", "errors"},
    "losses": set(),
    "memorisation": set(),
    "networks": set(),
    "parent": set(),
    "penalties": set(),
    "pictures": {"idx", "images", "seeding", "errors"},
    "plots": {"files"},
    "quality": {"images", "errors", "seeding"},
    "resume": {"files", "errors"},
    "sampling": {"images", "seeding"},
    "scorecard": {"scores", "plots", "sampling", "images", "idx", "files"},
    "scores": {"distances", "quality", "supervised", "errors"},
    "seeding": {"errors"},
    "supervised": {"batches", "config", "images", "resume", "errors"},
    "verdict": {"config"},
    "watch": {"adversarial", "config", "images", "quality", "sampling", "seeding"},
    "wheel": {"idx", "files", "errors"},
}
# Of the outside, these import nothing but torch and the standard library.
TORCH_ONLY = ("losses", "memorisation", "networks", "penalties", "batches")

SRC, STAGES, BENCHMARKS = modules("src"), modules("stages"), modules("benchmarks")
EVERYTHING = SRC | STAGES | BENCHMARKS


def short(names: set[str]) -> set[str]:
    return {name.removeprefix("src.") for name in names}


def test_there_is_something_to_look_at() -> None:
    assert {"src.losses", "src.adversarial", "src.wheel"} <= set(SRC)
    assert {"stages.download", "stages.report"} <= set(STAGES)
    assert BENCHMARKS
    # and the reader of imports sees every way of importing
    assert own_imports(SRC["src.adversarial"]) == {
        f"src.{name}" for name in ("errors", "images", "losses", "penalties")
    }
    assert "torch" in imports(SRC["src.adversarial"])
    assert "torchvision" in imports(SRC["src.datasets"])  # inside a function


@pytest.mark.parametrize("name", SRC)
def test_a_module_of_src_imports_only_what_it_may(name: str) -> None:
    key = name.removeprefix("src.")
    assert key in MAY_IMPORT, f"{name} is new: say in MAY_IMPORT of {__file__} what it may import"
    unwanted = own_imports(SRC[name]) - {f"src.{module}" for module in MAY_IMPORT[key]}
    assert not unwanted, f"{name} must not import {', '.join(sorted(unwanted))}"


def test_the_table_names_no_module_and_no_edge_that_is_gone() -> None:
    assert {f"src.{name}" for name in MAY_IMPORT} == set(SRC)
    for name, allowed in MAY_IMPORT.items():
        assert short(own_imports(SRC[f"src.{name}"])) == allowed, (
            f"{name} has less to import than the table allows"
        )


def test_the_table_has_no_circle() -> None:
    done: set[str] = set()
    while len(done) < len(MAY_IMPORT):
        free = {name for name, allowed in MAY_IMPORT.items() if name not in done and allowed <= done}
        assert free, f"these import each other: {sorted(set(MAY_IMPORT) - done)}"
        done |= free


@pytest.mark.parametrize("name", [f"src.{name}" for name in TORCH_ONLY if f"src.{name}" in SRC])
def test_mathematics_imports_torch_only(name: str) -> None:
    outside = {module.split(".")[0] for module in imports(SRC[name])}
    assert outside <= {"torch", "collections", "math", "typing"}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_imports_src_and_no_stage(name: str) -> None:
    found = own_imports(STAGES[name])
    assert found
    assert {module.split(".")[0] for module in found} == {"src"}
    assert found <= set(SRC), f"{name} imports modules: from src import x, or from src.x import y"


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_imports_src_only(name: str) -> None:
    assert {module.split(".")[0] for module in own_imports(BENCHMARKS[name])} <= {"src", "benchmarks"}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_short(name: str) -> None:
    lines = len(STAGES[name].read_text().splitlines())
    assert 10 < lines < 100


def test_requirements_name_every_package_that_is_imported() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = {line.split("==")[0] for line in lines if not line.startswith("#")}
    helpers = {name.removeprefix("tests.") for name in modules("tests")}
    everything = (*EVERYTHING.values(), *modules("tests").values())
    tops = {name.split(".")[0] for path in everything for name in imports(path)}
    outside = tops - sys.stdlib_module_names - set(PACKAGES) - helpers
    assert {"torch", "PIL", "pytest"} <= outside
    # Not installed where nobody compares with them.
    peers = (ROOT / "requirements-peers.txt").read_text()
    for name, package in {"cleanfid": "clean-fid", "prdc": "prdc", "pytorch_fid": "pytorch-fid"}.items():
        assert f"{package}==" in peers
        outside.remove(name)
    packages = packages_distributions()
    missing = {
        name for name in outside if not pinned & {p.lower().replace("_", "-") for p in packages.get(name, [])}
    }
    assert not missing, f"add to requirements.txt: {', '.join(sorted(missing))}"


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
RUNNING = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "importlib.import_module",
    "yaml.load",
    "yaml.unsafe_load",
}


@pytest.mark.parametrize("name", SRC | STAGES)
def test_nothing_that_is_loaded_is_a_pickle(name: str) -> None:
    found = calls(EVERYTHING[name])
    loading = {
        call for call in found if call.endswith(("torch.load", "torch.save", "pickle.load", "pickle.loads"))
    }
    if name == "src.inception":  # its weights exist as a file of torch's only: one of a known hash
        loading -= {"torch.load", "torch.save"}
        loads = [node for node in ast.walk(ast.parse(SRC[name].read_text())) if isinstance(node, ast.Call)]
        loads = [node for node in loads if dotted(node.func) == "torch.load"]
        assert ["weights_only=True" in ast.unparse(node) for node in loads] == [True]
    assert not loading
    assert not found & RUNNING
    assert "allow_pickle" not in EVERYTHING[name].read_text()
    if name != "src.wheel":  # it reads one, of a package with a known hash, and builds arrays only
        assert not imports(EVERYTHING[name]) & PICKLES


def test_the_pickle_of_the_package_is_read_by_the_restricted_reader() -> None:
    assert "pickle" in imports(SRC["src.wheel"])
    assert "_ArraysOnly" in calls(SRC["src.wheel"])
    assert "pickle.Unpickler" not in calls(SRC["src.wheel"])


def test_the_text_of_the_project_is_where_it_is_looked_for() -> None:
    python = {path for folder in ("src", "stages", "benchmarks") for path in (ROOT / folder).rglob("*.py")}
    assert {path for path in python if path.read_text().strip()} == set(EVERYTHING.values())
