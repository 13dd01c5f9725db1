"""Random changes of whole batches of images that leave their classes as they are."""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, pad

TURN = 10.0  # degrees
STRETCH = 0.2  # of each side's length
SHEAR = 0.2
MOVE = 0.12  # of half a side
WAVES = 4  # knots of the random field that bends an image, a side
BEND = 0.05  # of half a side: standard deviation at a knot


class Change(NamedTuple):
    """A random change: drawn on the CPU, whatever the device, and then made on the images'.

    Attributes:
        draw: Draws what happens to so many images.
        make: Maps images, uint8 (n, channels, height, width), and what was drawn to changed ones of the same
            shape in [0, 255], of any type. What is moved in from outside is 0.
    """

    draw: Callable[[int, torch.Generator], Tensor]
    make: Callable[[Tensor, Tensor], Tensor]


def shift(limit: int) -> Change:
    """Moves each image by its own whole number of pixels in [-limit, limit] each way; 0 draws nothing."""
    return Change(partial(_draw_moves, limit), partial(_moved, limit))


def _draw_moves(limit: int, count: int, rng: torch.Generator) -> Tensor:
    return torch.randint(0, 2 * limit + 1, (2, count), generator=rng) if limit else torch.empty(0)


def _moved(limit: int, pixels: Tensor, drawn: Tensor) -> Tensor:
    if limit == 0:
        return pixels
    count, _, height, width = pixels.shape
    padded = pad(pixels, (limit, limit, limit, limit))
    # Every place that an image can be moved to, as a view: whole rows of pixels are copied, not single ones.
    places = padded.unfold(2, height, 1).unfold(3, width, 1)
    down, right = drawn
    return places[torch.arange(count, device=pixels.device), :, down, right]


def _draw_maps(count: int, rng: torch.Generator) -> Tensor:
    """An affine map and knots of a field of each image, float32 (n, 2, 3 + WAVES^2)."""

    def uniform(*shape: int) -> Tensor:
        """Numbers in [-1, 1]."""
        return 2 * torch.rand(count, *shape, generator=rng) - 1

    turn = math.radians(TURN) * uniform()
    along, across = (torch.exp(STRETCH * uniform()) for _ in range(2))
    shear, move = SHEAR * uniform(), MOVE * uniform(2)
    cos, sin = turn.cos(), turn.sin()
    rows = [along * cos, shear - across * sin, move[:, 0], along * sin, across * cos, move[:, 1]]
    knots = BEND * torch.randn(count, 2, WAVES**2, generator=rng)
    return torch.cat([torch.stack(rows, 1).view(count, 2, 3), knots], dim=2)


def _mapped(pixels: Tensor, drawn: Tensor) -> Tensor:
    count, _, height, width = pixels.shape
    # Where each pixel comes from is linear in the affine map and in the knots: one product for both.
    places = drawn @ _basis(height, width, pixels.device)
    grid = places.view(count, 2, height, width).permute(0, 2, 3, 1)
    return grid_sample(pixels.float(), grid, align_corners=False)


@cache
def _basis(height: int, width: int, device: torch.device) -> Tensor:
    """What x, y, 1 and each knot are at each pixel, float32 (3 + knots, height * width)."""
    y, x = ((2 * torch.arange(side) + 1) / side - 1 for side in (height, width))
    plane = torch.stack(
        [x.expand(height, width), y[:, None].expand(height, width), torch.ones(height, width)]
    )
    knots = torch.eye(WAVES**2).view(-1, 1, WAVES, WAVES)
    bends = interpolate(knots, (height, width), mode="bicubic", align_corners=True)
    return torch.cat([plane.flatten(1), bends.flatten(1)]).to(device)


# Turns, stretches, shears, moves and bends each image. None is mirrored: a digit would become another one, or
# none. Gives float32.
STRONG = Change(_draw_maps, _mapped)
