"""Images a second of our GAN loop beside public scripts that train a GAN on the same images.

Command: python -m benchmarks.public (after `dvc repro download`)

The scripts are two of PyTorch-GAN, at one commit: one is told classes, the other has convolutions. They are
fetched, checked and run as they are, and no copy is kept; without internet, `--scripts` takes yours. Images,
batch size, threads and device are ours, networks their own: so the operations of an image are counted, too.
Ours and each script take turns, and the result is the median of the ratios.
"""

import argparse
import contextlib
import hashlib
import os
import runpy
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from statistics import median
from unittest.mock import patch

import torch

from benchmarks import rate
from benchmarks.rate import Counter
from src.core import params, stage
from src.core.errors import PipelineError
from src.core.machine import set_up
from src.core.settings import Params
from src.datasets import idx
from src.gan import games

REPOSITORY, COMMIT = "eriklindernoren/PyTorch-GAN", "36d3c77e5ff20ebe0aeefd322326a134a279b93e"
TOP = f"https://raw.githubusercontent.com/{REPOSITORY}/{COMMIT}"
SCRIPTS = {  # by SHA-256
    "ae04691eaa761417602dc5d42b639612aa6650d3363640c232018dc9d45ecd9b": "implementations/cgan/cgan.py",
    "d8e43dd0308b444697520a4ac86f8c60448aa21498d6872b475b17911262268b": "implementations/dcgan/dcgan.py",
}
WARM_UP, TIMED = 4, 16  # steps of a script
DATA = Path("data/raw")


def main(argv: Sequence[str] | None = None) -> None:
    """Compares with each script, or says that they are left out, and where they are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.public", description=__doc__)
    parser.add_argument("--scripts", nargs="+", type=Path, help=f"copies of {', '.join(urls())}")
    parser.add_argument("--rounds", type=int, default=3, help="times that both are measured")
    parser.add_argument("--child", choices=("time", "count"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    settings = params.read()
    if args.child:
        print(play(args.scripts[0], settings, counted=args.child == "count"))
        return
    try:
        codes = [path.read_bytes() for path in args.scripts or ()]
        codes = codes or [urllib.request.urlopen(url, timeout=10).read() for url in urls()]
    except (HTTPException, urllib.error.URLError, ConnectionError, TimeoutError) as error:
        print(f"public scripts are left out: {error}; get {', '.join(urls())} and name them by --scripts")
        return
    if unknown := {hashlib.sha256(code).hexdigest() for code in codes} - set(SCRIPTS):
        raise PipelineError(f"a script has the sha256 {unknown.pop()}; allowed: {', '.join(urls())}")
    for code in codes:
        with tempfile.TemporaryDirectory() as folder:
            compare(laid_out(code, Path(folder)), settings, args.rounds)


def urls() -> list[str]:
    """Where the scripts are."""
    return [f"{TOP}/{path}" for path in SCRIPTS.values()]


def laid_out(code: bytes, folder: Path) -> Path:
    """Writes a script to a folder, where it finds the project's images, and returns its path."""
    script, images = folder / SCRIPTS[hashlib.sha256(code).hexdigest()], idx.folder(folder / "data/mnist")
    for path in (script, images):
        path.parent.mkdir(parents=True)
    script.write_bytes(code)
    images.symlink_to(idx.folder(DATA).resolve())
    return script


def compare(script: Path, settings: Params, rounds: int) -> None:
    """Prints the operations of both for each real image, each round's rates, and the median ratios."""
    set_up(settings.device, settings.threads, settings.precision)
    operations = rate.operations_per_image(settings, settings.loss), child(script, settings, "count")
    told = " and ".join(f"{number / 1e6:.1f} million" for number in operations)
    print(f"operations for each real image, {settings.loss} and {script.name}: {told}", flush=True)
    ratios = []
    for number in range(1, rounds + 1):
        ours, theirs = rate.rate(settings, settings.loss), child(script, settings, "time")
        ratios.append(ours / theirs)
        print(f"round {number}: ours {ours:,.0f} images/s, {script.name} {theirs:,.0f} images/s", flush=True)
    typical = median(ratios)
    print(
        f"our loop makes {typical:.2f} times the images a second of {script.name} of {REPOSITORY}, and "
        f"{typical * operations[0] / operations[1]:.2f} times its operations (medians of {rounds}); its "
        "images are larger (32 x 32), its networks and loss are others, and it has no penalty"
    )


def child(script: Path, settings: Params, what: str) -> float:
    """Images a second of a script (`time`), or operations for each (`count`), in a process of its own.

    Raises:
        PipelineError: It failed.
    """
    command = [sys.executable, "-m", "benchmarks.public", "--child", what, "--scripts", str(script)]
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if settings.device == "cpu" else {}  # they take a GPU that they see
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | hidden)
    if result.returncode:
        raise PipelineError(f"{script.name} failed: {result.stderr.strip().splitlines()[-1]}")
    return float(result.stdout.splitlines()[-1])


def play(script: Path, settings: Params, *, counted: bool) -> float:
    """The same in this process: it ends after `WARM_UP + TIMED` steps, or after two that are counted."""
    size = games.recipe(settings.recipes[settings.loss], f"recipes.{settings.loss}").batch_size
    counter = Counter()
    first, last = (0, 1) if counted else (WARM_UP, WARM_UP + TIMED)
    seen: list[tuple[float, int]] = []

    def note(*told: object) -> None:
        """Stands for the script's `print`: it tells of each step in a line."""
        if "[Batch" in str(told[0]):
            seen.append((time.perf_counter(), counter.total))
        if len(seen) > last:
            sys.exit()

    torch.set_num_threads(settings.threads)
    with (
        contextlib.chdir(script.parent),
        patch.object(sys, "argv", [script.name, "--batch_size", str(size)]),
        counter if counted else contextlib.nullcontext(),
        contextlib.suppress(SystemExit),
    ):
        runpy.run_path(script.name, init_globals={"print": note}, run_name="__main__")
    (start, before), (end, after) = seen[first], seen[last]
    return (after - before) / size if counted else (last - first) * size / (end - start)


if __name__ == "__main__":
    stage.run(main)
