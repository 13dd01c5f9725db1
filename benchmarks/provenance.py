"""Where and from which code a benchmark's numbers come: two columns of each table that it writes to docs/."""

import ast
import hashlib
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from src.core.machine import environment
from src.core.settings import Params
from src.report.markdown import machine


def provenance(device: torch.device) -> dict[str, str]:
    """The processor and the commit; `+` marks a work tree that differs from it.

    Args:
        device: Set up by `src.core.machine.set_up`.
    """
    described = ("git", "describe", "--always", "--dirty=+", "--exclude=*")
    commit = subprocess.run(described, capture_output=True, text=True, check=False).stdout.strip()
    return {"processor": machine(environment(device)), "commit": commit or "unknown"}


def stages() -> dict[str, Any]:
    """The stages of dvc.yaml."""
    found: dict[str, Any] = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return found


def before(targets: Iterable[str], stages: Mapping[str, Any]) -> set[str]:
    """Stages of dvc.yaml with all that must run before them."""
    makers = {
        path: name
        for name, one in stages.items()
        for out in one["outs"]
        for path in (out if isinstance(out, dict) else [out])
    }
    found, open_ends = set[str](), [*targets]
    while open_ends:
        name = open_ends.pop()
        if name not in found:
            found.add(name)
            deps = stages[name]["deps"]
            open_ends += [maker for path, maker in makers.items() if any(_inside(dep, path) for dep in deps)]
    return found


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def code_of(names: Iterable[str], settings: Params, loss: str, *others: object) -> str:
    """A fingerprint of stages: of their code and parameters, but for data set, seed and labels.

    Args:
        names: Stages of dvc.yaml.
        settings: All of params.yaml.
        loss: The row of recipes that is played.
        others: Whatever else the numbers depend on.
    """
    found = stages()
    needed = [found[name] for name in names]
    keys = {key.replace("${loss}", loss) for one in needed for key in one.get("params", [])}
    values = {key: _at(settings, key) for key in sorted(keys - {"dataset", "seed", "labels"})}
    digest = hashlib.sha256(repr((values, *others)).encode())
    for path in sorted({dep for one in needed for dep in one["deps"]}):
        if path.startswith(("src/", "stages/")):
            digest.update(meaning(Path(path)))
    return digest.hexdigest()[:8]


def _at(settings: Params, key: str) -> Any:
    """The value of params.yaml that a key of dvc.yaml names."""
    found: Any = settings
    for part in key.split("."):
        found = found[part] if isinstance(found, Mapping) else getattr(found, part)
    return found


def meaning(path: Path) -> bytes:
    """What a file of code says: of Python without comments, docstrings and layout; of others, all of it."""
    if path.suffix != ".py":
        return path.read_bytes()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            body[0] = ast.Pass()
    return ast.dump(tree).encode()


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
