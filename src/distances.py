"""Distances of feature sets beyond one FID: the kernel distance, and FID at infinitely many images."""

import warnings

import torch
from torch import Tensor
from torchmetrics.image.kid import KernelInceptionDistance

from src import quality
from src.seeding import default_generator, generator_for

SUBSETS = 100  # of a tenth of the images each
POINTS = 15


def kid(real: Tensor, generated: Tensor, *, seed: int) -> float:
    """Squared maximum mean discrepancy of features (n, d) and (m, d), mean over random subsets, without bias.

    MMD^2 = E[k(x, x')] + E[k(y, y')] - 2 E[k(x, y)],  k(x, y) = (x.y / d + 1)^3
    (Bińkowski et al. 2018, section 4). Without bias means that of two sets of the same kind it is 0 on
    average, below 0 as often as above it, for few images as for many; FID is not.

    Args:
        real: Features of real images.
        generated: Features of generated images; at least 20 on either side.
        seed: Seeds the choice of the subsets.
    """
    size = min(len(real), len(generated)) // 10
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance` will save all")
        metric = KernelInceptionDistance(
            feature=quality.Precomputed(real.shape[1]), subsets=SUBSETS, subset_size=size
        )
    metric.update(real.double(), real=True)
    metric.update(generated.double(), real=False)
    with default_generator("kernel distance", seed):  # torchmetrics draws from torch's default one
        mean, _ = metric.compute()
    value: float = mean.item()
    return value


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
