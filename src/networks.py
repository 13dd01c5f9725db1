"""Generators, discriminators and classifiers for 28x28 grey images, all returning raw scores.

Images are float tensors of shape (n, 1, 28, 28) in [-1, 1], labels int64 tensors of shape (n,).
`NETWORKS` names every network, so that a saved one can be rebuilt from its name and options.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as spectrally_normalised

SIDE = 28
PIXELS = SIDE * SIDE
CLASSES = 10


class MLPGenerator(nn.Module):
    """The source document's generator: latent - 128 - 256 - 784, ReLU inside, tanh at the end.

    Args:
        latent: Length of the latent vector z.
        width: Units of the first hidden layer; the second has twice as many. 128 in the document.
        conditional: Whether a class embedding of length 10 is joined to the latent vector.
    """

    def __init__(self, *, latent: int, width: int, conditional: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CLASSES, CLASSES) if conditional else None
        inputs = latent + (CLASSES if conditional else 0)
        self.layers = nn.Sequential(
            nn.Linear(inputs, width),
            nn.ReLU(),
            nn.Linear(width, 2 * width),
            nn.ReLU(),
            nn.Linear(2 * width, PIXELS),
            nn.Tanh(),
        )

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        """Maps latents (n, latent) and labels (n,) to images (n, 1, 28, 28) in [-1, 1]."""
        if self.embedding is not None:
            latent = torch.cat([latent, self.embedding(labels)], dim=1)
        images: Tensor = self.layers(latent)
        return images.view(-1, 1, SIDE, SIDE)


class ProjectionHead(nn.Module):
    """A discriminator's last layer: features and label to a raw score (Miyato and Koyama 2018, eq. 3).

    Args:
        features: Length of a feature vector.
        conditional: Whether the label takes part.
    """

    def __init__(self, features: int, *, conditional: bool) -> None:
        super().__init__()
        self.score = nn.Linear(features, 1)
        self.embedding = nn.Embedding(CLASSES, features) if conditional else None
        if self.embedding is not None:
            # The projection starts at the scale of the score's own weights, so that neither drowns the other.
            nn.init.normal_(self.embedding.weight, std=1 / math.sqrt(3 * features))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Maps features (n, d) and labels (n,) to raw scores (n,), any real number."""
        scores: Tensor = self.score(features).squeeze(1)
        if self.embedding is not None:
            # f(x, y) = y^T V phi(x) + psi(phi(x))
            scores = scores + (self.embedding(labels) * features).sum(dim=1)
        return scores


class MLPDiscriminator(nn.Module):
    """The source document's discriminator: 784 - 256 - 128 - 1, ReLU inside, without the sigmoid.

    Args:
        width: Units of the second hidden layer; the first has twice as many. 128 in the document.
        conditional: Whether the label enters by projection (Miyato and Koyama 2018, eq. 3).
        spectral_norm: Whether weights are normalised spectrally (Miyato et al. 2018).
    """

    def __init__(self, *, width: int, conditional: bool, spectral_norm: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(PIXELS, 2 * width),
            nn.ReLU(),
            nn.Linear(2 * width, width),
            nn.ReLU(),
        )
        self.head = ProjectionHead(width, conditional=conditional)
        if spectral_norm:
            _normalise_spectrally(self)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Maps images (n, 1, 28, 28) and labels (n,) to raw scores (n,), any real number."""
        scores: Tensor = self.head(self.layers(images), labels)
        return scores


class ConvGenerator(nn.Module):
    """Channels at 7x7 and 14x14 and two pixel shuffles, batch norm and ReLU inside, tanh at the end.

    Most arithmetic happens on few pixels, which is what a CPU can afford (pixel shuffle: Shi et al. 2016).

    Args:
        latent: Length of the latent vector z.
        width: Channels at 14x14; 7x7 has twice as many.
        conditional: Whether a class embedding as long as the latent vector is joined to it.
    """

    def __init__(self, *, latent: int, width: int, conditional: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CLASSES, latent) if conditional else None
        if self.embedding is not None:
            # At the scale of the latent vector the class drowns it, and every class becomes a single picture.
            nn.init.normal_(self.embedding.weight, std=0.1)
        inputs = 2 * latent if conditional else latent

        def block(inputs: int, outputs: int, shrink: int = 1) -> list[nn.Module]:
            convolution = nn.Conv2d(inputs, outputs * shrink**2, 3, padding=1, bias=False)
            return [convolution, nn.PixelShuffle(shrink), nn.BatchNorm2d(outputs), nn.ReLU()]

        self.layers = nn.Sequential(
            nn.Linear(inputs, 2 * width * 49, bias=False),
            nn.Unflatten(1, (2 * width, 7, 7)),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            *block(2 * width, 2 * width),
            *block(2 * width, width, 2),
            *block(width, width),
            nn.Conv2d(width, 4, 3, padding=1),
            nn.PixelShuffle(2),
            nn.Tanh(),
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        """Maps latents (n, latent) and labels (n,) to images (n, 1, 28, 28) in [-1, 1]."""
        if self.embedding is not None:
            latent = torch.cat([latent, self.embedding(labels)], dim=1)
        images: Tensor = self.layers(latent)
        return images


class ConvDiscriminator(nn.Module):
    """Pixels folded to 14x14, three convolutions and leaky ReLU, without any normalisation.

    Args:
        width: Channels at 14x14; 7x7 has 2 and 4x4 has 4 times as many.
        conditional: Whether the label enters by projection (Miyato and Koyama 2018, eq. 3).
        spectral_norm: Whether weights are normalised spectrally (Miyato et al. 2018).
    """

    def __init__(self, *, width: int, conditional: bool, spectral_norm: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(4, width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
        )
        self.head = ProjectionHead(16 * 4 * width, conditional=conditional)
        if spectral_norm:
            _normalise_spectrally(self)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Maps images (n, 1, 28, 28) and labels (n,) to raw scores (n,), any real number."""
        # Four channels fill the CPU's vectors where one would not, and carry the memory layout on.
        pixels = torch.pixel_unshuffle(images, 2).contiguous(memory_format=torch.channels_last)
        scores: Tensor = self.head(self.layers(pixels), labels)
        return scores


def _normalise_spectrally(network: nn.Module) -> None:
    for layer in list(network.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding):
            spectrally_normalised(layer)


class ConvClassifier(nn.Module):
    """Three convolutions and two linear layers: the extractor's, labeller's and downstream architecture.

    Args:
        width: Channels of the first convolution; the next two have 2 and 4 times as many.
    """

    num_features = 128  # torchmetrics asks a feature extractor for this attribute

    def __init__(self, *, width: int) -> None:
        super().__init__()

        def block(inputs: int, outputs: int, kernel: int, shrink: nn.Module | None) -> list[nn.Module]:
            stride = 1 if shrink else 2
            convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
            # Pooling before normalising leaves a quarter of the pixels to normalise.
            pooling = [shrink] if shrink else []
            return [convolution, *pooling, nn.BatchNorm2d(outputs), nn.ReLU()]

        self.body = nn.Sequential(
            *block(1, width, kernel=5, shrink=None),
            *block(width, 2 * width, kernel=3, shrink=nn.MaxPool2d(2)),
            *block(2 * width, 4 * width, kernel=3, shrink=nn.MaxPool2d(2)),
            nn.Flatten(),
            nn.Linear(4 * width * 9, self.num_features),
            nn.ReLU(),
        )
        self.head = nn.Linear(self.num_features, CLASSES)
        self.to(memory_format=torch.channels_last)  # a third faster on a CPU

    def features(self, images: Tensor) -> Tensor:
        """Maps images (n, 1, 28, 28) in [-1, 1] to penultimate features (n, 128), each >= 0."""
        features: Tensor = self.body(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (n, 1, 28, 28) in [-1, 1] to logits (n, 10)."""
        logits: Tensor = self.head(self.features(images))
        return logits


NETWORKS: dict[str, type[nn.Module]] = {
    "mlp-generator": MLPGenerator,
    "mlp-discriminator": MLPDiscriminator,
    "conv-generator": ConvGenerator,
    "conv-discriminator": ConvDiscriminator,
    "conv-classifier": ConvClassifier,
}


def build(name: str, *, seed: int, **options: Any) -> nn.Module:
    """Builds a network and notes on it how: `network.built_from` rebuilds it after saving.

    Args:
        name: A key of `NETWORKS`.
        seed: Seeds the initial weights, and nothing beyond them.
        **options: The network's own keyword arguments.
    """
    # torch's initialisers draw from the default generator and take no other; its state is put back.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NETWORKS[name](**options)
    network.built_from = {"name": name, "options": options}  # type: ignore[assignment]
    return network


def build_pair(
    name: str, *, seed: int, latent: int, width: int, conditional: bool, spectral_norm: bool
) -> tuple[nn.Module, nn.Module]:
    """Builds a generator and its discriminator.

    Args:
        name: Which pair: NETWORKS has `<name>-generator` and `<name>-discriminator`.
        seed: Seeds the initial weights of both.
        latent: Length of the latent vector.
        width: Units (or channels) of the narrowest hidden layer.
        conditional: Whether both are told the class.
        spectral_norm: Whether every weight matrix of the discriminator is divided by its largest singular
            value (Miyato et al. 2018, eq. 8), which bounds its slope.
    """
    generator = build(f"{name}-generator", seed=seed, latent=latent, width=width, conditional=conditional)
    discriminator = build(
        f"{name}-discriminator",
        seed=seed + 1,
        width=width,
        conditional=conditional,
        spectral_norm=spectral_norm,
    )
    return generator, discriminator
