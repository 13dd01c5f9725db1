"""The table of pairs: a generator and its discriminator, by the name that a recipe gives to `network`.

A generator is built with `latent`, `width` and `conditional` and maps latents and labels to images. A
discriminator is built with `width`, `conditional` and `spectral_norm` and maps images and labels to scores.
Translators map images and labels to images; they belong to no pair.
"""

from typing import NamedTuple

from src.networks.conv import ConvDiscriminator, ConvGenerator
from src.networks.mlp import MLPDiscriminator, MLPGenerator
from src.networks.network import Network
from src.networks.translator import Translator


class Pair(NamedTuple):
    """The classes of two networks that train against each other."""

    generator: type[Network]
    discriminator: type[Network]


PAIRS: dict[str, Pair] = {
    "mlp": Pair(MLPGenerator, MLPDiscriminator),
    "conv": Pair(ConvGenerator, ConvDiscriminator),
}
# What a saved generator is called, with its class.
GENERATORS: dict[str, type[Network]] = {f"{name}-generator": pair.generator for name, pair in PAIRS.items()}
GENERATORS |= {"translator": Translator}
