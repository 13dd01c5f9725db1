"""An endless stream of shuffled index batches, for all training loops."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


class Shuffled(Iterator[Tensor]):
    """Gives int64 index batches of exactly `batch_size`, in one fresh permutation after another.

    A batch that a permutation can't fill is completed from the next one: no example is dropped, and sets
    smaller than a batch work too.

    Args:
        count: Number of examples, at least 1.
        batch_size: Length of each batch.
        rng: Draws the permutations.
    """

    def __init__(self, count: int, batch_size: int, rng: torch.Generator) -> None:
        self._count, self._batch_size, self._rng = count, batch_size, rng
        self._pending = torch.empty(0, dtype=torch.int64)

    def __next__(self) -> Tensor:
        """The next batch; there always is one."""
        while len(self._pending) < self._batch_size:
            self._pending = torch.cat([self._pending, torch.randperm(self._count, generator=self._rng)])
        batch, self._pending = self._pending[: self._batch_size], self._pending[self._batch_size :]
        return batch

    def state_dict(self) -> dict[str, Any]:
        """What is left of the permutation, and the state of the generator that draws them."""
        return {"pending": self._pending, "rng": self._rng.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where `state_dict` was taken."""
        self._pending = state["pending"]
        self._rng.set_state(state["rng"])
