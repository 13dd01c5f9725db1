"""A moving average by hand: of weights and running statistics, with counters as they are."""

import copy

import pytest
import torch
from torch import nn

from src.networks.average import MovingAverage


class Followed(nn.Module):
    """A weight, a running statistic and a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.statistic = nn.Buffer(torch.tensor([10.0]))
        self.count = nn.Buffer(torch.tensor(5))


def told(average: MovingAverage) -> list[float]:
    network = average.network
    return [*network.weight.tolist(), network.statistic.item(), network.count.item()]


@pytest.fixture
def network() -> Followed:
    return Followed()


def test_it_starts_as_a_copy_and_takes_the_first_weights_as_they_are(network: Followed) -> None:
    average = MovingAverage(network)
    assert type(average.network) is Followed
    assert told(average) == [1.0, 2.0, 10.0, 5]
    with torch.no_grad():
        network.weight.add_(1.0)
    assert told(average) == [1.0, 2.0, 10.0, 5]
    average.update(0.9)
    assert told(average) == [2.0, 3.0, 10.0, 5]
    assert average.updates == 1


def test_from_the_second_on_it_follows_slowly_but_counts_at_once(network: Followed) -> None:
    average = MovingAverage(network)
    average.update(0.75)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([5.0, -2.0]))
    network.statistic.fill_(30.0)
    network.count.fill_(8)
    average.update(0.75)
    assert told(average) == [2.0, 1.0, 15.0, 8]  # 3/4 of 1, 2 and 10, and 1/4 of 5, -2 and 30
    average.update(0.0)
    assert told(average) == [5.0, -2.0, 30.0, 8]
    assert network.weight.tolist() == [5.0, -2.0]


def test_it_keeps_its_place_in_memory_and_goes_on_from_what_was_put_down(network: Followed) -> None:
    average, place = MovingAverage(network), network.weight.data_ptr()
    average.update(0.5)
    kept = copy.deepcopy(average.state_dict())
    with torch.no_grad():
        network.weight.copy_(torch.tensor([3.0, 4.0]))
    other = MovingAverage(network)
    where = other.network.weight.data_ptr()
    other.load_state_dict(kept)
    other.update(0.5)
    average.update(0.5)
    assert told(average) == told(other) == [2.0, 3.0, 10.0, 5]
    assert other.network.weight.data_ptr() == where != place
    assert other.updates == 2
