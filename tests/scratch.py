"""A scratch clone of the work tree on a tiny data set, driven through DVC as a user drives it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from conftest import GREY, ROOT, write_set

from src.datasets import idx

STAGES = (
    "recipe",
    "download",
    "train_extractor",
    "train_gan",
    "train_labeller",
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
    "watch.log_points": 10,
    "watch.grids": 2,
    "watch.checks": 4,
    "watch.check_images": 100,
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

    @contextmanager
    def params(self, values: Mapping[str, object]) -> Iterator[None]:
        """Gives values of params.yaml others inside the block (see `set_values`)."""
        path = self.path / "params.yaml"
        before = path.read_text()
        set_values(path, values)
        try:
            yield
        finally:
            path.write_text(before)

    def restore(self) -> None:
        """Goes back to the committed run."""
        self.run("git", "checkout", "-q", ".")
        self.run("dvc", "checkout")

    def locked(self) -> dict[str, object]:
        return yaml.safe_load((self.path / "dvc.lock").read_text())["stages"]


def ran(output: str) -> set[str]:
    return set(re.findall(r"Running stage '(\w+)'", output))


def set_values(path: Path, values: Mapping[str, object]) -> None:
    """Sets values of a YAML file by dotted key, and leaves merge keys and comments as they are."""
    from dvc.utils.serialize import modify_yaml  # takes a second

    with modify_yaml(path) as params:
        for key, value in values.items():
            *sections, name = key.split(".")
            section = params
            for part in sections:
                section = section[part]
            section[name] = value


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
    row = {"channels": 1, "height": 28, "width": 28, "classes": list(range(10))}
    row |= {"train": 400, "test": 100}
    row |= {"torchvision_class": "MNIST", "debian": "none", "sha256": idx.hashes(base / "data", GREY)}
    with (clone.path / "src/datasets/table.yaml").open("a") as table:
        yaml.safe_dump({"tiny": row}, table)
    params = clone.path / "params.yaml"
    text = re.sub(r"\bwidth: \d+", "width: 16", params.read_text())  # also what rows merge stays merged
    params.write_text(re.sub(r"\bimages: \d+", "images: 2000", text))
    set_values(params, TINY)

    clone.run("git", "init", "-q", "-b", "main")
    clone.run("git", "add", "-A")
    clone.run("git", "commit", "-qm", "tiny")
    assert ran(clone.run("dvc", "repro")) == set(STAGES)
    clone.run("git", "add", "-A")
    clone.run("git", "commit", "-qm", "run")
    return clone
