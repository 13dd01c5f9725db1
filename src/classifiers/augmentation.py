"""Random changes of whole batches of images that leave their classes as they are."""

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

TURN = 10.0  # degrees
STRETCH = 0.2  # of each side's length
SHEAR = 0.2
MOVE = 0.12  # of half a side
WAVES = 4  # knots of the random field that bends an image, a side
BEND = 0.05  # of half a side: standard deviation at a knot


def strong(pixels: Tensor, rng: torch.Generator) -> Tensor:
    """Turns, stretches, shears, moves and bends each image.

    No image is mirrored: a digit would become another one, or none.

    Args:
        pixels: uint8 (n, channels, height, width); what is moved in from outside is 0.
        rng: Draws all changes, on the CPU whatever the device.

    Returns:
        float32 of the same shape, in [0, 255].
    """
    count, _, height, width = pixels.shape
    device = pixels.device

    def uniform(*shape: int) -> Tensor:
        """Numbers in [-1, 1]."""
        return 2 * torch.rand(count, *shape, generator=rng) - 1

    turn = math.radians(TURN) * uniform()
    along, across = (torch.exp(STRETCH * uniform()) for _ in range(2))
    shear, move = SHEAR * uniform(), MOVE * uniform(2)
    cos, sin = turn.cos(), turn.sin()
    rows = [along * cos, shear - across * sin, move[:, 0], along * sin, across * cos, move[:, 1]]
    knots = BEND * torch.randn(count, 2, WAVES**2, generator=rng)
    # Where each pixel comes from is linear in the affine map and in the knots: one product for both.
    places = torch.cat([torch.stack(rows, 1).view(count, 2, 3), knots], dim=2) @ _basis(height, width)
    grid = places.view(count, 2, height, width).permute(0, 2, 3, 1)
    return grid_sample(pixels.float(), grid.to(device), align_corners=False)


@cache
def _basis(height: int, width: int) -> Tensor:
    """What x, y, 1 and each knot are at each pixel, float32 (3 + knots, height * width)."""
    y, x = ((2 * torch.arange(side) + 1) / side - 1 for side in (height, width))
    plane = torch.stack(
        [x.expand(height, width), y[:, None].expand(height, width), torch.ones(height, width)]
    )
    knots = torch.eye(WAVES**2).view(-1, 1, WAVES, WAVES)
    bends = interpolate(knots, (height, width), mode="bicubic", align_corners=True)
    return torch.cat([plane.flatten(1), bends.flatten(1)])
