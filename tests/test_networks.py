import math

import pytest
import torch
from torch import nn

from src import networks
from src.config import Recipe

SETTINGS = {"latent": 7, "width": 8, "spectral_norm": False}


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("name", Recipe.__annotations__["network"].__args__)
def test_a_pair_keeps_the_contract_of_shapes_and_ranges(name: str, conditional: bool) -> None:
    generator, discriminator = networks.build_pair(name, seed=0, conditional=conditional, **SETTINGS)
    labels = torch.arange(5)
    pictures = generator(100 * torch.randn(5, 7), labels)
    assert pictures.shape == (5, 1, 28, 28)
    assert pictures.min() >= -1
    assert pictures.max() <= 1
    assert pictures.std() > 0.1
    assert discriminator(pictures, labels).shape == (5,)


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("name", Recipe.__annotations__["network"].__args__)
def test_only_conditional_networks_look_at_the_label(name: str, conditional: bool) -> None:
    generator, discriminator = networks.build_pair(name, seed=0, conditional=conditional, **SETTINGS)
    noise, zeros, ones = torch.randn(4, 7), torch.zeros(4).long(), torch.ones(4).long()
    pictures = generator(noise, zeros)
    assert torch.equal(pictures, generator(noise, ones)) != conditional
    assert torch.equal(discriminator(pictures, zeros), discriminator(pictures, ones)) != conditional


def test_the_mlp_is_the_documents() -> None:
    generator, discriminator = networks.build_pair(
        "mlp", seed=0, latent=100, width=128, conditional=False, spectral_norm=False
    )

    def layers(network: nn.Module) -> list[tuple[int, int]]:
        linear = (layer for layer in network.modules() if isinstance(layer, nn.Linear))
        return sorted((layer.in_features, layer.out_features) for layer in linear)

    assert layers(generator) == [(100, 128), (128, 256), (256, 784)]
    assert layers(discriminator) == [(128, 1), (256, 128), (784, 256)]
    # 100*128+128 + 128*256+256 + 256*784+784; 784*256+256 + 256*128+128 + 128+1
    assert sum(p.numel() for p in generator.parameters()) == 12_928 + 33_024 + 201_488
    assert sum(p.numel() for p in discriminator.parameters()) == 200_960 + 32_896 + 129


def test_the_discriminator_gives_raw_scores_and_projects_the_label() -> None:
    discriminator = networks.build(
        "mlp-discriminator", seed=0, width=8, conditional=True, spectral_norm=False
    )
    pictures, labels = 30 * torch.randn(6, 1, 28, 28), torch.arange(6)
    scores = discriminator(pictures, labels)
    assert scores.abs().max() > 1.5  # no sigmoid, no tanh
    # f(x, y) = V_y . phi(x) + w . phi(x) + b
    features = discriminator.layers(pictures)
    weights = discriminator.head.embedding.weight[labels] + discriminator.head.score.weight
    expected = (weights * features).sum(dim=1) + discriminator.head.score.bias
    torch.testing.assert_close(scores, expected)


def test_weights_depend_on_the_seed_alone_and_drawing_them_disturbs_nobody() -> None:
    torch.manual_seed(1)
    one = networks.build("mlp-discriminator", seed=3, width=8, conditional=False, spectral_norm=False)
    following = torch.rand(1).item()
    torch.manual_seed(1)
    assert torch.rand(1).item() == following
    two = networks.build("mlp-discriminator", seed=3, width=8, conditional=False, spectral_norm=False)
    three = networks.build("mlp-discriminator", seed=4, width=8, conditional=False, spectral_norm=False)
    assert torch.equal(one.head.score.weight, two.head.score.weight)
    assert not torch.equal(one.head.score.weight, three.head.score.weight)


def test_the_classifier_gives_features_and_logits_of_the_same_pass() -> None:
    classifier = networks.build("conv-classifier", seed=0, width=4).eval()
    pictures = torch.randn(3, 1, 28, 28)
    features = classifier.features(pictures)
    assert features.shape == (3, classifier.num_features)
    assert features.min() >= 0
    torch.testing.assert_close(classifier(pictures), classifier.head(features))
    assert classifier(pictures).shape == (3, 10)


def test_the_projection_starts_at_the_scale_of_the_score() -> None:
    discriminator = networks.build(
        "mlp-discriminator", seed=0, width=512, conditional=True, spectral_norm=False
    )
    # nn.Linear draws uniformly from +-1/sqrt(512): standard deviation 1/sqrt(3*512)
    expected = 1 / math.sqrt(3 * 512)
    assert discriminator.head.score.weight.std().item() == pytest.approx(expected, rel=0.15)
    assert discriminator.head.embedding.weight.std().item() == pytest.approx(expected, rel=0.15)


def test_the_convolutional_pair_has_the_layers_that_it_says() -> None:
    generator, discriminator = networks.build_pair(
        "conv", seed=0, latent=64, width=24, conditional=True, spectral_norm=False
    )
    # Linear 128*48*49, norms 2*48 + 2*48 + 2*24 + 2*24, convolutions 48*48*9, 48*96*9, 24*24*9, 24*4*9+4,
    # classes 10*64
    expected = 301_056 + 288 + 20_736 + 41_472 + 5_184 + 868 + 640
    assert sum(p.numel() for p in generator.parameters()) == expected
    # Convolutions 24*4*9+24, 24*48*16+48, 48*96*9+96, score 96*16+1, classes 10*96*16
    expected = 888 + 18_480 + 41_568 + 1_537 + 15_360
    assert sum(p.numel() for p in discriminator.parameters()) == expected


def test_the_class_starts_small_beside_the_latent_vector_in_the_convolutional_generator() -> None:
    generator = networks.build("conv-generator", seed=0, latent=500, width=4, conditional=True)
    assert generator.embedding.weight.std().item() == pytest.approx(0.1, rel=0.05)


def test_no_discriminator_mixes_the_rows_of_a_batch() -> None:
    # Penalties and the loop's one pass over real and generated images rest on this.
    pictures, labels = torch.randn(6, 1, 28, 28), torch.arange(6)
    for name in Recipe.__annotations__["network"].__args__:
        _, discriminator = networks.build_pair(name, seed=0, conditional=True, **SETTINGS)
        together = discriminator(pictures, labels)
        alone = torch.cat([discriminator(pictures[i : i + 1], labels[i : i + 1]) for i in range(6)])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", Recipe.__annotations__["network"].__args__)
def test_spectral_normalisation_brings_every_largest_singular_value_to_one(name: str) -> None:
    _, discriminator = networks.build_pair(
        name, seed=0, latent=7, width=8, conditional=True, spectral_norm=True
    )
    pictures, labels = torch.randn(4, 1, 28, 28), torch.arange(4)
    for _ in range(200):  # a step of the power iteration each
        discriminator(pictures, labels)
    layers = [m for m in discriminator.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.Embedding)]
    assert len(layers) == {"mlp": 4, "conv": 5}[name]
    for layer in layers:
        largest = torch.linalg.svdvals(layer.weight.flatten(1))[0].item()
        assert largest == pytest.approx(1, rel=1e-3)
