"""Whether a synthetic set repeats the images that its generator was trained on.

Distances are Euclidean between the pixels, scaled to [0, 1], of two images: no network takes part that was
itself trained on the training images.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

BATCH = 1000
# The closest twentieth of held-out images tells what close means.
CLOSE = 0.05
RESAMPLES = 500


class Nearest(NamedTuple):
    """For each of m images its nearest reference image: the distance, float32 (m,), and which, int64 (m,)."""

    distances: Tensor
    indices: Tensor

    def cpu(self) -> "Nearest":
        """The same on the CPU."""
        return Nearest(self.distances.cpu(), self.indices.cpu())


class Memorisation(NamedTuple):
    """How close a synthetic set comes to training images, beside how close held-out real images come.

    `close` is the share of synthetic images that lie closer to a training image than the closest twentieth of
    held-out ones do: 0.05 for a set that is no closer than new real images are, more for one that repeats
    training images, or that avoids the odd ones; `close_low` and `close_high` are the ends of a 95 % interval
    for it. `copies` is the share of exact copies, `copies_real` that of held-out images. `memorised` is 1
    where either is more than chance can explain, else 0.
    """

    close: float
    close_low: float
    close_high: float
    copies: float
    copies_real: float
    memorised: int


@torch.inference_mode()
def nearest(images: Tensor, references: Tensor) -> Nearest:
    """The nearest reference image of each image, by pixels, uint8 (m, c, h, w) and (n, c, h, w).

    Memory grows with n and with a block of m, not with n m.
    """
    points = references.flatten(1).float() / 255
    squares = points.square().sum(dim=1)
    distances, indices = [], []
    for block in images.split(BATCH):
        queries = block.flatten(1).float() / 255
        # |q - r|^2 = |q|^2 - 2 q.r + |r|^2, and the first part is the same for all r
        index = torch.addmm(squares, queries, points.T, alpha=-2).argmin(dim=1)
        indices.append(index)
        # Anew, and from the difference: the formula above leaves 1e-3 of rounding where there should be 0.
        distances.append((queries - points[index]).norm(dim=1))
    return Nearest(torch.cat(distances), torch.cat(indices))


def judge(synthetic: Nearest, heldout: Nearest, rng: torch.Generator) -> Memorisation:
    """Compares the distances of synthetic images to training images with those of held-out real images.

    Args:
        synthetic: Of at least 100 synthetic images, to the images that the generator was trained on.
        heldout: Of at least 100 real images that it was not trained on, to the same.
        rng: Draws the images of the bootstrap behind the interval.
    """
    close = _close(synthetic.distances, heldout.distances)
    # The threshold is itself measured on so many images: both sides are drawn anew (Efron 1979).
    sides = (synthetic.distances, heldout.distances)
    drawn = torch.tensor(
        [
            _close(*(d[torch.randint(len(d), d.shape, generator=rng)] for d in sides))
            for _ in range(RESAMPLES)
        ],
        dtype=torch.float64,
    )
    low, high = drawn.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    copies, copies_real = ((found.distances == 0).double().mean().item() for found in (synthetic, heldout))
    # A difference of two shares that are the same in truth has this variance over p (1 - p).
    variance = 1 / len(synthetic.distances) + 1 / len(heldout.distances)

    def beyond_chance(share: float, usual: float) -> bool:
        return share > usual + 4 * math.sqrt(variance * usual * (1 - usual))

    return Memorisation(
        close=close,
        close_low=low,
        close_high=high,
        copies=copies,
        copies_real=copies_real,
        memorised=int(beyond_chance(close, CLOSE) or beyond_chance(copies, copies_real)),
    )


def _close(synthetic: Tensor, heldout: Tensor) -> float:
    """The share of distances (m,) below the smallest twentieth of others (n,)."""
    threshold = heldout.double().quantile(CLOSE).float()
    return (synthetic < threshold).double().mean().item()
