"""Generators, discriminators and the classifier: their contract on images of any size, and their layers."""

import math

import pytest
import torch
from conftest import GREY
from torch import Tensor, nn
from torch.nn.functional import (
    batch_norm,
    conv2d,
    leaky_relu,
    max_pool2d,
    pixel_shuffle,
    pixel_unshuffle,
    relu,
)

from src.datasets.spec import ImageSpec
from src.networks.classifier import ConvClassifier
from src.networks.conv import ConvDiscriminator, ConvGenerator
from src.networks.mlp import MLPDiscriminator, MLPGenerator
from src.networks.network import Network, build
from src.networks.pairs import GENERATORS, PAIRS

SPECS = {
    "mnist": GREY,
    "small colour": ImageSpec(channels=3, height=32, width=32, classes=7),
    "letters": ImageSpec(channels=1, height=64, width=64, classes=26),
    "wide": ImageSpec(channels=3, height=20, width=36, classes=2),
    "odd": ImageSpec(channels=1, height=27, width=30, classes=5),
    "smallest": ImageSpec(channels=3, height=8, width=11, classes=3),
    "one short": ImageSpec(channels=1, height=15, width=31, classes=4),  # of what three halvings divide
}
each_pair = pytest.mark.parametrize("name", PAIRS)
each_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
told_or_not = pytest.mark.parametrize("conditional", [True, False])


def pair(
    name: str,
    spec: ImageSpec = GREY,
    *,
    latent: int = 7,
    width: int = 8,
    conditional: bool = True,
    spectral_norm: bool = False,
) -> tuple[Network, Network]:
    shared = {"width": width, "conditional": conditional}
    return (
        build(PAIRS[name].generator, spec, seed=0, latent=latent, **shared),
        build(PAIRS[name].discriminator, spec, seed=1, spectral_norm=spectral_norm, **shared),
    )


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# The contract


@each_spec
@told_or_not
@each_pair
def test_a_pair_keeps_the_contract_of_shapes_and_ranges(
    name: str, conditional: bool, spec: ImageSpec
) -> None:
    generator, discriminator = pair(name, spec, conditional=conditional)
    labels = torch.arange(5) % spec.classes
    pictures = generator(100 * drawn(5, 7), labels)
    assert pictures.shape == (5, spec.channels, spec.height, spec.width)
    assert pictures.min() >= -1
    assert pictures.max() <= 1
    assert pictures.std() > 0.1
    assert discriminator(pictures, labels).shape == (5,)
    assert generator.spec == discriminator.spec == spec


@each_spec
@each_pair
def test_every_weight_and_every_pixel_takes_part(name: str, spec: ImageSpec) -> None:
    generator, discriminator = pair(name, spec)
    labels = torch.arange(60) % spec.classes
    pictures = generator(drawn(60, 7), labels)
    pictures.retain_grad()
    discriminator(pictures, labels).sum().backward()
    for network in (generator, discriminator):
        for key, parameter in network.named_parameters():
            assert parameter.grad.isfinite().all(), key
            assert parameter.grad.any(), key
    # The discriminator looks at the whole of an image, whatever its size.
    assert pictures.grad.abs().sum(dim=0).min() > 0
    # Every class has something of its own.
    for embedding in (generator.embedding, discriminator.head.embedding):
        assert len(embedding.weight) == spec.classes
        assert embedding.weight.grad.any(dim=1).all()


@told_or_not
@each_pair
def test_only_conditional_networks_look_at_the_label(name: str, conditional: bool) -> None:
    generator, discriminator = pair(name, conditional=conditional)
    noise, zeros, ones = drawn(4, 7), torch.zeros(4).long(), torch.ones(4).long()
    pictures = generator(noise, zeros)
    assert torch.equal(pictures, generator(noise, ones)) != conditional
    assert torch.equal(discriminator(pictures, zeros), discriminator(pictures, ones)) != conditional


@each_pair
def test_a_network_can_be_rebuilt_from_what_it_says_of_itself(name: str) -> None:
    for network in pair(name, SPECS["wide"], spectral_norm=True):
        again = type(network)(network.spec, **network.options)
        again.load_state_dict(network.state_dict())
        assert again.options == network.options


def test_a_saved_generator_is_called_after_its_pair() -> None:
    assert GENERATORS["mlp-generator"] is MLPGenerator
    assert GENERATORS["conv-generator"] is ConvGenerator
    assert list(GENERATORS) == [*(f"{name}-generator" for name in PAIRS), "translator"]


@each_spec
@each_pair
def test_no_discriminator_mixes_the_rows_of_a_batch(name: str, spec: ImageSpec) -> None:
    # Penalties and the step's one pass over real and generated images rest on this.
    pictures, labels = drawn(6, *spec.shape), torch.arange(6) % spec.classes
    _, discriminator = pair(name, spec)
    together = discriminator(pictures, labels)
    alone = torch.cat([discriminator(pictures[i : i + 1], labels[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@each_pair
def test_spectral_normalisation_brings_every_largest_singular_value_to_one(name: str) -> None:
    _, discriminator = pair(name, spectral_norm=True)
    pictures, labels = drawn(4, 1, 28, 28), torch.arange(4)
    for _ in range(200):  # a step of the power iteration each
        discriminator(pictures, labels)
    layers = [m for m in discriminator.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.Embedding)]
    assert len(layers) == {"mlp": 4, "conv": 5}[name]
    for layer in layers:
        largest = torch.linalg.svdvals(layer.weight.flatten(1))[0].item()
        assert largest == pytest.approx(1, rel=1e-3)


def test_weights_depend_on_the_seed_alone_and_drawing_them_disturbs_nobody() -> None:
    def made(seed: int) -> MLPDiscriminator:
        return build(MLPDiscriminator, GREY, seed=seed, width=8, conditional=False, spectral_norm=False)

    torch.manual_seed(1)
    one = made(3)
    following = torch.rand(1).item()
    torch.manual_seed(1)
    assert torch.rand(1).item() == following
    two, three = made(3), made(4)
    assert torch.equal(one.head.score.weight, two.head.score.weight)
    assert not torch.equal(one.head.score.weight, three.head.score.weight)


# Multilayer perceptrons


def test_the_mlp_is_the_documents() -> None:
    generator, discriminator = pair("mlp", latent=100, width=128, conditional=False)

    def layers(network: nn.Module) -> list[tuple[int, int]]:
        linear = (layer for layer in network.modules() if isinstance(layer, nn.Linear))
        return sorted((layer.in_features, layer.out_features) for layer in linear)

    assert layers(generator) == [(100, 128), (128, 256), (256, 784)]
    assert layers(discriminator) == [(128, 1), (256, 128), (784, 256)]
    # 100*128+128 + 128*256+256 + 256*784+784; 784*256+256 + 256*128+128 + 128+1
    assert count(generator) == 12_928 + 33_024 + 201_488
    assert count(discriminator) == 200_960 + 32_896 + 129


def test_the_mlp_that_is_told_the_class_has_an_embedding_more() -> None:
    generator, discriminator = pair("mlp", latent=100, width=128)
    # Classes 10*10, which the first layer sees too: 10*128; classes 10*128
    assert count(generator) == 247_440 + 100 + 1_280
    assert count(discriminator) == 233_985 + 1_280


def test_the_discriminator_gives_raw_scores_and_projects_the_label() -> None:
    _, discriminator = pair("mlp")
    pictures, labels = 30 * drawn(6, 1, 28, 28), torch.arange(6)
    scores = discriminator(pictures, labels)
    assert scores.abs().max() > 1.5  # no sigmoid, no tanh
    # f(x, y) = V_y . phi(x) + w . phi(x) + b
    features = discriminator.layers(pictures)
    weights = discriminator.head.embedding.weight[labels] + discriminator.head.score.weight
    expected = (weights * features).sum(dim=1) + discriminator.head.score.bias
    torch.testing.assert_close(scores, expected)


def test_the_projection_starts_at_the_scale_of_the_score() -> None:
    _, discriminator = pair("mlp", width=512)
    # nn.Linear draws uniformly from +-1/sqrt(512): standard deviation 1/sqrt(3*512)
    expected = 1 / math.sqrt(3 * 512)
    assert discriminator.head.score.weight.std().item() == pytest.approx(expected, rel=0.15)
    assert discriminator.head.embedding.weight.std().item() == pytest.approx(expected, rel=0.15)


# Convolutions


def test_the_convolutional_pair_has_the_layers_that_it_says() -> None:
    generator, discriminator = pair("conv", latent=64, width=24)
    # Linear 128*48*49, norms 2*48 + 2*48 + 2*24 + 2*24, convolutions 48*48*9, 48*96*9, 24*24*9, 24*4*9+4,
    # classes 10*64
    assert count(generator) == 301_056 + 288 + 20_736 + 41_472 + 5_184 + 868 + 640
    # Convolutions 24*4*9+24, 24*48*16+48, 48*96*9+96, score 96*16+1, classes 10*96*16
    assert count(discriminator) == 888 + 18_480 + 41_568 + 1_537 + 15_360


def of(network: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [layer for layer in network.modules() if isinstance(layer, kind)]


def normalised(x: Tensor, norm: nn.Module) -> Tensor:
    """Batch normalisation and ReLU, with the statistics of this batch."""
    return relu(batch_norm(x, None, None, norm.weight, norm.bias, training=True))


def test_the_convolutional_generator_computes_what_it_says() -> None:
    generator, _ = pair("conv")
    latents, labels = drawn(5, 7), torch.arange(5)
    first, norms = generator.layers[0], of(generator, nn.BatchNorm2d)
    quarter, shuffled, half, last = of(generator, nn.Conv2d)
    x = torch.cat([latents, generator.embedding.weight[labels]], dim=1) @ first.weight.T
    x = normalised(x.view(5, 16, 7, 7), norms[0])
    x = normalised(conv2d(x, quarter.weight, padding=1), norms[1])
    x = normalised(pixel_shuffle(conv2d(x, shuffled.weight, padding=1), 2), norms[2])
    x = normalised(conv2d(x, half.weight, padding=1), norms[3])
    x = torch.tanh(pixel_shuffle(conv2d(x, last.weight, last.bias, padding=1), 2))
    torch.testing.assert_close(generator(latents, labels), x, rtol=1e-4, atol=1e-5)


def test_the_convolutional_discriminator_computes_what_it_says() -> None:
    _, discriminator = pair("conv")
    pictures, labels = drawn(5, 1, 28, 28), torch.arange(5)
    x = pixel_unshuffle(pictures, 2)
    for layer, stride in zip(of(discriminator, nn.Conv2d), (1, 2, 2), strict=True):
        x = leaky_relu(conv2d(x, layer.weight, layer.bias, stride, padding=1), 0.2)
    head = discriminator.head
    expected = (x.flatten(1) * (head.score.weight + head.embedding.weight[labels])).sum(
        dim=1
    ) + head.score.bias
    torch.testing.assert_close(discriminator(pictures, labels), expected, rtol=1e-4, atol=1e-5)


def test_the_convolutional_pair_grows_with_channels_classes_and_size() -> None:
    generator, discriminator = pair("conv", SPECS["wide"], latent=64, width=24)
    # Linear 128*48*5*9, norms and inner convolutions as above, 24*12*9+12, classes 2*64
    assert count(generator) == 276_480 + 288 + 20_736 + 41_472 + 5_184 + 2_604 + 128
    # Convolutions 24*12*9+24 and as above, score 96*3*5+1, classes 2*96*15
    assert count(discriminator) == 2_616 + 18_480 + 41_568 + 1_441 + 2_880


@pytest.mark.parametrize(
    ("spec", "places"),
    [
        ("mnist", 4 * 4),
        ("small colour", 4 * 4),
        ("letters", 8 * 8),
        ("wide", 3 * 5),  # 20 and 36 fold to 10 and 18, are halved to 5 and 9, and rounded up to 3 and 5
        ("odd", 4 * 4),  # 27 and 30: 14 and 15, 7 and 7, 4 and 4
        ("smallest", 1 * 2),  # 8 and 11: 4 and 6, 2 and 3, 1 and 2
        ("one short", 2 * 4),  # 15 and 31: 8 and 16, 4 and 8, 2 and 4
    ],
)
def test_the_last_layer_sees_an_eighth_of_each_side(spec: str, places: int) -> None:
    _, discriminator = pair("conv", SPECS[spec])
    assert discriminator.head.score.in_features == 32 * places


def test_odd_images_are_cropped_from_even_ones_and_padded_to_even_ones() -> None:
    even, odd = ImageSpec(1, 28, 32, 5), SPECS["odd"]
    options = {"width": 8, "conditional": True}
    generators = [build(ConvGenerator, spec, seed=0, latent=7, **options).eval() for spec in (even, odd)]
    latents, labels = drawn(3, 7), torch.arange(3)
    with torch.no_grad():
        whole, cropped = (generator(latents, labels) for generator in generators)
    assert torch.equal(cropped, whole[:, :, :27, :30])
    tall = ImageSpec(1, 28, 30, 5)
    options |= {"spectral_norm": False}
    judges = [build(ConvDiscriminator, spec, seed=0, **options) for spec in (tall, odd)]
    padded = torch.cat([cropped, torch.zeros(3, 1, 1, 30)], dim=2)
    with torch.no_grad():
        assert torch.equal(judges[0](padded, labels), judges[1](cropped, labels))


def test_the_class_starts_small_beside_the_latent_vector_in_the_convolutional_generator() -> None:
    generator, _ = pair("conv", latent=500, width=4)
    assert generator.embedding.weight.std().item() == pytest.approx(0.1, rel=0.05)


# The classifier


@each_spec
def test_the_classifier_gives_features_and_logits_of_the_same_pass(spec: ImageSpec) -> None:
    classifier = build(ConvClassifier, spec, seed=0, width=4).eval()
    pictures = drawn(3, *spec.shape)
    features = classifier.features(pictures)
    assert features.shape == (3, 128)
    assert classifier.num_features == 128
    assert features.min() >= 0
    torch.testing.assert_close(classifier(pictures), classifier.head(features))
    assert classifier(pictures).shape == (3, spec.classes)


def test_the_classifier_has_the_layers_that_it_says() -> None:
    # Convolutions 16*25, 16*32*9, 32*64*9, norms 2*16 + 2*32 + 2*64, linear 64*9*128+128, 128*10+10
    expected = 400 + 4_608 + 18_432 + 224 + 73_856 + 1_290
    assert count(build(ConvClassifier, GREY, seed=0, width=16)) == expected
    # 3*16*25, and 32 pixels leave 4*4 places of 64, and 7 classes
    expected = 1_200 + 4_608 + 18_432 + 224 + 131_200 + 903
    assert count(build(ConvClassifier, SPECS["small colour"], seed=0, width=16)) == expected


def test_the_classifier_computes_what_it_says() -> None:
    classifier = build(ConvClassifier, GREY, seed=0, width=4)
    pictures = drawn(5, 1, 28, 28)
    convolutions, norms, (last, head) = (
        of(classifier, kind) for kind in (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
    )
    x = normalised(conv2d(pictures, convolutions[0].weight, stride=2, padding=2), norms[0])
    for convolution, norm in zip(convolutions[1:], norms[1:], strict=True):
        x = normalised(max_pool2d(conv2d(x, convolution.weight, padding=1), 2), norm)
    features = relu(x.flatten(1) @ last.weight.T + last.bias)
    torch.testing.assert_close(classifier.features(pictures), features, rtol=1e-4, atol=1e-5)
    expected = features @ head.weight.T + head.bias
    torch.testing.assert_close(classifier(pictures), expected, rtol=1e-4, atol=1e-5)


@each_spec
def test_every_weight_of_the_classifier_takes_part(spec: ImageSpec) -> None:
    classifier = build(ConvClassifier, spec, seed=0, width=4)
    classifier(drawn(60, *spec.shape)).square().sum().backward()
    assert all(parameter.grad.any() for parameter in classifier.parameters())
