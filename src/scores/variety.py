"""What an extractor's classes tell of a set of images: inception score, balance, variety within classes."""

import warnings

import torch
from torch import Tensor
from torchmetrics.image.inception import InceptionScore

from src.core.errors import PipelineError
from src.core.seeding import default_generator
from src.scores.extractor import Embedded
from src.scores.precomputed import Precomputed, finite

# A class that no image of a split may be has softmax 0, and torchmetrics' 0 * log(0) is NaN. exp(-80) keeps
# the logarithm finite and is far too small to change a digit of the score.
LOWEST_LOGIT = -80.0


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
        warnings.filterwarnings("ignore", "Metric `InceptionScore` will save all")
        metric = InceptionScore(feature=Precomputed(logits.shape[1]), splits=splits)
    metric.update(logits)
    with default_generator("inception score", seed):  # torchmetrics shuffles with torch's default one
        mean, std = metric.compute()
    return finite("IS", mean), finite("IS", std)


def diversity(real: Embedded, generated: Embedded) -> float:
    """Variance of generated features within a class, over that of real ones; 1 is as various, 0 all alike.

    The mean over the classes that different real images have; a class with fewer than two generated images
    counts 0. Classes are those that the extractor sees.

    Raises:
        PipelineError: There is no class in which the extractor sees two different real images.
    """
    spreads = [_spread_within(embedded) for embedded in (real, generated)]
    ratios = [spreads[1].get(value, 0.0) / spread for value, spread in spreads[0].items() if spread]
    if not ratios:
        raise PipelineError(
            "there is no class in which the extractor sees two different real images; "
            "raise extractor.epochs or validation in params.yaml"
        )
    return sum(ratios) / len(ratios)


def _spread_within(embedded: Embedded) -> dict[int, float]:
    """Total variance of the features in each class of two images or more that the extractor sees."""
    classes, features = embedded.logits.argmax(dim=1), embedded.features.cpu()
    found = {}
    for value in classes.unique().tolist():
        members = features[classes == value].double()
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
