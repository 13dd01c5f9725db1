"""One real stage after another in a tiny project: killed, or run elsewhere, it gives the same bytes."""

import copy
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import GREY, ROOT, write_set
from matplotlib.figure import Figure

from src.core import files
from src.networks import weights
from src.networks.classifier import ConvClassifier
from src.networks.network import build
from src.report import plots
from stages import generate, recipe, train_gan, train_labeller, verdict

pytestmark = pytest.mark.slow

SHIPPED = yaml.safe_load((ROOT / "params.yaml").read_text())
RECIPES = SHIPPED["recipes"]
# The source is looked at only by a translator, which here is to turn images into their like.
SOURCE = ["--source", "data"]
INPUTS = ["--data", "data", *SOURCE, "--extractor", "extractor.safetensors"]
ARGUMENTS = [*INPUTS, "--recipe", "recipe.json", "--generator", "made/g.safetensors", "--results", "made/r"]


def project(root: Path) -> list[str]:
    """A tiny project in a folder, and the command that trains its GAN with a checkpoint after each step."""
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "stages", root / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    write_set(root / "data", 400, 100)
    known = {"labels": 300, "source": "given", "draw": "all", "drawn": "the first 300", "looked_at": 300}
    files.write_json(root / "data/manifest.json", known)
    files.write_json(root / "allowed.json", {"labels": "all"})
    write_params(root / "params.yaml", SHIPPED["loss"])
    extractor = build(ConvClassifier, GREY, seed=0, width=2)
    weights.write(root / "extractor.safetensors", extractor)
    often = "import runpy; from src.core import checkpoint; checkpoint.SECONDS = 0; "
    often += "runpy.run_module('stages.train_gan', run_name='__main__', alter_sys=True)"
    return [sys.executable, "-c", often, *ARGUMENTS]


def write_params(path: Path, name: str) -> None:
    """Tiny settings, with the row of one recipe only: every stage reads all rows, and that takes its time."""
    params = copy.deepcopy(SHIPPED) | {"validation": 100, "threads": 1, "loss": name}
    params["recipes"] = {name: params["recipes"][name] | {"images": 1500, "width": 4}}
    params["bases"] = params["recipes"]
    params["watch"] |= {"log_points": 3, "checks": 3, "grids": 2, "check_images": 100}
    params["labeller"] |= {"width": 2, "epochs": 1}
    params["generate"] |= {"count": 100, "test_count": 50}
    params["evaluate"] |= {"images": 50}
    params["verdict"] |= {"allow_failed": True, "baselines": []}
    path.write_text(yaml.safe_dump(params))


def hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): files.sha256(path) for path in folder.rglob("*") if path.is_file()}


def test_a_stage_that_is_killed_again_and_again_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    recipe.main(["--output", "recipe.json", "--labels", "labels.json"])
    train_gan.main(ARGUMENTS)
    shutil.move(tmp_path / "made", tmp_path / "whole")
    rng = random.Random(0)
    kills = resumed = 0
    while True:
        stage = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        if kills < 2:
            # Not before there is something new to lose, then at any moment, a write's among them.
            found = set(tmp_path.glob(".checkpoints/train_gan/*/*.safetensors"))
            while stage.poll() is None and found >= set(tmp_path.glob(".checkpoints/*/*/*.safetensors")):
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.1))
            stage.send_signal(rng.choice([signal.SIGKILL, signal.SIGTERM]))
        said = stage.communicate()[1]
        resumed += "resuming where it was cut off" in said
        if stage.returncode == 0:
            break
        assert stage.returncode in (-signal.SIGKILL, -signal.SIGTERM), said
        kills += 1
    assert resumed == kills  # each start but the first
    assert hashes(tmp_path / "made") == hashes(tmp_path / "whole")
    assert not list((tmp_path / ".checkpoints" / "train_gan").iterdir())


def make(name: str) -> dict[str, str]:
    """Trains a recipe in the current folder's project, draws its set; the hashes of all that was written."""
    write_params(Path("params.yaml"), name)
    made = Path("made", name)
    chosen, generator, labeller = f"{made}/recipe.json", f"{made}/generator.safetensors", f"{made}/labeller"
    recipe.main(["--output", chosen, "--labels", f"{made}/labels.json"])
    outputs = ("--generator", generator, "--results", f"{made}/gan")
    train_gan.main([*INPUTS, "--recipe", chosen, *outputs])
    train_labeller.main(["--data", "data", "--output", labeller])
    metrics = f"{made}/gan.json"
    outcome = f"{made}/outcome.json"
    with pytest.MonkeyPatch.context() as patch:
        if name != SHIPPED["loss"]:  # the charts take longer than the training, and are drawn alike for all
            patch.setattr(plots, "training_curves", lambda *_: Figure(figsize=(1, 1)))
        written = ("--metrics", metrics, "--outcome", outcome, "--picture", f"{made}/curves.png")
        verdict.main(["--recipe", chosen, "--gan", f"{made}/gan", *written])
    generate.main(
        [
            *("--data", "data", "--recipe", chosen, "--generator", generator, "--labeller", labeller),
            *("--outcome", outcome, "--output", f"{made}/synthetic", *SOURCE),
            *("--labels", "allowed.json"),  # the set in data has all labels, for cyclegan, too
        ]
    )
    return hashes(made)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Hashes for every recipe from a process in another folder, language, time zone, and order of sets."""
    top = tmp_path_factory.mktemp("anderswo, mit Umlaut ä")
    project(top)
    env = {"LC_ALL": "C", "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": "2"}
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    code = "import json, test_same_bytes as t; print(json.dumps({name: t.make(name) for name in t.RECIPES}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=top,
        env=os.environ | env | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, str]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project(top := tmp_path_factory.mktemp("here"))
    return top


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_gives_the_same_bytes_elsewhere(
    name: str, here: Path, elsewhere: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    found = make(name)
    # More are the labeller's network, where the generator knows no classes, and pictures of translations.
    assert len(found) == 20 + {"source": 1, "cyclegan": 2}.get(name, 0)
    assert found == elsewhere[name]


def test_the_recipes_differ_from_each_other(elsewhere: dict[str, dict[str, str]]) -> None:
    generators = [found["generator.safetensors"] for found in elsewhere.values()]
    assert len(set(generators)) == len(RECIPES)
