"""Features and logits are the network's own, whatever images come together."""

import pytest
import torch
from conftest import GREY
from torch import Tensor

from src.core.errors import PipelineError
from src.datasets.spec import ImageSpec
from src.networks.classifier import ConvClassifier
from src.networks.network import build
from src.scores import extractor


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def network() -> ConvClassifier:
    """Its batch norm has seen other numbers than any batch's own."""
    built = build(ConvClassifier, GREY, seed=0, width=4)
    built(3 * torch.randn(64, 1, 28, 28, generator=rng(7)))
    return built.eval()


def pictures(count: int) -> Tensor:
    return torch.randint(0, 256, (count, 1, 28, 28), generator=rng(1), dtype=torch.uint8)


def test_an_image_is_embedded_alike_in_any_company(network, monkeypatch) -> None:
    monkeypatch.setattr(extractor, "BATCH", 6)
    images = pictures(20)
    together = extractor.embed(network, images)
    assert together.features.shape == (20, 128)
    assert together.logits.shape == (20, 10)
    for index in (0, 5, 6, 19):
        alone = extractor.embed(network, images[index : index + 1])
        torch.testing.assert_close(alone.features[0], together.features[index], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone.logits[0], together.logits[index], rtol=1e-4, atol=1e-5)
    assert together.features.std(dim=0).max() > 0.01
    assert not network.training


def test_features_and_logits_are_the_networks_own_of_unit_values(network) -> None:
    images = pictures(4)
    embedded = extractor.embed(network, images)
    with torch.no_grad():
        unit = images.float() / 127.5 - 1
        torch.testing.assert_close(embedded.features, network.features(unit), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(embedded.logits, network(unit), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", ["body", "head"])
def test_a_network_full_of_nan_is_an_error(network, layer) -> None:
    with torch.no_grad():
        next(getattr(network, layer).parameters()).fill_(float("nan"))
    with pytest.raises(PipelineError, match="NaN or infinite features; run train_extractor again"):
        extractor.embed(network, pictures(3))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("layer", ["body", "head"])
def test_a_single_number_that_is_not_finite_is_an_error(network, layer, value) -> None:
    last = network.head if layer == "head" else network.body[-2]
    with torch.no_grad():
        last.bias[3] = value
    with pytest.raises(PipelineError, match="NaN or infinite features; run train_extractor again"):
        extractor.embed(network, pictures(3))


def test_colour_images_of_another_size_have_as_many_logits_as_classes() -> None:
    spec = ImageSpec(channels=3, height=32, width=24, classes=4)
    network = build(ConvClassifier, spec, seed=0, width=4).eval()
    images = torch.randint(0, 256, (3, 3, 32, 24), generator=rng(1), dtype=torch.uint8)
    found = extractor.embed(network, images)
    assert (found.features.shape, found.logits.shape) == ((3, 128), (3, 4))
    # Every colour counts.
    other = images.clone()
    other[:, 2] = 255 - other[:, 2]
    assert not torch.allclose(extractor.embed(network, other).features, found.features)
