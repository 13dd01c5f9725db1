"""The source document's pair of networks: multilayer perceptrons."""

import torch
from torch import Tensor, nn

from src.datasets.spec import ImageSpec
from src.networks.network import Network
from src.networks.projection import ProjectionHead, normalise_spectrally


class MLPGenerator(Network):
    """The source document's generator: latent - 128 - 256 - pixels, ReLU inside, tanh at the end.

    Args:
        spec: The images that it makes.
        latent: Length of the latent vector z.
        width: Units of the first hidden layer; the second has twice as many. 128 in the document.
        conditional: Whether a class embedding, as long as there are classes, is joined to the latent vector.
    """

    def __init__(self, spec: ImageSpec, *, latent: int, width: int, conditional: bool) -> None:
        super().__init__(spec, latent=latent, width=width, conditional=conditional)
        self.embedding = nn.Embedding(spec.classes, spec.classes) if conditional else None
        inputs = latent + (spec.classes if conditional else 0)
        self.layers = nn.Sequential(
            nn.Linear(inputs, width),
            nn.ReLU(),
            nn.Linear(width, 2 * width),
            nn.ReLU(),
            nn.Linear(2 * width, spec.values),
            nn.Tanh(),
        )

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        """Maps latents (n, latent) and labels (n,) to images (n, channels, height, width) in [-1, 1]."""
        if self.embedding is not None:
            latent = torch.cat([latent, self.embedding(labels)], dim=1)
        images: Tensor = self.layers(latent)
        return images.view(-1, *self.spec.shape)


class MLPDiscriminator(Network):
    """The source document's discriminator: pixels - 256 - 128 - 1, ReLU inside, without the sigmoid.

    Args:
        spec: The images that it judges.
        width: Units of the second hidden layer; the first has twice as many. 128 in the document.
        conditional: Whether the label enters by projection (Miyato and Koyama 2018, eq. 3).
        spectral_norm: Whether weights are normalised spectrally (Miyato et al. 2018).
    """

    def __init__(self, spec: ImageSpec, *, width: int, conditional: bool, spectral_norm: bool) -> None:
        super().__init__(spec, width=width, conditional=conditional, spectral_norm=spectral_norm)
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(spec.values, 2 * width),
            nn.ReLU(),
            nn.Linear(2 * width, width),
            nn.ReLU(),
        )
        self.head = ProjectionHead(width, spec.classes, conditional=conditional)
        if spectral_norm:
            normalise_spectrally(self)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Maps images (n, channels, height, width) and labels (n,) to raw scores (n,), any real number."""
        scores: Tensor = self.head(self.layers(images), labels)
        return scores
