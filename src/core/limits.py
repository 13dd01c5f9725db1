"""Which values of params.yaml fit each other, and the data set that they name."""

from collections.abc import Iterator
from typing import NamedTuple

from src.core.settings import FEWEST, Params


class Misfit(NamedTuple):
    """A value of params.yaml that others leave no room for."""

    key: str
    value: object
    allowed: str


def misfits(params: Params, *, train: int, test: int) -> Iterator[Misfit]:
    """All that a later stage could not work with, as far as numbers tell; the first stage refuses it.

    Args:
        params: Values that are all right by themselves.
        train: Real training images, the validation images among them.
        test: Real test images.
    """
    if strangers := [name for name in params.verdict.baselines if name not in params.recipes]:
        yield Misfit("verdict.baselines", strangers, f"rows of recipes: {', '.join(params.recipes)}")
    if params.precision == "tf32" and params.device != "cuda":
        yield Misfit("precision", "tf32", "float32 or bfloat16 where device is cpu: only a GPU has tf32")
    if train <= FEWEST or test < FEWEST:
        needed = f"a data set of more than {FEWEST} training images and of {FEWEST} test images or more"
        yield Misfit("dataset", params.dataset, f"{needed}, not {train} and {test}")
    elif not FEWEST <= params.validation < train:
        whose = f"fewer than the {train} training images of {params.dataset}"
        yield Misfit("validation", params.validation, f"from {FEWEST} to {train - 1}, {whose}")
    else:
        yield from _of_training(params, left=train - params.validation)
        yield from _of_scores(params, test=test)


def _of_training(params: Params, *, left: int) -> Iterator[Misfit]:
    if params.labels != "all" and params.labels > left:
        allowed = f"all, or up to {left}, the training images that validation ({params.validation}) leaves"
        yield Misfit("labels", params.labels, allowed)
    labels = params.finetune.labels
    if max(labels) > left:
        allowed = f"numbers up to {left}, the training images that validation ({params.validation}) leaves"
        yield Misfit("finetune.labels", list(labels), allowed)
    compared = min(params.watch.check_images, params.validation, left)
    if params.watch.neighbours >= compared:
        allowed = f"from 1 to {compared - 1}, fewer than the images of a check: the smallest of "
        allowed += f"watch.check_images ({params.watch.check_images}), validation ({params.validation}) and "
        yield Misfit("watch.neighbours", params.watch.neighbours, f"{allowed}the {left} training images left")


def _of_scores(params: Params, *, test: int) -> Iterator[Misfit]:
    wanted, count = params.evaluate, params.generate.count
    if count < 2 * FEWEST:
        allowed = f"{2 * FEWEST} or more: two sets of {FEWEST} images or more are scored"
        yield Misfit("generate.count", count, allowed)
        return
    most = min(test, params.validation, count // 2)
    if wanted.images > most:
        yield Misfit(
            "evaluate.images",
            wanted.images,
            f"from {FEWEST} to {most}, the smallest of validation ({params.validation}), half of "
            f"generate.count ({count}) and the {test} test images",
        )
    if wanted.neighbours >= wanted.images:
        allowed = f"from 1 to {wanted.images - 1}, fewer than evaluate.images"
        yield Misfit("evaluate.neighbours", wanted.neighbours, allowed)
    if 2 * wanted.splits > wanted.images:
        allowed = f"from 2 to {wanted.images // 2}, half of evaluate.images ({wanted.images}) at most"
        yield Misfit("evaluate.splits", wanted.splits, allowed)
