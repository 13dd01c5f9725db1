"""Fréchet distance and inception score against closed forms, and against implementations of our own."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn

from src import networks, quality
from src.errors import PipelineError
from src.seeding import default_generator


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cross(*radii: float) -> Tensor:
    """Points whose mean is 0 and whose sample covariance is diagonal: (2 r^2 / (2 d - 1)) for each axis."""
    points = torch.diag(torch.tensor(radii, dtype=torch.float64))
    return torch.cat([points, -points])


# Fréchet distance


def test_with_equal_covariance_fid_is_the_squared_distance_of_the_means() -> None:
    points = torch.randn(50, 4, generator=rng(), dtype=torch.float64)
    # 1^2 + 2^2 + 0 + 2^2 = 9
    moved = points + torch.tensor([1.0, -2.0, 0.0, 2.0])
    assert quality.fid(points, moved) == pytest.approx(9.0, rel=1e-6)


def test_with_diagonal_covariances_fid_is_the_squared_distance_of_the_deviations() -> None:
    # 6 points, so variances 2 r^2 / 5, deviations r sqrt(0.4): 0.4 ((3 - 1)^2 + (2 - 5)^2 + 0^2) = 5.2
    assert quality.fid(cross(3, 2, 1), cross(1, 5, 1)) == pytest.approx(5.2, rel=1e-6)
    # and means apart by (0, 0.5, 0): 0.25 more
    moved = cross(1, 5, 1) + torch.tensor([0.0, 0.5, 0.0])
    assert quality.fid(cross(3, 2, 1), moved) == pytest.approx(5.45, rel=1e-6)


def test_fid_of_a_set_with_itself_is_zero_and_never_below() -> None:
    for seed in range(10):
        points = torch.randn(40, 16, generator=rng(seed))
        distance = quality.fid(points, points.flip(0))
        assert 0 <= distance < 1e-9
    # Constant features, as of a network whose units are dead, have no covariance.
    dead = torch.nn.functional.pad(points, (0, 3))
    assert 0 <= quality.fid(dead, dead) < 1e-9


def random_sets(seed: int) -> tuple[Tensor, Tensor]:
    """Two sets of different size, mean and covariance, with correlated features."""
    draw = rng(seed)
    mixers = torch.randn(2, 12, 12, generator=draw)
    real = torch.randn(300, 12, generator=draw) @ mixers[0] + torch.randn(12, generator=draw)
    return real, torch.randn(200, 12, generator=draw) @ mixers[1]


@pytest.mark.parametrize("seed", range(3))
def test_fid_agrees_with_a_matrix_square_root(seed: int) -> None:
    real, generated = random_sets(seed)
    a, b = real.double().numpy(), generated.double().numpy()
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert expected > 10
    assert quality.fid(real, generated) == pytest.approx(expected, rel=1e-6)


def test_fid_is_symmetric() -> None:
    real, generated = random_sets(0)
    assert quality.fid(real, generated) == pytest.approx(quality.fid(generated, real), rel=1e-9)


def test_fid_of_broken_features_is_an_error() -> None:
    points = torch.full((20, 3), 1e200, dtype=torch.float64)
    with pytest.raises(PipelineError, match=r"FID is (nan|inf)"):
        quality.fid(points * torch.linspace(-1, 1, 20)[:, None], points)


# Inception score


def one_hot(count: int, gap: float, classes: int = 10) -> Tensor:
    return gap * torch.eye(classes)[torch.arange(count) % classes]


def test_of_predictions_that_say_nothing_the_score_is_one() -> None:
    mean, std = quality.inception_score(torch.zeros(100, 10), splits=5, seed=0)
    assert mean == pytest.approx(1.0, rel=1e-9)
    assert std == pytest.approx(0.0, abs=1e-9)


def test_of_perfect_and_balanced_predictions_the_score_is_the_number_of_classes() -> None:
    # The shuffle leaves parts of 100,000 as good as balanced.
    mean, _ = quality.inception_score(one_hot(200_000, 50.0), splits=2, seed=0)
    assert mean == pytest.approx(10.0, rel=1e-4)
    assert mean <= 10
    # Being undecided between two classes, always the same two, is no variety.
    uniform_over_two = torch.tensor([0.0, 0.0] + [-1000.0] * 8).expand(40, 10)
    assert quality.inception_score(uniform_over_two, splits=2, seed=0)[0] == pytest.approx(1.0, rel=1e-9)


def test_of_collapse_onto_one_class_the_score_is_one() -> None:
    mean, std = quality.inception_score(one_hot(1, 1000.0).expand(100, 10), splits=4, seed=0)
    assert mean == pytest.approx(1.0, rel=1e-9)
    assert std == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("gap", [30.0, 1000.0, 1e30])
def test_extreme_logits_give_the_limit_and_no_nan(gap: float) -> None:
    # Only classes 0 and 1, sure of each: at most 2, and close to it over parts of 1000.
    mean, std = quality.inception_score(one_hot(2000, gap, classes=2), splits=2, seed=0)
    assert mean == pytest.approx(2.0, rel=1e-2)
    assert mean <= 2 + 1e-9
    assert 0 <= std < 0.01
    padded = torch.nn.functional.pad(one_hot(2000, gap, classes=2), (0, 8), value=-gap)
    assert quality.inception_score(padded, splits=2, seed=0)[0] == pytest.approx(mean, rel=1e-6)


def test_the_score_does_not_depend_on_what_is_added_to_all_logits() -> None:
    logits = torch.randn(100, 10, generator=rng(), dtype=torch.float64)
    score = quality.inception_score(logits, splits=4, seed=0)
    assert quality.inception_score(logits + 500, splits=4, seed=0) == pytest.approx(score, rel=1e-9)


def by_numpy(logits: np.ndarray, parts: list[np.ndarray]) -> tuple[float, float]:
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    scores = []
    for part in parts:
        marginal = p[part].mean(axis=0)
        scores.append(math.exp((p[part] * (np.log(p[part]) - np.log(marginal))).sum(axis=1).mean()))
    return float(np.mean(scores)), float(np.std(scores, ddof=1))


def test_the_score_agrees_with_one_written_in_numpy() -> None:
    logits = 2 * torch.randn(240, 10, generator=rng(), dtype=torch.float64)
    with default_generator("inception score", 3):
        order = torch.randperm(240).numpy()
    expected = by_numpy(logits.numpy(), np.split(order, 6))
    assert quality.inception_score(logits, splits=6, seed=3) == pytest.approx(expected, rel=1e-9)
    assert 1.5 < expected[0] < 9
    assert expected[1] > 0.01


def test_the_score_of_one_image_a_part_needs_no_order() -> None:
    # Alone in its part an image is its own marginal: KL 0, score 1.
    logits = torch.randn(8, 10, generator=rng())
    assert quality.inception_score(logits, splits=8, seed=0) == pytest.approx((1.0, 0.0), abs=1e-9)


def test_a_seed_gives_one_score_and_leaves_the_default_generator_alone() -> None:
    logits = 3 * torch.randn(100, 10, generator=rng())
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = quality.inception_score(logits, splits=5, seed=0)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    assert quality.inception_score(logits, splits=5, seed=0) == first
    assert quality.inception_score(logits, splits=5, seed=1) != first


def test_too_few_images_for_a_spread_are_an_error() -> None:
    with pytest.raises(PipelineError, match="IS is nan"):
        quality.inception_score(torch.zeros(1, 10), splits=2, seed=0)


# Precision, recall, density, coverage


def line(*positions: float) -> Tensor:
    return torch.tensor(positions, dtype=torch.float64)[:, None]


def test_of_points_on_a_line_the_overlap_is_counted_by_hand() -> None:
    # Radii to the nearest neighbour: 1, 1, 2, 2 of real 0, 1, 10, 12; 2.5, 2.5, 8, 19 of generated ones.
    found = quality.manifold(line(0, 1, 10, 12), line(0.5, 3, 11, 30), neighbours=1)
    # 0.5 lies in the balls of 0 and 1, 11 in those of 10 and 12; 3 and 30 in none.
    assert found.precision == 0.5
    assert found.density == 1.0  # 4 hits / (1 * 4)
    assert found.coverage == 1.0
    # The ball of 11 reaches from 3 to 19, that of 0.5 from -2 to 3: every real point is in one.
    assert found.recall == 1.0
    other = quality.manifold(line(0.5, 3, 11, 30), line(0, 1, 10, 12), neighbours=1)
    assert (other.precision, other.recall) == (1.0, 0.5)
    assert other.coverage == 1.0  # 30's ball reaches from 11 to 49 and holds 12


def by_definition(real: np.ndarray, generated: np.ndarray, k: int) -> tuple[float, float, float, float]:
    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2))

    real_radii = np.sort(distances(real, real), axis=1)[:, k]
    generated_radii = np.sort(distances(generated, generated), axis=1)[:, k]
    across = distances(generated, real)
    inside = across <= real_radii[None]
    return (
        float(inside.any(axis=1).mean()),
        float((across <= generated_radii[:, None]).any(axis=0).mean()),
        float(inside.sum(axis=1).mean() / k),
        float(inside.any(axis=0).mean()),
    )


@pytest.mark.parametrize("shift", [0.0, 1.0, 10.0])
def test_overlap_agrees_with_the_definition_written_in_numpy(shift: float, monkeypatch) -> None:
    monkeypatch.setattr(quality, "BATCH", 70)
    real = torch.randn(150, 4, generator=rng(1), dtype=torch.float64)
    generated = 0.7 * torch.randn(200, 4, generator=rng(2), dtype=torch.float64) + shift
    expected = by_definition(real.numpy(), generated.numpy(), 3)
    assert quality.manifold(real, generated, neighbours=3) == pytest.approx(expected, abs=1e-9)
    assert (expected[0] > 0) == (shift < 10)


def test_a_collapsed_set_is_precise_and_recalls_nothing() -> None:
    real = torch.randn(300, 4, generator=rng(1))
    collapsed = real[:1] + 1e-4 * torch.randn(300, 4, generator=rng(2))
    found = quality.manifold(real, collapsed, neighbours=5)
    assert found.precision == 1.0
    assert found.recall < 0.01
    assert found.coverage < 0.1
    same = quality.manifold(real, torch.randn(300, 4, generator=rng(3)), neighbours=5)
    assert min(same.precision, same.recall, same.coverage) > 0.8
    assert 0.8 < same.density < 1.2


def test_overlap_needs_more_points_than_neighbours() -> None:
    with pytest.raises(PipelineError, match="more than 5 images on each side"):
        quality.manifold(torch.randn(5, 2), torch.randn(50, 2), neighbours=5)


# Classes and variety


def of_classes(features: Tensor, classes: list[int]) -> quality.Embedded:
    return quality.Embedded(features, torch.eye(3)[torch.tensor(classes)])


def test_diversity_is_the_mean_ratio_of_variances_within_classes() -> None:
    real = of_classes(torch.tensor([[0.0, 0], [2, 0], [0, 5], [0, 9]]), [0, 0, 1, 1])  # variances 2 and 8
    half = of_classes(torch.tensor([[7.0, 0], [9, 0], [0, 1], [0, 1]]), [0, 0, 1, 1])  # 2 and 0
    assert quality.diversity(real, real) == pytest.approx(1.0)
    assert quality.diversity(real, half) == pytest.approx(0.5)
    # Far apart means between classes are no variety within them, and a missing class counts nothing.
    one = of_classes(torch.tensor([[0.0, 0], [4, 0], [0, 90], [0, 0]]), [0, 0, 1, 2])  # 8, alone, unknown
    assert quality.diversity(real, one) == pytest.approx(8 / 2 / 2)


def test_class_shares_and_their_distance_to_equal_ones_by_hand() -> None:
    logits = torch.eye(4)[torch.tensor([0, 0, 1, 1, 1, 1, 3, 3])]
    assert quality.class_shares(logits).tolist() == [0.25, 0.5, 0.0, 0.25]
    # 2 * 0.25 log 1 + 0.5 log 2 + 0
    assert quality.kl_to_uniform(quality.class_shares(logits)) == pytest.approx(0.5 * math.log(2))
    assert quality.kl_to_uniform(torch.full((10,), 0.1)) == pytest.approx(0.0, abs=1e-7)
    assert quality.kl_to_uniform(torch.eye(10)[0]) == pytest.approx(math.log(10))


# Embedding and agreement


@pytest.fixture
def extractor() -> networks.ConvClassifier:
    """Its batch norm has seen other numbers than any batch's own."""
    network = networks.build("conv-classifier", seed=0, width=4)
    network(3 * torch.randn(64, 1, 28, 28, generator=rng(7)))
    return network.eval()


def pictures(count: int) -> Tensor:
    return torch.randint(0, 256, (count, 1, 28, 28), generator=rng(1), dtype=torch.uint8)


def test_an_image_is_embedded_alike_in_any_company(extractor, monkeypatch) -> None:
    monkeypatch.setattr(quality, "BATCH", 6)
    images = pictures(20)
    together = quality.embed(extractor, images)
    assert together.features.shape == (20, 128)
    assert together.logits.shape == (20, 10)
    for index in (0, 5, 6, 19):
        alone = quality.embed(extractor, images[index : index + 1])
        torch.testing.assert_close(alone.features[0], together.features[index], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone.logits[0], together.logits[index], rtol=1e-4, atol=1e-5)
    assert together.features.std(dim=0).max() > 0.01
    assert not extractor.training


def test_features_and_logits_are_the_networks_own_of_unit_values(extractor) -> None:
    images = pictures(4)
    embedded = quality.embed(extractor, images)
    with torch.no_grad():
        unit = images.float() / 127.5 - 1
        torch.testing.assert_close(embedded.features, extractor.features(unit), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(embedded.logits, extractor(unit), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", ["body", "head"])
def test_a_network_full_of_nan_is_an_error(extractor, layer) -> None:
    with torch.no_grad():
        next(getattr(extractor, layer).parameters()).fill_(float("nan"))
    with pytest.raises(PipelineError, match="NaN or infinite features; run train_extractor again"):
        quality.embed(extractor, pictures(3))


def test_precomputed_features_pass_as_they_are() -> None:
    features = torch.randn(2, 3)
    assert isinstance(quality.Precomputed(3), nn.Module)
    assert quality.Precomputed(3).num_features == 3
    assert torch.equal(quality.Precomputed(3)(features), features)
