"""Images and an extractor to numbers: Fréchet distance and inception score, as torchmetrics computes them.

Both use features of a small classifier of the same kind of images instead of ImageNet's Inception network,
which barely tells digits apart. Values compare only within one extractor and one number of images, so each
stands beside the same number for real images.
"""

import math
import warnings
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore

from src.errors import PipelineError
from src.images import to_unit
from src.seeding import default_generator

BATCH = 1000
# A class that no image of a split may be has softmax 0, and torchmetrics' 0 * log(0) is NaN. exp(-80) keeps
# the logarithm finite and is far too small to change a digit of the score.
LOWEST_LOGIT = -80.0


class Extractor(Protocol):
    """A classifier in eval mode that gives its penultimate features too."""

    @property
    def head(self) -> nn.Module:
        """Maps features to logits (n, classes)."""

    def features(self, images: Tensor) -> Tensor:
        """Maps images (n, 1, 28, 28) in [-1, 1] to features (n, d)."""


class Embedded(NamedTuple):
    """What the extractor makes of n images: features (n, d) and logits (n, classes), on the CPU."""

    features: Tensor
    logits: Tensor


class Precomputed(nn.Identity):
    """Stands where torchmetrics wants a feature extractor, so that images are embedded only once.

    Args:
        num_features: Length of a feature vector.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


@torch.inference_mode()
def embed(extractor: Extractor, images: Tensor) -> Embedded:
    """Features and logits of images, uint8 (n, 1, 28, 28), from a network with `features` and `head`.

    Raises:
        PipelineError: A feature or logit is NaN or infinite.
    """
    features = torch.cat([extractor.features(to_unit(part)) for part in images.split(BATCH)])
    logits: Tensor = extractor.head(features)
    if not (features.isfinite().all() and logits.isfinite().all()):
        raise PipelineError("the extractor gives NaN or infinite features; run train_extractor again")
    return Embedded(features.cpu(), logits.cpu())


def fid(real: Tensor, generated: Tensor) -> float:
    """Fréchet distance of two sets of features (n, d) and (m, d), each seen as a Gaussian; >= 0.

    |mu_r - mu_g|^2 + tr(C_r + C_g - 2 (C_r C_g)^(1/2))  (Heusel et al. 2017, eq. 6)
    """
    metric = FrechetInceptionDistance(feature=Precomputed(real.shape[1]))
    metric.update(real.double(), real=True)
    metric.update(generated.double(), real=False)
    # Of a set against itself rounding can leave -1e-15.
    return max(_finite("FID", metric.compute()), 0.0)


def inception_score(logits: Tensor, *, splits: int, seed: int) -> tuple[float, float]:
    """exp(E[KL(p(y|x) || p(y))]) as mean and standard deviation over splits; 1 is worst, `classes` is best.

    Args:
        logits: Extractor's logits (n, classes).
        splits: Parts that the shuffled images are cut into, at least 2.
        seed: Seeds the shuffle.

    Source: Salimans et al. 2016, section 4.
    """
    logits = logits.double()
    logits = (logits - logits.amax(dim=1, keepdim=True)).clamp(min=LOWEST_LOGIT)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Metric `InceptionScore` will save all")  # ten numbers an image
        metric = InceptionScore(feature=Precomputed(logits.shape[1]), splits=splits)
    metric.update(logits)
    with default_generator("inception score", seed):  # torchmetrics shuffles with torch's default one
        mean, std = metric.compute()
    return _finite("IS", mean), _finite("IS", std)


class Manifold(NamedTuple):
    """How two sets of features overlap, seen as the balls around their points."""

    precision: float
    recall: float
    density: float
    coverage: float


@torch.inference_mode()
def manifold(real: Tensor, generated: Tensor, *, neighbours: int) -> Manifold:
    """Precision, recall, density and coverage of generated features (m, d) against real ones (n, d).

    Every point gets a ball that reaches to its k-th nearest neighbour in its own set. Precision is the
    fraction of generated points that lie in some real ball (do they look real?), recall that of real points
    in some generated ball (is everything there?). Density counts the real balls around each generated point,
    divided by k: about 1 for real against real, and not bounded by it. Coverage is the fraction of real balls
    that hold a generated point.

    Args:
        real: Features of real images.
        generated: Features of generated images.
        neighbours: k, less than either number of points.

    Source: Kynkäänniemi et al. 2019, eq. 1-2; Naeem et al. 2020, eq. 2-4.
    """
    if min(len(real), len(generated)) <= neighbours:
        raise PipelineError(f"precision and recall need more than {neighbours} images on each side")

    def radii(points: Tensor) -> Tensor:
        # The nearest of all is the point itself, at distance 0. (Ten times as fast as kthvalue.)
        near = [
            torch.cdist(part, points).topk(neighbours + 1, largest=False).values[:, -1]
            for part in points.split(BATCH)
        ]
        return torch.cat(near)

    real_radii, generated_radii = radii(real), radii(generated)
    in_real_balls = torch.zeros(len(generated), dtype=torch.int64)
    recalled, covered = torch.zeros(len(real), dtype=torch.bool), torch.zeros(len(real), dtype=torch.bool)
    for start in range(0, len(generated), BATCH):
        part = slice(start, start + BATCH)
        distances = torch.cdist(generated[part], real)  # (part, n): memory grows with n, not with n m
        inside = distances <= real_radii
        in_real_balls[part] = inside.sum(dim=1)
        covered |= inside.any(dim=0)
        recalled |= (distances <= generated_radii[part, None]).any(dim=0)
    return Manifold(
        precision=(in_real_balls > 0).double().mean().item(),
        recall=recalled.double().mean().item(),
        density=in_real_balls.double().mean().item() / neighbours,
        coverage=covered.double().mean().item(),
    )


def diversity(real: Embedded, generated: Embedded) -> float:
    """Variance of generated features within a class, over that of real ones; 1 is as various, 0 all alike.

    The mean over the classes that real images have; a class with fewer than two generated images counts 0.
    Classes are those that the extractor sees.
    """
    ratios = []
    spreads = [_spread_within(embedded) for embedded in (real, generated)]
    for value, spread in spreads[0].items():
        ratios.append(spreads[1].get(value, 0.0) / spread)
    return sum(ratios) / len(ratios)


def _spread_within(embedded: Embedded) -> dict[int, float]:
    """Total variance of the features in each class of two images or more that the extractor sees."""
    classes = embedded.logits.argmax(dim=1)
    found = {}
    for value in classes.unique().tolist():
        members = embedded.features[classes == value].double()
        if len(members) > 1:
            found[value] = members.var(dim=0).sum().item()
    return found


def class_shares(logits: Tensor) -> Tensor:
    """The fraction of images, float64 (classes,), that the extractor takes for each class."""
    return logits.argmax(dim=1).bincount(minlength=logits.shape[1]).double() / len(logits)


def kl_to_uniform(shares: Tensor) -> float:
    """Kullback-Leibler distance of shares (n,) to equal ones: sum p log(n p), from 0 to log n."""
    divergence: float = torch.special.xlogy(shares, shares * len(shares)).sum().item()
    return divergence


def _finite(name: str, value: Tensor) -> float:
    number = value.item()
    if not math.isfinite(number):
        raise PipelineError(f"{name} is {number}: the images are all alike, or too few")
    return number
