"""What stands beside a synthetic set: manifest.json for programs and a dataset card for people."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from src.core import files
from src.core.errors import PipelineError
from src.datasets import ledger
from src.datasets.spec import ImageSpec, write_spec

# Where labels come from.
CONDITIONAL = "the class that the generator was asked for, which it learnt from real labels"
TRANSLATED = "the class of the source image that was translated, which had it before"
RELABELLED = "a classifier trained on the same real labels, whatever class the generator was asked for"
LABELLED = (
    "a classifier trained on real labels, since the generator knows no classes; "
    "how many images each class has is the generator's doing"
)

_CARD = string.Template("""\
# Synthetic images in the manner of $dataset

$train_count training and $test_count test images, $images, in $classes classes, drawn by a generative
adversarial network (`loss: $loss`, seed $seed). None of them is real.

![Some of them](samples.png)

- **Trained on**: $real_images real training images of $dataset. Its last training images (the validation
  split) and its test images were never shown to the generator.
$drawn
- **Labels**: $label_source.
- **Real labels seen** on the way here: $real_labels. $price
- **Known limits**: labels can be wrong and images misshapen. How often, and what the set is worth for
  training, stands in metrics/quality.json and metrics/downstream.json of the project that made it.
- **Training of the generator**: $verdict.
- **Terms**: derived from $dataset; its licence applies.

Images a class: $class_counts.

## Labels of real images that were read on the way

| by whom, for what | labels |
|---|---:|
$ledger

$draw

The layout is MNIST's own$opens `manifest.json` has the settings and the SHA-256 of the generator and of
each file; `spec.json` has the shape of the images and the names of the classes.
""")
_OPENS = """, so that with this folder as `data/synthetic`

    torchvision.datasets.MNIST("data/synthetic")

opens it."""

_LATENT = string.Template("""\
- **Latent vectors**: standard deviation $scale; the generator was trained with 1, and only images
  drawn with 1 resemble real ones as closely as it can.""")
_TRANSLATED = """\
- **Drawn from**: the labelled images of data/rendered, one for each, turned into the look of real ones."""
_PRICE = "Training on this set is not training without labels."
_UNSOUND = "so do not rely on this set"
# What `ledger.account` counts, in words.
_READ = {
    "guessing": "`label_train`, to guess the others from",
    "conditioning": "`train_gan`, as the classes that its networks are told",
    "watching": "`train_gan`, by the network that scores its checks",
    "checkpoint_choice": "`train_gan`, by these scores, to keep the best generator",
    "verdict": "`train_gan`, of validation images, to judge the run",
    "relabelling": "`train_labeller`, to label the synthetic images",
    "tuning": "to choose a setting within this run",
    "coverage": "looked at by the draw and put aside, for their class had its share",
    "budget": "the budget",
    "total": "total, each label once",
}
_DRAWN = {
    "all": "All labels were allowed.",
    "stratified": "The draw was stratified: as many of each class.",
    "random": "The draw was random.",
    "queried": "The labels were asked for: of one image from each cluster, found without labels.",
}
_ENDED = {
    "diverged": f"it diverged, {_UNSOUND}",
    "collapsed": f"it collapsed, {_UNSOUND}",
    "mislabelled": f"its images are often not of the class that was asked for, {_UNSOUND}",
    "converged": "it converged",
    "still improving": "it was sound and still improving when its images were used up",
}


@dataclass(frozen=True)
class Manifest:
    """What made a synthetic set, from what, and with which hashes.

    Attributes:
        dataset: The real data set.
        loss: The row of recipes.
        recipe: That row.
        environment: What drew the images, and on what.
        seed: The run's seed.
        real_images_seen: Real images, each with its label, that the generator was trained on.
        generator_sha256: Of the generator's file.
        verdict: What became of the generator's training, in the words of `src.gan.verdict`.
        latent_scale: Standard deviation of the latent vectors' numbers; 1 is what the generator learnt from.
        labels: What `labelling` tells: their `source`, `real_labels_seen`, how many were `read` for what, how
            they were drawn and which, how the others were guessed, and of a labeller.
        class_counts: Images of each class, by label, for each split.
        sha256: Of each file of images and labels.
    """

    dataset: str
    loss: str
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    seed: int
    real_images_seen: int
    generator_sha256: str
    verdict: str
    latent_scale: float
    labels: Mapping[str, Any]
    class_counts: Mapping[str, list[int]]
    sha256: Mapping[str, str]


def labelling(
    known: Mapping[str, Any],
    recipe: Mapping[str, Any],
    *,
    allowed: int | str,
    validation: int,
    accuracy: float | None,
    changed: int,
) -> dict[str, Any]:
    """Where a set's labels come from, and what labels of real images it has cost.

    Args:
        known: The ledger of the images that the generator was trained on (see `ledger.read`).
        recipe: The row of recipes.
        allowed: The budget of labels, or `all`.
        validation: How many real images the GAN run was watched by.
        accuracy: The labeller's, on validation images, in [0, 1]; None where the generator's own class is the
            label.
        changed: Images, of both splits, to which it gave another class than the generator was asked for.

    Raises:
        PipelineError: More labels were read than the budget has.
    """
    translated = recipe["kind"] == "cyclegan"
    asked = translated or recipe["conditional"]  # otherwise the generator knows no classes
    told = TRANSLATED if translated else CONDITIONAL
    source = told if accuracy is None else RELABELLED if asked else LABELLED
    read = ledger.account(
        known,
        validation=validation,
        conditional=recipe["conditional"],
        relabelled=accuracy is not None,
    )
    if allowed != "all" and read["total"] > int(allowed):
        raise PipelineError(
            f"{read['total']} labels of real images were read, and labels in params.yaml is {allowed}; "
            "run dvc repro label_train"
        )
    labels: dict[str, Any] = {"source": source, "real_labels_seen": known["labels"], "read": read}
    labels |= {name: known[name] for name in ("draw", "drawn")}
    if known["source"] != ledger.GIVEN:
        labels |= {"source": source.replace("real labels", "guessed labels"), "guesses": known["source"]}
    if accuracy is not None:
        labels |= {"labeller_validation_accuracy": accuracy}
        labels |= {"changed": changed} if asked else {}
    return labels


def write(root: Path, manifest: Manifest, spec: ImageSpec, names: list[str]) -> None:
    """Writes manifest.json, README.md and spec.json beside a set's images; arguments are those of `card`."""
    counts = {split: sum(each) for split, each in manifest.class_counts.items()}
    files.write_json(root / "manifest.json", asdict(manifest) | {"counts": counts})
    files.write_text(root / "README.md", card(manifest, spec, names))
    write_spec(root, spec, names)


def card(manifest: Manifest, spec: ImageSpec, names: Sequence[str]) -> str:
    """The dataset card, in Markdown.

    Args:
        manifest: What it tells.
        spec: What the images look like.
        names: Of the classes, by label.
    """
    source, guesses = manifest.labels["source"], manifest.labels.get("guesses")
    translated = manifest.recipe.get("kind") == "cyclegan"
    if "labeller_validation_accuracy" in manifest.labels:
        share = f"{manifest.labels['labeller_validation_accuracy']:.2%} of real images"
        # Without given labels, guesses are all that it was held against.
        source += f"; it {'says what was guessed' if guesses else 'is right'} on {share}"
    if "changed" in manifest.labels:
        source += f", and said another class of {manifest.labels['changed']:,} images"
    counts = manifest.class_counts
    return _CARD.substitute(
        dataset=manifest.dataset,
        train_count=f"{sum(counts['train']):,}",
        test_count=f"{sum(counts['test']):,}",
        images=spec,
        classes=spec.classes,
        loss=manifest.loss,
        seed=manifest.seed,
        real_images=f"{manifest.real_images_seen:,}",
        label_source=source,
        drawn=_TRANSLATED if translated else _LATENT.substitute(scale=f"{manifest.latent_scale:g}"),
        verdict=_ENDED[manifest.verdict],
        real_labels=f"{manifest.labels['real_labels_seen']:,}",
        price=f"Labels of real images were {guesses}." if guesses else _PRICE,
        class_counts=", ".join(f"{name}: {n:,}" for name, n in zip(names, counts["train"], strict=True)),
        ledger="\n".join(f"| {told} | {manifest.labels['read'][name]:,} |" for name, told in _READ.items()),
        draw=_DRAWN[manifest.labels["draw"]],
        opens=_OPENS if spec.channels == 1 else ".",
    )
