"""What the two sides of every adversarial game minimise: a discriminator, and a generator."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from src.gan.losses import Loss
from src.gan.penalties import Penalty


@dataclass(frozen=True)
class Rule:
    """What holds for a discriminator's steps.

    Attributes:
        loss: Both halves of the adversarial loss.
        penalty: Added to the discriminator's half; None for no penalty.
        weight: The penalty's factor at the start of the run.
        final: Part of that factor that is left at the end, reached geometrically: a strong penalty keeps a
            young generator various, a weak one lets the discriminator see details later.
        every: The penalty is applied every `every` steps, with its weight multiplied by that number (lazy
            regularisation, Karras et al. 2020, section 3.1).
    """

    loss: Loss
    penalty: Penalty | None
    weight: float
    final: float
    every: int

    def weight_at(self, step: int, steps: int) -> float | None:
        """The penalty's factor in a step, counted from 1, of so many; None where no penalty is due."""
        if self.penalty is None or step % self.every:
            return None
        return float(self.weight * self.final ** (step / steps) * self.every)


class Criticism(NamedTuple):
    """What a discriminator is to minimise: the loss and what the penalty adds; and the raw scores (n,)."""

    total: Tensor
    loss: Tensor
    penalty: Tensor | None
    real: Tensor
    fake: Tensor


def layers_in(precision: str, device: torch.device) -> torch.autocast:
    """A context in which networks' layers run in bfloat16, if that is the precision; else in float32.

    It keeps no rounded weights: within a step, a discriminator's change.
    """
    wanted = precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted, cache_enabled=False)


def criticise(
    discriminator: nn.Module,
    rule: Rule,
    *,
    real: Tensor,
    fake: Tensor,
    labels: Tensor,
    fake_labels: Tensor | None = None,
    weight: Tensor | float | None,
    mix: Tensor | None,
) -> Criticism:
    """The discriminator's half of the loss, on as many real as generated images.

    Args:
        discriminator: Maps images and labels to raw scores.
        rule: What it minimises.
        real: Images (n, c, h, w) in [-1, 1].
        fake: Generated ones, without a gradient.
        labels: int64 (n,), of both.
        fake_labels: Of the generated ones, where these have others. A penalty goes by `labels` all the same.
        weight: The penalty's factor, `rule.weight_at`; None: there is no penalty.
        mix: Numbers in [0, 1], (n, 1, 1, 1), for a penalty that goes by a mixture of both.
    """
    # One pass over both halves is faster than two, and the same: no discriminator mixes rows of a batch.
    # Of layers that run in less than float32, the scores are taken on in it.
    both = torch.cat([labels, labels if fake_labels is None else fake_labels])
    scores = discriminator(torch.cat([real, fake]), both).float()
    real_scores, fake_scores = scores.chunk(2)
    total = loss = rule.loss.discriminator(real=real_scores, fake=fake_scores)
    added = None
    if rule.penalty is not None and weight is not None:
        slope = rule.penalty(
            lambda images: discriminator(images, labels).float(), real=real, fake=fake, mix=mix
        )
        added = weight * slope
        total = loss + added
    return Criticism(total, loss, added, real_scores, fake_scores)


def persuade(
    discriminator: nn.Module, loss: Loss, *, real_scores: Tensor, fake: Tensor, labels: Tensor
) -> Tensor:
    """The generator's half of the loss, a scalar; no gradient of it reaches the discriminator's weights.

    Args:
        discriminator: Maps images and labels to raw scores.
        loss: The adversarial loss.
        real_scores: Raw scores (n,) of real images, for losses that compare with them.
        fake: Generated images (n, c, h, w), with their gradient.
        labels: int64 (n,).
    """
    discriminator.requires_grad_(False)
    scores = discriminator(fake, labels).float()
    discriminator.requires_grad_(True)  # what has been computed stays without its gradient
    return loss.generator(real=real_scores.detach(), fake=scores)
