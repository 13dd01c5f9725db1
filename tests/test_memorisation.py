"""Nearest images by hand, and a set with planted training images against one of new real images."""

import pytest
import torch
from torch import Tensor

from src.scores import memorisation


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def pictures(count: int, seed: int) -> Tensor:
    """Sparse random strokes, so that distances vary."""
    rng = torch.Generator().manual_seed(seed)
    grey = torch.randint(0, 256, (count, 1, 6, 6), generator=rng)
    ink = 0.3 + 0.7 * torch.rand(count, 1, 1, 1, generator=rng)  # never a blank picture
    return (grey * (torch.rand(count, 1, 6, 6, generator=rng) < ink)).byte()


def test_the_nearest_image_and_its_distance_are_those_of_the_pixels() -> None:
    references = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
    references[1] += 255
    references[2, 0, 0] = 255  # the upper two pixels
    images = references.clone()
    images[0, 0, 1, 1] = 51  # a fifth of 255, so 0.2 away
    found = memorisation.nearest(images, references)
    assert found.indices.tolist() == [0, 1, 2]
    assert found.distances.tolist() == pytest.approx([0.2, 0.0, 0.0])
    (distance,) = memorisation.nearest(references[1:2], references[:1]).distances.tolist()
    assert distance == pytest.approx(2.0)  # four pixels, each 1 apart


def test_every_colour_counts() -> None:
    references = torch.zeros(2, 3, 1, 2, dtype=torch.uint8)
    references[1] += 255
    images = torch.tensor([[[[0, 0]], [[51, 0]], [[0, 0]]]], dtype=torch.uint8)
    found = memorisation.nearest(images, references)
    assert (found.indices.item(), found.distances.item()) == (0, pytest.approx(0.2))
    # five numbers are 1 apart, the sixth 0.8: 5.64 squared
    assert memorisation.nearest(images, references[1:]).distances.item() == pytest.approx(5.64**0.5)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images, references = pictures(50, 0), pictures(80, 1)
    whole = memorisation.nearest(images, references)
    monkeypatch.setattr(memorisation, "BATCH", 7)
    blocks = memorisation.nearest(images, references)
    assert torch.equal(whole.indices, blocks.indices)
    torch.testing.assert_close(whole.distances, blocks.distances)
    difference = (images[:, None].float() - references[None].float()) / 255
    expected = difference.flatten(2).norm(dim=2).min(dim=1)
    torch.testing.assert_close(whole.distances, expected.values)


@pytest.mark.parametrize("seed", range(3))
def test_new_images_are_not_flagged_and_a_twentieth_of_training_images_is(seed: int) -> None:
    train, heldout, new = pictures(1000, 10 + seed), pictures(1000, 20 + seed), pictures(1000, 30 + seed)
    held = memorisation.nearest(heldout, train)
    fresh = memorisation.judge(memorisation.nearest(new, train), held, rng())
    assert fresh.memorised == 0
    assert fresh.close == pytest.approx(0.05, abs=0.03)
    leaked = torch.cat([new[:950], train[:50]])
    found = memorisation.judge(memorisation.nearest(leaked, train), held, rng())
    assert found.memorised == 1
    assert (found.copies, found.copies_real) == (0.05, 0.0)
    assert found.close == pytest.approx(0.95 * fresh.close + 0.05, abs=0.02)
    for judged in (fresh, found):
        assert judged.close_low < judged.close < judged.close_high
    assert found.close_low > 0.05


def test_training_images_moved_slightly_in_their_grey_are_found_though_no_copies() -> None:
    train, heldout, new = pictures(1000, 1), pictures(1000, 2), pictures(1000, 3)
    held = memorisation.nearest(heldout, train)
    near = train[:100].clamp(max=254) + 1
    found = memorisation.judge(memorisation.nearest(torch.cat([new[:900], near]), train), held, rng())
    assert found.memorised == 1
    assert found.copies == 0


def nearest(distances: list[float]) -> memorisation.Nearest:
    return memorisation.Nearest(torch.tensor(distances), torch.arange(len(distances)))


@pytest.mark.parametrize(("closer", "memorised"), [(58, 0), (59, 1)])
def test_closer_images_are_too_many_from_four_deviations_on(closer: int, memorised: int) -> None:
    # 0.05 + 4 sqrt((1/400 + 1/100) 0.05 0.95) = 0.14747 of 400 are 58.99.
    synthetic, heldout = (
        nearest(closer * [1.0] + (400 - closer) * [50.0]),
        nearest([*map(float, range(1, 101))]),
    )
    found = memorisation.judge(synthetic, heldout, rng())
    assert (found.close, found.copies, found.memorised) == (closer / 400, 0, memorised)


@pytest.mark.parametrize(("copies", "memorised"), [(93, 0), (94, 1)])
def test_copies_are_too_many_from_four_deviations_above_those_of_real_images(
    copies: int, memorised: int
) -> None:
    # 0.1 + 4 sqrt((1/400 + 1/100) 0.1 0.9) = 0.23416 of 400 are 93.67; nothing is closer than a copy.
    synthetic, heldout = nearest(copies * [0.0] + (400 - copies) * [50.0]), nearest(10 * [0.0] + 90 * [50.0])
    found = memorisation.judge(synthetic, heldout, rng())
    assert (found.close, found.copies, found.copies_real) == (0, copies / 400, 0.1)
    assert found.memorised == memorised


def test_the_interval_covers_the_truth_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memorisation, "RESAMPLES", 150)  # as good for 60 intervals together
    # Both sides are the same distribution, so a twentieth is the truth. The share is p = 0.05 of n = 400
    # below a threshold that is itself measured on 400: its variance is 2 p (1 - p) / n.
    covered, widths = 0, []
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        sides = [memorisation.Nearest(torch.rand(400, generator=generator), torch.arange(400)) for _ in "ab"]
        found = memorisation.judge(sides[0], sides[1], generator)
        covered += found.close_low <= 0.05 <= found.close_high
        widths.append(found.close_high - found.close_low)
    assert covered >= 54
    assert sum(widths) / 60 == pytest.approx(2 * 1.96 * (2 * 0.05 * 0.95 / 400) ** 0.5, rel=0.1)
