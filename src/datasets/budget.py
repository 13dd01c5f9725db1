"""Which real labels a budget buys: a draw of training images whose labels are looked at."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from src.core.errors import PipelineError
from src.core.seeding import generator_for
from src.core.settings import LabelDraw
from src.datasets import clusters, idx, labelled, ledger
from src.datasets.labelled import Labelled
from src.datasets.spec import ImageSpec


class Draw(NamedTuple):
    """Images whose labels may be used.

    Attributes:
        indices: int64 (n,), ascending: their places.
        looked_at: Labels that it took to find them: more than n where some classes had their share already.
    """

    indices: Tensor
    looked_at: int


class Drawn(NamedTuple):
    """The images of a draw, with their labels."""

    how: LabelDraw
    draw: Draw
    images: Labelled

    def require_all(self, names: Sequence[str]) -> None:
        """Refuses a draw that has no image of some class: nothing would be learnt of that.

        Args:
            names: Of the classes, by label.

        Raises:
            PipelineError: Names the classes, and what to do.
        """
        if missing := [name for label, name in enumerate(names) if not (self.images.given == label).any()]:
            raise PipelineError(
                f"params.yaml: labels is {len(self.images)}, and there are none of the classes "
                f"{', '.join(missing)} among them; take more, or label_draw stratified, or set "
                "label_train.rendered to true"
            )

    def write(
        self, folder: Path, images: Labelled, spec: ImageSpec, names: list[str], known: dict[str, Any]
    ) -> None:
        """Writes a split with labels that were guessed but for those of the draw, and its ledger.

        Args:
            folder: To write to.
            images: All of the split, on the CPU.
            spec: What they look like.
            names: Of the classes, by label.
            known: What the ledger says besides.
        """
        indices, looked_at = self.draw
        labels = images.given.clone()
        labels[indices] = self.images.given
        with labelled.writing(folder, "train", len(images), spec) as append:
            append(images.pixels, labels)
        counts = labels.bincount(minlength=spec.classes).tolist()
        drawn = {"labels": len(indices), "drawn": indices.tolist(), "looked_at": looked_at}
        told = known | drawn | {"draw": self.how, "class_counts": counts}
        ledger.write(folder, spec, names, told)


def read(root: Path, pixels: Tensor, spec: ImageSpec, how: LabelDraw, count: int, seed: int) -> Drawn:
    """Draws images of a set's training split, and reads their labels.

    Args:
        root: The set's folder; with a count of 0 its file of labels is not opened.
        pixels: Those that may be drawn: the first ones of the split, uint8 (n, channels, height, width).
        spec: What they look like.
        how: See `draw`.
        count: How many.
        seed: The run's seed.

    Raises:
        PipelineError: See `draw`.
    """
    if not count:
        none = torch.zeros(0, dtype=torch.int64)
        return Drawn(how, Draw(none, 0), Labelled(pixels[none], none))
    labels = idx.read_pair(root, "train", spec)[1]
    rng = generator_for(f"labels/{how}", seed)
    found = draw(how, count, pixels, lambda index: int(labels[index]), classes=spec.classes, rng=rng)
    given = torch.tensor([int(labels[index]) for index in found.indices.tolist()], dtype=torch.int64)
    return Drawn(how, found, Labelled(pixels[found.indices], given))


def places(known: Mapping[str, Any]) -> Tensor:
    """The places of the images whose given labels a set holds for making images, int64 (n,).

    Args:
        known: The set's ledger.
    """
    drawn = known["drawn"]
    return torch.arange(known["labels"]) if isinstance(drawn, str) else torch.tensor(drawn, dtype=torch.int64)


def draw(
    how: LabelDraw,
    count: int,
    pixels: Tensor,
    look: Callable[[int], int],
    *,
    classes: int,
    rng: torch.Generator,
) -> Draw:
    """Draws images, and looks at no label but those that it tells of.

    Stratified: one image after another at random, kept while its class wants more; each class gets its equal
    share, and the rest is anyone's. It takes 29.3 labels on average to see each of ten classes once: what is
    put aside was looked at all the same. Random: whatever comes. Queried: of each of `count` clusters of
    images, found without labels, the one in its middle.

    Args:
        how: One of these three.
        count: How many.
        pixels: All that may be drawn, uint8 (n, channels, height, width).
        look: Gives the label of an image, by its index.
        classes: How many there are.
        rng: Draws.

    Raises:
        PipelineError: A class has fewer images than its share.
    """
    if how == "queried":
        return Draw(clusters.middles(pixels, count, rng).sort().values, count)
    order = torch.randperm(len(pixels), generator=rng).tolist()
    if how == "random":
        return Draw(torch.tensor(sorted(order[:count]), dtype=torch.int64), count)
    share, rest = divmod(count, classes)
    kept, found = [0] * classes, []
    for looked_at, index in enumerate(order, 1):
        label = look(index)
        if kept[label] >= share:
            if kept[label] > share or not rest:
                continue
            rest -= 1
        kept[label] += 1
        found.append(index)
        if len(found) == count:
            return Draw(torch.tensor(sorted(found), dtype=torch.int64), looked_at)
    raise PipelineError(
        f"params.yaml: labels is {count}, but not every class has {share} images; set label_draw to random"
    )
