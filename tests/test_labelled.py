"""Labelled images: bytes and [-1, 1] and back, the splits of a set on disk, and choices from it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import GREY

from src.core.errors import PipelineError
from src.datasets import idx, labelled
from src.datasets.labelled import Labelled
from src.datasets.spec import ImageSpec


def test_bytes_become_unit_values_by_the_contract() -> None:
    # x = byte / 127.5 - 1
    assert labelled.to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist() == pytest.approx(
        [-1, -0.6, 1]
    )


def test_unit_values_become_bytes_rounded_and_clamped() -> None:
    # 127.5 * 0.004 + 127.5 = 128.01, 127.5 * -0.6 + 127.5 = 51
    values = torch.tensor([-1.5, -1.0, -0.6, 0.004, 1.0, 2.0])
    assert labelled.to_bytes(values).tolist() == [0, 0, 51, 128, 255, 255]
    assert values.tolist() == pytest.approx([-1.5, -1.0, -0.6, 0.004, 1.0, 2.0])  # left alone


def test_every_byte_survives_the_way_there_and_back() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(labelled.to_bytes(labelled.to_unit(every)), every)


def test_the_validation_split_is_the_end_of_train_and_nothing_is_in_both(image_set: Path) -> None:
    everything = labelled.read(image_set, "train", GREY)
    train, validation = labelled.read_train(image_set, GREY, 50)
    assert train.pixels.shape == (250, 1, 28, 28)
    assert train.pixels.dtype == torch.uint8
    assert train.given.dtype == torch.int64
    assert torch.equal(torch.cat([train.pixels, validation.pixels]), everything.pixels)
    assert torch.equal(validation.given, everything.given[250:])


def test_a_validation_split_that_leaves_nothing_to_train_on_is_refused(image_set: Path) -> None:
    with pytest.raises(PipelineError, match="validation is 300; allowed: fewer than the 300"):
        labelled.read_train(image_set, GREY, 300)


def test_a_validation_split_may_leave_a_single_image_to_train_on(image_set: Path) -> None:
    train, validation = labelled.read_train(image_set, GREY, 299)
    assert (len(train), len(validation)) == (1, 299)


@pytest.mark.parametrize(
    ("labels", "mixed"),
    [
        ([0, 1, 0], True),  # as few changes as classes
        ([1, 0, 0], False),  # each class in one piece
        ([2, 2, 0, 0, 1, 1], False),
        ([2, 0, 0, 1, 1, 2], True),
        ([0, 0, 0], True),  # a single class
        # 40 of each of two classes: (1 - 1/2) 79 = 39.5 changes by chance, a quarter of which is 9.9
        (5 * (8 * [0] + 8 * [1]), False),  # 9
        ([*(5 * (8 * [0] + 8 * [1]))[4:], *4 * [0]], True),  # 10
    ],
)
def test_images_are_mixed_where_their_labels_change_often_enough(labels: list[int], mixed: bool) -> None:
    data = Labelled(torch.zeros(len(labels), 1, 28, 28, dtype=torch.uint8), torch.tensor(labels))
    if mixed:
        data.require_mixed("these images")
    else:
        with pytest.raises(PipelineError, match="these images are sorted by class; shuffle them"):
            data.require_mixed("these images")


def test_some_are_chosen_at_random_with_their_labels_and_in_their_order() -> None:
    everything = Labelled(
        torch.arange(50).byte().view(50, 1, 1, 1).expand(50, 1, 28, 28), torch.arange(50) + 100
    )
    chosen = everything.chosen(20, torch.Generator().manual_seed(0))
    numbers = chosen.pixels[:, 0, 5, 6].tolist()
    assert numbers == (chosen.given - 100).tolist() == sorted(set(numbers))
    assert len(numbers) == 20
    assert max(numbers) >= 40  # not the first ones
    again = everything.chosen(20, torch.Generator().manual_seed(1)).pixels[:, 0, 0, 0].tolist()
    assert again != numbers
    flat = Labelled(everything.pixels, None).chosen(20, torch.Generator().manual_seed(0))
    assert flat.labels is None
    assert flat.pixels[:, 0, 0, 0].tolist() == numbers


def test_all_that_there_are_stay_as_they_are() -> None:
    data = Labelled(torch.randint(256, (30, 1, 28, 28), dtype=torch.uint8), torch.arange(30) % 7)
    chosen = data.chosen(30, torch.Generator().manual_seed(3))
    assert torch.equal(chosen.pixels, data.pixels)
    assert torch.equal(chosen.given, data.given)


def test_known_labels_are_kept_and_unknown_ones_replaced() -> None:
    three, guesses = torch.zeros(3, 1, 28, 28, dtype=torch.uint8), torch.tensor([7, 8, 9])
    assert Labelled(three, None).or_labelled(guesses).given.tolist() == [7, 8, 9]
    assert Labelled(three, torch.tensor([1, 2, 3])).or_labelled(guesses).given.tolist() == [1, 2, 3]


def test_a_part_has_its_own_labels_or_none() -> None:
    pixels = torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1)
    part = Labelled(pixels, torch.tensor([1, 2, 3])).part(1, 3)
    assert (len(part), part.pixels.flatten().tolist(), part.given.tolist()) == (2, [1, 2], [2, 3])
    picked = Labelled(pixels, torch.tensor([1, 2, 3])).at(torch.tensor([2, 0]))
    assert (picked.pixels.flatten().tolist(), picked.given.tolist()) == ([2, 0], [3, 1])
    assert Labelled(pixels, None).part(0, 1).labels is None
    moved = Labelled(pixels, torch.tensor([1, 2, 3])).to(torch.device("meta"))
    assert moved.pixels.is_meta
    assert moved.given.is_meta
    assert Labelled(pixels, None).to(torch.device("meta")).labels is None


def test_images_that_need_labels_and_have_none_are_refused() -> None:
    with pytest.raises(PipelineError, match="these images have no labels"):
        _ = Labelled(torch.zeros(3, 1, 28, 28, dtype=torch.uint8), None).given


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_written_batch_by_batch_is_read_back(tmp_path: Path, channels: int) -> None:
    spec = ImageSpec(channels=channels, height=8, width=9, classes=3)
    pixels = torch.arange(5 * spec.values).byte().view(5, *spec.shape)
    labels = torch.tensor([0, 2, 1, 1, 0])
    with labelled.writing(tmp_path, "test", 5, spec) as append:
        append(pixels[:2], labels[:2])
        append(pixels[2:], labels[2:])
    found = labelled.read(tmp_path, "test", spec)
    assert torch.equal(found.pixels, pixels)
    assert found.pixels.is_contiguous()
    assert torch.equal(found.given, labels)
    # On disk a pixel's colours stand together.
    (first, *_), _ = idx.read_pair(tmp_path, "test", spec)
    assert np.array_equal(first.reshape(8, 9, channels)[3, 4], pixels[0, :, 3, 4].numpy())


def test_a_split_that_is_not_complete_never_gets_its_name(tmp_path: Path) -> None:
    with (
        pytest.raises(idx.IdxError, match="only 1 of 2 items came"),
        labelled.writing(tmp_path, "train", 2, GREY) as append,
    ):
        append(torch.zeros(1, 1, 28, 28, dtype=torch.uint8), torch.tensor([3]))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
