"""Our scores are those of independent implementations on the same features, to six digits and more.

FID and inception score, which torchmetrics computes for us, are held against torch-fidelity and a formula.
"""

import pytest
import torch
import torch_fidelity.metric_fid as their_fid
import torch_fidelity.metric_isc as their_is
import torch_fidelity.metric_kid as their_kid
import torch_fidelity.metric_prc as their_overlap
from torch import Tensor
from torchmetrics.image.kid import KernelInceptionDistance

from src.core.seeding import default_generator
from src.scores import frechet, manifold, variety
from src.scores.kernel import kid
from src.scores.precomputed import Precomputed

N = 400


@pytest.fixture(params=["apart", "alike"])
def sets(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    """Real and generated features (400, 16) as a ReLU leaves them, correlated and of unequal scale."""
    rng = torch.Generator().manual_seed(5)
    mixer = torch.randn(16, 16, generator=rng, dtype=torch.float64)
    real, generated = torch.randn(2, N, 16, generator=rng, dtype=torch.float64) @ mixer
    return real.relu(), (generated * 0.8 + 1 if request.param == "apart" else generated).relu()


def test_fid(sets: tuple[Tensor, Tensor]) -> None:
    real, generated = sets
    found = frechet.fid(real, generated)
    statistics = [their_fid.fid_features_to_statistics(features) for features in (generated, real)]
    theirs = their_fid.fid_statistics_to_metric(*statistics, verbose=False)
    assert found == pytest.approx(theirs["frechet_inception_distance"], rel=1e-6)
    # |mu_r - mu_g|^2 + tr(C_r + C_g - 2 (C_r C_g)^(1/2)), the root's trace from the product's eigenvalues
    means, covariances = zip(*((part.mean(dim=0), part.T.cov()) for part in sets), strict=True)
    root = torch.linalg.eigvals(covariances[0] @ covariances[1]).real.clamp(min=0).sqrt().sum()
    formula = (means[0] - means[1]).square().sum() + sum(c.trace() for c in covariances) - 2 * root
    assert found == pytest.approx(formula.item(), rel=1e-6)
    assert found > 0.1


def test_kid(sets: tuple[Tensor, Tensor]) -> None:
    real, generated = sets
    found = kid(real, generated)
    settings = {"kid_subsets": 1, "kid_subset_size": N, "verbose": False}
    theirs = their_kid.kid_features_to_metric(generated, real, **settings)
    assert found == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-6)
    metric = KernelInceptionDistance(feature=Precomputed(16), subsets=1, subset_size=N)
    metric.update(real, real=True)
    metric.update(generated, real=False)
    assert found == pytest.approx(metric.compute()[0].item(), rel=1e-6)
    assert abs(found) > 1e-3


def test_inception_score(sets: tuple[Tensor, Tensor]) -> None:
    logits = sets[0][:, :10] - sets[1][:, :10]
    found = variety.inception_score(logits, splits=8, seed=3)
    # The images of each of the parts must be the same.
    with default_generator("inception score", 3):
        order = torch.randperm(N)
    theirs = their_is.isc_features_to_metric(logits[order], splits=8, shuffle=False)
    assert found[0] == pytest.approx(theirs["inception_score_mean"], rel=1e-6)
    # exp(E[KL(p(y|x) || p(y))]) of each part
    parts = logits[order].softmax(dim=1).chunk(8)
    scores = torch.stack([(p * (p / p.mean(dim=0)).log()).sum(dim=1).mean().exp() for p in parts])
    assert found == pytest.approx((scores.mean().item(), scores.std().item()), rel=1e-6)
    assert 1.5 < found[0] < 9


@pytest.mark.parametrize("neighbours", [1, 5])
def test_precision_and_recall(sets: tuple[Tensor, Tensor], neighbours: int) -> None:
    real, generated = sets
    found = manifold.overlap(real, generated, neighbours=neighbours)
    settings = {"prc_neighborhood": neighbours, "verbose": False}
    theirs = their_overlap.prc_features_to_metric(generated, real, **settings)
    assert found.precision == pytest.approx(theirs["precision"], rel=1e-6)
    assert found.recall == pytest.approx(theirs["recall"], rel=1e-6)
    assert 0 < found.precision < 1
    assert found.precision != found.recall
