"""Penalties on the discriminator's slope: one row of `PENALTIES` each, added to its loss.

Each takes the discriminator as a function of images alone (labels are bound by the caller), real and
generated images (n, c, h, w) by keyword, and numbers in [0, 1], (n, 1, 1, 1), and returns a scalar >= 0 to be
weighted. The slope is that of each image's score with respect to its own pixels, over all of them.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

Discriminator = Callable[[Tensor], Tensor]


class Penalty(Protocol):
    """A row of `PENALTIES`."""

    def __call__(
        self, discriminator: Discriminator, *, real: Tensor, fake: Tensor, mix: Tensor | None
    ) -> Tensor:
        """Maps a discriminator and two batches of images to a scalar >= 0."""


def squared_slopes(discriminator: Discriminator, images: Tensor) -> Tensor:
    """||dD(x)/dx||^2 of each image, shape (n,), differentiable in the discriminator's weights."""
    images = images.detach().requires_grad_(True)
    # The sum's gradient holds each score's own, as long as the discriminator does not mix a batch's rows.
    (slopes,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    return slopes.square().flatten(1).sum(dim=1)


def gradient(discriminator: Discriminator, *, real: Tensor, fake: Tensor, mix: Tensor | None) -> Tensor:
    """Pulls slopes between real and generated images to 1 (Gulrajani et al. 2017, eq. 3)."""
    # E[(||dD(x)/dx|| - 1)^2],  x = e x_real + (1 - e) x_fake,  e ~ U[0, 1] for each pair
    assert mix is not None
    squares = squared_slopes(discriminator, mix * real + (1 - mix) * fake)
    # The square root has no slope at 0, where a constant discriminator starts.
    return ((squares + 1e-12).sqrt() - 1).square().mean()


def r1(discriminator: Discriminator, *, real: Tensor, fake: Tensor, mix: Tensor | None) -> Tensor:
    """Flattens the discriminator at real images (Mescheder et al. 2018, eq. 9)."""
    # 1/2 E[||dD(x)/dx||^2]
    return 0.5 * squared_slopes(discriminator, real).mean()


def r2(discriminator: Discriminator, *, real: Tensor, fake: Tensor, mix: Tensor | None) -> Tensor:
    """Flattens the discriminator at generated images (Mescheder et al. 2018, eq. 10)."""
    # 1/2 E[||dD(G(z))/dG(z)||^2]
    return 0.5 * squared_slopes(discriminator, fake).mean()


def r1_r2(discriminator: Discriminator, *, real: Tensor, fake: Tensor, mix: Tensor | None) -> Tensor:
    """R1 and R2 together, as in R3GAN (Huang et al. 2024, section 2.2)."""
    return r1(discriminator, real=real, fake=fake, mix=mix) + r2(discriminator, real=real, fake=fake, mix=mix)


PENALTIES: dict[str, Penalty | None] = {
    "none": None,
    "gradient": gradient,
    "r1": r1,
    "r2": r2,
    "r1_r2": r1_r2,
}
