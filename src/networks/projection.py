"""What discriminators share: a last layer that may be told the class, and spectral normalisation."""

import math

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as spectrally_normalised


class ProjectionHead(nn.Module):
    """A discriminator's last layer: features and label to a raw score (Miyato and Koyama 2018, eq. 3).

    Args:
        features: Length of a feature vector.
        classes: Labels are below this.
        conditional: Whether the label takes part.
    """

    def __init__(self, features: int, classes: int, *, conditional: bool) -> None:
        super().__init__()
        self.score = nn.Linear(features, 1)
        self.embedding = nn.Embedding(classes, features) if conditional else None
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


def normalise_spectrally(network: nn.Module) -> None:
    """Divides every weight matrix by its largest singular value, for good (Miyato et al. 2018, eq. 8)."""
    for layer in list(network.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding):
            spectrally_normalised(layer)
