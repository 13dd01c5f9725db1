"""What stands beside a synthetic set: manifest.json for programs and a dataset card for people."""

import string
from collections.abc import Mapping
from typing import Any

# Where labels come from.
CONDITIONAL = "the class that the generator was asked for, which it learnt from real labels"
RELABELLED = "a classifier trained on the same real labels, whatever class the generator was asked for"
LABELLED = (
    "a classifier trained on real labels, since the generator knows no classes; "
    "how many images each class has is the generator's doing"
)

_CARD = string.Template("""\
# Synthetic images in the manner of $dataset

$train_count training and $test_count test images, 28x28 grey, in ten classes, drawn by a generative
adversarial network (`loss: $loss`, seed $seed). None of them is real.

![One hundred of them](samples.png)

- **Trained on**: $real_images real training images of $dataset. Its last training images (the validation
  split) and its test images were never shown to the generator.
- **Latent vectors**: standard deviation $latent_scale; the generator was trained with 1, and only images
  drawn with 1 resemble real ones as closely as it can.
- **Labels**: $label_source.
- **Real labels seen** on the way here: $real_labels. Training on this set is not training without labels.
- **Known limits**: labels can be wrong and images misshapen. How often, and what the set is worth for
  training, stands in metrics/quality.json and metrics/downstream.json of the project that made it.
- **Training of the generator**: $verdict.
- **Terms**: derived from $dataset; its licence applies.

Images a class: $class_counts.

The layout is MNIST's own, so that with this folder as `data/synthetic`

    torchvision.datasets.MNIST("data/synthetic")

opens it. `manifest.json` has the settings and the SHA-256 of the generator and of each file.
""")


def manifest(
    *,
    dataset: str,
    loss: str,
    recipe: Mapping[str, Any],
    environment: Mapping[str, Any],
    seed: int,
    real_images: int,
    generator_sha256: str,
    verdict: Mapping[str, int],
    latent_scale: float,
    labeller_accuracy: float | None,
    labels_changed: int | None,
    class_counts: Mapping[str, list[int]],
    sha256: Mapping[str, str],
) -> dict[str, Any]:
    """What made a synthetic set, from what, and with which hashes.

    Args:
        dataset: The real data set.
        loss: The row of recipes.
        recipe: That row.
        environment: What drew the images, and on what.
        seed: The run's seed.
        real_images: Real images, each with its label, that the generator was trained on.
        generator_sha256: Of the generator's file.
        verdict: Whether the generator's training collapsed, diverged, converged, each 0 or 1.
        latent_scale: Standard deviation of the latent vectors' numbers; 1 is what the generator learnt from.
        labeller_accuracy: Of the classifier that gave the labels, on validation images, in [0, 1]; None where
            the generator's own class is the label.
        labels_changed: Images, of both splits, to which it gave another class than the generator was asked
            for; None for a generator that knows no classes.
        class_counts: Images of each class 0..9, for each split.
        sha256: Of each IDX file.
    """
    labels: dict[str, Any] = {"source": CONDITIONAL, "real_labels_seen": real_images}
    if labeller_accuracy is not None:
        labels |= {"source": LABELLED, "labeller_validation_accuracy": labeller_accuracy}
        if labels_changed is not None:
            labels |= {"source": RELABELLED, "changed": labels_changed}
    return {
        "class_counts": dict(class_counts),
        "counts": {split: sum(counts) for split, counts in class_counts.items()},
        "dataset": dataset,
        "environment": dict(environment),
        "generator_sha256": generator_sha256,
        "labels": labels,
        "latent_scale": latent_scale,
        "loss": loss,
        "real_images_seen": real_images,
        "recipe": dict(recipe),
        "seed": seed,
        "sha256": dict(sha256),
        "verdict": dict(verdict),
    }


def card(manifest: Mapping[str, Any]) -> str:
    """The dataset card, in Markdown, of what `manifest` describes."""
    labels = manifest["labels"]
    source = labels["source"]
    if "labeller_validation_accuracy" in labels:
        source += f"; it is right on {labels['labeller_validation_accuracy']:.2%} of real images"
    if "changed" in labels:
        source += f", and said another class of {labels['changed']:,} images"
    counts = manifest["class_counts"]["train"]
    verdict = manifest["verdict"]
    failed = [name for name in ("collapsed", "diverged") if verdict[name]]
    ended = "converged" if verdict["converged"] else "ended when its images were used up"
    return _CARD.substitute(
        dataset=manifest["dataset"],
        train_count=f"{manifest['counts']['train']:,}",
        test_count=f"{manifest['counts']['test']:,}",
        loss=manifest["loss"],
        seed=manifest["seed"],
        real_images=f"{manifest['real_images_seen']:,}",
        label_source=source,
        latent_scale=f"{manifest['latent_scale']:g}",
        verdict=f"it {failed[0]}, so do not rely on this set" if failed else f"it {ended}, sound",
        real_labels=f"{labels['real_labels_seen']:,}",
        class_counts=", ".join(f"{digit}: {count:,}" for digit, count in enumerate(counts)),
    )
