"""The game of Goodfellow et al. 2014: one generator against one discriminator."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from src.core.checkpoint import Part
from src.core.replay import Piece, Replay
from src.core.seeding import Stream, stream_seed
from src.core.settings import OneOf, Width
from src.datasets.batches import Shuffled
from src.datasets.labelled import Labelled, to_unit
from src.datasets.spec import ImageSpec
from src.gan.player import Player
from src.gan.recipe import Recipe
from src.gan.step import criticise, layers_in, persuade
from src.networks.network import Network, build
from src.networks.pairs import PAIRS


@dataclass(frozen=True)
class GanRecipe(Recipe):
    """A row of `recipes` of the kind `gan`."""

    network: Annotated[str, OneOf(PAIRS)]
    conditional: bool
    latent: Width
    width: Width
    spectral_norm: bool


class Gan:
    """A generator and a discriminator, which take turns; see `src.gan.loop.Game`.

    Generated images carry the labels of the real batch, so that both have the same class frequencies.

    Args:
        recipe: What to train, and how.
        spec: What the images look like.
        data: Real training images with their labels, on the device to train on.
        seed: The run's seed.
        precision: `bfloat16` runs the networks' layers in it; weights, losses and steps stay float32.
        source: Not used: a generator starts from noise.
        judge: Not used.
    """

    def __init__(
        self,
        recipe: GanRecipe,
        spec: ImageSpec,
        data: Labelled,
        *,
        seed: int,
        precision: str = "float32",
        source: Labelled | None = None,
        judge: nn.Module | None = None,
    ) -> None:
        self._pixels, self._labels = data.pixels, data.given
        self._recipe, self._rule, self._device = recipe, recipe.rule, data.pixels.device
        self._layers_in = layers_in(precision, self._device)
        pair, weights = PAIRS[recipe.network], stream_seed("gan/weights", seed)
        shared = {"width": recipe.width, "conditional": recipe.conditional}
        generator = build(pair.generator, spec, seed=weights, latent=recipe.latent, **shared)
        discriminator = build(
            pair.discriminator, spec, seed=weights + 1, spectral_norm=recipe.spectral_norm, **shared
        )
        self._g = recipe.player(generator.to(self._device), ema=recipe.ema)
        self._d = recipe.critic(discriminator.to(self._device))
        self._player_of = {player.network: player for player in (self._d, self._g)}
        self._replay = Replay(self._gradients, self._device)
        self._noise, self._mix = Stream("gan/noise", seed), Stream("gan/mix", seed)
        self._batches = Shuffled(len(data), recipe.batch_size, Stream("gan/batches", seed).rng)
        self.players: Mapping[str, Player] = {"d": self._d, "g": self._g}
        self.streams: Mapping[str, Part] = {
            "batches": self._batches,
            "noise": self._noise,
            "mix": self._mix,
        }
        self.period = recipe.critic_steps
        assert isinstance(self._g.average, Network)
        self.generator: Network = self._g.average
        self.discriminator: Network = discriminator

    def play(self, step: int, steps: int) -> dict[str, Tensor]:
        """The discriminator's step and, every `critic_steps` steps, the generator's.

        Algorithm 1 of the paper draws fresh noise for the generator's step; here it takes that step on the
        images that the discriminator has just seen, which saves a pass.
        """
        batch, weight = next(self._batches), self._rule.weight_at(step, steps)
        drawn = {
            "batch": batch,
            "latents": torch.randn(len(batch), self._recipe.latent, generator=self._noise.rng),
        }
        if weight is not None:
            drawn["weight"] = torch.tensor(weight)
            drawn["mix"] = torch.rand(len(batch), 1, 1, 1, generator=self._mix.rng)
        values: dict[str, Tensor] = {}
        with self._layers_in:
            for network, told in self._replay(drawn, generating=step % self.period == 0):
                self._player_of[network].move()
                values |= told
        return values

    def _gradients(
        self,
        *,
        batch: Tensor,
        latents: Tensor,
        weight: Tensor | None = None,
        mix: Tensor | None = None,
        generating: bool,
    ) -> Iterator[Piece]:
        """The discriminator's gradients and, with `generating`, the generator's; see `src.core.replay`."""
        labels = self._labels[batch]
        # One pass of the generator serves both: it steps on the images that the discriminator has just seen.
        with torch.set_grad_enabled(generating):
            generated = self._g.network(latents, labels).float()
        found = criticise(
            self._d.network,
            self._rule,
            real=to_unit(self._pixels[batch]),
            fake=generated.detach(),
            labels=labels,
            weight=weight,
            mix=mix,
        )
        self._d.descend(found.total)
        values = {
            "d_loss": found.loss.detach(),
            "penalty": found.loss.new_zeros(()) if found.penalty is None else found.penalty.detach(),
            "real_score": found.real.detach().mean(),
            "fake_score": found.fake.detach().mean(),
        }
        yield self._d.network, values
        if generating:
            loss = persuade(
                self._d.network, self._rule.loss, real_scores=found.real, fake=generated, labels=labels
            )
            self._g.descend(loss)
            yield self._g.network, {"g_loss": loss.detach()}
