"""The translator: shapes, ranges, and each image for itself."""

import pytest
import torch
from torch import Tensor

from src.datasets.labelled import to_unit
from src.datasets.spec import ImageSpec
from src.networks.network import build
from src.networks.translator import Translator

SMALL = ImageSpec(channels=1, height=8, width=9, classes=3)


def noise(count: int, spec: ImageSpec) -> Tensor:
    rng = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (count, *spec.shape), generator=rng, dtype=torch.uint8)


@pytest.mark.parametrize("size", [(1, 28, 28), (3, 32, 32), (1, 27, 30), (3, 8, 11), (1, 9, 9), (3, 20, 36)])
def test_a_translator_keeps_the_contract_of_shapes_and_ranges(size: tuple[int, int, int]) -> None:
    spec = ImageSpec(*size, classes=3)
    translator = build(Translator, spec, seed=0, width=4)
    pixels = noise(5, spec)
    images = to_unit(pixels).requires_grad_(True)
    made = translator(images, torch.zeros(5).long())
    assert made.shape == images.shape
    assert made.min() >= -1
    assert made.max() <= 1
    made.square().sum().backward()
    assert all(parameter.grad.any() for parameter in translator.parameters())
    assert images.grad.abs().sum(dim=0).min() > 0
    # near the identity, but for what tanh does to it
    assert (made - torch.tanh(images)).abs().mean() < 0.1


def test_a_translator_translates_each_image_for_itself() -> None:
    translator = build(Translator, SMALL, seed=0, width=4)
    images = to_unit(noise(30, SMALL))
    labels = torch.arange(30) % 3
    with torch.no_grad():
        together = translator(images, labels)
        alone = torch.cat([translator(image[None], labels[:1]) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
