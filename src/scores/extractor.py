"""The network whose features all distances are measured on, and what it makes of images.

It is a small classifier of the same kind of images instead of ImageNet's Inception network, which barely
tells digits apart. Values compare only within one extractor and one number of images, so each stands beside
the same number for real images.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from src.core.errors import PipelineError
from src.datasets.labelled import to_unit

BATCH = 1000


class Extractor(Protocol):
    """A classifier in eval mode that gives its penultimate features too."""

    @property
    def head(self) -> nn.Module:
        """Maps features to logits (n, classes)."""

    def features(self, images: Tensor) -> Tensor:
        """Maps images (n, channels, height, width) in [-1, 1] to features (n, d)."""


class Embedded(NamedTuple):
    """What the extractor makes of n images.

    Attributes:
        features: Shape (n, d), on the device where they were made: distances between all of them are much
            work.
        logits: Shape (n, classes), on the CPU.
    """

    features: Tensor
    logits: Tensor


@torch.inference_mode()
def embed(extractor: Extractor, pixels: Tensor) -> Embedded:
    """Features and logits of images, uint8 (n, channels, height, width).

    Raises:
        PipelineError: A feature or logit is NaN or infinite.
    """
    features = torch.cat([extractor.features(to_unit(part)) for part in pixels.split(BATCH)])
    logits: Tensor = extractor.head(features)
    if not logits.isfinite().all():  # of features that are not, no logit is
        raise PipelineError("the extractor gives NaN or infinite features; run train_extractor again")
    return Embedded(features, logits.cpu())
