"""What torchmetrics is given in place of a feature extractor, and what it may not give back."""

import math

from torch import Tensor, nn

from src.core.errors import PipelineError


class Precomputed(nn.Identity):
    """Stands where torchmetrics wants a feature extractor, so that images are embedded only once.

    Args:
        num_features: Length of a feature vector.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


def finite(name: str, value: Tensor) -> float:
    """The value as a number.

    Raises:
        PipelineError: It is NaN or infinite.
    """
    number = value.item()
    if not math.isfinite(number):
        raise PipelineError(f"{name} is {number}: the images are all alike, or too few")
    return number
