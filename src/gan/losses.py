"""Adversarial losses on raw scores: one row of `LOSSES` holds a loss's discriminator and generator half.

Both halves take the discriminator's raw scores (any shape, no sigmoid applied) of real and of generated
images by keyword and return a scalar to minimise. With D = sigmoid(score), log D and log(1 - D) are
written as softplus of the score, which stays finite where the sigmoid rounds to 0 or 1.
"""

from typing import NamedTuple, Protocol

from torch import Tensor
from torch.nn.functional import relu, softplus


class Half(Protocol):
    """One half of an adversarial loss."""

    def __call__(self, *, real: Tensor, fake: Tensor) -> Tensor:
        """Maps scores of real and of generated images, of the same shape, to a scalar to minimise."""


class Loss(NamedTuple):
    """The two halves of an adversarial loss."""

    discriminator: Half
    generator: Half


def gan_discriminator(*, real: Tensor, fake: Tensor) -> Tensor:
    """Cross-entropy of real against generated (Goodfellow et al. 2014, eq. 1)."""
    # L_D = -E[log D(x)] - E[log(1 - D(G(z)))],  -log sigmoid(s) = softplus(-s)
    return softplus(-real).mean() + softplus(fake).mean()


def gan_generator(*, real: Tensor, fake: Tensor) -> Tensor:
    """Non-saturating generator loss (Goodfellow et al. 2014, section 3)."""
    # L_G = -E[log D(G(z))]
    return softplus(-fake).mean()


def minimax_generator(*, real: Tensor, fake: Tensor) -> Tensor:
    """Saturating generator loss, the min-max game as written (Goodfellow et al. 2014, eq. 1)."""
    # L_G = E[log(1 - D(G(z)))],  log(1 - sigmoid(s)) = -softplus(s)
    return -softplus(fake).mean()


def wgan_discriminator(*, real: Tensor, fake: Tensor) -> Tensor:
    """Critic's negated estimate of the Wasserstein distance (Arjovsky et al. 2017, eq. 3)."""
    # L_D = -E[D(x)] + E[D(G(z))]
    return fake.mean() - real.mean()


def wgan_generator(*, real: Tensor, fake: Tensor) -> Tensor:
    """Generator's half of the Wasserstein distance (Arjovsky et al. 2017, eq. 3)."""
    # L_G = -E[D(G(z))]
    return -fake.mean()


def lsgan_discriminator(*, real: Tensor, fake: Tensor) -> Tensor:
    """Least squares towards 1 for real and 0 for generated (Mao et al. 2017, eq. 9)."""
    # L_D = 1/2 E[(D(x) - 1)^2] + 1/2 E[D(G(z))^2]
    return 0.5 * (real - 1).square().mean() + 0.5 * fake.square().mean()


def lsgan_generator(*, real: Tensor, fake: Tensor) -> Tensor:
    """Least squares towards 1 for generated (Mao et al. 2017, eq. 9)."""
    # L_G = 1/2 E[(D(G(z)) - 1)^2]
    return 0.5 * (fake - 1).square().mean()


def hinge_discriminator(*, real: Tensor, fake: Tensor) -> Tensor:
    """Hinge: scores beyond the margins -1 and 1 cost nothing (Lim and Ye 2017)."""
    # L_D = E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))]
    return relu(1 - real).mean() + relu(1 + fake).mean()


def rpgan_discriminator(*, real: Tensor, fake: Tensor) -> Tensor:
    """Relativistic pairing: each real image against one generated (Jolicoeur-Martineau 2018)."""
    # L_D = -E[log sigmoid(D(x) - D(G(z)))]
    return softplus(fake - real).mean()


def rpgan_generator(*, real: Tensor, fake: Tensor) -> Tensor:
    """Relativistic pairing the other way round, non-saturating (Jolicoeur-Martineau 2018)."""
    # L_G = -E[log sigmoid(D(G(z)) - D(x))]
    return softplus(real - fake).mean()


LOSSES: dict[str, Loss] = {
    "gan": Loss(gan_discriminator, gan_generator),
    "minimax": Loss(gan_discriminator, minimax_generator),
    "wgan": Loss(wgan_discriminator, wgan_generator),
    "lsgan": Loss(lsgan_discriminator, lsgan_generator),
    "hinge": Loss(hinge_discriminator, wgan_generator),  # L_G = -E[D(G(z))], as in Lim and Ye 2017
    "rpgan": Loss(rpgan_discriminator, rpgan_generator),
}
