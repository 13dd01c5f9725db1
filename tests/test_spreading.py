"""Labels that spread over a graph of neighbours: rings, an independent solution, and who is sure."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from src.classifiers import spreading
from src.classifiers.spreading import Spread
from src.datasets import clusters


def rings(count: int) -> tuple[Tensor, Tensor]:
    """Points of two rings around the same middle, one after the other, and which ring they are of."""
    turns = torch.arange(count) * 2 * math.pi / count
    circle = torch.stack([turns.cos(), turns.sin()], dim=1)
    points = torch.cat([circle, 2 * circle]) + 0.02 * torch.randn(
        2 * count, 2, generator=torch.Generator().manual_seed(0)
    )
    return points, torch.arange(2 * count) // count


def heaps(away: float, *counts: int) -> tuple[Tensor, Tensor]:
    """Points of round heaps in the corners of a square, so far apart, and which heap they are of."""
    kinds = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    middles = away * torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    rng = torch.Generator().manual_seed(1)
    return middles[kinds] + torch.randn(len(kinds), 2, generator=rng), kinds


def spread(points: Tensor, places: Tensor, given: Tensor, classes: int) -> Spread:
    found = Spread(places, given, len(points), classes)
    found.over(points)
    return found


def test_neighbours_are_who_is_near_and_who_is_near_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "NEIGHBOURS", 1)
    points = torch.tensor([[0.0], [1.0], [3.0], [3.5]])
    expected = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert clusters.graph(points).toarray().tolist() == expected
    # The nearest to 0 is 1, though that has a nearer one itself.
    points = torch.tensor([[0.0], [1.0], [1.9], [9.0]])
    expected = [[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0]]
    assert clusters.graph(points).toarray().tolist() == expected


def test_a_label_follows_the_ring_it_is_on() -> None:
    points, kinds = rings(300)
    places = torch.tensor([0, 310])
    found = spread(points, places, kinds[places], classes=2)
    assert (found.labels == kinds).double().mean() > 0.99
    nearest = torch.cdist(points, points[places]).argmin(dim=1)
    assert (nearest == kinds).double().mean() < 0.8  # by distance alone it would not


def test_labels_are_those_that_solve_poissons_equation() -> None:
    points, kinds = heaps(2.0, 100, 100)
    places = torch.tensor([3, 120, 130, 140, 150, 160])
    graph = clusters.graph(points).toarray()
    laplacian = np.diag(graph.sum(axis=1)) - graph
    inflow = np.zeros(200)
    inflow[places.numpy()] = [-5 / 6, *[1 / 6] * 5]  # of class 1, less the mean of what each label says
    solution = np.linalg.pinv(laplacian) @ inflow
    second = np.argsort(solution)[100:]  # classes are even: the higher half
    expected = torch.zeros(200, dtype=torch.int64)
    expected[second.copy()] = 1
    found = spread(points, places, kinds[places], classes=2).labels
    assert (found == expected).double().mean() >= 0.98
    assert (found == kinds).double().mean() < 0.98  # the heaps overlap


def test_classes_come_out_even_and_given_labels_stay() -> None:
    points, kinds = heaps(6.0, 60, 60, 60, 60)
    places = torch.tensor([0, 1, 70, 130, 190])
    given = kinds[places]
    given[1] = 3  # among points of class 0
    found = spread(points, places, given, classes=4)
    assert found.labels[places].tolist() == [0, 3, 1, 2, 3]
    assert found.labels.bincount().tolist() == pytest.approx([60, 60, 60, 60], abs=4)
    assert (found.labels == kinds).double().mean() > 0.9


def test_classes_come_out_even_where_points_say_nothing() -> None:
    points, _ = heaps(0.0, 100, 100)
    places = torch.arange(9)
    found = spread(points, places, (places > 0).long(), classes=2)  # one label against eight
    assert found.labels.bincount().tolist() == pytest.approx([100, 100], abs=4)


def test_the_sure_ones_are_right_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading, "SURE", 0.6)
    points, kinds = heaps(3.0, 200, 200, 200, 200)
    places = torch.tensor([[k * 200 + i for i in range(5)] for k in range(4)]).flatten()
    found = spread(points, places, kinds[places], classes=4)
    right = (found.labels == kinds).double()
    assert found.sure[places].all()
    assert found.labels[found.sure].bincount().tolist() == [
        round(0.6 * n) for n in found.labels.bincount().tolist()
    ]
    assert right[found.sure].mean() > right.mean() + 0.05
    assert right[~found.sure].mean() < right.mean()


def test_labels_that_are_spread_again_follow_the_new_points_alone() -> None:
    points, kinds = heaps(6.0, 100, 100)
    places = torch.tensor([0, 199])
    found = Spread(places, kinds[places], 200, 2)
    assert not found.sure.any()
    labels, sure = found.labels, found.sure  # where a recorded step reads
    found.over(torch.randn(200, 2, generator=torch.Generator().manual_seed(0)))
    assert (labels == kinds).double().mean() < 0.8
    found.over(points)
    assert (labels == kinds).double().mean() > 0.98
    assert sure.sum().item() == pytest.approx(180, abs=2)


def test_spread_labels_are_put_down_and_taken_up() -> None:
    points, kinds = heaps(3.0, 100, 100)
    places = torch.tensor([0, 199])
    first, second = spread(points, places, kinds[places], 2), Spread(places, kinds[places], 200, 2)
    second.load_state_dict(first.state_dict())
    assert second.labels.equal(first.labels)
    assert second.sure.equal(first.sure)
    assert second.labels is not first.labels


def test_features_are_directions_from_their_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading, "INFERENCE_BATCH", 2)
    pixels = torch.tensor([[255, 0], [0, 255], [255, 255]], dtype=torch.uint8).view(3, 1, 1, 2)
    # The body maps [-1, 1] to [0, 1]: directions (1, 0), (0, 1) and (1, 1) / sqrt(2)
    body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2))
    with torch.no_grad():
        body[1].weight.copy_(torch.eye(2) / 2)
        body[1].bias.fill_(0.5)
    half = math.sqrt(0.5)
    middle = (1 + half) / 3
    away = [(1 - middle, -middle), (-middle, 1 - middle), (half - middle, half - middle)]
    expected = [[value / math.hypot(*point) for value in point] for point in away]
    assert spreading.features(body, pixels).numpy() == pytest.approx(np.array(expected), abs=1e-6)
