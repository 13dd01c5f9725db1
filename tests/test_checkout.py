"""What a user has before the first run: a clone with any line endings, a ZIP without git, an old make."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True, check=False)


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.rstrip("\n")


def test_a_clone_for_windows_has_the_same_bytes(tmp_path: Path) -> None:
    # DVC hashes what lies in the work tree: with other line endings every stage would have changed.
    git(ROOT, "clone", "-q", "-c", "core.autocrlf=true", str(ROOT), str(tmp_path / "clone"))
    clone = tmp_path / "clone"
    rows = [line.split(maxsplit=3) for line in git(clone, "ls-files", "--stage").splitlines()]
    found = git(clone, "hash-object", "--no-filters", *(name for *_, name in rows)).splitlines()
    assert len(found) > 100
    assert [name for (_, digest, _, name), now in zip(rows, found, strict=True) if digest != now] == []


@pytest.mark.parametrize("target", ["repro", "test"])
def test_in_a_zip_make_says_at_once_that_there_is_no_repository(tmp_path: Path, target: str) -> None:
    for name in ("Makefile", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    done = make(tmp_path, target)
    assert done.returncode == 2
    assert "not a git repository" in done.stderr
    assert "where this is a ZIP of the project: git init && git add -A && git commit" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Makefile", "requirements.lock"]


def test_no_recipe_looks_for_its_programs_on_the_path_that_make_sets() -> None:
    # make 3.81, which macOS ships, starts simple lines without a shell, on the PATH that it was given itself.
    targets = re.findall(r"^([a-z-]+): .*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert {"repro", "test", "lint", "lock"} <= set(targets)
    for target in targets:
        lines = make(ROOT, "-n", target).stdout.splitlines()
        assert lines
        for line in lines:
            assert not re.match(r"(python|dvc|ruff|mypy|uv|pytest) ", line), line


def test_after_a_run_make_says_how_to_call_dvc() -> None:
    assert "source .venv/bin/activate" in make(ROOT, "-n", "repro").stdout
