"""What is mended after a kill, what is only named, and that nothing is touched while anybody is at work."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT

from src.core import experiments, leftovers
from src.core.errors import PipelineError
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
    left += [".dvc/tmp/exps/rwlock", ".dvc/tmp/exps/run/workspace/workspace.json", ".dvc/tmp/repro.dat"]
    left += [".dvc/tmp/exps/standalone/run/0a1b/0a1b.json"]
    left += ["models/.labeller.0a1b.part/.labeller.json.2c3d.part"]  # one in the other
    stays = ["models/generator.safetensors", ".dvc/tmp/exps/run/info.json", "data/raw/part", ".hidden.part"]
    stays += [".dvc/tmp/exps/standalone/run/2c3d/2c3d.run"]  # of a run that ended well
    for path in map(Path, [*left, *stays]):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{ cut of")
    lines = said()
    assert len(lines) == 10
    assert all(line.startswith("removed ") for line in lines)
    assert not any(Path(path).exists() for path in left)
    assert not Path("data/.synthetic.0a1b.part").exists()
    assert all(Path(path).exists() for path in stays)
    assert said() == ["nothing was left behind"]


def test_of_locks_that_name_nobody_nothing_is_said(project: Path, said: Callable[[], list[str]]) -> None:
    for path in (Path(".dvc/tmp/rwlock"), Path(".dvc/tmp/exps/rwlock")):
        path.parent.mkdir(exist_ok=True)
        path.write_text('{"read": {}}')
    assert said() == ["nothing was left behind"]


def test_what_made_room_for_a_new_folder_comes_back_unless_that_is_there(
    project: Path, said: Callable[[], list[str]]
) -> None:
    for path in map(Path, ("data/.raw.0123abcd.old.part/x", "data/.synthetic.0123abcd.old.part/x")):
        path.parent.mkdir(parents=True)
        path.write_text("old")
    Path("data/raw").mkdir()
    Path("data/raw/x").write_text("new")
    Path("data/.synthetic.4567cdef.part").mkdir()
    assert said() == [
        "removed data/.raw.0123abcd.old.part, which was never finished, or has been replaced",
        "data/synthetic is back: it had made room for a new one, which never came",
        "removed data/.synthetic.4567cdef.part, which was never finished, or has been replaced",
    ]
    assert sorted(map(str, Path("data").rglob("*"))) == [
        "data/raw",
        "data/raw/x",
        "data/synthetic",
        "data/synthetic/x",
    ]
    assert [Path(name, "x").read_text() for name in ("data/raw", "data/synthetic")] == ["new", "old"]


@pytest.mark.parametrize("name", ["README.md", "docs/recovery.md"])
def test_the_line_that_drops_a_run_is_the_same_in_all_places(name: str) -> None:
    text = (ROOT / name).read_text()
    assert leftovers.DROP in text
    assert text.count("git checkout HEAD") + text.count("git checkout params") == text.count(leftovers.DROP)


# HEAD


EXEC = "refs/exps/exec/EXEC_"


def killed(committed: bool = False) -> None:
    """What `dvc exp run` leaves where it is killed: while it runs, or after its commit."""
    record = Path(".dvc/tmp/exps/run/workspace/workspace.json")
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    for name in (
        f"{EXEC}HEAD",
        f"{EXEC}BASELINE",
        f"{EXEC}MERGE",
        "refs/exps/temp/head-0",
        "refs/exps/stash",
    ):
        git("update-ref", name, "HEAD")
    git("checkout", "-q", "--detach")
    if committed:
        git("commit", "-q", "--allow-empty", "-m", "dvc: commit experiment")
        git("update-ref", "refs/exps/01/23/killed", "HEAD")
        git("symbolic-ref", f"{EXEC}BRANCH", "refs/exps/01/23/killed")


@pytest.mark.parametrize("committed", [False, True])
def test_a_killed_experiments_head_gets_its_branch_back_and_nothing_says_that_it_runs(
    project: Path, said: Callable[[], list[str]], committed: bool
) -> None:
    git("branch", "other")
    main = git("rev-parse", "main")
    killed(committed)
    Path("params.yaml").write_text("seed: 7\n")
    lines = said()
    assert lines[0] == "HEAD was detached: it is main again, files as they are"
    assert f"removed {EXEC}BASELINE, which DVC would take for a running experiment's" in lines
    assert lines[-1].endswith(f"to drop that and what the run has changed: {leftovers.DROP}")
    assert (git("symbolic-ref", "HEAD"), git("rev-parse", "main")) == ("refs/heads/main", main)
    assert Path("params.yaml").read_text() == "seed: 7\n"
    kept = ["refs/exps/01/23/killed"] if committed else []
    assert git("for-each-ref", "--format=%(refname)", "refs/exps").split() == [*kept, f"{EXEC}HEAD"]
    assert said() == lines[-1:]


def test_in_the_only_work_tree_head_gets_its_branch_back_without_a_record_too(
    project: Path, said: Callable[[], list[str]]
) -> None:
    killed(committed=False)
    shutil.rmtree(".dvc/tmp/exps/run/workspace")
    assert said()[0] == "HEAD was detached: it is main again, files as they are"


def named(branch: str) -> list[str]:
    told = "HEAD is detached, and not by an experiment as far as DVC and git tell"
    return [f"{told}; to go to a branch: git switch {branch}"]


def test_a_head_that_the_user_detached_is_only_named(project: Path, said: Callable[[], list[str]]) -> None:
    git("checkout", "-q", "--detach")
    assert said() == named("main")
    assert git("branch", "--show-current") == ""


def test_an_experiment_that_began_on_a_detached_head_leaves_it_there(
    project: Path, said: Callable[[], list[str]]
) -> None:
    git("checkout", "-q", "--detach")
    git("commit", "-q", "--allow-empty", "-m", "second")
    git("checkout", "-q", "--detach", "HEAD~1")
    killed()
    assert said()[0] == named("BRANCH")[0]
    assert git("branch", "--show-current") == ""


@pytest.mark.parametrize("moved", ["HEAD", "branch"])
def test_a_head_or_branch_that_has_moved_since_is_only_named(
    project: Path, said: Callable[[], list[str]], moved: str
) -> None:
    killed()
    if moved == "HEAD":
        git("commit", "-q", "--allow-empty", "-m", "the user's own")
    else:
        git("branch", "--force", "main", git("commit-tree", "HEAD^{tree}", "-m", "another"))
    main = git("rev-parse", "main")
    assert said()[0] == named("main")[0]
    assert (git("branch", "--show-current"), git("rev-parse", "main")) == ("", main)


def test_in_the_middle_of_a_rebase_head_and_branch_stay_where_they_are(
    project: Path, said: Callable[[], list[str]]
) -> None:
    git("checkout", "-q", "-b", "other")
    for branch, seed in (("other", 1), ("main", 2)):
        git("checkout", "-q", branch)
        Path("params.yaml").write_text(f"seed: {seed}\n")
        git("commit", "-qam", branch)
    main = git("rev-parse", "main")
    assert subprocess.run(("git", "rebase", "-q", "other"), capture_output=True).returncode == 1
    for name in ("HEAD", "BASELINE", "MERGE"):
        git("update-ref", EXEC + name, "HEAD")
    Path(".dvc/tmp/exps/run/workspace").mkdir(parents=True)
    words = "git is in the middle of a rebase, and HEAD is detached: git status tells how to go on"
    assert said()[0] == words
    assert (git("branch", "--show-current"), git("rev-parse", "main")) == ("", main)
    git("rebase", "--abort")
    assert (git("branch", "--show-current"), git("rev-parse", "main")) == ("main", main)


def test_in_another_work_tree_head_stays_and_so_do_references_while_anybody_works(
    project: Path, said: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    linked = project.parent / "linked"
    git("worktree", "add", "-q", "--detach", str(linked))
    for name in ("HEAD", "BASELINE", "MERGE"):  # of an experiment in the first work tree
        git("update-ref", EXEC + name, "HEAD")
    (linked / ".dvc").mkdir()
    monkeypatch.chdir(linked)
    with at_work("dvc", project) as process:
        lines = said()
        assert lines[0] == named("BRANCH")[0]
        busy = f"perhaps of process {process.pid} (dvc repro); once that has ended: make recover"
        assert lines[1:] == [f"{EXEC}BASELINE, {EXEC}MERGE: {busy}"]
        assert git("rev-parse", f"{EXEC}BASELINE") == git("rev-parse", "main")
    assert f"removed {EXEC}BASELINE" in said()[1]
    assert git("branch", "--show-current") == ""


# What git says


def test_where_git_can_not_answer_its_reason_is_told_and_nothing_is_touched(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(".dvc/tmp/rwlock").write_text("{ cut of")
    with monkeypatch.context() as patch:
        patch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
        with pytest.raises(PipelineError, match="git can't answer: fatal: detected dubious ownership"):
            recover.main([])
    (project / ".git").rename(project / "aside")
    with pytest.raises(PipelineError, match="git can't answer: fatal: not a git repository"):
        recover.main([])
    assert Path(".dvc/tmp/rwlock").exists()


def test_as_a_subfolder_of_a_bigger_repository_the_answers_are_the_same(
    project: Path, said: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = project / "inside"
    (inside / ".dvc/tmp").mkdir(parents=True)
    (inside / "params.yaml").write_text("seed: 5\n")
    git("add", "inside/params.yaml")
    git("commit", "-qm", "second")
    monkeypatch.chdir(inside)
    assert said() == ["nothing was left behind"]
    killed()
    Path("params.yaml").write_text("seed: 6\n")
    lines = said()
    assert lines[0] == "HEAD was detached: it is main again, files as they are"
    assert lines[-1].startswith("params.yaml differs from the last commit")


def test_before_the_first_commit_nothing_was_left_behind(
    tmp_path: Path, said: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    Path(".dvc").mkdir()
    Path("params.yaml").write_text("seed: 0\n")
    assert said() == ["nothing was left behind"]


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


# Who is at work


@contextmanager
def at_work(name: str, where: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that looks like DVC's or a stage's, at work in a folder."""
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


@pytest.fixture
def worker(project: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    name, folder = request.param
    with at_work(name, project / folder) as process:
        yield process


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


def test_tasks_of_the_queue_fail_without_a_signal_to_anybody(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    entries = [
        SimpleNamespace(stash_rev="0123456789", name=None),
        SimpleNamespace(stash_rev="b", name="mine"),
    ]
    queue = SimpleNamespace(
        iter_active=lambda: iter(entries),
        proc={"b": SimpleNamespace(returncode=None)},
        stash_failed=lambda entry: done.append(f"kept {entry.stash_rev}"),
        kill=lambda names: done.append(f"failed {names} {queue.proc['b'].returncode}"),
        get_infofile_path=lambda name: f"{name}.run",
    )
    repo = SimpleNamespace(experiments=SimpleNamespace(celery_queue=queue))
    monkeypatch.setattr("dvc.repo.Repo", lambda: nullcontext(repo))
    Path("b.run").touch()  # the other one has none
    assert list(experiments.fail_tasks()) == []  # the queue has never run
    assert not done
    message = Path(".dvc/tmp/exps/celery/broker/processed/1.celery.msg")
    message.parent.mkdir(parents=True)
    message.touch()
    words = "was killed in the queue, and is Failed now; to drop it: dvc queue remove"
    assert list(experiments.fail_tasks()) == [f"{name} {words} {name}" for name in ("0123456", "mine")]
    assert done == [
        *("kept 0123456789", "failed ['0123456789'] None", "kept b", "failed ['b'] -15"),
    ]
    assert not Path("b.run").exists()
