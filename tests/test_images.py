from pathlib import Path

import pytest
import torch

from src import images
from src.errors import PipelineError


def test_bytes_become_unit_values_by_the_contract() -> None:
    # x = byte / 127.5 - 1
    assert images.to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist() == pytest.approx(
        [-1, -0.6, 1]
    )


def test_unit_values_become_bytes_rounded_and_clamped() -> None:
    # 127.5 * 0.004 + 127.5 = 128.01, 127.5 * -0.6 + 127.5 = 51
    values = torch.tensor([-1.5, -1.0, -0.6, 0.004, 1.0, 2.0])
    assert images.to_bytes(values).tolist() == [0, 0, 51, 128, 255, 255]
    assert values.tolist() == pytest.approx([-1.5, -1.0, -0.6, 0.004, 1.0, 2.0])  # left alone


def test_every_byte_survives_the_way_there_and_back() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(images.to_bytes(images.to_unit(every)), every)


def test_the_validation_split_is_the_end_of_train_and_nothing_is_in_both(image_set: Path) -> None:
    everything = images.read(image_set, "train")
    train, validation = images.read_train(image_set, 50)
    assert train.images.shape == (250, 1, 28, 28)
    assert train.images.dtype == torch.uint8
    assert train.labels.dtype == torch.int64
    assert torch.equal(torch.cat([train.images, validation.images]), everything.images)
    assert torch.equal(validation.labels, everything.labels[250:])


def test_a_validation_split_that_leaves_nothing_to_train_on_is_refused(image_set: Path) -> None:
    with pytest.raises(PipelineError, match="validation is 300; allowed: fewer than the 300"):
        images.read_train(image_set, 300)


def test_by_class_leaves_black_where_a_class_runs_out() -> None:
    pictures = torch.tensor([10, 20, 30], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 1, 28, 28)
    data = images.LabelledImages(pictures, torch.tensor([1, 0, 1]))
    picked = images.by_class(data, classes=3, each=2)
    assert picked.shape == (6, 1, 28, 28)
    assert picked[:, 0, 0, 0].tolist() == [20, 0, 10, 30, 0, 0]
