"""What the user sees of a fault: one line, an exit code, and no traceback unless it is a bug."""

import errno
import os
import subprocess
import sys

import pytest

from src.errors import PipelineError, run


def leave(error, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as caught:
        run(main)
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


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some disk space and run the same command again"),
        (errno.EROFS, "work in a folder that can be written to and run the same command again"),
        (errno.EACCES, "give yourself access to it and run the same command again"),
        (errno.ENOENT, "check the path, or run dvc repro to make what is missing"),
        (errno.EIO, "put this right and run the same command again"),
    ],
)
def test_an_os_error_names_reason_file_and_remedy(number, advice, capsys):
    code, text = leave(OSError(number, "It broke", "models/g.bin"), capsys)
    assert (code, text) == (1, f"error: It broke: models/g.bin; {advice}\n")


def test_a_failed_rename_names_the_final_file(capsys):
    error = OSError(errno.EISDIR, "Is a directory", ".g.part", None, "g")
    assert "Is a directory: g;" in leave(error, capsys)[1]


def test_an_os_error_without_number_or_file_still_says_something(capsys):
    code, text = leave(OSError("odd"), capsys)
    assert (code, text) == (1, "error: odd; put this right and run the same command again\n")
    assert "error: TimeoutError;" in leave(TimeoutError(), capsys)[1]


def test_a_name_in_bytes_is_shown_as_text(capsys):
    assert ": g.bin;" in leave(OSError(errno.EIO, "It broke", b"g.bin"), capsys)[1]


def test_ctrl_c_says_how_to_go_on(capsys):
    code, text = leave(KeyboardInterrupt(), capsys)
    assert (code, text) == (130, "interrupted; run the same command again\n")


@pytest.mark.parametrize("bug", [ValueError("bug"), KeyError("bug"), ZeroDivisionError()])
def test_a_bug_is_not_hidden(bug):
    def main():
        raise bug

    with pytest.raises(type(bug)):
        run(main)


def test_nothing_happens_when_all_is_well(capsys):
    run(lambda: print("done"))
    assert capsys.readouterr() == ("done\n", "")


@pytest.mark.parametrize(
    ("statement", "code", "traceback"),
    [("raise errors.PipelineError('x')", 1, False), ("raise ValueError('x')", 1, True)],
)
def test_in_a_process_of_its_own(statement, code, traceback):
    program = f"from src import errors\ndef main():\n    {statement}\nerrors.run(main)\n"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert done.returncode == code
    assert ("Traceback" in done.stderr) is traceback
