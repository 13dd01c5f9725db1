"""The sections of params.yaml as frozen dataclasses: types and ranges of all but the rows of `recipes`.

A row of `recipes` is checked by `src.gan.recipe`, which knows the tables that its values name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple


class Bounds(NamedTuple):
    """The closed interval [low, high] of a number; `low` itself is left out where `above` is set."""

    low: float
    high: float
    above: bool = False

    def __contains__(self, value: object) -> bool:
        """Whether a number lies in the interval."""
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return not (self.above and value == self.low)

    def __str__(self) -> str:
        """The interval in words, for error messages."""
        return f"a number {'above' if self.above else 'from'} {self.low} to {self.high}"


class OneOf(NamedTuple):
    """The keys of a table, such as the table of losses: adding a row allows its name."""

    table: Mapping[str, object]

    def __contains__(self, value: object) -> bool:
        """Whether the table has such a row."""
        return value in self.table

    def __str__(self) -> str:
        """The names, for error messages."""
        return ", ".join(self.table)


FEWEST = 20  # of fewer images no score says anything

Seed = Annotated[int, Bounds(0, 2**31 - 1)]
Count = Annotated[int, Bounds(1, 10**9)]
BatchSize = Annotated[int, Bounds(1, 65536)]
Width = Annotated[int, Bounds(1, 8192)]
LearningRate = Annotated[float, Bounds(0, 10, above=True)]
Share = Annotated[float, Bounds(0, 1)]
PositiveShare = Annotated[float, Bounds(0, 1, above=True)]
Pixels = Annotated[int, Bounds(0, 8)]
Neighbours = Annotated[int, Bounds(1, 1000)]
Replicates = Annotated[int, Bounds(2, 100)]
Labels = Literal["all"] | Annotated[int, Bounds(0, 10**9)]
LabelDraw = Literal["stratified", "random", "queried"]
Precision = Literal["float32", "tf32", "bfloat16"]


@dataclass(frozen=True)
class Common:
    """What every stage that computes something reads."""

    seed: Seed
    validation: Count
    device: Literal["cpu", "cuda"]
    threads: Annotated[int, Bounds(1, 1024)]


@dataclass(frozen=True)
class Supervised:
    """How a classifier is trained: the extractor, the labeller, and the downstream network."""

    width: Width
    epochs: Annotated[int, Bounds(1, 1000)]
    batch_size: BatchSize
    learning_rate: LearningRate
    shift: Pixels


@dataclass(frozen=True)
class SemiSupervised:
    """How a classifier is trained on few labelled images, or some of another kind, and on unlabelled ones."""

    rendered: bool
    contrast_steps: Annotated[int, Bounds(0, 10**6)]
    width: Width
    steps: Annotated[int, Bounds(1, 10**6)]
    batch_size: BatchSize
    unlabelled: BatchSize
    learning_rate: LearningRate
    shift: Pixels
    threshold: Share
    ema: Annotated[float, Bounds(0, 0.999999)]
    min_agreement: Share


@dataclass(frozen=True)
class Watch:
    """How a GAN run is watched, when it stops early, and what it does after a step that is not finite."""

    log_points: Annotated[int, Bounds(1, 10_000)]
    grids: Annotated[int, Bounds(1, 100)]
    checks: Annotated[int, Bounds(1, 1000)]
    check_images: Annotated[int, Bounds(100, 10**6)]
    neighbours: Neighbours
    class_share: Share
    patience: Annotated[int, Bounds(1, 1000)]
    retry_factor: PositiveShare


@dataclass(frozen=True)
class Thresholds:
    """From where on a GAN run has failed, next to real images, and when the pipeline goes on all the same."""

    max_missing_classes: Annotated[int, Bounds(0, 10**6)]
    max_class_kl: Annotated[float, Bounds(0, 100)]
    min_diversity: Annotated[float, Bounds(0, 10)]
    min_coverage: Share
    min_precision: Share
    max_fid_left: Annotated[float, Bounds(0, 1000)]
    min_agreement: Share
    allow_failed: bool
    baselines: tuple[str, ...]


@dataclass(frozen=True)
class Render:
    """How many digits are rendered from strokes and fonts for each split, or what takes their place."""

    count: Count
    test_count: Count
    folder: str


@dataclass(frozen=True)
class Generate:
    """How many synthetic images are written to each split, from which latent vectors, with whose labels."""

    count: Count
    test_count: Count
    latent_scale: Annotated[float, Bounds(0, 10, above=True)]
    relabel: bool


@dataclass(frozen=True)
class Evaluate:
    """How the synthetic set is scored."""

    extractor: Literal["trained", "inception"]
    images: Annotated[int, Bounds(FEWEST, 10**9)]
    splits: Annotated[int, Bounds(2, 1000)]
    neighbours: Neighbours

    @property
    def fewest(self) -> int:
        """The fewest images on each side that all scores can be made of."""
        return max(FEWEST, self.neighbours + 1, 2 * self.splits)


@dataclass(frozen=True)
class Pretrain:
    """How often the downstream network is trained on synthetic, and on real images."""

    replicates: Replicates


@dataclass(frozen=True)
class Finetune:
    """The label-efficiency experiment: how many real labels, how often, how long."""

    labels: tuple[Count, ...]
    replicates: Replicates
    min_steps: Count
    learning_rate: LearningRate


@dataclass(frozen=True)
class Worth:
    """How the arms are trained that tell what the synthetic set adds to a budget of labels."""

    steps: Annotated[int, Bounds(1, 10**6)]
    batch_size: BatchSize
    learning_rate: LearningRate
    synthetic_share: Share
    finetune_steps: Annotated[int, Bounds(1, 10**6)]
    finetune_learning_rate: LearningRate


@dataclass(frozen=True)
class Params(Common):
    """All of params.yaml."""

    precision: Precision
    dataset: str
    loss: str
    labels: Labels
    label_draw: LabelDraw
    bases: Mapping[str, Mapping[str, Any]]  # what rows of recipes merge
    recipes: Mapping[str, Mapping[str, Any]]
    watch: Watch
    verdict: Thresholds
    extractor: Supervised
    labeller: Supervised
    render: Render
    label_train: SemiSupervised
    generate: Generate
    evaluate: Evaluate
    classifier: Supervised
    pretrain: Pretrain
    finetune: Finetune
    worth: Worth
