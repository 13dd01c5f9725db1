"""The Fréchet distance of two sets of features (FID) by torchmetrics, and at infinitely many images."""

import torch
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance

from src.core.seeding import generator_for
from src.scores.precomputed import Precomputed, finite

POINTS = 15


def fid(real: Tensor, generated: Tensor) -> float:
    """Fréchet distance of two sets of features (n, d) and (m, d), each seen as a Gaussian; >= 0.

    |mu_r - mu_g|^2 + tr(C_r + C_g - 2 (C_r C_g)^(1/2))  (Heusel et al. 2017, eq. 6)
    """
    metric = FrechetInceptionDistance(feature=Precomputed(real.shape[1]))
    metric.update(real.cpu().double(), real=True)
    metric.update(generated.cpu().double(), real=False)
    # Of a set against itself rounding can leave -1e-15.
    return max(finite("FID", metric.compute()), 0.0)


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
        return features.cpu()[torch.randperm(len(features), generator=rng)[:count]]

    found = [fid(chosen(real, count), chosen(generated, count)) for count in counts]
    inverse = 1 / torch.tensor(counts, dtype=torch.float64)
    design = torch.stack([torch.ones_like(inverse), inverse], dim=1)
    solution = torch.linalg.lstsq(design, torch.tensor(found, dtype=torch.float64)[:, None]).solution
    limit: float = solution[0, 0].item()
    return limit
