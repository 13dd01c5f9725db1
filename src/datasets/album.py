"""A folder of pictures: which files are in it, and what labels the names of its subfolders give.

Nothing is left out without a word: a file is read, or known to be a leftover, or named in an error.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from src.core.errors import PipelineError
from src.core.seeding import generator_for
from src.datasets import picture
from src.datasets.labelled import Labelled
from src.datasets.spec import FILE, ImageSpec, read_names

# What file managers, archives, network drives and notebooks leave in a folder, in lower case.
LEFTOVERS = frozenset(
    {".ds_store", ".localized", "icon\r", "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini"}
    | {".directory", "@eadir", ".ipynb_checkpoints"}
)
SHOWN = 12  # names in an error


def class_names(root: Path, spec: ImageSpec) -> list[str]:
    """The class names of a set of the pipeline, which subfolders may go by; none where there is no such set.

    Args:
        root: The set's folder.
        spec: Of the images to be read; names of other classes would not fit.
    """
    found = read_names(root) if (root / FILE).exists() else []
    return found if len(found) == spec.classes else []


def read(folder: Path, spec: ImageSpec, seed: int, names: Sequence[str] = ()) -> Labelled:
    """All pictures of a folder, shuffled; or those of its subfolders, whose names are the labels.

    Args:
        folder: Holds pictures as `picture.read` takes them, and nothing else.
        spec: What they must look like.
        seed: Seeds the order: files are often sorted by class, and parts of the set must be alike.
        names: Of the classes, by label, where they are known.

    Raises:
        PipelineError: There is no picture, something else, or a picture that is not such an image.
    """
    found = _listed(folder, spec)
    given = None
    if inside := [path.parent.name for path in found if path.parent != folder]:
        label = _labels(folder, inside, spec, names)
        # By label and name, not as the file system gives them: the same files are the same set everywhere.
        found.sort(key=lambda path: label[path.parent.name])
        given = torch.tensor([label[path.parent.name] for path in found])
    bar = tqdm(found, desc="pictures", disable=None)
    pixels = torch.from_numpy(np.stack([picture.read(path, spec) for path in bar]))
    order = torch.randperm(len(found), generator=generator_for("pictures/order", seed))
    return Labelled(pixels, given).at(order)


def _listed(folder: Path, spec: ImageSpec) -> list[Path]:
    """The pictures of a folder, all in it or all in its subfolders, by name."""
    found = pictures_in(folder)
    others = [path for path in _files(folder) if not picture.is_picture(path)]
    if not found and not others:
        raise PipelineError(
            f"{folder} has no images: neither pictures ({', '.join(picture.FORMATS)}), nor subfolders 0 to "
            f"{spec.classes - 1} with pictures, nor IDX files, directly or in MNIST/raw"
        )
    if others:
        raise PipelineError(
            f"{folder} has files that are not pictures: {counted(others, folder)}; move them elsewhere, or "
            f"save them as one of {', '.join(picture.FORMATS)}"
        )
    if deep := [path for path in found if path.parent != folder and path.parent.parent != folder]:
        raise PipelineError(
            f"{folder} has pictures deeper than in its subfolders: {counted(deep, folder)}; move them "
            "up, or give the folder that holds the subfolders of the classes"
        )
    flat = [path for path in found if path.parent == folder]
    if flat and len(flat) < len(found):
        raise PipelineError(
            f"{folder} has {len(flat)} pictures, and {len(found) - len(flat)} in subfolders; remove either"
        )
    return found


def pictures_in(folder: Path) -> list[Path]:
    """All pictures of a folder, however deep, by name."""
    return [path for path in _files(folder) if picture.is_picture(path)]


def _files(folder: Path, above: frozenset[Path] = frozenset()) -> list[Path]:
    """All files in a folder, however deep, by name, but for `LEFTOVERS`."""
    above |= {folder.resolve()}
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.lower() in LEFTOVERS or path.name.startswith("._"):
            continue
        if not path.is_dir():
            found.append(path)
        elif path.resolve() not in above:  # a link to a folder above would never end
            found += _files(path, above)
    return found


def _labels(folder: Path, inside: Sequence[str], spec: ImageSpec, names: Sequence[str]) -> Mapping[str, int]:
    """The label of each subfolder, by its name.

    Args:
        folder: What they are in.
        inside: For each picture the subfolder's name.
        spec: Tells the number of classes.
        names: Of the classes, by label, where they are known.
    """
    # A name may hold a slash (T-shirt/top), and a folder's can't.
    by_name = {name.replace("/", mark): label for mark in "_-:/" for label, name in enumerate(names)}
    by_number = {str(label): label for label in range(spec.classes)}
    found = sorted(set(inside), key=lambda name: (not name.isdecimal(), len(name) * name.isdecimal(), name))
    for table in (by_name, by_number):
        if set(found) <= set(table):
            return table
    known = max((by_name, by_number), key=lambda table: len(set(found) & set(table)))
    strange = [name for name in found if name not in known]
    expected = f"0 to {spec.classes - 1}"
    if names and not set(names) <= set(by_number):
        expected += f", or all by the names of the classes: {_some(names)}"
    raise PipelineError(
        f"{folder} has pictures in the subfolders {_some(found)}, and of these "
        f"{sum(name in strange for name in inside)} in {_some(strange)}, which is the name of no class; name "
        f"them {expected}, or remove them"
    )


def _some(names: Sequence[str]) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def counted(paths: Sequence[Path], folder: Path) -> str:
    """How many files there are, with an example."""
    return f"{len(paths)}, like {paths[0].relative_to(folder)}"
