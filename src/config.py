"""params.yaml as frozen dataclasses: what is unknown, missing, of a wrong type or out of range is refused."""

import math
import reprlib
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import yaml

from src.errors import PipelineError


class ConfigError(PipelineError):
    """A value in params.yaml that the pipeline can't work with."""


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
        return f"{'above' if self.above else 'from'} {self.low} to {self.high}"


Seed = Annotated[int, Bounds(0, 2**31 - 1)]
Count = Annotated[int, Bounds(1, 10**9)]
BatchSize = Annotated[int, Bounds(1, 65536)]
Width = Annotated[int, Bounds(1, 8192)]
LearningRate = Annotated[float, Bounds(0, 10, above=True)]
Decay = Annotated[float, Bounds(0, 0.999999)]
Pixels = Annotated[int, Bounds(0, 8)]


@dataclass(frozen=True)
class Recipe:
    """One row of `recipes`: everything that tells one adversarial training from another."""

    loss: Literal["gan", "minimax", "wgan", "lsgan", "hinge", "rpgan"]
    network: Literal["mlp", "conv"]
    conditional: bool
    latent: Width
    width: Width
    spectral_norm: bool
    batch_size: BatchSize
    images: Count
    critic_steps: Annotated[int, Bounds(1, 100)]
    weight_clip: Annotated[float, Bounds(0, 100)]
    penalty: Literal["none", "gradient", "r1", "r2", "r1_r2"]
    penalty_weight: Annotated[float, Bounds(0, 10_000)]
    penalty_every: Annotated[int, Bounds(1, 1000)]
    penalty_decay: Annotated[float, Bounds(0, 1, above=True)]
    learning_rate: LearningRate
    beta1: Decay
    beta2: Decay
    decay_from: Annotated[float, Bounds(0, 1)]
    ema: Decay


@dataclass(frozen=True)
class Supervised:
    """How a classifier is trained: the extractor, the labeller, and the downstream network."""

    width: Width
    epochs: Annotated[int, Bounds(1, 1000)]
    batch_size: BatchSize
    learning_rate: LearningRate
    shift: Pixels


@dataclass(frozen=True)
class Train:
    """How a GAN run is watched, and what it writes down."""

    log_points: Annotated[int, Bounds(1, 10_000)]
    grids: Annotated[int, Bounds(1, 100)]
    checks: Annotated[int, Bounds(1, 1000)]
    check_images: Annotated[int, Bounds(100, 10**6)]
    class_share: Annotated[float, Bounds(0, 0.1)]
    patience: Annotated[int, Bounds(1, 1000)]
    retry_factor: Annotated[float, Bounds(0, 1, above=True)]


@dataclass(frozen=True)
class Thresholds:
    """From where on a GAN run counts as collapsed or diverged, and whether the pipeline goes on then."""

    min_classes: Annotated[int, Bounds(0, 10)]
    max_class_kl: Annotated[float, Bounds(0, 10)]
    min_diversity: Annotated[float, Bounds(0, 10)]
    min_precision: Annotated[float, Bounds(0, 1)]
    max_fid_left: Annotated[float, Bounds(0, 1000)]
    allow_failed: bool


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
    images: Annotated[int, Bounds(20, 10**9)]
    splits: Annotated[int, Bounds(2, 1000)]
    neighbours: Annotated[int, Bounds(1, 1000)]


@dataclass(frozen=True)
class Pretrain:
    """How often the downstream network is trained on synthetic, and on real images."""

    replicates: Annotated[int, Bounds(2, 100)]


@dataclass(frozen=True)
class Finetune:
    """The label-efficiency experiment: how many real labels, how often, how long."""

    labels: tuple[Count, ...]
    replicates: Annotated[int, Bounds(2, 100)]
    min_steps: Count
    learning_rate: LearningRate


@dataclass(frozen=True)
class Params:
    """All of params.yaml."""

    seed: Seed
    dataset: str
    validation: Count
    loss: str
    device: Literal["cpu", "cuda"]
    threads: Annotated[int, Bounds(1, 1024)]
    recipes: Mapping[str, Recipe]
    train: Train
    verdict: Thresholds
    extractor: Supervised
    labeller: Supervised
    generate: Generate
    evaluate: Evaluate
    classifier: Supervised
    pretrain: Pretrain
    finetune: Finetune

    @property
    def recipe(self) -> Recipe:
        """The row of `recipes` that `loss` names."""
        return self.recipes[self.loss]


def load(path: Path = Path("params.yaml"), datasets: Path = Path("src/datasets.yaml")) -> Params:
    """Reads and checks every value of params.yaml, before a stage does any work.

    Args:
        path: The parameter file.
        datasets: The table whose keys are the data sets that `dataset` may name.

    Raises:
        ConfigError: One line that names the key, its value and what is allowed.
    """
    params = _build(Params, _mapping(path), "")
    assert isinstance(params, Params)
    _require(params.dataset in _mapping(datasets), "dataset", params.dataset, _mapping(datasets))
    _require(params.loss in params.recipes, "loss", params.loss, params.recipes)
    labels = params.finetune.labels
    if not labels or list(labels) != sorted(set(labels)):
        raise ConfigError(
            f"params.yaml: finetune.labels is {list(labels)}; allowed: "
            "one or more different whole numbers, smallest first"
        )
    return params


# A few lines of YAML can stand for billions of values: no more of them is shown than anyone reads.
_repr = reprlib.Repr()
_repr.maxlevel, _repr.maxlist, _repr.maxdict = 2, 12, 12
_repr.maxstring = _repr.maxlong = _repr.maxother = 500


def _shown(value: Any) -> str:
    return _repr.repr(value)


class _Loader(yaml.SafeLoader):
    """YAML without duplicate keys, of which the plain loader takes the last and says nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"{key} stands there twice,{node.start_mark}")
        return super().construct_mapping(node, deep)


def _mapping(path: Path) -> dict[str, Any]:
    try:
        value = _Loader(path.read_text(encoding="utf-8")).get_single_data()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; run from the project's top folder") from None
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: not valid YAML: {reason}") from None
    except RecursionError:
        raise ConfigError(f"{path}: not valid YAML: nested too deeply") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: must hold keys and values, found {_shown(value)}")
    return value


def _require(valid: bool, key: str, value: object, choices: Mapping[str, Any]) -> None:
    if not valid:
        raise ConfigError(f"params.yaml: {key} is {_shown(value)}; allowed: {', '.join(map(str, choices))}")


def _build(kind: Any, value: Any, key: str) -> Any:
    """Turns a YAML value into `kind`, or says which key is wrong, its value and what is allowed."""
    if get_origin(kind) is Annotated:
        base, bounds = get_args(kind)
        number = _build(base, value, key)
        if number not in bounds:
            raise _wrong(key, value, f"a number {bounds}")
        return number
    if is_dataclass(kind):
        return _build_section(kind, value, key)
    if get_origin(kind) is Literal:
        if value not in get_args(kind) or isinstance(value, bool):
            raise _wrong(key, value, ", ".join(get_args(kind)))
        return value
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise _wrong(key, value, "a list")
        return tuple(_build(get_args(kind)[0], v, f"{key}[{i}]") for i, v in enumerate(value))
    if get_origin(kind) is Mapping:
        if not isinstance(value, dict) or not value:
            raise _wrong(key, value, "a table with one row or more")
        rows = {name: _build(get_args(kind)[1], v, f"{key}.{name}") for name, v in value.items()}
        return types.MappingProxyType(rows)
    return _build_scalar(kind, value, key)


def _build_section(kind: Any, value: Any, key: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(key, value, "a section with keys and values")
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in fields(kind)]
    prefix = f"{key}." if key else ""
    for name in value:
        if name not in names:
            raise _wrong(f"{prefix}{name}", value[name], f"no such key; {', '.join(names)}")
    for name in names:
        if name not in value:
            raise ConfigError(f"params.yaml: {prefix}{name} is missing; add it")
    return kind(**{name: _build(hints[name], value[name], f"{prefix}{name}") for name in names})


def _build_scalar(kind: type, value: Any, key: str) -> Any:
    # bool is an int to Python, and `yes` or `1e-3` are not what they look like to YAML 1.1.
    if kind is float and type(value) is int and abs(value) < 2**63:
        value = float(value)
    if type(value) is not kind:
        names = {int: "a whole number", float: "a number (write 0.001, not 1e-3)"}
        names |= {bool: "true or false", str: "a name"}
        raise _wrong(key, value, names[kind])
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong(key, value, "a finite number")
    return value


def _wrong(key: str, value: Any, allowed: str) -> ConfigError:
    return ConfigError(f"params.yaml: {key or 'the file'} is {_shown(value)}; allowed: {allowed}")
