"""The documents' written parts: up to date, and made from the project's own files."""

import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

from src.core import files
from src.core.errors import PipelineError
from src.report import documents, measured

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_is_what_the_program_would_write(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert documents.render(text, ROOT) == text, "run: make docs"


def test_every_part_is_in_a_document_and_every_experiment_is_a_part() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    assert [name for name in documents.PARTS if text.count(f"<!-- begin {name} -->") != 1] == []
    tables = {row["table"] for row in files.read_csv(ROOT / "docs" / "experiments.csv")}
    assert tables == set(measured.EXPERIMENTS)


def test_the_layout_has_a_line_for_every_file_that_git_tracks() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    there = {name for name in listed if (ROOT / name).is_file()}
    wanted = {name for name in there if not any(part.startswith(".") for part in Path(name).parts)}
    wanted -= {name for name in there if name.startswith(("metrics/", "data/"))}  # written by the pipeline
    assert {path.relative_to(ROOT).as_posix() for path in documents.sources(ROOT)} == wanted


def project(root: Path) -> Path:
    for name, text in {
        "README.md": "x",
        "src/core/a.py": '"""What a does.\n\nAnd more."""\n',
        "src/report/b.py": '"""What b does."""\n',
        "src/__init__.py": "",
        "stages/c.py": '"""What c does."""\n',
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_the_layout_tells_a_module_by_its_docstring_floor_by_floor(tmp_path: Path) -> None:
    assert documents.layout(project(tmp_path)).splitlines() == [
        "```",
        "README.md               start here",
        "",
        "src/",
        "  __init__.py           (empty: makes the folder a package)",
        "",
        "src/core/",
        "  a.py                  What a does.",
        "",
        "src/report/",
        "  b.py                  What b does.",
        "",
        "stages/",
        "  c.py                  What c does.",
        "```",
    ]


def test_a_new_file_without_a_docstring_asks_for_a_line(tmp_path: Path) -> None:
    (project(tmp_path) / "docs").mkdir()
    (tmp_path / "docs" / "new.csv").write_text("a\n")
    with pytest.raises(PipelineError, match=r"docs/new\.csv is new: give it a line in TOLD"):
        documents.layout(tmp_path)


def test_code_without_a_docstring_is_not_called_empty(tmp_path: Path) -> None:
    (project(tmp_path) / "src/core/c.py").write_text("X = 1\n")
    with pytest.raises(PipelineError, match=r"src/core/c\.py has no docstring: give it one"):
        documents.layout(tmp_path)


def test_only_what_stands_between_the_markers_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "PARTS", {"one": lambda root: "1", "two": lambda root: "2"})
    before = "a\n<!-- begin one -->\nold\n<!-- end one -->\nb\n<!-- begin two -->\n<!-- end two -->\n"
    after = "a\n<!-- begin one -->\n1\n<!-- end one -->\nb\n<!-- begin two -->\n2\n<!-- end two -->\n"
    assert documents.render(before, Path()) == after
    with pytest.raises(PipelineError, match="has the part three; there are: one, two"):
        documents.render("<!-- begin three -->\n<!-- end three -->", Path())
    with pytest.raises(PipelineError, match="without its end"):
        documents.render("<!-- begin one -->\n<!-- end two -->", Path())
