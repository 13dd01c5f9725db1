"""Images a second of the training loop beside the arithmetic floor: what its products alone would allow.

Command: python -m benchmarks.rate

The floor counts the multiplications and additions of the recipe's matrix products and convolutions, forward,
backward and twice backward, and divides them by the rate at which this machine multiplies large matrices, on
the device and in the precision that params.yaml names.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from src.core import params, stage
from src.core.machine import set_up
from src.core.settings import Params
from src.datasets import labelled
from src.datasets.spec import read_spec
from src.gan import games
from src.gan.loop import Report
from src.gan.recipe import Recipe
from src.gan.run import Run

WARM_UP = 40  # steps
TIMED = 160


def main(argv: Sequence[str] | None = None) -> None:
    """Prints both rates of the recipe that `loss` names, in turns, and their ratio, for each batch size."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rate", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="times that both are measured")
    parser.add_argument("--batches", nargs="+", type=int, help="batch sizes in place of the recipe's")
    parser.add_argument("--profile", action="store_true", help="tell which operations the time goes to, too")
    args = parser.parse_args(argv)
    settings = params.read()
    # On a CPU, which does each operation anew: a replayed one would not be counted.
    operations = operations_per_image(replace(settings, device="cpu", precision="float32"), settings.loss)
    print(f"{settings.loss}: {operations / 1e6:.1f} million operations for each real image")
    device = set_up(settings.device, settings.threads, settings.precision)
    dtype = torch.bfloat16 if settings.precision == "bfloat16" else torch.float32
    for size in args.batches or [settings.recipes[settings.loss]["batch_size"]]:
        row = {**settings.recipes[settings.loss], "batch_size": size}
        sized, ratios = replace(settings, recipes={settings.loss: row}), []
        for number in range(1, args.rounds + 1):
            ours, floor = rate(sized, settings.loss), matrix_rate(device, dtype) / operations
            ratios.append(ours / floor)
            told = f"ours {ours:,.0f} images/s, arithmetic floor {floor:,.0f} images/s"
            print(f"batches of {size}, {settings.precision}, round {number}: {told}")
        print(f"the loop runs at {sorted(ratios)[len(ratios) // 2]:.2f} of the floor's rate (median)")
    if args.profile:
        print("\n".join(shares(settings, settings.loss)))


def rate(settings: Params, name: str) -> float:
    """Real images a second in the training loop of a recipe, after a warm-up."""
    recipe = _of_steps(settings, name, WARM_UP + TIMED)
    reports = training(settings, recipe, reports=(WARM_UP + TIMED) // WARM_UP)
    next(reports)
    start = time.perf_counter()
    for _ in reports:
        pass
    return TIMED * recipe.batch_size / (time.perf_counter() - start)


def operations_per_image(settings: Params, name: str) -> float:
    """Multiplications and additions for each real image, over a period of penalties and critic steps."""
    recipe = games.recipe(settings.recipes[name], f"recipes.{name}")
    recipe = _of_steps(settings, name, recipe.penalty_every * recipe.critic_steps)
    with Counter() as counter:
        for _ in training(settings, recipe, reports=1):
            pass
    total: int = counter.total
    return total / recipe.images


def shares(settings: Params, name: str, rows: int = 14) -> list[str]:
    """The operations that take most of the loop's time, with their shares of it, as lines of text."""
    recipe = _of_steps(settings, name, WARM_UP + TIMED)
    reports = training(settings, recipe, reports=(WARM_UP + TIMED) // WARM_UP)
    next(reports)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        next(reports)
    events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    return [f"{event.self_cpu_time_total / total:6.1%}  {event.key}" for event in events[:rows]]


class Counter(TorchDispatchMode):
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


def matrix_rate(
    device: torch.device, dtype: torch.dtype = torch.float32, side: int = 2048, repetitions: int = 8
) -> float:
    """Multiplications and additions a second in products of large square matrices: the fastest of several."""
    side *= 4 if device.type == "cuda" else 1  # a GPU is not filled by less
    matrix = torch.randn(side, side, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        (matrix @ matrix)[0, 0].item()  # waits for a GPU
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds)


def training(
    settings: Params, recipe: Recipe, *, reports: int, data: Path = Path("data/raw")
) -> Iterator[Report]:
    """A run of a recipe, set up: it trains from one report to the next as these are asked for.

    Args:
        settings: All of params.yaml.
        recipe: What to train.
        reports: How many there will be, at equal intervals.
        data: Folder of real images.
    """
    device, spec = set_up(settings.device, settings.threads, settings.precision), read_spec(data)
    train, _ = labelled.read_train(data, spec, settings.validation)
    train = train.to(device)
    game = games.start(recipe, spec, train, seed=settings.seed, precision=settings.precision)
    watch = replace(settings.watch, log_points=reports)
    return Run(game, recipe, watch, pause=lambda: None).reports()


def _of_steps(settings: Params, name: str, steps: int) -> Recipe:
    """A row of recipes with as many images as so many steps take."""
    recipe = games.recipe(settings.recipes[name], f"recipes.{name}")
    return replace(recipe, images=steps * recipe.batch_size)


if __name__ == "__main__":
    stage.run(main)
