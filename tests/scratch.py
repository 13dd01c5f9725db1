"""A scratch clone of the work tree on a tiny data set, driven through DVC as a user drives it."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from conftest import GREY, ROOT, write_set

from src.datasets import idx

STAGES = (
    "recipe",
    "download",
    "train_extractor",
    "render",
    "label_train",
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
    "worth_real",
    "worth",
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
    "render.count": 100,
    "render.test_count": 100,
    "label_train.contrast_steps": 2,
    "label_train.steps": 4,
    "worth.steps": 3,
    "worth.finetune_steps": 2,
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
        # Two tests at a time on two cores: a thread that waits for work is not to keep a core busy.
        self.env["OMP_WAIT_POLICY"] = "PASSIVE"
        self.env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def run(self, *command: str, ok: bool = True) -> str:
        result = subprocess.run(
            command, cwd=self.path, env=self.env, capture_output=True, text=True, **self.user
        )
        assert (result.returncode == 0) == ok, f"{command}\n{result.stdout}\n{result.stderr}"
        return result.stdout + result.stderr

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A command in a session of its own, of which it is the leader."""
        return subprocess.Popen(
            command,
            cwd=self.path,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **self.user,
        )

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

    def locked(self) -> dict[str, Any]:
        return yaml.safe_load((self.path / "dvc.lock").read_text())["stages"]

    def results(self) -> dict[str, dict[str, str]]:
        """The hashes of all that each stage wrote, as DVC recorded them."""
        return {
            stage: {out["path"]: out["md5"] for out in locked["outs"]}
            for stage, locked in self.locked().items()
        }

    def at_work(self) -> dict[int, str]:
        """Stages that run in the clone or in a workspace of its experiments: process and name. Linux only."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (process / "cmdline").read_bytes().decode().split("\0")
                here = (process / "cwd").resolve().is_relative_to(self.path.resolve())
                if words[1:2] == ["-m"] and here:
                    found[int(process.name)] = words[2].removeprefix("stages.")
        return found

    def settle(self) -> None:
        """Waits until no stage is at work any more, as each ends with its dvc."""
        deadline = time.monotonic() + 30
        while busy := self.at_work():
            assert time.monotonic() < deadline, busy
            time.sleep(0.05)


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


def once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """A folder that the first of pytest's workers fills and the others find."""
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)  # of a worker that failed
            fill(part)
            part.rename(folder)
    return folder


def make(base: Path) -> None:
    """A tiny data set in base/data; a clone with tiny params in base/clone, in which nothing has run."""
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


def copy(clone: Clone, path: Path) -> Clone:
    """A clone with all that has run in it, in another place."""
    shutil.copytree(clone.path, path, symlinks=True)
    return Clone(path, Path(clone.env["DATASET_FOLDER"]))


def finish(clone: Clone) -> None:
    """Runs the pipeline and commits what comes of it."""
    assert ran(clone.run("dvc", "repro")) == set(STAGES)
    clone.run("git", "add", "-A")
    clone.run("git", "commit", "-qm", "run")


def another(clone: Clone, path: Path) -> Clone:
    """A clone of the clone that nothing has run in, and whose stages write a checkpoint before each step."""
    clone.run("git", "clone", "-q", str(clone.path), str(path))
    module = path / "src/core/checkpoint.py"
    code = module.read_text()
    assert code.count("SECONDS = 20.0") == 1
    module.write_text(code.replace("SECONDS = 20.0", "SECONDS = 0.0"))
    return Clone(path, Path(clone.env["DATASET_FOLDER"]))
