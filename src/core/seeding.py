"""One seed, many independent streams of random numbers."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def stream_seed(purpose: str, seed: int) -> int:
    """A 63-bit seed that depends on the purpose's name and the run's seed, and on nothing else."""
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator_for(purpose: str, seed: int) -> torch.Generator:
    """An own generator per purpose: drawing more for one purpose never shifts another's numbers.

    It lives on the CPU whatever the device, so that every device gets the same numbers.
    """
    return torch.Generator().manual_seed(stream_seed(purpose, seed))


def send(drawn: Tensor, device: torch.device) -> Tensor:
    """What was drawn on the CPU, on the device; only what uses it there waits until it has arrived."""
    return (drawn.pin_memory() if device.type == "cuda" else drawn).to(device, non_blocking=True)


class Stream:
    """A purpose's random numbers as part of a run that can be cut off: its state goes into checkpoints.

    Attributes:
        rng: The generator, as `generator_for` makes it.
    """

    def __init__(self, purpose: str, seed: int) -> None:
        self.rng = generator_for(purpose, seed)

    def state_dict(self) -> dict[str, Tensor]:
        """How far it has been drawn from."""
        return {"rng": self.rng.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Goes on from where `state_dict` was taken."""
        self.rng.set_state(state["rng"])


@contextmanager
def default_generator(purpose: str, seed: int) -> Iterator[None]:
    """Seeds torch's default generator inside the block, for torchmetrics, which takes no other.

    The state before the block is restored after it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(purpose, seed))
        yield
