"""What is mended after a kill, what is only named, and that nothing is touched while anybody is at work."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from src.errors import PipelineError
from stages import recover


def git(*arguments: str) -> str:
    return subprocess.run(("git", *arguments), check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit on main, in a folder whose name has a space."""
    top = tmp_path / "my project"
    (top / ".dvc/tmp").mkdir(parents=True)
    monkeypatch.chdir(top)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "tester")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "tester@example.invalid")
    Path("params.yaml").write_text("seed: 0\n")
    git("init", "-q", "-b", "main")
    git("add", "params.yaml")
    git("commit", "-qm", "first")
    return top


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    def run() -> list[str]:
        recover.main([])
        return capsys.readouterr().out.splitlines()[:-1]

    return run


def test_where_nothing_was_left_behind_it_says_so(project: Path, said: Callable[[], list[str]]) -> None:
    assert said() == ["nothing was left behind"]


def test_what_is_nobodys_is_removed_and_finished_work_stays(
    project: Path, said: Callable[[], list[str]]
) -> None:
    left = [".dvc/tmp/rwlock", "models/.generator.safetensors.0a1b.part", "data/.synthetic.0a1b.part/x"]
    left += [".dvc/tmp/exps/standalone/tmpabc/params.yaml", ".dvc/tmp/exps/tmpdef/params.yaml"]
    stays = ["models/generator.safetensors", ".dvc/tmp/exps/run/info.json", "data/raw/part", ".hidden.part"]
    for path in map(Path, [*left, *stays]):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{ cut of")
    lines = said()
    assert len(lines) == 5
    assert all(line.startswith("removed ") for line in lines)
    assert not any(Path(path).exists() for path in left)
    assert not Path("data/.synthetic.0a1b.part").exists()
    assert all(Path(path).exists() for path in stays)
    assert said() == ["nothing was left behind"]


def test_a_detached_head_gets_its_branch_back_and_the_files_stay(
    project: Path, said: Callable[[], list[str]]
) -> None:
    git("checkout", "-q", "--detach")
    Path("params.yaml").write_text("seed: 7\n")
    lines = said()
    assert lines[0] == "HEAD was detached: it is main again, files as they are"
    assert git("symbolic-ref", "HEAD") == "refs/heads/main"
    assert Path("params.yaml").read_text() == "seed: 7\n"
    assert "git checkout params.yaml dvc.lock && dvc checkout" in lines[1]


@pytest.mark.parametrize(("branches", "words"), [(2, "2 branches are"), (0, "no branch is")])
def test_a_detached_head_that_could_be_of_several_branches_or_none_is_only_named(
    project: Path, said: Callable[[], list[str]], branches: int, words: str
) -> None:
    if branches:
        git("branch", "other")
    git("checkout", "-q", "--detach")
    if not branches:
        git("commit", "-q", "--allow-empty", "-m", "second")
    where = git("rev-parse", "HEAD")
    assert said() == [f"HEAD is detached, and {words} at its commit: git symbolic-ref HEAD refs/heads/BRANCH"]
    assert (git("rev-parse", "HEAD"), git("branch", "--show-current")) == (where, "")


def test_a_value_that_git_takes_for_the_old_one_is_named_and_git_sees_it_again(
    project: Path, said: Callable[[], list[str]]
) -> None:
    # Size and time as in git's index: git looks no further, and would not bring the old value back.
    was = os.stat("params.yaml")
    git("update-index", "--refresh")
    os.utime("params.yaml", (was.st_atime - 100, was.st_mtime - 100))
    git("update-index", "--refresh")
    old = os.stat("params.yaml")
    Path("params.yaml").write_text("seed: 1\n")
    os.utime("params.yaml", ns=(old.st_atime_ns, old.st_mtime_ns))
    git("config", "core.trustctime", "false")
    assert git("diff", "--name-only") == ""
    assert "params.yaml differs from the last commit" in said()[0]
    assert git("diff", "--name-only") == "params.yaml"
    git("checkout", "params.yaml")
    assert Path("params.yaml").read_text() == "seed: 0\n"


def test_checkpoints_and_stashes_are_named_and_stay(project: Path, said: Callable[[], list[str]]) -> None:
    checkpoint = Path(".checkpoints/train_gan/0123/000001-abc.safetensors")
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"x")
    Path("params.yaml").write_text("seed: 7\n")
    git("stash")
    lines = said()
    assert len(lines) == 2
    assert lines[0].startswith("git stash list is not empty")
    assert lines[1].endswith("rm -r .checkpoints/train_gan/0123")
    assert checkpoint.exists()


@pytest.fixture
def worker(project: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A process that looks like DVC's or a stage's, at work in a folder of the project."""
    name, folder = request.param
    where = project / folder
    (where / "stages").mkdir(parents=True, exist_ok=True)
    code = "import sys\nprint('ready', flush=True)\nsys.stdin.read()\n"
    (where / "stages/train_gan.py").write_text(code)
    (where / "dvc").write_text(code)
    words = ["-m", "stages.train_gan", "--data"] if name == "stage" else [str(where / "dvc"), "repro"]
    with subprocess.Popen(
        [sys.executable, *words], cwd=where, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.communicate("")


@pytest.mark.parametrize(
    "worker",
    [("dvc", "."), ("stage", "."), ("stage", ".dvc/tmp/exps/standalone/tmpabc")],
    indirect=True,
)
def test_while_anybody_is_at_work_nothing_is_touched(
    project: Path, worker: subprocess.Popen[str], said: Callable[[], list[str]]
) -> None:
    Path(".dvc/tmp/rwlock").write_text("{}")
    with pytest.raises(PipelineError, match=rf"process {worker.pid} \((dvc repro|stages.train_gan --data)\)"):
        said()
    assert Path(".dvc/tmp/rwlock").exists()


@pytest.mark.parametrize("worker", [("dvc", "../another")], indirect=True)
def test_who_works_in_another_project_is_in_nobodys_way(
    project: Path, worker: subprocess.Popen[str], said: Callable[[], list[str]]
) -> None:
    assert said() == ["nothing was left behind"]


def test_outside_a_project_it_says_where_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match="run this from the project's top folder"):
        recover.main([])
    assert not os.listdir(tmp_path)
