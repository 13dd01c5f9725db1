"""What stands beside a synthetic set says what is true of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import GREY

from src.datasets import card
from src.datasets.spec import ImageSpec, read_names, read_spec

COUNTS = {"train": [1200, 1, 2, 3, 4, 5, 6, 7, 8, 9], "test": [3] * 10}
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
MANIFEST = card.Manifest(
    dataset="fashion-mnist",
    loss="lsgan",
    recipe={"loss": "lsgan", "latent": 100, "ema": 0.999},
    environment={"torch": "2.0", "threads": 2},
    seed=17,
    real_images_seen=50_123,
    generator_sha256="ab" * 32,
    verdict={"collapsed": 0, "diverged": 0, "converged": 1},
    latent_scale=1,
    labels=card.labelling(50_123, accuracy=None, changed=None),
    class_counts=COUNTS,
    sha256={"train-images-idx3-ubyte": "cd" * 32},
)


def text(manifest: card.Manifest = MANIFEST) -> str:
    return card.card(manifest, GREY, NAMES)


def written(root: Path, manifest: card.Manifest) -> dict[str, object]:
    card.write(root, manifest, GREY, NAMES)
    return json.loads((root / "manifest.json").read_text())


def test_the_manifest_holds_what_it_was_given_and_counts(tmp_path: Path) -> None:
    assert written(tmp_path, MANIFEST) == {
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
    found = text(replace(MANIFEST, verdict=dict(zip(names, verdict, strict=True))))
    assert f"**Training of the generator**: {words}" in found


@pytest.mark.parametrize("accuracy", [0.9876, 0.0])
def test_labels_of_an_unconditional_generator_come_from_a_labeller_of_known_accuracy(accuracy: float) -> None:
    assert card.labelling(50_123, accuracy=accuracy, changed=None) == {
        "source": card.LABELLED,
        "real_labels_seen": 50_123,
        "labeller_validation_accuracy": accuracy,
    }


def test_the_manifest_counts_the_labels_that_a_labeller_changed() -> None:
    labels = card.labelling(50_123, accuracy=0.5, changed=1234)
    assert labels == {
        "source": card.RELABELLED,
        "real_labels_seen": 50_123,
        "labeller_validation_accuracy": 0.5,
        "changed": 1234,
    }
    found = text(replace(MANIFEST, labels=labels))
    assert "it is right on 50.00% of real images, and said another class of 1,234 images." in found


def test_labels_that_no_labeller_gave_are_not_called_changed() -> None:
    labels = card.labelling(50_123, accuracy=None, changed=0)
    assert labels == {"source": card.CONDITIONAL, "real_labels_seen": 50_123}


@pytest.mark.parametrize(("scale", "words"), [(1, "deviation 1;"), (1.5, "deviation 1.5;")])
def test_the_card_tells_how_far_the_latent_vectors_reach(tmp_path: Path, scale: float, words: str) -> None:
    manifest = replace(MANIFEST, latent_scale=scale)
    assert written(tmp_path, manifest)["latent_scale"] == scale
    assert f"**Latent vectors**: standard {words}" in text(manifest)


def test_every_kind_of_labels_is_said_to_rest_on_real_ones() -> None:
    assert "real labels" in card.CONDITIONAL
    assert "classifier trained on real labels" in card.LABELLED
    assert "classifier trained on the same real labels" in card.RELABELLED


def test_all_three_files_stand_beside_the_images(tmp_path: Path) -> None:
    manifest = replace(MANIFEST, labels=card.labelling(50_123, accuracy=0.5, changed=None))
    found = written(tmp_path, manifest)
    assert found.pop("counts") == {"train": 1245, "test": 30}
    # The card of what was read back is the same text: it needs nothing else.
    assert text(card.Manifest(**found)) == (tmp_path / "README.md").read_text() == text(manifest)
    assert read_spec(tmp_path) == GREY
    assert read_names(tmp_path) == NAMES


@pytest.mark.parametrize("accuracy", [None, 0.98765])
def test_the_card_has_its_numbers_and_no_gap(accuracy: float | None) -> None:
    found = text(replace(MANIFEST, labels=card.labelling(50_123, accuracy=accuracy, changed=None)))
    assert "$" not in found
    assert "None" not in found.replace("None of them is real", "")
    assert found.startswith("# Synthetic images in the manner of fashion-mnist\n")
    assert "1,245 training and 30 test images, 28x28 grey, in 10 classes," in found
    assert "(`loss: lsgan`, seed 17)" in found
    assert "50,123 real training images of fashion-mnist" in found
    assert "**Real labels seen** on the way here: 50,123." in found
    counts = "zero: 1,200, one: 1, two: 2, three: 3, four: 4, five: 5, six: 6, seven: 7, eight: 8, nine: 9"
    assert f"Images a class: {counts}." in found
    assert ("it is right on 98.77% of real images" in found) is (accuracy is not None)
    assert (card.CONDITIONAL in found) is (accuracy is None)
    assert (card.LABELLED in found) is (accuracy is not None)


def test_only_grey_images_are_said_to_open_with_torchvision() -> None:
    assert 'torchvision.datasets.MNIST("data/synthetic")' in text()
    colour = ImageSpec(channels=3, height=32, width=24, classes=2)
    found = card.card(replace(MANIFEST, class_counts={"train": [7, 8], "test": [1, 1]}), colour, ["a", "b"])
    assert "15 training and 2 test images, 24x32 colour, in 2 classes," in found
    assert "Images a class: a: 7, b: 8." in found
    assert "The layout is MNIST's own. `manifest.json` has" in found
    assert "torchvision" not in found
