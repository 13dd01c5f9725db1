"""Each fault does to images what it says, and the first of its levels nothing."""

import pytest
import torch

from benchmarks import sensitivity
from src.datasets.labelled import Labelled


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def data() -> Labelled:
    pixels = torch.randint(0, 256, (200, 1, 28, 28), generator=rng(), dtype=torch.uint8)
    return Labelled(pixels, torch.arange(200) % 10)


@pytest.mark.parametrize("name", sensitivity.FAULTS)
def test_the_first_level_changes_nothing_and_the_others_keep_the_number(name: str, data: Labelled) -> None:
    spoil, unit, levels = sensitivity.FAULTS[name]
    assert unit
    assert levels == sorted(set(levels))
    untouched = spoil(data, levels[0], rng())
    assert torch.equal(untouched.pixels, data.pixels)
    assert torch.equal(untouched.labels, data.labels)
    for level in levels[1:]:
        spoilt = spoil(data, level, rng())
        assert spoilt.pixels.shape == data.pixels.shape
        assert spoilt.pixels.dtype == torch.uint8
        assert not (torch.equal(spoilt.pixels, data.pixels) and torch.equal(spoilt.labels, data.labels))


def test_noise_has_the_deviation_that_it_says(data: Labelled) -> None:
    grey = Labelled(torch.full((50, 1, 28, 28), 128, dtype=torch.uint8), data.labels[:50])
    noisy = sensitivity.noise(grey, 16, rng()).pixels.float()
    assert noisy.mean().item() == pytest.approx(128, abs=0.5)
    assert noisy.std().item() == pytest.approx(16, abs=0.5)


def test_blur_spreads_a_dot_and_keeps_its_ink() -> None:
    dot = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    dot[0, 0, 14, 14] = 255
    spread = sensitivity.blur(Labelled(dot, torch.tensor([0])), 1, rng()).pixels
    # The peak of a normal distribution in two dimensions is 1 / (2 pi) = 0.159 of the whole.
    assert spread.max().item() == pytest.approx(255 * 0.159, abs=1)
    assert spread.float().sum().item() == pytest.approx(255, abs=10)


def test_dropped_classes_are_gone_and_others_take_their_place(data: Labelled) -> None:
    left = sensitivity.dropped(data, 4, rng()).labels
    assert set(left.tolist()) == {4, 5, 6, 7, 8, 9}
    assert len(left) == 200


def test_duplicates_leave_so_many_different_images(data: Labelled) -> None:
    found = sensitivity.duplicated(data, 0.75, rng())
    assert len(found.pixels.flatten(1).unique(dim=0)) == 50
    assert torch.equal(found.pixels[:50], data.pixels[:50])


def test_swapped_labels_are_wrong_and_so_many(data: Labelled) -> None:
    many = Labelled(data.pixels[:1].expand(20_000, 1, 28, 28), torch.arange(20_000) % 10)
    found = sensitivity.swapped(many, 0.1, rng())
    assert (found.labels != many.labels).double().mean().item() == pytest.approx(0.1, abs=0.01)
    assert set(found.labels.tolist()) == set(range(10))
    assert found.pixels is many.pixels
    few = Labelled(data.pixels, torch.arange(200) % 3)
    assert set(sensitivity.swapped(few, 1, rng()).given.tolist()) == {0, 1, 2}
