"""Experiments on DVC's queue: those that are missing are added, and workers run them."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any

from src.core.errors import PipelineError

WAIT = 60  # seconds between looks at the queue: each takes more than a second of a core
LOOKS = 3  # at what DVC shows, which fails while a worker removes the folder of a finished run


def dvc(*arguments: str) -> str:
    """What a command of DVC prints.

    Raises:
        PipelineError: It fails; with the line that says why.
    """
    result = subprocess.run(("dvc", *arguments), capture_output=True, text=True, check=False)
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines() or ["no reason given"]
        why = next((line for line in lines if line.startswith("ERROR")), lines[-1])  # a greeting may follow
        raise PipelineError(f"dvc {' '.join(arguments[:3])}: {why}")
    return result.stdout


def shown(*arguments: str) -> str:
    """What a command of DVC prints that changes nothing, which is asked again if it fails.

    Raises:
        PipelineError: It fails each time.
    """
    for _ in range(LOOKS - 1):
        try:
            return dvc(*arguments)
        except PipelineError:
            time.sleep(WAIT / 10)
    return dvc(*arguments)


def waiting() -> set[str]:
    """Names of experiments that wait or run."""
    lines = [line.split() for line in shown("queue", "status").splitlines()]
    return {line[1] for line in lines if len(line) > 2 and line[-1] in ("Queued", "Running")}


def finished() -> dict[str, dict[str, Any]]:
    """What `dvc exp show` tells of each finished experiment on this commit, by its name."""
    found = {}
    for row in json.loads(shown("exp", "show", "--json")):
        for experiment in row.get("experiments") or []:
            if (experiment.get("executor") or {}).get("state") not in (None, "success"):
                continue  # shown with the metrics of the commit that it starts from
            for revision in experiment["revs"]:
                found[revision["name"]] = revision
    return found


def work(
    wanted: Mapping[str, list[str]], known: set[str], collect: Callable[[], None], jobs: int = 1
) -> None:
    """Queues what is missing, waits until the queue has worked through it, and tells what has failed.

    Args:
        wanted: The arguments of `dvc exp run` for each experiment, by its name.
        known: Names of those that are not to run again.
        collect: Called now and then, and at the end, to take in what is finished.
        jobs: How many run at a time.
    """
    there = known | waiting() | set(finished())
    for name, arguments in wanted.items():
        if name not in there:
            # Tried once: where git's index is locked, DVC leaves uncommitted changes in git's stash, so that
            # another try would queue params.yaml as committed.
            dvc("exp", "run", "--queue", "--name", name, *arguments)
    # The worker that it leaves behind holds on to its output: captured, this would wait for the last run.
    subprocess.run(("dvc", "queue", "start", "--jobs", str(jobs)), stdout=subprocess.DEVNULL, check=True)
    before = None
    while True:
        left = set(wanted) & waiting()
        if left != before:  # to ask DVC what is finished takes longer still
            collect()
            print(f"{len(left)} of {len(wanted)} experiments to go", flush=True)
        if not left:
            break
        before = left
        time.sleep(WAIT)
    if failed := sorted(set(wanted) - known - set(finished())):
        print(f"no result of {', '.join(failed)}; why: dvc queue logs NAME")
