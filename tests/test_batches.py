"""Index batches: every example as often as any other, and a state that goes on from where it was."""

from itertools import islice

import pytest
import torch

from src.datasets.batches import Shuffled


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_epoch_shows_each_example_once_in_another_order() -> None:
    stream = Shuffled(12, 4, rng())
    first, second = (torch.cat(list(islice(stream, 3))).tolist() for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second


@pytest.mark.parametrize(("count", "batch_size"), [(10, 4), (3, 7), (1, 5), (7, 7)])
def test_batches_are_full_and_no_example_is_left_out_or_favoured(count: int, batch_size: int) -> None:
    batches = list(islice(Shuffled(count, batch_size, rng()), 5 * count))
    assert {len(batch) for batch in batches} == {batch_size}
    # 5 * count batches are exactly 5 * batch_size epochs.
    assert torch.cat(batches).bincount(minlength=count).tolist() == [5 * batch_size] * count


def test_the_next_permutation_is_drawn_when_it_is_needed() -> None:
    # Others draw from the same generator: what comes between must not depend on how batches fit.
    ours, reference = rng(), rng()
    stream = Shuffled(10, 5, ours)
    once = torch.randperm(10, generator=reference)
    assert torch.cat([next(stream), next(stream)]).equal(once)
    assert ours.get_state().equal(reference.get_state())
    assert next(stream).equal(torch.randperm(10, generator=reference)[:5])


def test_a_stream_goes_on_from_its_state() -> None:
    stream, other = Shuffled(10, 4, rng()), Shuffled(10, 4, rng(1))
    for _ in range(4):
        next(stream)
    other.load_state_dict(stream.state_dict())
    following = [next(stream).tolist() for _ in range(9)]
    assert [next(other).tolist() for _ in range(9)] == following


def test_the_order_depends_on_the_generator_alone() -> None:
    def take(seed: int) -> list[int]:
        return torch.cat(list(islice(Shuffled(20, 6, rng(seed)), 9))).tolist()

    torch.manual_seed(1)
    once = take(3)
    torch.manual_seed(2)
    assert take(3) == once
    assert take(4) != once
