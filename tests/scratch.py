"""A scratch clone of the work tree on a tiny data set, driven through DVC as a user drives it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from conftest import ROOT, write_set

from src import files, idx

STAGES = (
    "download",
    "train_extractor",
    "train_gan",
    "verdict",
    "generate",
    "evaluate",
    "audit",
    "pretrain_real",
    "pretrain",
    "finetune_scratch",
    "finetune",
    "report",
)
TINY = {
    "dataset": "tiny",
    "validation": 100,
    "extractor.epochs": 1,
    "classifier.epochs": 1,
    "labeller.epochs": 1,
    "pretrain.replicates": 2,
    "finetune.replicates": 2,
    "finetune.min_steps": 3,
    "finetune.labels": [10, 200],
    "generate.count": 200,
    "generate.test_count": 100,
    "evaluate.images": 100,
    "evaluate.splits": 2,
    "train.log_points": 10,
    "train.grids": 2,
    "train.checks": 4,
    "train.check_images": 100,
    "verdict.allow_failed": True,  # two seconds of training make no digits
}


class Clone:
    """A clone with commands run in it, without network, as a user with a name and an e-mail address."""

    def __init__(self, path: Path, data: Path, user: int | None = None) -> None:
        self.path = path
        self.user: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}
        names = {"NAME": "tester", "EMAIL": "tester@example.invalid"}
        git = {f"GIT_{who}_{key}": value for who in ("AUTHOR", "COMMITTER") for key, value in names.items()}
        self.env = os.environ | git | {"DATASET_FOLDER": str(data), "DVC_NO_ANALYTICS": "1"}
        self.env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def run(self, *command: str, ok: bool = True) -> str:
        result = subprocess.run(
            command, cwd=self.path, env=self.env, capture_output=True, text=True, **self.user
        )
        assert (result.returncode == 0) == ok, f"{command}\n{result.stdout}\n{result.stderr}"
        return result.stdout + result.stderr

    def metrics(self, name: str) -> dict[str, float]:
        return json.loads((self.path / "metrics" / f"{name}.json").read_text())

    def locked(self) -> dict[str, object]:
        return yaml.safe_load((self.path / "dvc.lock").read_text())["stages"]


def ran(output: str) -> set[str]:
    return set(re.findall(r"Running stage '(\w+)'", output))


def make(base: Path) -> Clone:
    """A clone whose params and data set are tiny, with one finished, committed run."""
    write_set(base / "data", 400, 100)
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    for name in filter(None, tracked):
        source, target = ROOT / name, base / "clone" / name
        if source.is_file() and name != "dvc.lock" and not name.startswith("metrics/"):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    clone = Clone(base / "clone", base / "data")

    # A new data set is one row in the table: nothing else is told of it.
    row = {"torchvision_class": "MNIST", "debian": "none", "sha256": {}}
    for name in (*idx.NAMES["train"], *idx.NAMES["test"]):
        row["sha256"][name] = files.sha256(idx.folder(base / "data") / name)
    with (clone.path / "src" / "datasets.yaml").open("a") as table:
        yaml.safe_dump({"tiny": row}, table)
    params = yaml.safe_load((clone.path / "params.yaml").read_text())
    for key, value in TINY.items():
        section, _, name = key.rpartition(".")
        (params[section] if section else params)[name] = value
    for recipe in params["recipes"].values():
        recipe |= {"images": 2000, "width": 16}
    (clone.path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

    clone.run("git", "init", "-q", "-b", "main")
    clone.run("git", "add", "-A")
    clone.run("git", "commit", "-qm", "tiny")
    assert ran(clone.run("dvc", "repro")) == set(STAGES)
    clone.run("git", "add", "-A")
    clone.run("git", "commit", "-qm", "run")
    return clone
