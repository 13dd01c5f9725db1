"""What git says of a project, from its folder or one inside a bigger repository."""

import subprocess
from pathlib import Path

import pytest

from src.core import git
from src.core.errors import PipelineError


def run(*arguments: str, ok: bool = True) -> None:
    done = subprocess.run(("git", *arguments), capture_output=True, text=True)
    assert (done.returncode == 0) == ok, done.stderr


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two branches that differ in one file, in each another line; main is checked out."""
    monkeypatch.chdir(tmp_path)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "tester")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "tester@example.invalid")
    run("init", "-q", "-b", "main")
    run("commit", "-q", "--allow-empty", "-m", "first")
    for branch in ("other", "main"):
        run("switch", "-q", *(["-c"] if branch == "other" else []), branch)
        Path("file").write_text(branch)
        run("add", "file")
        run("commit", "-qm", branch)
    return tmp_path


@pytest.mark.parametrize("code", [0, 1, 2, 128])
def test_an_exit_status_of_one_is_a_no_and_more_are_faults(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "git").write_text(f"#!/bin/sh\necho said\nexit {code}\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    if code > 1:
        with pytest.raises(PipelineError, match="git can't answer: some word"):
            git.ask("some", "word")
    else:
        assert git.ask("some", "word") == "said"


@pytest.mark.parametrize(
    ("commands", "what"),
    [
        ([], ""),
        ([["rebase", "other"]], "a rebase"),
        ([["rebase", "--apply", "other"]], "a rebase"),
        ([["merge", "other"]], "a merge"),
        ([["cherry-pick", "other"]], "a cherry-pick"),
        ([["commit", "-q", "--allow-empty", "-m", "x"], ["revert", "other"]], "a revert"),
        ([["bisect", "start", "main", "main~1"]], "a bisect"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("linked", [False, True])
def test_it_knows_what_git_is_in_the_middle_of_in_this_work_tree(
    commands: list[list[str]], what: str, linked: bool, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if linked:
        run("switch", "-q", "--detach")
        run("worktree", "add", "-q", str(top / "linked"), "main")
        monkeypatch.chdir(top / "linked")
    for command in commands:
        subprocess.run(["git", *command], capture_output=True)
    assert git.under_way() == what
    if linked:
        monkeypatch.chdir(top)
        assert git.under_way() == ""
        assert git.work_trees() == [top, top / "linked"]


def test_the_branch_that_head_has_left_is_that_of_its_log(top: Path) -> None:
    assert git.left_branch() == "other"
    run("checkout", "-q", "--detach")
    assert (git.detached(), git.left_branch()) == (True, "main")
    run("checkout", "-q", "--detach", "other")
    assert git.left_branch() == ""  # it left a commit
    run("switch", "-q", "other")
    run("switch", "-q", "main")
    run("branch", "-qD", "other")
    assert (git.detached(), git.left_branch()) == (False, "")
    (top / ".git/logs/HEAD").unlink()
    assert git.left_branch() == ""


def test_a_file_has_changed_where_its_content_has(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (top / "inside").mkdir()
    (top / "inside" / "file").write_text("inside")
    assert not git.changed("file")
    assert not git.changed("inside/file")  # not committed yet: not changed
    run("add", "inside")
    run("commit", "-qm", "second")
    (top / "file").write_text("changed")
    monkeypatch.chdir(top / "inside")
    assert not git.changed("file")
    Path("file").write_text("INSIDE")
    assert git.changed("file")
    Path("file").unlink()
    assert not git.changed("file")


def test_a_name_of_nothing_is_an_answer_and_a_fault_is_told_in_gits_words(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert git.commit("nope") == ""
    assert len(git.commit("main")) == 40
    assert git.refs("refs/heads", "refs/exps") == ["refs/heads/main", "refs/heads/other"]
    with pytest.raises(PipelineError, match="git can't answer: fatal: bad revision 'nope'"):
        git.ask("log", "nope", "--")
    monkeypatch.setenv("PATH", str(top))
    with pytest.raises(PipelineError, match="there is no git on this machine's PATH; install it"):
        git.detached()
