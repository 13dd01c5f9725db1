"""Random changes of whole batches of images that leave their classes as they are."""

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

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
    grid = affine_grid(torch.stack(rows, 1).view(count, 2, 3), [count, 1, height, width], align_corners=False)
    knots = BEND * torch.randn(count, 2, WAVES, WAVES, generator=rng)
    bend = interpolate(knots, (height, width), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    return grid_sample(pixels.float(), (grid + bend).to(device), align_corners=False)
