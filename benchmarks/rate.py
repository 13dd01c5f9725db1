"""Images a second of the training loop beside the arithmetic floor: what its products alone would allow.

Command: python -m benchmarks.rate

The floor counts the multiplications and additions of the recipe's matrix products and convolutions, forward,
backward and twice backward, and divides them by the rate at which this machine multiplies large matrices.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from src import config, gan, images
from src.errors import run
from src.seeding import set_up

WARM_UP = 40  # steps
TIMED = 160


def main(argv: Sequence[str] | None = None) -> None:
    """Prints both rates of the recipe that `loss` names, in turns, and their ratio."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rate", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="times that both are measured")
    parser.add_argument("--profile", action="store_true", help="tell which operations the time goes to, too")
    args = parser.parse_args(argv)
    params = config.load()
    operations = operations_per_image(params, params.loss)
    print(f"{params.loss}: {operations / 1e6:.1f} million operations for each real image")
    ratios = []
    for number in range(1, args.rounds + 1):
        ours, floor = rate(params, params.loss), matrix_rate() / operations
        ratios.append(ours / floor)
        print(f"round {number}: ours {ours:,.0f} images/s, arithmetic floor {floor:,.0f} images/s")
    print(f"the loop runs at {sorted(ratios)[len(ratios) // 2]:.2f} of the floor's rate (median)")
    if args.profile:
        print("\n".join(shares(params, params.loss)))


def rate(params: config.Params, name: str) -> float:
    """Real images a second in the training loop of a recipe, after a warm-up."""
    training = _run(params, name, WARM_UP + TIMED, reports=(WARM_UP + TIMED) // WARM_UP)
    reports = iter(training)
    next(reports)
    start = time.perf_counter()
    for _ in reports:
        pass
    return TIMED * params.recipes[name].batch_size / (time.perf_counter() - start)


def operations_per_image(params: config.Params, name: str) -> float:
    """Multiplications and additions for each real image, over a period of penalties and critic steps."""
    recipe = params.recipes[name]
    steps = recipe.penalty_every * recipe.critic_steps
    with _Counter() as counter:
        for _ in _run(params, name, steps, reports=1):
            pass
    total: int = counter.total
    return total / (steps * recipe.batch_size)


def shares(params: config.Params, name: str, rows: int = 14) -> list[str]:
    """The operations that take most of the loop's time, with their shares of it, as lines of text."""
    reports = iter(_run(params, name, WARM_UP + TIMED, reports=(WARM_UP + TIMED) // WARM_UP))
    next(reports)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        next(reports)
    events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    return [f"{event.self_cpu_time_total / total:6.1%}  {event.key}" for event in events[:rows]]


class _Counter(TorchDispatchMode):
    """Adds up torch's own counts; its FlopCounterMode can't follow the gradient of a gradient."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


def matrix_rate(side: int = 2048, repetitions: int = 8) -> float:
    """Multiplications and additions a second in products of large square matrices: the fastest of several."""
    matrix = torch.randn(side, side, generator=torch.Generator().manual_seed(0))
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds)


def _run(params: config.Params, name: str, steps: int, reports: int) -> gan.Run:
    recipe = params.recipes[name]
    device = set_up(params.device, params.threads)
    train, _ = images.read_train(Path("data/raw"), params.validation)
    recipe = replace(recipe, images=steps * recipe.batch_size)
    return gan.Run(
        recipe,
        train.to(device),
        seed=0,
        reports=reports,
        retry_factor=params.train.retry_factor,
        pause=lambda: None,
    )


if __name__ == "__main__":
    run(main)
