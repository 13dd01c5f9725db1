"""Time an epoch of the `source` recipe in our loop against the loop of the source document.

Command: python -m benchmarks.epoch (after `dvc repro download`)

Both loops see the same 50,000 images in batches of 100 through the same layers. They do not do the same
work: the document's loop reads and transforms each image anew, in two worker processes, runs the generator
twice a step, and computes a gradient that it throws away; ours keeps all images in memory and runs the
generator once a step. Each runs in a process of its own, in turn, several times, so that what slows the
machine slows both. The result is the ratio of the medians, and that of the fastest rounds: other work on
the machine only ever adds time, and more of it to a loop whose two threads wait for each other at every
operation.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from torch import nn

from benchmarks.rate import training
from src.core import params, stage
from src.gan import games

EPOCH = 50_000  # images


def main(argv: Sequence[str] | None = None) -> None:
    """Runs both loops in turn and prints each time, and the ratio."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.epoch", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/raw"), help="folder of real images")
    parser.add_argument("--rounds", type=int, default=7, help="epochs of each loop")
    parser.add_argument("--loop", choices=LOOPS, help="time one epoch of this loop only")
    args = parser.parse_args(argv)
    if args.loop:
        print(LOOPS[args.loop](args.data))
        return
    seconds: dict[str, list[float]] = {name: [] for name in LOOPS}
    for number in range(args.rounds):
        for name, times in seconds.items():
            command = [sys.executable, "-m", "benchmarks.epoch", "--loop", name, "--data", args.data]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            times.append(float(output))
            print(f"round {number + 1}: {name:8} {times[-1]:6.2f} s", flush=True)
    for name, typical in (("medians", median), ("fastest rounds", min)):
        ratio = typical(seconds["document"]) / typical(seconds["ours"])
        print(f"the document's loop takes {ratio:.2f} times as long as ours ({name} of {args.rounds})")


def document(data: Path) -> float:
    """Seconds for an epoch as the source document trains: DataLoader, transforms per image, two workers."""
    from torchvision import datasets, transforms

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
    everything = datasets.MNIST(str(data), train=True, transform=transform)
    subset = torch.utils.data.Subset(everything, range(EPOCH))
    loader = torch.utils.data.DataLoader(subset, batch_size=100, shuffle=True, num_workers=2)
    generator = nn.Sequential(
        *(nn.Linear(100, 128), nn.ReLU(), nn.Linear(128, 256), nn.ReLU()),
        *(nn.Linear(256, 784), nn.Tanh()),
    )
    discriminator = nn.Sequential(
        *(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU()),
        *(nn.Linear(128, 1), nn.Sigmoid()),
    )
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=0.0002)
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=0.0002)
    cross_entropy = nn.BCELoss()
    start = time.perf_counter()
    for pictures, _ in loader:
        count = len(pictures)
        # The document does not detach the generated half: its gradients are computed and thrown away.
        both = torch.cat([pictures.view(count, 784), generator(torch.randn(count, 100))])
        targets = torch.cat([torch.ones(count, 1), torch.zeros(count, 1)])
        discriminator.zero_grad()
        cross_entropy(discriminator(both), targets).backward()
        optimizer_d.step()
        discriminator.zero_grad()
        generator.zero_grad()
        scores = discriminator(generator(torch.randn(count, 100)))
        cross_entropy(scores, torch.ones(count, 1)).backward()
        optimizer_g.step()
    return time.perf_counter() - start


def ours(data: Path) -> float:
    """Seconds for an epoch of recipes.source in src/gan/loop.py, as stages.train_gan calls it."""
    settings = replace(params.read(), device="cpu")
    recipe = replace(games.recipe(settings.recipes["source"], "recipes.source"), images=EPOCH)
    reports = training(settings, recipe, reports=1, data=data)
    start = time.perf_counter()
    for _ in reports:
        pass
    return time.perf_counter() - start


LOOPS = {"document": document, "ours": ours}

if __name__ == "__main__":
    stage.run(main)
