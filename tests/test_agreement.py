"""Our scores are torchmetrics' and torch-fidelity's of the same features, to six digits and more."""

import pytest
import torch
import torch_fidelity.metric_fid as their_fid
import torch_fidelity.metric_isc as their_is
import torch_fidelity.metric_kid as their_kid
import torch_fidelity.metric_prc as their_overlap
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from src import distances, quality
from src.quality import Precomputed
from src.seeding import default_generator

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
    found = quality.fid(real, generated)
    statistics = [their_fid.fid_features_to_statistics(features) for features in (generated, real)]
    theirs = their_fid.fid_statistics_to_metric(*statistics, verbose=False)
    assert found == pytest.approx(theirs["frechet_inception_distance"], rel=1e-6)
    metric = FrechetInceptionDistance(feature=Precomputed(16)).set_dtype(torch.float64)
    metric.update(real, real=True)
    metric.update(generated, real=False)
    assert found == pytest.approx(metric.compute().item(), rel=1e-6)
    assert found > 0.1


def test_kid(sets: tuple[Tensor, Tensor]) -> None:
    real, generated = sets
    found = distances.kid(real, generated)
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
    found = quality.inception_score(logits, splits=8, seed=3)
    # The images of each of the parts must be the same.
    with default_generator("inception score", 3):
        order = torch.randperm(N)
    theirs = their_is.isc_features_to_metric(logits[order], splits=8, shuffle=False)
    assert found[0] == pytest.approx(theirs["inception_score_mean"], rel=1e-6)
    metric = InceptionScore(feature=Precomputed(10), splits=8)
    metric.update(logits)
    with default_generator("inception score", 3):
        mean, std = metric.compute()
    assert found == pytest.approx((mean.item(), std.item()), rel=1e-6)
    assert 1.5 < found[0] < 9


@pytest.mark.parametrize("neighbours", [1, 5])
def test_precision_and_recall(sets: tuple[Tensor, Tensor], neighbours: int) -> None:
    real, generated = sets
    found = quality.manifold(real, generated, neighbours=neighbours)
    settings = {"prc_neighborhood": neighbours, "verbose": False}
    theirs = their_overlap.prc_features_to_metric(generated, real, **settings)
    assert found.precision == pytest.approx(theirs["precision"], rel=1e-6)
    assert found.recall == pytest.approx(theirs["recall"], rel=1e-6)
    assert 0 < found.precision < 1
    assert found.precision != found.recall
