"""What stands beside a rendered set: manifest.json for programs and a dataset card for people."""

import string
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from src.core import files
from src.datasets import fonts, ink, rendered
from src.datasets.spec import write_spec

_CARD = string.Template("""\
# Digits rendered from strokes and fonts

$train_count training and $test_count test images, $images, in $classes classes, drawn by a program (seed
$seed). No real image and no real label went into them: their labels cost nothing.

![Some of them](samples.png)

- **What is drawn**: for $strokes of the images strokes as people write them, for $hershey a Hershey font, for
  $faces a type face. Strokes are bent, slanted, turned and inked at random.
- **Frame**: MNIST's. The ink fits into $box x $box pixels, and its centre of mass is in the middle.
- **Known limits**: some images are misshapen. The strokes and how much they vary were chosen by eye, beside
  real training images of MNIST without their labels, and by what a classifier trained on rendered images took
  those for. People write digits in more ways than these.
- **Terms**: the strokes are this project's, under its licence. The fonts:
$fonts

Images a class: $class_counts.

The layout is MNIST's own, so that with this folder as `data/rendered`

    torchvision.datasets.MNIST("data/rendered")

opens it. `manifest.json` has the fonts, the seed and the SHA-256 of each file; `spec.json` has the shape of
the images and the names of the classes.
""")


@dataclass(frozen=True)
class Manifest:
    """What a rendered set was made of.

    Attributes:
        seed: The run's seed.
        class_counts: Images of each class, by label, for each split.
        sha256: Of each file of images and labels.
    """

    seed: int
    class_counts: Mapping[str, list[int]]
    sha256: Mapping[str, str]


def write(root: Path, manifest: Manifest) -> None:
    """Writes manifest.json, README.md and spec.json beside a set's images."""
    made_of = {
        "counts": {split: sum(each) for split, each in manifest.class_counts.items()},
        "fonts": {"hershey": list(fonts.HERSHEY), "faces": {row: list(n) for row, n in fonts.FACES.items()}},
        "real_labels_seen": 0,
        "shares": dict(rendered.SHARES),
    }
    files.write_json(root / "manifest.json", asdict(manifest) | made_of)
    files.write_text(root / "README.md", card(manifest))
    write_spec(root, rendered.SPEC, rendered.NAMES)


def card(manifest: Manifest) -> str:
    """The dataset card, in Markdown."""
    counts = manifest.class_counts
    rows = {fonts.HERSHEY_TERMS: tuple(fonts.HERSHEY)} | dict(fonts.FACES)
    return _CARD.substitute(
        {name: f"{share:.0%}" for name, share in rendered.SHARES.items()},
        train_count=f"{sum(counts['train']):,}",
        test_count=f"{sum(counts['test']):,}",
        images=rendered.SPEC,
        classes=rendered.SPEC.classes,
        seed=manifest.seed,
        box=ink.BOX,
        fonts="\n".join(f"  - {row}: {', '.join(names)}" for row, names in rows.items()),
        class_counts=", ".join(
            f"{name}: {count:,}" for name, count in zip(rendered.NAMES, counts["train"], strict=True)
        ),
    )
