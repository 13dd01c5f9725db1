"""What the images of a data set look like: read from the set on disk, and built into every network."""

from dataclasses import asdict, dataclass
from pathlib import Path

from src.core import files
from src.core.errors import PipelineError

FILE = "spec.json"
SMALLEST = 8  # pixels: the networks halve a side three times


@dataclass(frozen=True)
class ImageSpec:
    """The shape of a data set's images, and how many classes they have.

    Attributes:
        channels: 1 for grey images, 3 for red, green and blue.
        height: Rows of pixels.
        width: Columns of pixels.
        classes: Labels are whole numbers from 0 to below this.

    Raises:
        PipelineError: The pipeline has no networks for such images.
    """

    channels: int
    height: int
    width: int
    classes: int

    def __post_init__(self) -> None:
        """Refuses what no network here can be built for."""
        if self.channels not in (1, 3):
            raise PipelineError(f"images of {self.channels} channels; allowed: 1 (grey) or 3 (colour)")
        if min(self.height, self.width) < SMALLEST:
            raise PipelineError(f"images of {self.size}; allowed: {SMALLEST} pixels or more on each side")
        if self.classes < 2:
            raise PipelineError(f"a data set of {self.classes} classes; allowed: 2 or more")

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape (channels, height, width) of one image's tensor."""
        return self.channels, self.height, self.width

    @property
    def values(self) -> int:
        """Numbers in one image."""
        return self.channels * self.height * self.width

    @property
    def size(self) -> str:
        """Width and height, for people."""
        return f"{self.width}x{self.height}"

    @property
    def colour(self) -> str:
        """The kind of pixels, for people."""
        return "grey" if self.channels == 1 else "colour"

    def __str__(self) -> str:
        """Size and kind, for people."""
        return f"{self.size} {self.colour}"


def read_spec(root: Path) -> ImageSpec:
    """What the images of a set on disk look like.

    Args:
        root: A folder that `write_spec` has written to.

    Raises:
        PipelineError: spec.json is missing or holds something else.
    """
    found = files.read_json(root / FILE)
    try:
        return ImageSpec(**{name: int(found[name]) for name in ImageSpec.__dataclass_fields__})
    except (KeyError, TypeError, ValueError) as error:
        raise PipelineError(f"{root / FILE} does not describe images ({error!r}); run dvc repro") from None


def read_names(root: Path) -> list[str]:
    """The names of the classes of a set on disk, by label."""
    return [str(name) for name in files.read_json(root / FILE)["names"]]


def write_spec(root: Path, spec: ImageSpec, names: list[str]) -> None:
    """Writes spec.json beside a set's images.

    Args:
        root: The set's folder.
        spec: What its images look like.
        names: A name for each class, by label.
    """
    files.write_json(root / FILE, asdict(spec) | {"names": names})
