"""Where the IDX files of an image set may lie in a folder, and by which names they go."""

from pathlib import Path

from src.core.errors import PipelineError
from src.datasets import idx
from src.datasets.idx import Split
from src.datasets.spec import ImageSpec

PACKED = ".gz"


def found(root: Path, name: str, first: str = "") -> list[Path]:
    """All files of a name: in the folder itself, and where torchvision puts them, MNIST/raw and the like.

    Plain ones come before packed ones, and train-images.idx3-ubyte is another spelling of
    train-images-idx3-ubyte.

    Args:
        root: The folder.
        name: As `idx.names` gives it.
        first: The class of torchvision.datasets whose place comes before those of others.
    """
    likely = [root, *(root / one / "raw" for one in (first, "MNIST") if one), root / "raw"]
    places = dict.fromkeys([*likely, *sorted(root.glob("*/raw"))])
    spellings = (name, name.replace("-idx", ".idx"))
    paths = [place / f"{one}{end}" for place in places for one in spellings for end in ("", PACKED)]
    return [path for path in paths if path.is_file()]


def missing(root: Path, name: str) -> str:
    """What to say where there is no file of a name."""
    return f"{root} has neither {name} nor {name}{PACKED}, directly or in raw, MNIST/raw or the like"


def holds_any(root: Path, spec: ImageSpec) -> bool:
    """Whether a folder has an IDX file of such images or their labels."""
    return any(found(root, name) for split in idx.SPLITS for name in idx.names(split, spec))


def pair(root: Path, split: Split, spec: ImageSpec) -> tuple[Path, Path]:
    """The files of a split's images and labels.

    Raises:
        PipelineError: One is missing, or there is more than one set.
    """
    names = idx.names(split, spec)
    paths = [found(root, name) for name in names]
    for name, those in zip(names, paths, strict=True):
        if not those:
            raise PipelineError(f"{missing(root, name)}; add the file")
    folders = sorted({str(path.parent) for those in paths for path in those})
    if len(folders) > 1:
        raise PipelineError(f"{root} has IDX files in {' and in '.join(folders)}; give one of these folders")
    return paths[0][0], paths[1][0]
