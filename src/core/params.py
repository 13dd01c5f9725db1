"""Reads params.yaml: what is unknown, missing, of a wrong type or out of range is refused by name."""

import math
import re
import reprlib
import types
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import Field, field, fields, is_dataclass
from operator import attrgetter
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import yaml

from src.core.errors import PipelineError
from src.core.limits import misfits
from src.core.settings import Params

DATASETS = Path("src/datasets/table.yaml")
SPLITS = ("train", "test")


class ConfigError(PipelineError):
    """A value in params.yaml that the pipeline can't work with."""


class Frozen(Protocol):
    """A dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Settings = TypeVar("Settings", bound=Frozen)


def at(key: str) -> Any:
    """Marks a field of a stage's settings that stands for one value of a section, like `generate.count`."""
    return field(metadata={"key": key})


def key_of(one: Field[Any]) -> str:
    """The key of params.yaml that a field of a stage's settings stands for."""
    return str(one.metadata.get("key", one.name))


def load(kind: type[Settings], path: Path = Path("params.yaml"), datasets: Path = DATASETS) -> Settings:
    """What a stage reads of params.yaml, after a check of all of it but the rows of `recipes`.

    Args:
        kind: A frozen dataclass whose fields are keys of params.yaml (see `at`).
        path: The parameter file.
        datasets: The table of the data sets that `dataset` may name, with their numbers of images.

    Raises:
        ConfigError: One line that names the key, its value and what is allowed.
    """
    everything = read(path, datasets)
    return kind(**{one.name: attrgetter(key_of(one))(everything) for one in fields(kind)})


def read(path: Path = Path("params.yaml"), datasets: Path = DATASETS) -> Params:
    """All of params.yaml; arguments and errors are those of `load`."""
    params: Params = build(Params, mapping(path), "")
    rows = mapping(datasets)
    for key, table in (("dataset", rows), ("loss", params.recipes)):
        if (value := getattr(params, key)) not in table:
            raise wrong(key, value, ", ".join(map(str, table)))
    labels = params.finetune.labels
    if not labels or list(labels) != sorted(set(labels)):
        raise wrong("finetune.labels", list(labels), "one or more different whole numbers, smallest first")
    train, test = (_images(rows[params.dataset], split, f"{datasets}: {params.dataset}") for split in SPLITS)
    for misfit in misfits(params, train=train, test=test):
        raise wrong(*misfit)
    return params


def _images(row: Any, split: str, place: str) -> int:
    """The number of images in a split of a data set, from its row of the table."""
    value = row.get(split) if isinstance(row, Mapping) else None
    if type(value) is not int or value < 1:
        raise ConfigError(f"{place}.{split} is {_shown(value)}; allowed: the number of {split} images")
    return value


def wrong(key: str, value: Any, allowed: object) -> ConfigError:
    """The error for a value that can't be worked with."""
    return ConfigError(f"params.yaml: {key or 'the file'} is {_shown(value)}; allowed: {allowed}")


# A few lines of YAML can stand for billions of values: no more of them is shown than anyone reads.
_repr = reprlib.Repr()
_repr.maxlevel, _repr.maxlist, _repr.maxdict = 2, 12, 12
_repr.maxstring = _repr.maxlong = _repr.maxother = 500


def _shown(value: Any) -> str:
    return _repr.repr(value)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema, which is what DVC reads and writes, with merge keys and without duplicate keys.

    PyYAML's own loader knows YAML 1.1: to it, 5e-05 is a text, 010 is eight, and `no` is false.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (the base class's own way)

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"{key} is given twice,{node.start_mark}")
        return node


def _whole(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    if len(text) > 1000:  # longer ones can't always be shown
        raise ValueError("a whole number of more than 1000 digits")
    return int(text, 0) if text[:2] in ("0x", "0o") else int(text, 10)


# https://yaml.org/spec/1.2.2/#1032-tag-resolution, with YAML 1.1's merge keys
_KINDS = {
    "null": r"null|Null|NULL|~|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    "merge": r"<<",
}
for _kind, _form in _KINDS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_form})$"), None)
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)


def mapping(path: Path) -> dict[str, Any]:
    """A YAML file that holds keys and values.

    Raises:
        ConfigError: It is missing, or holds something else.
    """
    try:
        value = _Loader(path.read_text(encoding="utf-8")).get_single_data()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; run from the project's top folder") from None
    # The last two: what PyYAML makes of a tag that does not fit its value, like `!!bool maybe`.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: not valid YAML: {reason}") from None
    except RecursionError:
        raise ConfigError(f"{path}: not valid YAML: nested too deeply") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: must hold keys and values, found {_shown(value)}")
    return value


def build(kind: Any, value: Any, key: str) -> Any:
    """Turns a YAML value into `kind`, or says which key is wrong, its value and what is allowed.

    Args:
        kind: A type as it stands at a field of src.core.settings.
        value: What YAML holds.
        key: Its place in params.yaml, for the error.

    Raises:
        ConfigError: The value is none of that type.
    """
    if get_origin(kind) is Annotated:
        base, allowed = get_args(kind)
        made = build(base, value, key)
        if made not in allowed:
            raise wrong(key, value, allowed)
        return made
    if is_dataclass(kind):
        return _section(kind, value, key)
    if get_origin(kind) in (Literal, Union):
        return _one_of(kind, value, key)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise wrong(key, value, "a list")
        return tuple(build(get_args(kind)[0], v, f"{key}[{i}]") for i, v in enumerate(value))
    if get_origin(kind) is Mapping:
        if not isinstance(value, dict) or not value:
            raise wrong(key, value, "a table with one row or more")
        rows = {name: build(get_args(kind)[1], v, f"{key}.{name}") for name, v in value.items()}
        return types.MappingProxyType(rows)
    return value if kind is Any else _scalar(kind, value, key)


def _one_of(kind: Any, value: Any, key: str) -> Any:
    """A value that is one of some, or of one of some kinds."""
    if get_origin(kind) is Literal:
        if not any(value == one and type(value) is type(one) for one in get_args(kind)):
            raise wrong(key, value, ", ".join(map(str, get_args(kind))))
        return value
    for one in get_args(kind):
        with suppress(ConfigError):
            return build(one, value, key)
    raise wrong(key, value, ", or ".join(str(get_args(one)[-1]) for one in get_args(kind)))


def _section(kind: Any, value: Any, key: str) -> Any:
    if not isinstance(value, Mapping):
        raise wrong(key, value, "a section with keys and values")
    hints = get_type_hints(kind, include_extras=True)
    names = [one.name for one in fields(kind)]
    prefix = f"{key}." if key else ""
    for name in value:
        if name not in names:
            raise wrong(f"{prefix}{name}", value[name], f"no such key; {', '.join(names)}")
    for name in names:
        if name not in value:
            raise ConfigError(f"params.yaml: {prefix}{name} is missing; add it")
    return kind(**{name: build(hints[name], value[name], f"{prefix}{name}") for name in names})


def _scalar(kind: type, value: Any, key: str) -> Any:
    if kind is float and type(value) is int and abs(value) < 2**63:
        value = float(value)
    if type(value) is not kind:  # bool is an int to Python
        names = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}
        raise wrong(key, value, names[kind])
    if isinstance(value, float) and not math.isfinite(value):
        raise wrong(key, value, "a finite number")
    return value
