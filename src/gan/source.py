"""What the names in a recipe stand for in the code, as fingerprints that another row of a table leaves alone.

Stage `train_gan` depends on these instead of the files that hold the tables: adding a loss retrains nothing.
"""

import hashlib
import inspect
from collections.abc import Iterator
from typing import Annotated, get_args, get_origin, get_type_hints

from src.core.settings import OneOf
from src.gan.games import GAMES
from src.gan.recipe import Recipe

Parts = dict[tuple[str, str], str]  # texts by the name and the module of what they are the source of


def fingerprints(recipe: Recipe) -> dict[str, str]:
    """SHA-256 of the code behind each of a recipe's values that is the name of a table's row.

    Of a function this is its text, with that of the functions of the same file that it calls, and the whole
    file of each function that it calls from elsewhere in src; of a class, the whole file that it and each of
    its bases in src stand in. What those files import in turn must be a dep of the stage.

    Args:
        recipe: A checked row.

    Returns:
        A hex digest for `kind` and for each field that names a row.
    """
    found = {"kind": _digest(GAMES[recipe.kind])}
    for name, hint in get_type_hints(type(recipe), include_extras=True).items():
        for allowed in get_args(hint)[1:] if get_origin(hint) is Annotated else ():
            if isinstance(allowed, OneOf):
                found[name] = _digest(allowed.table[getattr(recipe, name)])
    return found


def _digest(row: object) -> str:
    parts: Parts = {}
    items = row if isinstance(row, tuple) else (row,)
    for item in items:
        if isinstance(item, type):
            for base in item.__mro__:
                if base is item or _is_ours(base):
                    source = inspect.getsource(inspect.getmodule(base) or base)
                    parts[base.__qualname__, base.__module__] = source
        elif inspect.isfunction(item):
            _collect(item, parts)
        elif item is not None:
            raise TypeError(f"a table's row holds {item!r}: neither a class nor a function")
    # In the row's order too: both halves of a loss, exchanged, are another loss.
    names = [getattr(item, "__qualname__", "none") for item in items]
    text = "\n".join([*names, *(f"{key[0]}\n{parts[key]}" for key in sorted(parts))])
    return hashlib.sha256(text.encode()).hexdigest()


def _collect(function: object, parts: Parts) -> None:
    """Adds a function's text, and of all that it uses of its own file, to `parts`."""
    if not inspect.isfunction(function) or (function.__qualname__, function.__module__) in parts:
        return
    parts[function.__qualname__, function.__module__] = inspect.getsource(function)
    for name in _names(function.__code__):
        used = function.__globals__.get(name)
        if inspect.isfunction(used) and used.__module__ == function.__module__:
            _collect(used, parts)
        elif inspect.isfunction(used) and _is_ours(used):
            parts[name, used.__module__] = inspect.getsource(inspect.getmodule(used) or used)
        elif isinstance(used, int | float | str):
            parts[name, function.__module__] = repr(used)


def _is_ours(item: object) -> bool:
    return str(getattr(item, "__module__", "")).startswith("src.")


def _names(code: object) -> Iterator[str]:
    """All names that a function's code looks up, and that of the functions inside it."""
    if inspect.iscode(code):
        yield from code.co_names
        for constant in code.co_consts:
            yield from _names(constant)
