"""What stands beside a synthetic set says what is true of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import GREY

from src.core.errors import PipelineError
from src.datasets import card
from src.datasets.spec import ImageSpec, read_names, read_spec

# Where labels come from, in the words that users read.
CONDITIONAL = "the class that the generator was asked for, which it learnt from real labels"
TRANSLATED = "the class of the source image that was translated, which had it before"
RELABELLED = "a classifier trained on the same real labels, whatever class the generator was asked for"
LABELLED = (
    "a classifier trained on real labels, since the generator knows no classes; "
    "how many images each class has is the generator's doing"
)
COUNTS = {"train": [1200, 1, 2, 3, 4, 5, 6, 7, 8, 9], "test": [3] * 10}
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
GIVEN = {"labels": 40_321, "source": "given", "draw": "all", "drawn": "the first", "looked_at": 40_321}
TOLD = {"kind": "gan", "conditional": True}
UNTOLD = {"kind": "gan", "conditional": False}
TRANSLATING = {"kind": "cyclegan", "conditional": False}
# Who read how many labels; the GAN run is watched by 1,000 images with given ones, too.
READ = {"guessing": 0, "conditioning": 40_321, "watching": 40_321, "checkpoint_choice": 40_321}
READ |= {"verdict": 1_000, "relabelling": 0, "tuning": 0, "coverage": 0, "budget": 41_321, "total": 41_321}


def labelling(
    recipe: dict[str, object],
    accuracy: float | None = None,
    changed: int = 0,
    known: dict[str, object] = GIVEN,
    allowed: int | str = "all",
) -> dict[str, object]:
    return card.labelling(
        known, recipe, allowed=allowed, validation=1_000, accuracy=accuracy, changed=changed
    )


def source(labels: dict[str, object]) -> dict[str, object]:
    """What is told of labels, but for the ledger."""
    return {name: value for name, value in labels.items() if name not in ("read", "draw", "drawn")}


MANIFEST = card.Manifest(
    dataset="fashion-mnist",
    loss="lsgan",
    recipe={"loss": "lsgan", "latent": 100, "ema": 0.999},
    environment={"torch": "2.0", "threads": 2},
    seed=17,
    real_images_seen=50_123,
    generator_sha256="ab" * 32,
    verdict="converged",
    latent_scale=1,
    labels=labelling(TOLD),
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
        "labels": {
            **{"source": CONDITIONAL, "real_labels_seen": 40_321, "read": READ},
            **{"draw": "all", "drawn": "the first"},
        },
        "latent_scale": 1,
        "loss": "lsgan",
        "real_images_seen": 50_123,
        "recipe": {"loss": "lsgan", "latent": 100, "ema": 0.999},
        "seed": 17,
        "sha256": {"train-images-idx3-ubyte": "cd" * 32},
        "verdict": "converged",
    }


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("converged", "it converged."),
        ("still improving", "it was sound and still improving when its images were used up."),
        ("collapsed", "it collapsed, so do not rely on this set."),
        ("diverged", "it diverged, so do not rely on this set."),
        (
            "mislabelled",
            "its images are often not of the class that was asked for, so do not rely on this set.",
        ),
    ],
)
def test_the_card_says_what_became_of_the_training(verdict: str, words: str) -> None:
    found = text(replace(MANIFEST, verdict=verdict))
    assert f"**Training of the generator**: {words}" in found


@pytest.mark.parametrize("accuracy", [0.9876, 0.0])
def test_labels_of_an_unconditional_generator_come_from_a_labeller_of_known_accuracy(accuracy: float) -> None:
    assert source(labelling(UNTOLD, accuracy)) == {
        "source": LABELLED,
        "real_labels_seen": 40_321,
        "labeller_validation_accuracy": accuracy,
    }


def test_labels_of_translations_are_those_of_their_source_images() -> None:
    assert source(labelling(TRANSLATING)) == {"source": TRANSLATED, "real_labels_seen": 40_321}
    assert labelling(TRANSLATING, 0.5, 1)["source"] == RELABELLED


@pytest.mark.parametrize("accuracy", [None, 0.5])
def test_translations_are_drawn_from_images_whoever_labels_them(accuracy: float | None) -> None:
    labels = labelling(TRANSLATING, accuracy)
    found = text(replace(MANIFEST, recipe={"kind": "cyclegan"}, labels=labels))
    assert "**Drawn from**: the labelled images of data/rendered" in found
    assert "Latent vectors" not in found
    assert "Drawn from" not in text()


def test_the_manifest_counts_the_labels_that_a_labeller_changed() -> None:
    assert source(labelling(TOLD, 0.5, 1234)) == {
        "source": RELABELLED,
        "real_labels_seen": 40_321,
        "labeller_validation_accuracy": 0.5,
        "changed": 1234,
    }


@pytest.mark.parametrize(("allowed", "fails"), [(3, False), (2, True), (0, True), ("all", False)])
def test_more_labels_than_params_yaml_allows_end_the_run(allowed: int | str, fails: bool) -> None:
    known = {"labels": 3, "source": "guessed", "draw": "random", "drawn": [5, 9, 7], "looked_at": 3}
    if not fails:
        assert labelling(TOLD, known=known, allowed=allowed)["real_labels_seen"] == 3
        return
    words = rf"^3 labels of real images were read, and labels in params.yaml is {allowed}; run"
    with pytest.raises(PipelineError, match=words):
        labelling(TOLD, known=known, allowed=allowed)


def test_labels_that_no_labeller_gave_are_not_called_changed() -> None:
    assert source(labelling(TOLD)) == {"source": CONDITIONAL, "real_labels_seen": 40_321}


def test_guesses_are_told_and_cost_no_label() -> None:
    known = {"labels": 0, "source": "guessed by whom", "draw": "stratified", "drawn": [], "looked_at": 0}
    labels = labelling(TOLD, known=known)
    learnt = "the class that the generator was asked for, which it learnt from guessed labels"
    assert source(labels) == {"source": learnt, "real_labels_seen": 0, "guesses": "guessed by whom"}
    found = " ".join(text(replace(MANIFEST, labels=labels)).split())
    assert "**Real labels seen** on the way here: 0. Labels of real images were guessed by whom." in found
    right = {**labels, "labeller_validation_accuracy": 0.975}
    assert "; it says what was guessed on 97.50% of real images." in text(replace(MANIFEST, labels=right))
    assert "not training without labels" in " ".join(text().split())
    assert "not training without labels" not in found


@pytest.mark.parametrize(("scale", "words"), [(1, "deviation 1;"), (1.5, "deviation 1.5;")])
def test_the_card_tells_how_far_the_latent_vectors_reach(tmp_path: Path, scale: float, words: str) -> None:
    manifest = replace(MANIFEST, latent_scale=scale)
    assert written(tmp_path, manifest)["latent_scale"] == scale
    assert f"**Latent vectors**: standard {words}" in text(manifest)


@pytest.mark.parametrize(
    ("recipe", "accuracy", "changed", "words"),
    [
        (TOLD, None, 0, f"{CONDITIONAL}."),
        (UNTOLD, 0.98765, 5, f"{LABELLED}; it is right on 98.77% of real images."),
        (
            TOLD,
            0.5,
            1234,
            f"{RELABELLED}; it is right on 50.00% of real images, and said another class of 1,234 images.",
        ),
        (
            TOLD,
            0.0,
            0,
            f"{RELABELLED}; it is right on 0.00% of real images, and said another class of 0 images.",
        ),
    ],
)
def test_the_card_says_where_labels_come_from_and_nothing_of_a_labeller_that_was_not_there(
    recipe: dict[str, object], accuracy: float | None, changed: int, words: str
) -> None:
    found = text(replace(MANIFEST, labels=labelling(recipe, accuracy, changed)))
    expected = CARD.replace(f"- **Labels**: {CONDITIONAL}.", f"- **Labels**: {words}")
    if accuracy is not None:
        expected = expected.replace(
            "to label the synthetic images | 0 |", "to label the synthetic images | 40,321 |"
        )
    if recipe is UNTOLD:
        expected = expected.replace("are told | 40,321 |", "are told | 0 |")
    assert found == expected


def test_all_three_files_stand_beside_the_images(tmp_path: Path) -> None:
    manifest = replace(MANIFEST, labels=labelling(UNTOLD, 0.5))
    found = written(tmp_path, manifest)
    assert found.pop("counts") == {"train": 1245, "test": 30}
    # The card of what was read back is the same text: it needs nothing else.
    assert text(card.Manifest(**found)) == (tmp_path / "README.md").read_text() == text(manifest)
    assert read_spec(tmp_path) == GREY
    assert read_names(tmp_path) == NAMES


CARD = f"""\
# Synthetic images in the manner of fashion-mnist

1,245 training and 30 test images, 28x28 grey, in 10 classes, drawn by a generative
adversarial network (`loss: lsgan`, seed 17). None of them is real.

![Some of them](samples.png)

- **Trained on**: 50,123 real training images of fashion-mnist. Its last training images (the validation
  split) and its test images were never shown to the generator.
- **Latent vectors**: standard deviation 1; the generator was trained with 1, and only images
  drawn with 1 resemble real ones as closely as it can.
- **Labels**: {CONDITIONAL}.
- **Real labels seen** on the way here: 40,321. Training on this set is not training without labels.
- **Known limits**: labels can be wrong and images misshapen. How often, and what the set is worth for
  training, stands in metrics/quality.json and metrics/downstream.json of the project that made it.
- **Training of the generator**: it converged.
- **Terms**: derived from fashion-mnist; its licence applies.

Images a class: zero: 1,200, one: 1, two: 2, three: 3, four: 4, five: 5, six: 6, seven: 7, eight: 8, nine: 9.

## Labels of real images that were read on the way

| by whom, for what | labels |
|---|---:|
| `label_train`, to guess the others from | 0 |
| `train_gan`, as the classes that its networks are told | 40,321 |
| `train_gan`, by the network that scores its checks | 40,321 |
| `train_gan`, by these scores, to keep the best generator | 40,321 |
| `train_gan`, of validation images, to judge the run | 1,000 |
| `train_labeller`, to label the synthetic images | 0 |
| to choose a setting within this run | 0 |
| looked at by the draw and put aside, for their class had its share | 0 |
| the budget | 41,321 |
| total, each label once | 41,321 |

All labels were allowed.

The layout is MNIST's own, so that with this folder as `data/synthetic`

    torchvision.datasets.MNIST("data/synthetic")

opens it. `manifest.json` has the settings and the SHA-256 of the generator and of
each file; `spec.json` has the shape of the images and the names of the classes.
"""


def test_the_whole_card() -> None:
    assert text() == CARD


def test_only_grey_images_are_said_to_open_with_torchvision() -> None:
    assert 'torchvision.datasets.MNIST("data/synthetic")' in text()
    colour = ImageSpec(channels=3, height=32, width=24, classes=2)
    found = card.card(replace(MANIFEST, class_counts={"train": [7, 8], "test": [1, 1]}), colour, ["a", "b"])
    assert "15 training and 2 test images, 24x32 colour, in 2 classes," in found
    assert "Images a class: a: 7, b: 8." in found
    assert "The layout is MNIST's own. `manifest.json` has" in found
    assert "torchvision" not in found
