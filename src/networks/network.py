"""What all networks have: the images that they are for, and the options that rebuild them."""

from typing import TypeVar

import torch
from torch import nn

from src.datasets.spec import ImageSpec

Option = int | float | bool


class Network(nn.Module):
    """A network that can be rebuilt: `type(network)(network.spec, **network.options)`.

    Args:
        spec: The images that it takes or makes.
        **options: The keyword arguments of its class.

    Attributes:
        spec: As given.
        options: As given.
    """

    def __init__(self, spec: ImageSpec, **options: Option) -> None:
        super().__init__()
        self.spec = spec
        self.options = options


Built = TypeVar("Built", bound=Network)


def build(kind: type[Built], spec: ImageSpec, *, seed: int, **options: Option) -> Built:
    """Builds a network with weights that depend on the seed.

    Args:
        kind: Its class.
        spec: The images that it takes or makes.
        seed: Seeds the initial weights, and nothing beyond them.
        **options: The class's own keyword arguments.
    """
    # torch's initialisers draw from the default generator and take no other; its state is put back.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(spec, **options)
