"""The kernel distance of two sets of features (KID)."""

import torch
from torch import Tensor

BLOCK = 200  # rows of the kernel at a time, so that they stay in the processor's cache


def kid(real: Tensor, generated: Tensor) -> float:
    """Squared maximum mean discrepancy of features (n, d) and (m, d) without bias, over all pairs of images.

    MMD^2 = E[k(x, x')] + E[k(y, y')] - 2 E[k(x, y)],  k(x, y) = (x.y / d + 1)^3
    (Bińkowski et al. 2018, section 4). Without bias means that of two sets of the same kind it is 0 on
    average, below 0 as often as above it, for few images as for many; FID is not.

    torchmetrics averages over random subsets, which adds their chance and takes several times as long; over
    all images at once it would need n^2 numbers in memory. This needs n.

    Args:
        real: Features of real images, two or more.
        generated: Features of generated images, two or more.
    """
    x, y = _augmented(real), _augmented(generated)

    def among(points: Tensor) -> float:
        """The mean over pairs of different points: without the diagonal."""
        total = -points.square().sum(dim=1).pow(3).sum().item()
        for start in range(0, len(points), BLOCK):
            part = points[start : start + BLOCK]
            # Of pairs that lie in different blocks each is met once, and counts for both orders.
            total += _cubes(part, part) + 2 * _cubes(part, points[start + BLOCK :])
        return total / (len(points) * (len(points) - 1))

    between = sum(_cubes(part, y) for part in x.split(BLOCK))
    return among(x) + among(y) - 2 * between / (len(x) * len(y))


def _augmented(features: Tensor) -> Tensor:
    """Features so that x.y / d + 1 is one product, in double precision."""
    scaled = features.double() / features.shape[1] ** 0.5
    return torch.cat([scaled, scaled.new_ones(len(scaled), 1)], dim=1)


def _cubes(x: Tensor, y: Tensor) -> float:
    """The kernel's sum over all pairs of a few points and many."""
    products = (x @ y.T).flatten()
    return torch.dot(products * products, products).item()
