"""Strong changes of images: each by hand, none a mirror, the same for the same random numbers."""

import pytest
import torch
from torch import Tensor

from src.classifiers import augmentation
from src.classifiers.augmentation import STRONG


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def strong(pixels: Tensor, rng: torch.Generator) -> Tensor:
    return STRONG.make(pixels, STRONG.draw(len(pixels), rng))


def only(monkeypatch: pytest.MonkeyPatch, drawn: float = 0.0, **kept: float) -> None:
    """No change but those that are kept; each number that is drawn from [-1, 1] is `drawn`."""
    for name in ("TURN", "STRETCH", "SHEAR", "MOVE", "BEND"):
        monkeypatch.setattr(augmentation, name, kept.get(name, 0.0))
    monkeypatch.setattr(torch, "rand", lambda *shape, generator: torch.full(shape, (1 + drawn) / 2))


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (3, 2, 8, 8), generator=rng(), dtype=torch.uint8)


def test_without_any_change_images_stay_as_they_are(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, 1.0)
    torch.testing.assert_close(strong(images, rng()), images.float(), atol=1e-3, rtol=0)


def test_a_turn_by_a_quarter(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, 1.0, TURN=90.0)
    expected = torch.rot90(images.float(), 1, (2, 3))
    torch.testing.assert_close(strong(images, rng()), expected, atol=0.1, rtol=0)


def test_a_move_by_two_pixels_fills_with_0(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, 1.0, MOVE=0.5)  # of half a side of 8 pixels
    changed = strong(images, rng())
    torch.testing.assert_close(changed[:, :, :6, :6], images[:, :, 2:, 2:].float(), atol=0.1, rtol=0)
    assert not changed[:, :, 6:].any()
    assert not changed[:, :, :, 6:].any()


def test_a_stretch_is_of_both_sides_and_keeps_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, -1.0, STRETCH=0.6931)  # the grid shrinks to a half: the image grows to double
    images = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    images[..., 3:5, 3:5] = 200
    bright = strong(images, rng())[0, 0] > 100
    assert bright.nonzero().amin(dim=0).tolist() == [2, 2]
    assert bright.nonzero().amax(dim=0).tolist() == [5, 5]


def test_nothing_is_mirrored_and_bytes_stay_bytes() -> None:
    # A hook whose long side is left of its foot: mirrored, most of its ink would be on the right.
    hook = torch.zeros(500, 1, 28, 28, dtype=torch.uint8)
    hook[:, :, 4:24, 10:12] = 255
    hook[:, :, 22:24, 10:20] = 255
    changed = strong(hook, rng())
    assert -0.01 < changed.min() < changed.max() < 255.01
    upper, lower = changed[:, 0, :14].sum(dim=1), changed[:, 0, 18:].sum(dim=1)
    place = torch.arange(28.0)
    right_of = (lower * place).sum(1) / lower.sum(1) - (upper * place).sum(1) / upper.sum(1)
    assert (right_of[right_of.isfinite()] > 0).double().mean() > 0.9


def test_the_same_numbers_give_the_same_changes_and_others_others(images: Tensor) -> None:
    first, again, other = (strong(images, rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    # Each image has changes of its own.
    twice = strong(images[:1].expand(2, 2, 8, 8), rng())
    assert not torch.equal(twice[0], twice[1])
