"""What torchmetrics is given in place of an extractor, and numbers that are none."""

import pytest
import torch
from torch import nn

from src.core.errors import PipelineError
from src.scores.precomputed import Precomputed, finite


def test_precomputed_features_pass_as_they_are() -> None:
    features = torch.randn(2, 3)
    assert isinstance(Precomputed(3), nn.Module)
    assert Precomputed(3).num_features == 3
    assert torch.equal(Precomputed(3)(features), features)


def test_only_finite_values_pass() -> None:
    assert finite("FID", torch.tensor(1.5, dtype=torch.float64)) == 1.5
    for value in ("nan", "inf", "-inf"):
        with pytest.raises(PipelineError, match=f"^FID is {value}: the images are all alike, or too few$"):
            finite("FID", torch.tensor(float(value)))
