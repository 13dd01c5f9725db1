"""The convolutional pair, small enough for a CPU: most arithmetic happens on few pixels."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from src.datasets.spec import ImageSpec
from src.networks.network import Network
from src.networks.projection import ProjectionHead, normalise_spectrally


class ConvGenerator(Network):
    """Convolutions at a quarter and half the size, two pixel shuffles, batch norm and ReLU, tanh at the end.

    Most arithmetic happens on few pixels, which is what a CPU can afford (pixel shuffle: Shi et al. 2016).

    Args:
        spec: The images that it makes. Of a size that 4 does not divide, the next larger one is cropped.
        latent: Length of the latent vector z.
        width: Channels at half the size; a quarter has twice as many.
        conditional: Whether a class embedding as long as the latent vector is joined to it.
    """

    def __init__(self, spec: ImageSpec, *, latent: int, width: int, conditional: bool) -> None:
        super().__init__(spec, latent=latent, width=width, conditional=conditional)
        self.embedding = nn.Embedding(spec.classes, latent) if conditional else None
        if self.embedding is not None:
            # At the scale of the latent vector the class drowns it, and every class becomes a single picture.
            nn.init.normal_(self.embedding.weight, std=0.1)
        inputs = 2 * latent if conditional else latent
        height, width_ = math.ceil(spec.height / 4), math.ceil(spec.width / 4)

        def block(inputs: int, outputs: int, shrink: int = 1) -> list[nn.Module]:
            convolution = nn.Conv2d(inputs, outputs * shrink**2, 3, padding=1, bias=False)
            return [convolution, nn.PixelShuffle(shrink), nn.BatchNorm2d(outputs), nn.ReLU()]

        self.layers = nn.Sequential(
            nn.Linear(inputs, 2 * width * height * width_, bias=False),
            nn.Unflatten(1, (2 * width, height, width_)),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            *block(2 * width, 2 * width),
            *block(2 * width, width, 2),
            *block(width, width),
            nn.Conv2d(width, 4 * spec.channels, 3, padding=1),
            nn.PixelShuffle(2),
            nn.Tanh(),
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        """Maps latents (n, latent) and labels (n,) to images (n, channels, height, width) in [-1, 1]."""
        if self.embedding is not None:
            latent = torch.cat([latent, self.embedding(labels)], dim=1)
        images: Tensor = self.layers(latent)
        height, width = self.spec.height, self.spec.width
        return images if images.shape[2:] == (height, width) else images[:, :, :height, :width]


class ConvDiscriminator(Network):
    """Pixels folded to half the size, three convolutions and leaky ReLU, without any normalisation.

    Args:
        spec: The images that it judges.
        width: Channels at half the size; a quarter has 2 and an eighth 4 times as many.
        conditional: Whether the label enters by projection (Miyato and Koyama 2018, eq. 3).
        spectral_norm: Whether weights are normalised spectrally (Miyato et al. 2018).
    """

    def __init__(self, spec: ImageSpec, *, width: int, conditional: bool, spectral_norm: bool) -> None:
        super().__init__(spec, width=width, conditional=conditional, spectral_norm=spectral_norm)
        self.layers = nn.Sequential(
            nn.Conv2d(4 * spec.channels, width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
        )
        # Each side is folded, halved and halved again: up, down and up to a whole number of pixels.
        places = math.prod(math.ceil(math.ceil(side / 2) // 2 / 2) for side in (spec.height, spec.width))
        self.head = ProjectionHead(places * 4 * width, spec.classes, conditional=conditional)
        if spectral_norm:
            normalise_spectrally(self)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Maps images (n, channels, height, width) and labels (n,) to raw scores (n,), any real number."""
        if (odd := (self.spec.width % 2, self.spec.height % 2)) != (0, 0):
            images = pad(images, (0, odd[0], 0, odd[1]))
        # Four channels fill the CPU's vectors where one would not, and carry the memory layout on.
        pixels = torch.pixel_unshuffle(images, 2).contiguous(memory_format=torch.channels_last)
        scores: Tensor = self.head(self.layers(pixels), labels)
        return scores
