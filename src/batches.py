"""An endless stream of shuffled index batches, for both training loops."""

from collections.abc import Iterator

import torch
from torch import Tensor


def shuffled(count: int, batch_size: int, rng: torch.Generator) -> Iterator[Tensor]:
    """Yields int64 index batches of exactly `batch_size`, in one fresh permutation after another.

    A batch that a permutation can't fill is completed from the next one: no example is dropped, and sets
    smaller than a batch work too.

    Args:
        count: Number of examples, at least 1.
        batch_size: Length of each batch.
        rng: Draws the permutations.
    """
    pending = torch.empty(0, dtype=torch.int64)
    while True:
        parts, missing = [pending], batch_size - len(pending)
        while missing > 0:
            parts.append(torch.randperm(count, generator=rng))
            missing -= count
        order = torch.cat(parts)
        full = len(order) - len(order) % batch_size
        yield from order[:full].split(batch_size)
        pending = order[full:]
