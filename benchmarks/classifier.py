"""Images a second of the classifier loops beside a DataLoader that transforms pictures one by one.

Command: python -m benchmarks.classifier (after `dvc repro download`)

Both train the same network, by the same optimiser, in batches of the same size, with the same number of
threads, on the same images. Ours keeps these in memory as bytes and changes whole batches; the usual loop
makes a picture of each image and sends it through torchvision's transforms, in as many worker processes as
suit it best. They take turns, and the result is the median of the ratios. Beside them stands the network
alone, on one batch over and over: no loop around it can be faster.
"""

import argparse
import contextlib
import io
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from src.classifiers import augmentation, semi_supervised, supervised
from src.core import params, stage
from src.core.checkpoint import Checkpoint
from src.core.machine import set_up
from src.core.settings import Params, SemiSupervised
from src.datasets import labelled
from src.datasets.labelled import Labelled
from src.datasets.spec import ImageSpec, read_spec
from src.networks.classifier import ConvClassifier
from src.networks.network import build

WARM_UP = 5  # steps
TRIAL = 10  # steps for each number of workers
WORKERS = (0, os.cpu_count() or 1)  # worker processes that are tried

Change = Callable[[Image.Image], Tensor]
Batch = tuple[Tensor, ...]


class Job(NamedTuple):
    """One loop both ways.

    Attributes:
        steps: Timed after the warm-up.
        ours: Images a second in the project's loop, over a number of steps.
        usual: The same in the usual loop with a number of worker processes, over a number of steps.
        alone: The same of the network alone.
    """

    steps: int
    ours: Callable[[int], float]
    usual: Callable[[int, int], float]
    alone: Callable[[int], float]


def main(argv: Sequence[str] | None = None) -> None:
    """Times each loop both ways, in turns, and prints the rates and their ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.classifier", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/raw"), help="folder of real images")
    parser.add_argument("--rounds", type=int, default=3, help="times that each loop is measured")
    args = parser.parse_args(argv)
    settings = params.read()
    set_up("cpu", settings.threads)
    spec = read_spec(args.data)
    train, _ = labelled.read_train(args.data, spec, settings.validation)
    for name, job in jobs(settings, train, spec).items():
        for line in compared(name, job, args.rounds):
            print(line, flush=True)


def compared(name: str, job: Job, rounds: int) -> Iterator[str]:
    """The lines of one job: the choice of workers, each round, and the medians."""
    trials = {workers: job.usual(workers, TRIAL) for workers in WORKERS}
    best = max(trials, key=lambda workers: trials[workers])
    tried = ", ".join(f"{rate:,.0f} images/s with {workers}" for workers, rate in trials.items())
    yield f"{name}: worker processes of the usual loop: {best} ({tried})"
    ratios, shares = [], []
    for number in range(1, rounds + 1):
        ours, usual, alone = job.ours(job.steps), job.usual(best, job.steps), job.alone(job.steps)
        ratios.append(ours / usual)
        shares.append(ours / alone)
        rates = f"ours {ours:,.0f} images/s, usual {usual:,.0f}, the network alone {alone:,.0f}"
        yield f"{name}, round {number}: {rates}"
    share = f"{median(shares):.2f} of the network's alone"
    yield f"{name}: {median(ratios):.2f} times the usual loop's rate, {share} (medians of {rounds})"


def jobs(settings: Params, train: Labelled, spec: ImageSpec) -> dict[str, Job]:
    """The loops that are compared, by name."""
    # ElasticTransform is slow for reasons of its own: the last job shows the ratio without it.
    return {
        "supervised": _supervised(settings, train, spec),
        "semi-supervised": _semi_supervised(settings, train, spec, strong(bend=True)),
        "semi-supervised, usual loop without bending": _semi_supervised(
            settings, train, spec, strong(bend=False)
        ),
    }


def weak(shift: int, spec: ImageSpec) -> Change:
    """What `supervised.shifted` does, to one picture."""
    return _tensor(transforms.RandomCrop((spec.height, spec.width), padding=shift))


def strong(*, bend: bool) -> Change:
    """What `augmentation.strong` does, to one picture, in about the same ranges; bending can be left out."""
    stretch, shear = augmentation.STRETCH, math.degrees(math.atan(augmentation.SHEAR))
    affine = transforms.RandomAffine(
        augmentation.TURN,
        translate=(augmentation.MOVE / 2, augmentation.MOVE / 2),  # of a side, where ours is of half a side
        scale=(math.exp(-stretch), math.exp(stretch)),
        shear=(-shear, shear),
        interpolation=transforms.InterpolationMode.BILINEAR,
    )
    # Noise blurred by a sigma of 4 pixels and multiplied by 34 moves a pixel by 0.7, as BEND does at a knot.
    return _tensor(affine, *([transforms.ElasticTransform(alpha=34.0, sigma=4.0)] if bend else []))


def _tensor(*changes: Change) -> Change:
    composed: Change = transforms.Compose(
        [*changes, transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
    )
    return composed


class Pictures(Dataset[Batch]):
    """Pictures made of bytes one by one, as torchvision's own data sets do, each changed in some ways.

    Args:
        data: Where the bytes are.
        *changes: Each gives a tensor; these come first in an item, the label last.
    """

    def __init__(self, data: Labelled, *changes: Change) -> None:
        self._data, self._changes = data, changes

    def __len__(self) -> int:
        """The number of images."""
        return len(self._data)

    def __getitem__(self, index: int) -> Batch:
        """The changed versions of an image, and its label."""
        picture = Image.fromarray(self._data.pixels[index].permute(1, 2, 0).squeeze(2).numpy())
        return *(change(picture) for change in self._changes), self._data.given[index]


def batches(data: Dataset[Batch], size: int, workers: int) -> Iterator[Batch]:
    """Shuffled batches without an end."""
    loader = DataLoader(data, size, shuffle=True, num_workers=workers, drop_last=True)
    return chain.from_iterable(repeat(loader))


class Clock(Checkpoint):
    """Writes nothing, and notes when each step of a loop begins."""

    def __init__(self) -> None:
        super().__init__(None)
        self.starts: list[float] = []

    def pause(self) -> None:
        """Called by the loop at the start of each step."""
        self.starts.append(time.perf_counter())

    def rate(self, fit: Callable[[], None], images: int) -> float:
        """Images a second of a loop that this clock was given to, without the warm-up."""
        with contextlib.redirect_stderr(io.StringIO()):  # the bar, which would break the lines
            fit()
        seconds = time.perf_counter() - self.starts[WARM_UP]
        return (len(self.starts) - WARM_UP) * images / seconds


def rate(step: Callable[..., object], given: Iterator[Batch], steps: int, images: int) -> float:
    """Images a second of steps on batches, without the warm-up."""
    for _ in range(WARM_UP):
        step(*next(given))
    start = time.perf_counter()
    for _ in range(steps):
        step(*next(given))
    return steps * images / (time.perf_counter() - start)


def _supervised(settings: Params, train: Labelled, spec: ImageSpec) -> Job:
    how = settings.classifier
    size = how.batch_size

    def ours(steps: int) -> float:
        network, clock, steps = _network(spec, how.width), Clock(), WARM_UP + steps
        return clock.rate(
            lambda: supervised.fit(
                network,
                train.part(0, steps * size),
                replace(how, epochs=1),
                rng=torch.Generator().manual_seed(0),
                title="timed",
                checkpoint=clock,
                steps=steps,
            ),
            size,
        )

    def usual(workers: int, steps: int) -> float:
        given = batches(Pictures(train, weak(how.shift, spec)), size, workers)
        return rate(_supervised_step(_network(spec, how.width), how.learning_rate), given, steps, size)

    def alone(steps: int) -> float:
        given = repeat((labelled.to_unit(train.pixels[:size]), train.given[:size]))
        return rate(_supervised_step(_network(spec, how.width), how.learning_rate), given, steps, size)

    return Job(150, ours, usual, alone)


def _semi_supervised(settings: Params, train: Labelled, spec: ImageSpec, change: Change) -> Job:
    how = settings.label_train
    told, untold = how.batch_size, how.unlabelled

    def ours(steps: int) -> float:
        network, clock = _network(spec, how.width), Clock()
        return clock.rate(
            lambda: semi_supervised.fit(
                network,
                train,
                train.pixels,
                replace(how, steps=WARM_UP + steps),
                rng=torch.Generator().manual_seed(0),
                title="timed",
                checkpoint=clock,
            ),
            told + untold,
        )

    def usual(workers: int, steps: int) -> float:
        labelled_batches = batches(Pictures(train, change), told, workers)
        others = batches(Pictures(train, weak(how.shift, spec), change), untold, workers)
        given = ((*one, *other) for one, other in zip(labelled_batches, others, strict=False))
        return rate(_semi_supervised_step(_network(spec, how.width), how), given, steps, told + untold)

    def alone(steps: int) -> float:
        images, labels = labelled.to_unit(train.pixels[:untold]), train.given[:untold]
        given = repeat((images[:told], labels[:told], images, images, labels))
        return rate(_semi_supervised_step(_network(spec, how.width), how), given, steps, told + untold)

    return Job(20, ours, usual, alone)


def _network(spec: ImageSpec, width: int) -> ConvClassifier:
    return build(ConvClassifier, spec, seed=0, width=width)


def _supervised_step(network: ConvClassifier, learning_rate: float) -> Callable[[Tensor, Tensor], float]:
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, fused=True)

    def step(images: Tensor, labels: Tensor) -> float:
        loss = cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _semi_supervised_step(network: ConvClassifier, how: SemiSupervised) -> Callable[..., float]:
    optimizer = torch.optim.AdamW(network.parameters(), lr=how.learning_rate, fused=True)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(how.ema), use_buffers=True)
    average.eval()

    def step(told: Tensor, labels: Tensor, weakly: Tensor, strongly: Tensor, _: Tensor) -> float:
        with torch.no_grad():
            sure, guessed = average(weakly).softmax(dim=1).max(dim=1)
        of_told, of_others = network(torch.cat([told, strongly])).split([len(told), len(strongly)])
        guesses = cross_entropy(of_others, guessed, reduction="none") * (sure >= how.threshold)
        loss = cross_entropy(of_told, labels) + guesses.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update_parameters(network)
        value: float = loss.item()
        return value

    return step


if __name__ == "__main__":
    stage.run(main)
