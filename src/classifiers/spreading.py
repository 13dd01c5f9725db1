"""Few labels spread over many images: from neighbour to neighbour, in a graph of those that are alike."""

from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import diags_array
from torch import Tensor

from src.datasets import clusters

STEPS = 300  # of the spreading; of evening out classes, too
SURE = 0.9  # of each class: the part that counts as sure


class Spread(NamedTuple):
    """What labels were spread to.

    Attributes:
        labels: int64 (n,).
        sure: Where the class led the next one most, bool (n,).
    """

    labels: Tensor
    sure: Tensor


def spread(points: Tensor, places: Tensor, labels: Tensor, classes: int) -> Spread:
    """Gives each point a label, from some that have one: Poisson learning (Calder et al. 2020, algorithm 1).

    Classes are taken to be equally frequent, as few labels can't tell how frequent they are.

    Args:
        points: float (n, d), of which those are alike that are near each other.
        places: Which have a label, int64 (m,).
        labels: Those labels, int64 (m,), each class among them; they stay.
        classes: How many there are.

    Returns:
        On the device of the points.
    """
    graph = clusters.graph(points)
    inverse = 1 / np.asarray(graph.sum(axis=1)).ravel()
    given = np.eye(classes)[labels.cpu().numpy()]
    source = np.zeros((len(points), classes))
    source[places.cpu().numpy()] = given - given.mean(axis=0)
    # u <- u + D^-1 (b - L u), and L = D - W: what flows in from the neighbours, and from labels.
    walk, inflow, found = diags_array(inverse) @ graph, inverse[:, None] * source, np.zeros_like(source)
    for _ in range(STEPS):
        found = walk @ found + inflow
    found = (found - found.mean(axis=0)) / found.std(axis=0)
    for _ in range(STEPS):
        found -= np.bincount(found.argmax(axis=1), minlength=classes) / len(found) - 1 / classes
    best = torch.from_numpy(found).topk(2, dim=1)
    guessed = best.indices[:, 0].to(points.device)
    lead = (best.values[:, 0] - best.values[:, 1]).to(points.device)
    guessed[places], lead[places] = labels, torch.inf
    sure = torch.zeros_like(guessed, dtype=torch.bool)
    for kind in range(classes):
        members = (guessed == kind).nonzero()[:, 0]
        sure[members[lead[members].argsort(descending=True)[: round(SURE * len(members))]]] = True
    return Spread(guessed, sure)
