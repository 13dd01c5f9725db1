"""What stands beside a synthetic set says what is true of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from src import card, files

COUNTS = {"train": [1200, 1, 2, 3, 4, 5, 6, 7, 8, 9], "test": [3] * 10}
SETTINGS: dict[str, Any] = {
    "dataset": "fashion-mnist",
    "loss": "lsgan",
    "recipe": {"loss": "lsgan", "latent": 100, "ema": 0.999},
    "environment": {"torch": "2.0", "threads": 2},
    "seed": 17,
    "real_images": 50_123,
    "generator_sha256": "ab" * 32,
    "verdict": {"collapsed": 0, "diverged": 0, "converged": 1},
    "latent_scale": 1,
    "labeller_accuracy": None,
    "labels_changed": None,
    "class_counts": COUNTS,
    "sha256": {"train-images-idx3-ubyte": "cd" * 32},
}


def test_the_manifest_holds_what_it_was_given_and_counts() -> None:
    assert card.manifest(**SETTINGS) == {
        "class_counts": COUNTS,
        "counts": {"train": 1245, "test": 30},
        "dataset": "fashion-mnist",
        "environment": {"torch": "2.0", "threads": 2},
        "generator_sha256": "ab" * 32,
        "labels": {"source": card.CONDITIONAL, "real_labels_seen": 50_123},
        "latent_scale": 1,
        "loss": "lsgan",
        "real_images_seen": 50_123,
        "recipe": {"loss": "lsgan", "latent": 100, "ema": 0.999},
        "seed": 17,
        "sha256": {"train-images-idx3-ubyte": "cd" * 32},
        "verdict": {"collapsed": 0, "diverged": 0, "converged": 1},
    }


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ((0, 0, 1), "it converged, sound."),
        ((0, 0, 0), "it ended when its images were used up, sound."),
        ((1, 0, 0), "it collapsed, so do not rely on this set."),
        ((0, 1, 0), "it diverged, so do not rely on this set."),
    ],
)
def test_the_card_says_what_became_of_the_training(verdict: tuple[int, int, int], words: str) -> None:
    names = ("collapsed", "diverged", "converged")
    text = card.card(card.manifest(**SETTINGS | {"verdict": dict(zip(names, verdict, strict=True))}))
    assert f"**Training of the generator**: {words}" in text


@pytest.mark.parametrize("accuracy", [0.9876, 0.0])
def test_labels_of_an_unconditional_generator_come_from_a_labeller_of_known_accuracy(accuracy: float) -> None:
    labels = card.manifest(**SETTINGS | {"labeller_accuracy": accuracy})["labels"]
    assert labels == {
        "source": card.LABELLED,
        "real_labels_seen": 50_123,
        "labeller_validation_accuracy": accuracy,
    }


def test_the_manifest_counts_the_labels_that_a_labeller_changed() -> None:
    manifest = card.manifest(**SETTINGS | {"labeller_accuracy": 0.5, "labels_changed": 1234})
    assert manifest["labels"] == {
        "source": card.RELABELLED,
        "real_labels_seen": 50_123,
        "labeller_validation_accuracy": 0.5,
        "changed": 1234,
    }
    assert "it is right on 50.00% of real images, and said another class of 1,234 images." in card.card(
        manifest
    )


def test_labels_that_no_labeller_gave_are_not_called_changed() -> None:
    manifest = card.manifest(**SETTINGS | {"labels_changed": 0})
    assert manifest["labels"] == {"source": card.CONDITIONAL, "real_labels_seen": 50_123}


@pytest.mark.parametrize(("scale", "words"), [(1, "deviation 1;"), (1.5, "deviation 1.5;")])
def test_the_card_tells_how_far_the_latent_vectors_reach(scale: float, words: str) -> None:
    manifest = card.manifest(**SETTINGS | {"latent_scale": scale})
    assert manifest["latent_scale"] == scale
    assert f"**Latent vectors**: standard {words}" in card.card(manifest)


def test_every_kind_of_labels_is_said_to_rest_on_real_ones() -> None:
    assert "real labels" in card.CONDITIONAL
    assert "classifier trained on real labels" in card.LABELLED
    assert "classifier trained on the same real labels" in card.RELABELLED


def test_the_manifest_is_written_as_json_and_read_back(tmp_path: Path) -> None:
    manifest = card.manifest(**SETTINGS | {"labeller_accuracy": 0.5})
    files.write_json(tmp_path / "manifest.json", manifest)
    assert json.loads((tmp_path / "manifest.json").read_text()) == manifest
    # The card of what was read back is the same text: it needs the manifest alone.
    assert card.card(files.read_json(tmp_path / "manifest.json")) == card.card(manifest)


@pytest.mark.parametrize("accuracy", [None, 0.98765])
def test_the_card_has_its_numbers_and_no_gap(accuracy: float | None) -> None:
    text = card.card(card.manifest(**SETTINGS | {"labeller_accuracy": accuracy}))
    assert "$" not in text
    assert "None" not in text.replace("None of them is real", "")
    assert text.startswith("# Synthetic images in the manner of fashion-mnist\n")
    assert "1,245 training and 30 test images" in text
    assert "(`loss: lsgan`, seed 17)" in text
    assert "50,123 real training images of fashion-mnist" in text
    assert "**Real labels seen** on the way here: 50,123." in text
    assert "0: 1,200, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7, 8: 8, 9: 9." in text
    assert ("it is right on 98.77% of real images" in text) is (accuracy is not None)
    assert (card.CONDITIONAL in text) is (accuracy is None)
    assert (card.LABELLED in text) is (accuracy is not None)
