"""Where and from which code a benchmark's numbers come: two columns of each table that it writes to docs/."""

import ast
import subprocess
from pathlib import Path

import torch

from src.core.machine import environment
from src.report.markdown import machine


def provenance(device: torch.device) -> dict[str, str]:
    """The processor and the commit; `+` marks a work tree that differs from it.

    Args:
        device: Set up by `src.core.machine.set_up`.
    """
    described = ("git", "describe", "--always", "--dirty=+", "--exclude=*")
    commit = subprocess.run(described, capture_output=True, text=True, check=False).stdout.strip()
    return {"processor": machine(environment(device)), "commit": commit or "unknown"}


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
