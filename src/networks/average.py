"""The moving average of a network's weights over its steps."""

import copy
from typing import Any

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class MovingAverage:
    """A copy of a network that follows it; torch's AveragedModel waits for a GPU at each update.

    Args:
        network: On the device where it stays.

    Attributes:
        network: The average, a network of the same class.
        updates: How often it has followed.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network, self.updates = copy.deepcopy(network), 0
        pairs = [
            (average.detach(), current.detach())
            for of in (nn.Module.parameters, nn.Module.buffers)
            for average, current in zip(of(self.network), of(network), strict=True)
        ]
        self._averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]  # numbers of batches

    def update(self, decay: float) -> None:
        """Follows the network's weights and running statistics; the first time it takes them as they are."""
        for average, current in self._copied if self.updates else self._copied + self._averaged:
            average.copy_(current)
        if self.updates:
            # average = d average + (1 - d) weights
            get_ema_multi_avg_fn(decay)(*map(list, zip(*self._averaged, strict=True)), self.updates)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """The average, and how often it has followed; nothing is copied."""
        return {"network": self.network.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where `state_dict` was taken."""
        self.network.load_state_dict(state["network"])
        self.updates = state["updates"]
