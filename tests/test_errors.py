"""Errors of the operating system as one line for the user: the reason, the file, and what to do."""

import errno

import pytest

from src.core.errors import PipelineError, describe


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some disk space and run the same command again"),
        (errno.EDQUOT, "free some of your disk quota and run the same command again"),
        (errno.EROFS, "work in a folder that can be written to and run the same command again"),
        (errno.EACCES, "give yourself access to it and run the same command again"),
        (errno.EPERM, "give yourself access to it and run the same command again"),
        (errno.ENOENT, "check the path, or run dvc repro to make what is missing"),
        (errno.EIO, "put this right and run the same command again"),
    ],
)
def test_an_os_error_names_reason_file_and_remedy(number, advice):
    assert describe(OSError(number, "It broke", "models/g.bin")) == f"It broke: models/g.bin; {advice}"


def test_a_failed_rename_names_the_final_file():
    error = OSError(errno.EISDIR, "Is a directory", ".g.part", None, "g")
    assert describe(error) == "Is a directory: g; put this right and run the same command again"


def test_an_os_error_without_number_or_file_still_says_something():
    assert describe(OSError("odd")) == "odd; put this right and run the same command again"
    assert describe(TimeoutError()) == "TimeoutError; put this right and run the same command again"


def test_a_name_in_bytes_is_shown_as_text():
    assert ": g.bin;" in describe(OSError(errno.EIO, "It broke", b"g.bin"))


def test_a_pipeline_error_is_no_os_error():
    # Either would be caught where only the other is meant.
    assert not issubclass(PipelineError, OSError)
    assert not issubclass(OSError, PipelineError)
