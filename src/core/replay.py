"""A training step's work on its device; on a GPU it is recorded once, and replayed from then on."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from src.core.seeding import send

# A network in which a piece of work has left gradients, and scalars to report, by name.
Piece = tuple[nn.Module, dict[str, Tensor]]


class Replay:
    """Does the work of a step in pieces, between which networks move down the gradients that these leave.

    To start a kernel takes a GPU's host longer than a small kernel runs: there each piece becomes a CUDA
    graph, whose kernels are all started at once (https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs).
    The first step of each kind runs as on a CPU; the second is recorded and, like all after it, replayed.

    Args:
        work: Takes tensors on the device by name, and options; yields after each piece the network that is to
            move, and scalars to report. Whatever else it reads must keep its place in memory. What it does
            beside starting kernels is not done again in a replay.
        device: Where to work.
    """

    def __init__(self, work: Callable[..., Iterator[Piece]], device: torch.device) -> None:
        self._work, self._device = work, device
        self._recording = device.type == "cuda"
        self._pieces: dict[tuple[Any, ...], int] = {}
        self._recordings: dict[tuple[Any, ...], _Recording] = {}

    def __call__(self, drawn: Mapping[str, Tensor], **options: bool) -> Iterator[Piece]:
        """Works through one step; does not wait for a GPU.

        Args:
            drawn: What was drawn for this step, on the CPU, each of the same shape in every step.
            options: Those of `work`. With others, or with other names in `drawn`, it is another kind of step.

        Yields:
            What `work` yields; the network is to be moved before the next piece.
        """
        kind = (*drawn, *options.items())
        if kind not in self._pieces:
            sent = {name: send(value, self._device) for name, value in drawn.items()}
            pieces = 0
            for piece in self._work(**sent, **options):
                pieces += 1
                yield piece
            if self._recording:
                self._pieces[kind] = pieces
            return
        if kind not in self._recordings:
            inputs = {name: value.to(self._device) for name, value in drawn.items()}
            self._recordings[kind] = _record(self._work(**inputs, **options), self._pieces[kind], inputs)
        yield from self._recordings[kind].replayed(drawn)


class _Recorded(NamedTuple):
    """A recorded piece of work, and where it leaves what."""

    graph: torch.cuda.CUDAGraph
    network: nn.Module
    gradients: list[tuple[nn.Parameter, Tensor]]
    names: list[str]
    values: Tensor


class _Recording(NamedTuple):
    """All pieces of a kind of step, and where these find what was drawn."""

    inputs: dict[str, Tensor]
    pieces: list[_Recorded]

    def replayed(self, drawn: Mapping[str, Tensor]) -> Iterator[Piece]:
        """Works through a step like the recorded one."""
        for name, value in drawn.items():
            self.inputs[name].copy_(value.pin_memory(), non_blocking=True)
        for piece in self.pieces:
            piece.graph.replay()
            for parameter, gradient in piece.gradients:
                parameter.grad = gradient
            # A copy: the next replay writes to the same place.
            yield piece.network, dict(zip(piece.names, piece.values.clone(), strict=True))


def _record(work: Iterator[Piece], count: int, inputs: dict[str, Tensor]) -> _Recording:
    """Records the pieces of a step, whose work is given its inputs; no kernel runs."""
    pieces = []
    for _ in range(count):
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            network, told = next(work)
            values = torch.stack([*told.values()])
        gradients = [(p, p.grad) for p in network.parameters() if p.grad is not None]
        pieces.append(_Recorded(graph, network, gradients, [*told], values))
    return _Recording(inputs, pieces)
