"""Distances of feature sets beyond one FID: the kernel distance, and FID at infinitely many images."""

import torch
from torch import Tensor

from src import quality
from src.seeding import generator_for

POINTS = 15
BLOCK = 200  # rows of the kernel at a time, so that they stay in the processor's cache


def kid(real: Tensor, generated: Tensor) -> float:
    """Squared maximum mean discrepancy of features (n, d) and (m, d) without bias, over all pairs of images.

    MMD^2 = E[k(x, x')] + E[k(y, y')] - 2 E[k(x, y)],  k(x, y) = (x.y / d + 1)^3
    (Bińkowski et al. 2018, section 4). Without bias means that of two sets of the same kind it is 0 on
    average, below 0 as often as above it, for few images as for many; FID is not.

    torchmetrics averages over random subsets, which adds their chance and takes six times as long; over all
    images at once it would need n^2 numbers in memory. This needs n.

    Args:
        real: Features of real images, two or more.
        generated: Features of generated images, two or more.
    """
    x, y = _augmented(real), _augmented(generated)

    def among(points: Tensor) -> float:
        """The mean over pairs of different points: without the diagonal."""
        diagonal = points.square().sum(dim=1).pow(3).sum().item()
        return (_kernel_sum(points, points) - diagonal) / (len(points) * (len(points) - 1))

    return among(x) + among(y) - 2 * _kernel_sum(x, y) / (len(x) * len(y))


def _augmented(features: Tensor) -> Tensor:
    """Features so that x.y / d + 1 is one product, in double precision."""
    scaled = features.double() / features.shape[1] ** 0.5
    return torch.cat([scaled, scaled.new_ones(len(scaled), 1)], dim=1)


def _kernel_sum(x: Tensor, y: Tensor) -> float:
    total = 0.0
    for part in x.split(BLOCK):
        products = (part @ y.T).flatten()
        total += torch.dot(products * products, products).item()
    return total


def fid_at_infinity(real: Tensor, generated: Tensor, *, seed: int) -> float:
    """FID extrapolated to infinitely many images on both sides; noise can leave it below 0.

    FID of n images exceeds its limit by about c / n. A line is fitted to FID over 1 / n, for 15 numbers
    of images evenly from a half to all of them, each a random choice; where it meets 1 / n = 0 is the result
    (Chong and Forsyth 2020, section 4, there with generated images alone growing in number).

    Args:
        real: Features (n, d) of real images.
        generated: Features (m, d) of generated images.
        seed: Seeds the choices.
    """
    most = min(len(real), len(generated))
    counts = torch.linspace(most / 2, most, POINTS, dtype=torch.float64).round().long().tolist()
    rng = generator_for("evaluate/fid_at_infinity", seed)

    def chosen(features: Tensor, count: int) -> Tensor:
        return features[torch.randperm(len(features), generator=rng)[:count]]

    found = [quality.fid(chosen(real, count), chosen(generated, count)) for count in counts]
    inverse = 1 / torch.tensor(counts, dtype=torch.float64)
    design = torch.stack([torch.ones_like(inverse), inverse], dim=1)
    solution = torch.linalg.lstsq(design, torch.tensor(found, dtype=torch.float64)[:, None]).solution
    limit: float = solution[0, 0].item()
    return limit
