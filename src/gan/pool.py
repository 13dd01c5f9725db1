"""Earlier translations that a discriminator is shown again, so that it does not forget what it could tell."""

from typing import Any

import torch
from torch import Tensor

from src.core.seeding import Stream, send


class Pool:
    """Keeps some images of earlier steps and hands them out in exchange for new ones.

    After Shrivastava et al. 2017, section 2.3, as Zhu et al. 2017, section 4, use it. Fills up first, handing
    out what it is given; from then on each image is exchanged for a kept one with a probability of 1/2, up to
    as many at a time as are kept.

    Args:
        size: How many images are kept; 0: it hands out what it is given.
        purpose: Names the stream of random numbers that choose.
        seed: The run's seed.
        shape: Of an image: (channels, height, width).
        device: Where images are kept.
    """

    def __init__(
        self, size: int, purpose: str, seed: int, *, shape: tuple[int, int, int], device: torch.device
    ) -> None:
        self._size, self._stream, self._device = size, Stream(purpose, seed), device
        self._images = torch.empty(0, *shape, device=device)
        self._labels = torch.empty(0, dtype=torch.int64, device=device)

    def exchange(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Takes images (n, c, h, w) and labels (n,), gives as many, each with the label that it came with."""
        if not self._size:
            return images, labels
        # A second try after a step that was not finite meets what the first has left here.
        images = images.nan_to_num()
        if room := self._size - len(self._images):
            self._images = torch.cat([self._images, images[:room]])
            self._labels = torch.cat([self._labels, labels[:room]])
            return images, labels
        rng, count = self._stream.rng, min(len(images), self._size)
        places = send(torch.randperm(len(images), generator=rng)[:count], self._device)
        slots = send(torch.randperm(self._size, generator=rng)[:count], self._device)
        swapped = send(torch.rand(count, generator=rng) < 0.5, self._device)
        given = []
        for kept, new in ((self._images, images), (self._labels, labels)):
            swap = swapped.view(-1, *[1] * (new.dim() - 1))
            inside, offered, handed_out = kept[slots], new[places], new.clone()
            handed_out[places] = torch.where(swap, inside, offered)
            kept[slots] = torch.where(swap, offered, inside)
            given.append(handed_out)
        return given[0], given[1]

    def state_dict(self) -> dict[str, Any]:
        """What is kept, and how far random numbers have been drawn; nothing is copied."""
        return {"images": self._images, "labels": self._labels, **self._stream.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where `state_dict` was taken."""
        # As a copy: what is kept is changed in place.
        self._images = state["images"].to(self._device, copy=True)
        self._labels = state["labels"].to(self._device, copy=True)
        self._stream.load_state_dict(state)
