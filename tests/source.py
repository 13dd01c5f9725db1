"""What the code imports, read from its text: for the tests of the import rule and of dvc.yaml."""

import ast
from pathlib import Path

from conftest import ROOT

PACKAGES = ("src", "stages", "benchmarks", "tests")


def modules(package: str) -> dict[str, Path]:
    """The modules of a package by their dotted names, without the empty __init__ files."""
    paths = sorted((ROOT / package).rglob("*.py"))
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    return {
        name: path for name, path in names.items() if path.name != "__init__.py" or path.read_text().strip()
    }


def imports(path: Path) -> set[str]:
    """Everything that a file imports, wherever in it, by dotted names; of the project, by module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write the import out: from src import ..."
            if node.module in PACKAGES or (ROOT / node.module.replace(".", "/")).is_dir():
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
            else:
                found.add(node.module)
    return found


def own_imports(path: Path) -> set[str]:
    """The part of `imports` that is the project's own."""
    return {name for name in imports(path) if name.split(".")[0] in PACKAGES}


def reached(path: Path) -> set[str]:
    """The modules of src that a file imports, directly or through others."""
    known, found, pending = modules("src"), set(), own_imports(path)
    while pending:
        name = pending.pop()
        if name in known and name not in found:
            found.add(name)
            pending |= own_imports(known[name])
    return found
