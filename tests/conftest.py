"""Fixtures and helpers that several test files share."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from src.core.machine import set_up
from src.datasets import idx
from src.datasets.spec import ImageSpec, write_spec

ROOT = Path(__file__).resolve().parent.parent
GREY = ImageSpec(channels=1, height=28, width=28, classes=10)  # MNIST's


@pytest.fixture(autouse=True, scope="session")
def _deterministic() -> None:
    set_up("cpu", 1)  # networks here are tiny: a second thread would only wait for the first


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """A stage that a test has run may have set more, and results and speed of the next test depend on it."""
    yield
    torch.set_num_threads(1)


def write_set(root: Path, train: int, test: int, seed: int = 0, spec: ImageSpec = GREY) -> None:
    """An image set in the pipeline's layout: a bright bar whose row tells the class, on noise."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", train), ("test", test)):
        labels = (np.arange(count) % spec.classes).astype(np.uint8)
        images = rng.integers(0, 60, (count, *idx.item(spec)), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            row = 4 + 2 * label if spec == GREY else int(label) * spec.height // spec.classes
            image[row : row + 2, 6:22] = 255
        for name, array in zip(idx.names(split, spec), (images, labels), strict=True):
            with idx.Writer(idx.folder(root) / name, array.shape) as writer:
                writer.append(array)
    write_spec(root, spec, [str(label) for label in range(spec.classes)])


@pytest.fixture
def image_set(tmp_path: Path) -> Path:
    """A folder with 300 training and 100 test images."""
    write_set(tmp_path / "set", 300, 100)
    return tmp_path / "set"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes comes first: no worker begins it while the others have nothing left to do."""
    items.sort(key=lambda item: not {"smoke", "faults"} & {mark.name for mark in item.iter_markers()})


@pytest.fixture(scope="session")
def unrun(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The scratch clone before its first run. All workers share it: nobody changes it."""
    import scratch  # which needs this file

    base = tmp_path_factory.getbasetemp()
    base = scratch.once((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tiny", scratch.make)
    return scratch.Clone(base / "clone", base / "data")


@pytest.fixture(scope="session")
def finished(unrun: Any) -> Any:
    """The scratch clone after one run, committed. All workers share it: nobody changes it."""
    import scratch

    base = unrun.path.parent
    path = scratch.once(base / "finished", lambda path: scratch.finish(scratch.copy(unrun, path)))
    return scratch.Clone(path, base / "data")


@pytest.fixture(scope="session")
def clone(finished: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A copy of the finished clone, shared by a worker's tests: who changes it puts back what was there."""
    import scratch

    return scratch.copy(finished, tmp_path_factory.mktemp("smoke") / "clone")


def weights(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
