"""What a recipe's fingerprints change with: the code behind the rows that it names, and nothing else."""

import dataclasses
import functools
import importlib.util
import inspect
import re
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT

from src.core import params
from src.gan import cyclegan, games, gan, losses, penalties, source
from src.gan.games import GAMES, Kind
from src.gan.losses import LOSSES, Loss
from src.gan.penalties import PENALTIES
from src.networks import conv, mlp, projection
from src.networks.conv import ConvGenerator
from src.networks.mlp import MLPDiscriminator
from src.networks.pairs import PAIRS, Pair

RECIPES = games.recipes(params.read(ROOT / "params.yaml", ROOT / "src/datasets/table.yaml").recipes)


def everything() -> dict[str, dict[str, str]]:
    return {name: source.fingerprints(recipe) for name, recipe in RECIPES.items()}


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def test_there_is_one_for_the_kind_and_for_each_name_of_a_row() -> None:
    for found in everything().values():
        assert found.keys() == {"kind", "loss", "penalty", "network"}
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in found.values())


def test_names_of_the_same_code_have_the_same_one() -> None:
    found = everything()
    assert found["wgan"]["loss"] == found["wgan-gp"]["loss"] != found["gan"]["loss"]
    assert found["hinge"]["loss"] != found["wgan"]["loss"]  # with the same half for the generator
    assert found["gan"]["penalty"] == found["lsgan"]["penalty"] != found["mlp"]["penalty"]
    assert found["mlp"]["network"] == found["source"]["network"] != found["gan"]["network"]
    assert found["gan"]["kind"] == found["source"]["kind"] != found["cyclegan"]["kind"]


@pytest.mark.parametrize(
    ("table", "row"),
    [
        (LOSSES, Loss(losses.lsgan_discriminator, losses.gan_generator)),
        (PENALTIES, penalties.squared_slopes),
        (PAIRS, Pair(ConvGenerator, MLPDiscriminator)),
        (GAMES, Kind(gan.GanRecipe, gan.Gan)),
    ],
    ids=["losses", "penalties", "pairs", "games"],
)
def test_another_row_of_a_table_changes_none(
    monkeypatch: pytest.MonkeyPatch, table: MutableMapping[str, Any], row: Any
) -> None:
    before = everything()
    monkeypatch.setitem(table, "new", row)
    assert everything() == before


@pytest.mark.parametrize(
    ("edited", "recipe", "expected"),
    [
        (losses.lsgan_discriminator, "lsgan", {"loss"}),
        (losses.lsgan_discriminator, "gan", set()),
        (losses.wgan_generator, "wgan", {"loss"}),
        (losses.wgan_generator, "hinge", {"loss"}),  # whose generator's half it is, too
        (losses.wgan_generator, "lsgan", set()),
        (losses.minimax_generator, "minimax", {"loss"}),
        (losses.minimax_generator, "gan", set()),
        (penalties.squared_slopes, "lsgan", {"penalty"}),  # which r1 calls
        (penalties.squared_slopes, "rpgan", {"penalty"}),  # by two more calls
        (penalties.squared_slopes, "wgan-gp", {"penalty"}),
        (penalties.squared_slopes, "mlp", set()),
        (penalties.r1, "lsgan", {"penalty"}),
        (penalties.r1, "rpgan", {"penalty"}),
        (penalties.r1, "wgan-gp", set()),
        (conv, "lsgan", {"network"}),
        (conv, "mlp", set()),
        (mlp, "source", {"network"}),
        (mlp, "spectral", set()),
        (gan, "lsgan", {"kind"}),
        (gan, "source", {"kind"}),
        (gan, "cyclegan", set()),
        (cyclegan, "cyclegan", {"kind"}),
        (cyclegan, "lsgan", set()),
        (conv, "cyclegan", {"network"}),
        (projection, "lsgan", set()),  # a dep of stage train_gan by itself
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_an_edit_changes_exactly_the_entries_whose_code_it_is(
    monkeypatch: pytest.MonkeyPatch, edited: object, recipe: str, expected: set[str]
) -> None:
    before = source.fingerprints(RECIPES[recipe])
    getsource = inspect.getsource
    monkeypatch.setattr(
        inspect, "getsource", lambda item: getsource(item) + ("# edited\n" if item is edited else "")
    )
    assert changed(before, source.fingerprints(RECIPES[recipe])) == expected


# Code of one's own, in a file that is edited

TEXT = """
from torch import Tensor

SCALE = 2.0
OTHER = 3.0


def scaled(x: Tensor) -> Tensor:
    return SCALE * x


def wrapped(x: Tensor) -> Tensor:
    return scaled(x)


def discriminator(*, real: Tensor, fake: Tensor) -> Tensor:
    return (lambda x: wrapped(x).mean())(fake - real)


def generator(*, real: Tensor, fake: Tensor) -> Tensor:
    return -fake.mean()


def unused(x: Tensor) -> Tensor:
    return OTHER * x
"""


def imported(monkeypatch: pytest.MonkeyPatch, path: Path, text: str) -> ModuleType:
    """A module of that text, named like its file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        ("return -fake.mean()", "return -2 * fake.mean()", True),
        ("return -fake.mean()", "# It is the mean.\n    return -fake.mean()", True),
        ("(fake - real)", "(fake - 2 * real)", True),
        ("return scaled(x)", "return scaled(x + 1)", True),  # used in a function inside the function
        ("return SCALE * x", "return SCALE * x * x", True),  # used by what it uses
        ("SCALE = 2.0", "SCALE = 2.5", True),
        ("OTHER = 3.0", "OTHER = 3.5", False),
        ("return OTHER * x", "return OTHER", False),
        ("OTHER = 3.0", "OTHER = 3.0\n\n\ndef more() -> int:\n    return 1", False),
    ],
)
def test_a_function_counts_with_all_that_it_uses_of_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str, counts: bool
) -> None:
    recipe = dataclasses.replace(RECIPES["lsgan"], loss="own")

    def found(folder: str, text: str) -> dict[str, str]:
        own = imported(monkeypatch, tmp_path / folder / "own.py", text)
        monkeypatch.setitem(LOSSES, "own", Loss(own.discriminator, own.generator))
        return source.fingerprints(recipe)

    before = found("before", TEXT)
    assert found("moved", TEXT) == before
    assert TEXT.count(old) == 1
    assert changed(before, found("after", TEXT.replace(old, new))) == ({"loss"} if counts else set())


def test_a_class_counts_with_its_whole_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = "SIZE = 3\n\n\nclass Net:\n    pass\n"
    recipe = dataclasses.replace(RECIPES["mlp"], network="own")

    def found(folder: str, text: str) -> dict[str, str]:
        own = imported(monkeypatch, tmp_path / folder / "own.py", text)
        monkeypatch.setitem(PAIRS, "own", Pair(own.Net, MLPDiscriminator))
        return source.fingerprints(recipe)

    before = found("before", text)
    assert found("moved", text) == before
    assert changed(before, found("after", text.replace("3", "4"))) == {"network"}


@pytest.mark.parametrize("edited", ["one", "two"])
def test_things_of_one_name_in_two_files_count_each(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, edited: str
) -> None:
    text = "SIZE = 3\n\n\ndef half(*, real, fake):\n    return SIZE * fake\n\n\nclass Net:\n    pass\n"
    recipe = dataclasses.replace(RECIPES["mlp"], network="own", loss="own")

    def found(folder: str, texts: dict[str, str]) -> dict[str, str]:
        paths = {name: tmp_path / folder / name / f"{name}.py" for name in texts}
        one, two = (imported(monkeypatch, paths[name], text) for name, text in texts.items())
        monkeypatch.setitem(LOSSES, "own", Loss(one.half, two.half))
        monkeypatch.setitem(PAIRS, "own", Pair(one.Net, two.Net))
        return source.fingerprints(recipe)

    texts = {"one": text, "two": text}
    before = found("before", texts)
    assert changed(before, found("after", texts | {edited: text.replace("3", "4")})) == {"loss", "network"}


def test_both_halves_of_a_loss_exchanged_are_another_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    before = source.fingerprints(RECIPES["lsgan"])
    monkeypatch.setitem(LOSSES, "lsgan", Loss(losses.lsgan_generator, losses.lsgan_discriminator))
    assert changed(before, source.fingerprints(RECIPES["lsgan"])) == {"loss"}


def test_code_from_elsewhere_in_src_counts_with_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A class that inherits from one of src, and a function that calls one of src.
    text = "from src.networks.conv import ConvGenerator\nfrom src.gan.penalties import r1\n\n\n"
    text += "class Net(ConvGenerator):\n    pass\n\n\ndef penalty(d, *, real, fake, rng):\n    return r1(d)\n"
    own = imported(monkeypatch, tmp_path / "own.py", text)
    monkeypatch.setitem(PAIRS, "own", Pair(own.Net, MLPDiscriminator))
    monkeypatch.setitem(PENALTIES, "own", own.penalty)
    recipe = dataclasses.replace(RECIPES["mlp"], network="own", penalty="own")
    before, getsource = source.fingerprints(recipe), inspect.getsource
    for edited, expected in ((conv, {"network"}), (penalties, {"penalty"}), (projection, set())):
        monkeypatch.setattr(
            inspect, "getsource", lambda item, edited=edited: getsource(item) + "#" * (item is edited)
        )
        assert changed(before, source.fingerprints(recipe)) == expected


def test_what_has_no_text_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PENALTIES, "own", functools.partial(penalties.r1))
    with pytest.raises(TypeError, match=r"holds functools\.partial.*: neither a class nor a function"):
        source.fingerprints(dataclasses.replace(RECIPES["lsgan"], penalty="own"))
