"""Public scripts run as they are, up to a number of steps, on the project's images; unknown ones don't."""

import hashlib
import subprocess
import urllib.error
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT, write_set

from benchmarks import public
from src.core import params
from src.core.errors import PipelineError
from src.core.settings import Params

PARAMS = params.read(ROOT / "params.yaml", ROOT / params.DATASETS)
STAND_IN = """
import argparse, os, torch

parser = argparse.ArgumentParser()
parser.add_argument("--batch_size", type=int)
size = parser.parse_args().batch_size
assert "train-images-idx3-ubyte" in os.listdir("../../data/mnist/MNIST/raw")
print(size)
for number in range(10**9):
    torch.ones(size, 3) @ torch.ones(3, 5)
    print("[Epoch %d/%d] [Batch %d/%d]" % (0, 1, number, 10**9))
"""
CODE = STAND_IN.encode()


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A stand-in that the benchmark takes for the only public script, in a folder with a set of images."""
    write_set(tmp_path / "data/raw", 60, 10)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_bytes(CODE)
    row = PARAMS.recipes["gan"] | {"batch_size": 7}
    settings = replace(PARAMS, recipes={"gan": row}, threads=1, validation=10)
    monkeypatch.setattr(params, "read", lambda: settings)
    monkeypatch.setattr(public, "SCRIPTS", {hashlib.sha256(CODE).hexdigest(): "some/where/gan.py"})
    return tmp_path / "mine.py"


def test_steps_of_a_script_are_timed_after_the_warm_up(
    script: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ticks = count()
    monkeypatch.setattr(public.time, "perf_counter", lambda: 2.0 * next(ticks))
    laid = public.laid_out(CODE, tmp_path / "temporary")
    assert laid == tmp_path / "temporary/some/where/gan.py"
    assert public.play(laid, params.read(), counted=False) == 7 / 2
    assert next(ticks) == public.WARM_UP + public.TIMED + 1
    assert Path.cwd() == tmp_path


def test_operations_of_a_script_are_those_of_one_step(script: Path, tmp_path: Path) -> None:
    laid = public.laid_out(CODE, tmp_path / "temporary")
    assert public.play(laid, params.read(), counted=True) == 2 * 3 * 5


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The measurements replaced, and a note of what was measured, in order."""
    asked: list[str] = []

    def noted(what: str, value: float) -> float:
        asked.append(what)
        return value

    def child(path: Path, settings: Params, what: str) -> float:
        assert path.read_bytes() == CODE
        return noted(what, {"count": 5e6, "time": 50.0}[what])

    monkeypatch.setattr(public, "child", child)
    monkeypatch.setattr(public.rate, "rate", lambda *_: noted("ours", 200.0))
    monkeypatch.setattr(public.rate, "operations_per_image", lambda *_: 1e6)
    return asked


def test_a_script_is_compared_in_turns(
    script: Path, told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    public.main(["--scripts", str(script), "--rounds", "2"])
    assert told == ["count", "ours", "time", "ours", "time"]
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == "operations for each real image, gan and gan.py: 1.0 million and 5.0 million"
    assert "4.00 times the images a second of gan.py" in last
    assert "0.80 times its operations" in last


def test_a_script_is_fetched_at_its_commit(
    script: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def urlopen(url: str, timeout: float) -> SimpleNamespace:
        asked.append(url)
        return SimpleNamespace(read=lambda: CODE)

    monkeypatch.setattr(public.urllib.request, "urlopen", urlopen)
    public.main(["--rounds", "1"])
    assert asked == [f"{public.TOP}/some/where/gan.py"]
    assert told == ["count", "ours", "time"]


def refuse(error: Exception) -> Callable[..., None]:
    def urlopen(*_: object, **__: object) -> None:
        raise error

    return urlopen


@pytest.mark.parametrize("error", [urllib.error.URLError("no internet"), TimeoutError("no internet")])
def test_without_internet_it_says_how_to_go_on_and_ends_well(
    script: Path,
    told: list[str],
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(public.urllib.request, "urlopen", refuse(error))
    public.main([])
    (line,) = capsys.readouterr().out.splitlines()
    assert "no internet" in line
    assert f"{public.TOP}/some/where/gan.py" in line
    assert "--scripts" in line
    assert told == []


def test_an_unknown_script_is_refused(script: Path, told: list[str]) -> None:
    script.write_text("print('[Batch')")
    with pytest.raises(PipelineError, match=r"^a script has the sha256 [0-9a-f]{64}; allowed: https://"):
        public.main(["--scripts", str(script)])
    assert told == []


def test_a_missing_file_is_an_error_of_its_own(script: Path) -> None:
    with pytest.raises(FileNotFoundError):
        public.main(["--scripts", "nowhere.py"])


def test_a_script_that_fails_is_one_line_and_sees_no_gpu_that_we_do_not_use(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments = []

    def run(command: list[str], *, env: dict[str, str], **_: object) -> SimpleNamespace:
        environments.append(env.get("CUDA_VISIBLE_DEVICES"))
        return SimpleNamespace(returncode=1, stderr="Traceback\nValueError: odd\n")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(subprocess, "run", run)
    for device in ("cpu", "cuda"):
        with pytest.raises(PipelineError, match=r"^mine\.py failed: ValueError: odd$"):
            public.child(script, replace(params.read(), device=device), "time")
    assert environments == ["", None]
