"""What the user sees of a stage's fault: one line, an exit code, and no traceback unless it is a bug."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.core import stage
from src.core.errors import PipelineError


def leave(error, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as caught:
        stage.run(main)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return caught.value.code, err


def test_a_pipeline_error_is_its_text_on_one_line(capsys):
    code, text = leave(PipelineError("seed is missing:\n  add it"), capsys)
    assert (code, text) == (1, "error: seed is missing: add it\n")


def test_a_subclass_is_treated_alike(capsys):
    class SpecialError(PipelineError):
        pass

    assert leave(SpecialError("x"), capsys) == (1, "error: x\n")


def test_an_os_error_is_described(capsys):
    code, text = leave(OSError(errno.ENOSPC, "It broke", "models/g.bin"), capsys)
    advice = "free some disk space and run the same command again"
    assert (code, text) == (1, f"error: It broke: models/g.bin; {advice}\n")


def test_ctrl_c_says_how_to_go_on(capsys):
    code, text = leave(KeyboardInterrupt(), capsys)
    assert (code, text) == (130, "interrupted; run the same command again\n")


@pytest.mark.parametrize("bug", [ValueError("bug"), KeyError("bug"), ZeroDivisionError()])
def test_a_bug_is_not_hidden(bug):
    def main():
        raise bug

    with pytest.raises(type(bug)):
        stage.run(main)


def test_nothing_happens_when_all_is_well(capsys):
    stage.run(lambda: print("done"))
    assert capsys.readouterr() == ("done\n", "")


@pytest.mark.parametrize(
    ("statement", "code", "traceback"),
    [("raise errors.PipelineError('x')", 1, False), ("raise ValueError('x')", 1, True)],
)
def test_in_a_process_of_its_own(statement, code, traceback):
    program = f"from src.core import errors, stage\ndef main():\n    {statement}\nstage.run(main)\n"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert done.returncode == code
    assert ("Traceback" in done.stderr) is traceback


def test_a_stage_ends_with_its_dvc_from_the_start(monkeypatch):
    begun = []
    monkeypatch.setattr("src.core.parent.follow", lambda: begun.append("follow"))
    stage.run(lambda: begun.append("main"))
    assert begun == ["follow", "main"]


def test_a_command_line_takes_paths_that_must_be_given(capsys):
    made = stage.parser("some/where/train.py", "Trains.\n\nFor long.", data="the images", output="to write")
    args = made.parse_args(["--data", "a/b", "--output", "c"])
    assert vars(args) == {"data": Path("a/b"), "output": Path("c")}
    with pytest.raises(SystemExit) as leaving:
        made.parse_args(["--data", "a/b"])
    assert leaving.value.code == 2
    assert "the following arguments are required: --output" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        made.parse_args(["--help"])
    told = capsys.readouterr().out
    assert told.startswith("usage: python -m stages.train ")
    assert "\nTrains.\n\nFor long.\n" in told
    assert "the images" in told
