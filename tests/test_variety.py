"""The inception score against its limits and one written in numpy; classes and variety by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from src.core.errors import PipelineError
from src.core.seeding import default_generator
from src.scores import variety
from src.scores.extractor import Embedded


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# Inception score


def one_hot(count: int, gap: float, classes: int = 10) -> Tensor:
    return gap * torch.eye(classes)[torch.arange(count) % classes]


def test_of_predictions_that_say_nothing_the_score_is_one() -> None:
    mean, std = variety.inception_score(torch.zeros(100, 10), splits=5, seed=0)
    assert mean == pytest.approx(1.0, rel=1e-9)
    assert std == pytest.approx(0.0, abs=1e-9)


def test_of_perfect_and_balanced_predictions_the_score_is_the_number_of_classes() -> None:
    # The shuffle leaves parts of 100,000 as good as balanced.
    mean, _ = variety.inception_score(one_hot(200_000, 50.0), splits=2, seed=0)
    assert mean == pytest.approx(10.0, rel=1e-4)
    assert mean <= 10
    # Being undecided between two classes, always the same two, is no variety.
    uniform_over_two = torch.tensor([0.0, 0.0] + [-1000.0] * 8).expand(40, 10)
    assert variety.inception_score(uniform_over_two, splits=2, seed=0)[0] == pytest.approx(1.0, rel=1e-9)


def test_of_collapse_onto_one_class_the_score_is_one() -> None:
    mean, std = variety.inception_score(one_hot(1, 1000.0).expand(100, 10), splits=4, seed=0)
    assert mean == pytest.approx(1.0, rel=1e-9)
    assert std == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("gap", [30.0, 1000.0, 1e30])
def test_extreme_logits_give_the_limit_and_no_nan(gap: float) -> None:
    # Only classes 0 and 1, sure of each: at most 2, and close to it over parts of 1000.
    mean, std = variety.inception_score(one_hot(2000, gap, classes=2), splits=2, seed=0)
    assert mean == pytest.approx(2.0, rel=1e-2)
    assert mean <= 2 + 1e-9
    assert 0 <= std < 0.01
    padded = torch.nn.functional.pad(one_hot(2000, gap, classes=2), (0, 8), value=-gap)
    assert variety.inception_score(padded, splits=2, seed=0)[0] == pytest.approx(mean, rel=1e-6)


def test_the_score_does_not_depend_on_what_is_added_to_all_logits() -> None:
    logits = torch.randn(100, 10, generator=rng(), dtype=torch.float64)
    score = variety.inception_score(logits, splits=4, seed=0)
    assert variety.inception_score(logits + 500, splits=4, seed=0) == pytest.approx(score, rel=1e-9)


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
    assert variety.inception_score(logits, splits=6, seed=3) == pytest.approx(expected, rel=1e-9)
    assert 1.5 < expected[0] < 9
    assert expected[1] > 0.01


def test_the_score_of_one_image_a_part_needs_no_order() -> None:
    # Alone in its part an image is its own marginal: KL 0, score 1.
    logits = torch.randn(8, 10, generator=rng())
    assert variety.inception_score(logits, splits=8, seed=0) == pytest.approx((1.0, 0.0), abs=1e-9)


def test_a_seed_gives_one_score_and_leaves_the_default_generator_alone() -> None:
    logits = 3 * torch.randn(100, 10, generator=rng())
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = variety.inception_score(logits, splits=5, seed=0)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    assert variety.inception_score(logits, splits=5, seed=0) == first
    assert variety.inception_score(logits, splits=5, seed=1) != first


def test_too_few_images_for_a_spread_are_an_error() -> None:
    with pytest.raises(PipelineError, match="IS is nan"):
        variety.inception_score(torch.zeros(1, 10), splits=2, seed=0)


# Classes and variety


def of_classes(features: Tensor, classes: list[int]) -> Embedded:
    return Embedded(features, torch.eye(3)[torch.tensor(classes)])


def test_diversity_is_the_mean_ratio_of_variances_within_classes() -> None:
    real = of_classes(torch.tensor([[0.0, 0], [2, 0], [0, 5], [0, 9]]), [0, 0, 1, 1])  # variances 2 and 8
    half = of_classes(torch.tensor([[7.0, 0], [9, 0], [0, 1], [0, 1]]), [0, 0, 1, 1])  # 2 and 0
    assert variety.diversity(real, real) == pytest.approx(1.0)
    assert variety.diversity(real, half) == pytest.approx(0.5)
    # Far apart means between classes are no variety within them, and a missing class counts nothing.
    one = of_classes(torch.tensor([[0.0, 0], [4, 0], [0, 90], [0, 0]]), [0, 0, 1, 2])  # 8, alone, unknown
    assert variety.diversity(real, one) == pytest.approx(8 / 2 / 2)


def test_a_class_whose_real_images_are_all_alike_has_no_ratio() -> None:
    real = of_classes(torch.tensor([[0.0, 0], [2, 0], [0, 5], [0, 5]]), [0, 0, 1, 1])  # variances 2 and 0
    made = of_classes(torch.tensor([[0.0, 0], [1, 0], [0, 5], [0, 9]]), [0, 0, 1, 1])  # 0.5 and 8
    assert variety.diversity(real, made) == pytest.approx(0.25)
    alike = of_classes(torch.tensor([[0.0, 5], [0, 5]]), [1, 1])
    with pytest.raises(PipelineError, match="no class in which the extractor sees two different real images"):
        variety.diversity(alike, made)


def test_class_shares_and_their_distance_to_equal_ones_by_hand() -> None:
    logits = torch.eye(4)[torch.tensor([0, 0, 1, 1, 1, 1, 3, 3])]
    assert variety.class_shares(logits).tolist() == [0.25, 0.5, 0.0, 0.25]
    # 2 * 0.25 log 1 + 0.5 log 2 + 0
    assert variety.kl_to_uniform(variety.class_shares(logits)) == pytest.approx(0.5 * math.log(2))
    assert variety.kl_to_uniform(torch.full((10,), 0.1)) == pytest.approx(0.0, abs=1e-7)
    assert variety.kl_to_uniform(torch.eye(10)[0]) == pytest.approx(math.log(10))
