"""The pool of earlier translations: what goes in, what comes out, and what is lost: nothing."""

import pytest
import torch
from torch import Tensor

from src.gan.pool import Pool


def pooled(size: int) -> Pool:
    return Pool(size, "test", 0, shape=(1, 1, 1), device=torch.device("cpu"))


def numbered(*numbers: int) -> tuple[Tensor, Tensor]:
    return torch.tensor(numbers).float().view(-1, 1, 1, 1), torch.tensor(numbers)


def exchanged(pool: Pool, *numbers: int) -> list[int]:
    images, labels = pool.exchange(*numbered(*numbers))
    assert images.flatten().tolist() == labels.tolist()  # each image keeps its label
    return labels.tolist()


def kept(pool: Pool) -> list[int]:
    state = pool.state_dict()
    assert state["images"].flatten().tolist() == state["labels"].tolist()
    return state["labels"].tolist()


def test_without_a_pool_images_pass_through() -> None:
    pool = pooled(0)
    assert exchanged(pool, 1, 2, 3) == [1, 2, 3]
    assert kept(pool) == []


def test_a_pool_fills_up_first_and_hands_out_what_it_is_given() -> None:
    pool = pooled(5)
    assert exchanged(pool, 1, 2, 3) == [1, 2, 3]
    assert kept(pool) == [1, 2, 3]
    assert exchanged(pool, 4, 5, 6) == [4, 5, 6]
    assert kept(pool) == [1, 2, 3, 4, 5]


def test_a_full_pool_exchanges_images_for_kept_ones_and_loses_none() -> None:
    pool = pooled(6)
    exchanged(pool, 1, 2, 3, 4, 5, 6)
    old = 0
    for first in range(10, 2010, 4):
        before, given = kept(pool), list(range(first, first + 4))
        found = exchanged(pool, *given)
        assert len(found) == 4
        assert sorted(before + given) == sorted(kept(pool) + found)
        # a new image that is handed out stands where it came in
        assert all(number in before or found.index(number) == given.index(number) for number in found)
        old += sum(number in before for number in found)
    assert old / 2000 == pytest.approx(0.5, abs=0.04)


def test_a_batch_larger_than_the_pool_is_exchanged_in_part() -> None:
    pool = pooled(2)
    exchanged(pool, 1, 2, 3)
    found = exchanged(pool, 4, 5, 6, 7, 8)
    assert sorted([1, 2, 4, 5, 6, 7, 8]) == sorted(kept(pool) + found)
    assert sum(number < 3 for number in found) <= 2


def test_nothing_that_is_not_finite_stays_in_a_pool() -> None:
    pool = pooled(2)
    images, labels = numbered(1, 2)
    images[0] = float("nan")
    pool.exchange(images, labels)
    assert pool.state_dict()["images"].isfinite().all()


def test_a_pool_goes_on_from_its_state() -> None:
    first = pooled(3)
    exchanged(first, 1, 2, 3)
    second = pooled(3)
    second.load_state_dict(first.state_dict())
    assert [exchanged(first, 4, 5, 6), kept(first)] == [exchanged(second, 4, 5, 6), kept(second)]
