"""Recorded steps do what the same steps do unrecorded: tried with a stand-in for CUDA graphs, on a CPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from conftest import GREY, ROOT, same
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from src.classifiers import contrast, semi_supervised, supervised
from src.classifiers.augmentation import STRONG
from src.classifiers.spreading import Spread
from src.core import params
from src.core.checkpoint import Checkpoint
from src.core.replay import Piece, Replay
from src.core.settings import SemiSupervised, Supervised
from src.datasets.labelled import Labelled
from src.gan import games
from src.gan.gan import Gan
from src.networks.classifier import ConvClassifier
from src.networks.network import build

CLASSIFIERS = ("contrast", "semi_supervised", "supervised")


def images_of(count: int) -> Labelled:
    pixels = torch.randint(0, 256, (count, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    return Labelled(pixels.byte(), torch.arange(count) % 10)


class Graph(TorchDispatchMode):
    """Like torch.cuda.CUDAGraph: notes operations as they start, and does them again in the same memory.

    While it notes them nothing happens: what operations write over is put back in the end.
    """

    made = 0

    def __init__(self) -> None:
        super().__init__()
        self._noted: list[tuple[Any, Any, Any, Any]] = []
        self._before: dict[int, tuple[Tensor, Tensor]] = {}
        Graph.made += 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = {one.name: one for one in func._schema.arguments}
        for name, given in {**dict(zip(named, args, strict=False)), **(kwargs or {})}.items():
            # Batch normalisation doesn't tell that it writes to its running statistics.
            if (named[name].alias_info and named[name].alias_info.is_write) or name.startswith("running_"):
                for tensor in tree_leaves(given):
                    self._before.setdefault(id(tensor), (tensor, tensor.clone()))
        result = func(*args, **(kwargs or {}))
        self._noted.append((func, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, result in self._noted:
            for old, new in zip(tree_leaves(result), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


@contextmanager
def noting(graph: Graph) -> Iterator[None]:
    with graph:
        yield
    for tensor, before in graph._before.values():
        tensor.data.copy_(before)  # unseen by autograd


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets everything be recorded from now on, as on a GPU."""

    class Recording(Replay):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self._recording = True

    def start() -> None:
        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(torch.cuda, "graph", noting)
        monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
        monkeypatch.setattr(Graph, "made", 0)
        for module in ("src.gan.gan", *(f"src.classifiers.{name}" for name in CLASSIFIERS)):
            monkeypatch.setattr(f"{module}.Replay", Recording)

    return start


def test_inputs_are_replaced_and_values_are_copies(recorded: Callable[[], None]) -> None:
    recorded()
    network, calls = nn.Linear(1, 1, bias=False), []
    network.weight.data.fill_(2.0)

    def work(*, x: Tensor, double: bool) -> Iterator[Piece]:
        calls.append(double)
        network.zero_grad()
        loss = (network(x) * (2 if double else 1)).sum()
        loss.backward()
        yield network, {"loss": loss.detach(), "x": x.sum()}

    steps = Replay(work, torch.device("cpu"))
    steps._recording = True
    found = []
    for value in range(1, 5):
        for double in (False, True):
            ((moved, told),) = steps({"x": torch.full((1, 1), float(value))}, double=double)
            assert moved is network
            found.append((told, network.weight.grad.item()))
    assert calls == [False, True, False, True]  # once as it is, once to be noted
    assert [told["loss"].item() for told, _ in found] == [2, 4, 4, 8, 6, 12, 8, 16]
    assert [told["x"].item() for told, _ in found] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert [gradient for _, gradient in found] == [1, 2, 2, 4, 3, 6, 4, 8]


def test_on_a_cpu_nothing_is_recorded() -> None:
    calls = []

    def work(*, x: Tensor) -> Iterator[Piece]:
        calls.append(x)
        yield nn.Identity(), {}

    steps = Replay(work, torch.device("cpu"))
    for _ in range(3):
        assert len([*steps({"x": torch.zeros(1)})]) == 1
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("name", "graphs"),
    # A piece for each network that moves, with a penalty and without.
    [("gan", 4), ("rpgan", 4), ("wgan", 3), ("wgan-gp", 3), ("spectral", 2), ("mlp", 2)],
)
def test_a_recorded_game_is_the_same_game(name: str, graphs: int, recorded: Callable[[], None]) -> None:
    settings = params.read(ROOT / "params.yaml")
    row = asdict(games.recipe(settings.recipes[name], name))
    row |= {"width": 4, "batch_size": 10, "images": 240, "penalty_every": min(row["penalty_every"], 3)}
    made = games.recipe(row, name)

    def played() -> tuple[Gan, list[dict[str, Tensor]], list[float]]:
        game = games.start(made, GREY, images_of(60), seed=1)
        assert isinstance(game, Gan)
        told, gradients = [], []
        for step in range(1, 25):
            told.append(game.play(step, 24))
            for player in game.players.values():
                player.advance()
            gradients.append(game.players["g"].gradient() if step > made.critic_steps else 0.0)
        return game, told, gradients

    plain = played()
    recorded()
    same_again = played()
    assert Graph.made == graphs
    for one, other in zip(plain[1], same_again[1], strict=True):
        assert {name: value.item() for name, value in one.items()} == {
            name: value.item() for name, value in other.items()
        }
    assert plain[2] == same_again[2]
    for network in ("generator", "discriminator"):
        first, second = (getattr(game, network).state_dict() for game in (plain[0], same_again[0]))
        assert same([*first.values()], [*second.values()])


def test_recorded_classifiers_are_the_same_classifiers(recorded: Callable[[], None]) -> None:
    def supervised_one(**changes: Any) -> nn.Module:
        network = build(ConvClassifier, GREY, seed=0, width=2)
        settings, rng = Supervised(2, 1, 8, 0.01, 1), torch.Generator().manual_seed(0)
        checkpoint = Checkpoint(None)
        supervised.fit(
            network, images_of(60), settings, rng=rng, title="one", checkpoint=checkpoint, steps=7, **changes
        )
        return network

    def semi_supervised_one(spread: bool = False) -> nn.Module:
        network = build(ConvClassifier, GREY, seed=0, width=2)
        how = params.read(ROOT / "params.yaml").label_train
        how = replace(how, steps=7, batch_size=4, unlabelled=8, threshold=0.1)
        assert isinstance(how, SemiSupervised)
        rng, checkpoint = torch.Generator().manual_seed(0), Checkpoint(None)
        target = images_of(30).pixels
        known = Spread(torch.arange(10), torch.arange(10), 30, 10) if spread else None
        semi_supervised.fit(
            network, images_of(20), target, how, rng=rng, title="one", checkpoint=checkpoint, spread=known
        )
        return network

    def contrasted() -> nn.Module:
        how = params.read(ROOT / "params.yaml").label_train
        how = replace(how, width=2, contrast_steps=7, unlabelled=8)
        return contrast.learn(images_of(30).pixels, GREY, how, seed=0, checkpoint=Checkpoint(None))

    makers: list[Callable[[], nn.Module]] = [supervised_one, lambda: supervised_one(change=STRONG)]
    makers += [semi_supervised_one, lambda: semi_supervised_one(spread=True), contrasted]
    plain = [[*make().state_dict().values()] for make in makers]
    recorded()
    again = [[*make().state_dict().values()] for make in makers]
    assert Graph.made == 5
    assert all(same(*pair) for pair in zip(plain, again, strict=True))
