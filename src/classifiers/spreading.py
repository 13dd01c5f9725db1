"""Few labels spread over many images: from neighbour to neighbour, in a graph of those that are alike."""

from typing import Any

import numpy as np
import torch
from scipy.sparse import diags_array
from torch import Tensor, nn
from torch.nn.functional import normalize

from src.classifiers.supervised import INFERENCE_BATCH
from src.datasets import clusters
from src.datasets.labelled import to_unit

STEPS = 300  # of the spreading; of evening out classes, too
SURE = 0.9  # of each class: the part that counts as sure


class Spread:
    """Labels of points, given or spread from those; before the first spreading, none is sure.

    Args:
        places: Which points have a label, int64 (m,).
        given: Those labels, int64 (m,), each class among them; they stay. On the device where all is kept.
        count: How many points there are, n.
        classes: How many classes there are.

    Attributes:
        labels: int64 (n,).
        sure: Where the class led the next one most, bool (n,).
    """

    def __init__(self, places: Tensor, given: Tensor, count: int, classes: int) -> None:
        self._places, self._given, self._classes = places.cpu(), given, classes
        self.labels = torch.zeros(count, dtype=torch.int64, device=given.device)
        self.sure = torch.zeros(count, dtype=torch.bool, device=given.device)

    def over(self, points: Tensor) -> None:
        """Spreads the given labels anew: Poisson learning (Calder et al. 2020).

        Classes are taken to be equally frequent, as few labels can't tell how frequent they are.

        Args:
            points: float (n, d), of which those are alike that are near each other.
        """
        best = self._potentials(points).topk(2, dim=1)
        labels, lead = best.indices[:, 0].contiguous(), best.values[:, 0] - best.values[:, 1]
        labels[self._places], lead[self._places] = self._given.cpu(), torch.inf
        sure = torch.zeros_like(labels, dtype=torch.bool)
        for kind in range(self._classes):
            members = (labels == kind).nonzero()[:, 0]
            sure[members[lead[members].argsort(descending=True)[: round(SURE * len(members))]]] = True
        self.load_state_dict({"labels": labels, "sure": sure})

    def _potentials(self, points: Tensor) -> Tensor:
        """How far each class comes to each point, float64 (n, classes), raised so that classes are even."""
        graph = clusters.graph(points)
        inverse = 1 / np.asarray(graph.sum(axis=1)).ravel()
        given = np.eye(self._classes)[self._given.cpu().numpy()]
        source = np.zeros((len(points), self._classes))
        source[self._places.numpy()] = given - given.mean(axis=0)
        # u <- u + D^-1 (b - L u), and L = D - W: from the neighbours, and from labels (algorithm 1)
        walk, inflow, found = diags_array(inverse) @ graph, inverse[:, None] * source, np.zeros_like(source)
        for _ in range(STEPS):
            found = walk @ found + inflow
        found = (found - found.mean(axis=0)) / found.std(axis=0)
        for _ in range(STEPS):
            found -= (
                np.bincount(found.argmax(axis=1), minlength=self._classes) / len(found) - 1 / self._classes
            )
        return torch.from_numpy(found)

    def state_dict(self) -> dict[str, Any]:
        """Both, of all points."""
        return {"labels": self.labels, "sure": self.sure}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes them up, in place: a recorded step reads them where they lie."""
        self.labels.copy_(state["labels"])
        self.sure.copy_(state["sure"])


@torch.inference_mode()
def features(body: nn.Module, pixels: Tensor) -> Tensor:
    """Images as points: what a classifier's layers up to its features make of them, float32 (n, d).

    Args:
        body: Those layers, in eval mode.
        pixels: uint8 (n, channels, height, width).
    """
    return centred(torch.cat([body(to_unit(part)) for part in pixels.split(INFERENCE_BATCH)]))


def centred(rows: Tensor) -> Tensor:
    """Points (n, d) as directions, of length 1, seen from their middle."""
    rows = normalize(rows)
    return normalize(rows - rows.mean(dim=0))
