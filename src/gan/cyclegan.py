"""The game of Zhu et al. 2017: two translators between two sets of images, against a discriminator of each.

It turns images of a labelled source set into the look of an unlabelled target set, so that the labels of the
first come along. In the paper's letters: X is the source set, Y the target set, G: X -> Y and F: Y -> X are
the translators, D_Y and D_X the discriminators.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, l1_loss

from src.core.checkpoint import Part
from src.core.errors import PipelineError
from src.core.seeding import Stream, generator_for, send, stream_seed
from src.core.settings import Bounds, OneOf, Width
from src.datasets.batches import Shuffled
from src.datasets.labelled import Labelled, to_bytes, to_unit, usable_source
from src.datasets.spec import ImageSpec
from src.gan.player import Player, step_together
from src.gan.pool import Pool
from src.gan.recipe import Recipe
from src.gan.step import Criticism, criticise, layers_in, persuade
from src.networks.network import Network, build
from src.networks.pairs import PAIRS
from src.networks.translator import Translator

Weight = Annotated[float, Bounds(0, 1000)]


@dataclass(frozen=True)
class CycleganRecipe(Recipe):
    """A row of `recipes` of the kind `cyclegan`; of its network's pair, only the discriminator plays."""

    network: Annotated[str, OneOf(PAIRS)]
    conditional: bool
    width: Width
    cycle_weight: Weight
    identity_weight: Weight
    label_weight: Weight
    pool: Annotated[int, Bounds(0, 100_000)]


class Batch(NamedTuple):
    """Images (n, c, h, w) in [-1, 1] with labels, int64 (n,), that are given, guessed, or of no meaning."""

    images: Tensor
    labels: Tensor


def cycle_loss(images: Tensor, returned: Tensor) -> Tensor:
    """How far images are from what comes back of them after both translations (Zhu et al. 2017, eq. 2)."""
    # E_x[||F(G(x)) - x||_1] + E_y[||G(F(y)) - y||_1], of which this is one summand, as a mean over pixels
    return l1_loss(returned, images)


def identity_loss(images: Tensor, kept: Tensor) -> Tensor:
    """What the translator into a set changes in images of that very set (Zhu et al. 2017, section 5.2)."""
    # E_y[||G(y) - y||_1] + E_x[||F(x) - x||_1], of which this is one summand, as a mean over pixels
    return l1_loss(kept, images)


def label_loss(judge: nn.Module, translated: Batch) -> Tensor:
    """Cross-entropy of a frozen classifier on translated images, against the labels that came with them.

    The second summand of the semantic consistency of Hoffman et al. 2018 (CyCADA), eq. 4, with the labels as
    they are given, where the paper has what the classifier makes of the images before translation.
    """
    # L_task(f, G(X), y) = -E[log softmax(f(G(x)))_y]
    return cross_entropy(judge(translated.images).float(), translated.labels)


def _penalty(found: Criticism) -> Tensor:
    return found.loss.new_zeros(()) if found.penalty is None else found.penalty.detach()


class Cyclegan:
    """Two translators and two discriminators; see `src.gan.loop.Game`.

    Players: `g` translates the source set into the look of the target set and is what the run is for; `d`
    tells its translations from the target set. `g_back` and `d_back` are the same in the other direction.

    Args:
        recipe: What to train, and how.
        spec: What the images of both sets look like.
        data: The target set, on the device to train on. Its labels are read only by a conditional recipe's
            discriminators, and may be guesses.
        seed: The run's seed.
        precision: `bfloat16` runs the networks' layers in it; weights, losses and steps stay float32.
        source: The source set, with its labels.
        judge: Maps images to logits (n, classes); moved to the device and frozen, in place. None where
            label_weight is 0.

    Raises:
        PipelineError: The source set does not fit the target set, or there is a label_weight without a judge.
    """

    def __init__(
        self,
        recipe: CycleganRecipe,
        spec: ImageSpec,
        data: Labelled,
        *,
        seed: int,
        precision: str = "float32",
        source: Labelled | None = None,
        judge: nn.Module | None = None,
    ) -> None:
        self._recipe, self._rule, self._device = recipe, recipe.rule, data.pixels.device
        self._source, self._target = usable_source(source, spec).to(self._device), data
        if recipe.label_weight and judge is None:
            raise PipelineError("label_weight above 0 needs a classifier; set it to 0")
        self._judge = None if judge is None else judge.to(self._device).eval().requires_grad_(False)
        self._layers_in = layers_in(precision, self._device)
        weights = stream_seed("gan/weights", seed)
        told = {"width": recipe.width, "conditional": recipe.conditional, "spectral_norm": False}
        translators = [build(Translator, spec, seed=weights + i, width=recipe.width) for i in (0, 1)]
        critics = [build(PAIRS[recipe.network].discriminator, spec, seed=weights + i, **told) for i in (2, 3)]
        self._g, self._g_back = (recipe.player(n.to(self._device), ema=recipe.ema) for n in translators)
        self._d, self._d_back = (recipe.critic(n.to(self._device)) for n in critics)
        self._pool, self._pool_back = (
            Pool(recipe.pool, f"gan/{name}", seed, shape=spec.shape, device=self._device)
            for name in ("pool", "pool_back")
        )
        self._mix = Stream("gan/mix", seed)
        self._batches, self._source_batches = (
            Shuffled(len(images), recipe.batch_size, Stream(f"gan/{name}", seed).rng)
            for name, images in (("batches", self._target), ("source_batches", self._source))
        )
        self.players: Mapping[str, Player] = {
            "d": self._d,
            "d_back": self._d_back,
            "g": self._g,
            "g_back": self._g_back,
        }
        self.streams: Mapping[str, Part] = {
            "batches": self._batches,
            "source_batches": self._source_batches,
            "pool": self._pool,
            "pool_back": self._pool_back,
            "mix": self._mix,
        }
        self.period = recipe.critic_steps
        assert isinstance(self._g.average, Network)
        assert isinstance(self._d.network, Network)
        self.generator: Network = self._g.average
        self.discriminator: Network = self._d.network

    def play(self, step: int, steps: int) -> dict[str, Tensor]:
        """A step of both discriminators and, every `critic_steps` steps, one of both translators.

        The paper's code moves the translators first; here they step on the translations that the
        discriminators have just seen, as the generator does in `src.gan.gan`, which saves a pass.
        """
        with self._layers_in:
            return self._play(step, steps)

    def translations(self, count: int, seed: int) -> dict[str, list[Tensor]]:
        """What people want to see, of the averaged translators, uint8 (count, c, h, w) on the CPU.

        Args:
            count: Images in a row; source images show one class after the other.
            seed: The run's seed.

        Returns:
            Three rows each: source images, their translations, and what these are translated back to; and the
            same for target images.
        """
        labels = torch.arange(count) % self.generator.spec.classes
        shown = self._source.of_classes(labels, generator_for("gan/translations", seed))
        return {
            "source": self._there_and_back(shown.pixels, self._g, self._g_back),
            "target": self._there_and_back(self._target.pixels[:count], self._g_back, self._g),
        }

    def _play(self, step: int, steps: int) -> dict[str, Tensor]:
        source, target = self._draw()
        generating = step % self.period == 0
        # One pass of each translator serves its step, the discriminators' and the identity term.
        with torch.set_grad_enabled(generating):
            translated, kept = self._translate(self._g, source, target, generating)
            translated_back, kept_back = self._translate(self._g_back, target, source, generating)
        found = self._criticise(self._d, self._pool, target, translated, step, steps)
        found_back = self._criticise(self._d_back, self._pool_back, source, translated_back, step, steps)
        values = {
            "d_loss": found.loss.detach(),
            "d_back_loss": found_back.loss.detach(),
            "penalty": _penalty(found) + _penalty(found_back),
            "real_score": found.real.detach().mean(),
            "fake_score": found.fake.detach().mean(),
        }
        if not generating:
            return values
        # Zhu et al. 2017, eq. 3: L(G, F, D_X, D_Y) = L_GAN(G, D_Y) + L_GAN(F, D_X) + lambda L_cyc(G, F)
        terms = {
            "g_loss": self._persuade(self._d, found, translated),
            "g_back_loss": self._persuade(self._d_back, found_back, translated_back),
            "cycle": cycle_loss(source.images, self._passed(self._g_back, translated))
            + cycle_loss(target.images, self._passed(self._g, translated_back)),
        }
        loss = terms["g_loss"] + terms["g_back_loss"] + self._recipe.cycle_weight * terms["cycle"]
        if kept is not None and kept_back is not None:
            terms["identity"] = identity_loss(target.images, kept) + identity_loss(source.images, kept_back)
            loss = loss + self._recipe.identity_weight * terms["identity"]
        if self._judge is not None and self._recipe.label_weight:
            terms["label"] = label_loss(self._judge, translated)
            loss = loss + self._recipe.label_weight * terms["label"]
        step_together([self._g, self._g_back], loss)
        return values | {name: term.detach() for name, term in terms.items()}

    def _draw(self) -> tuple[Batch, Batch]:
        """The next images of the source and of the target set."""
        which, which_target = (
            send(next(batches), self._device) for batches in (self._source_batches, self._batches)
        )
        source = Batch(to_unit(self._source.pixels[which]), self._source.given[which])
        # An unconditional discriminator ignores the labels that it is given.
        guesses = (
            self._target.given[which_target] if self._recipe.conditional else torch.zeros_like(which_target)
        )
        return source, Batch(to_unit(self._target.pixels[which_target]), guesses)

    def _passed(self, player: Player, batch: Batch) -> Tensor:
        translated: Tensor = player.network(batch.images, batch.labels).float()
        return translated

    def _translate(
        self, player: Player, batch: Batch, own: Batch, generating: bool
    ) -> tuple[Batch, Tensor | None]:
        """A batch's translation, and what becomes of the images `own` that have the look already."""
        if not (generating and self._recipe.identity_weight):
            return Batch(self._passed(player, batch), batch.labels), None
        both = Batch(torch.cat([batch.images, own.images]), torch.cat([batch.labels, own.labels]))
        translated, kept = self._passed(player, both).chunk(2)
        return Batch(translated, batch.labels), kept

    def _criticise(
        self, discriminator: Player, pool: Pool, real: Batch, fake: Batch, step: int, steps: int
    ) -> Criticism:
        images, labels = pool.exchange(fake.images.detach(), fake.labels)
        weight, mix = self._rule.weight_at(step, steps), None
        if weight is not None:
            mix = send(torch.rand(len(images), 1, 1, 1, generator=self._mix.rng), self._device)
        found = criticise(
            discriminator.network,
            self._rule,
            real=real.images,
            fake=images,
            labels=real.labels,
            fake_labels=labels,
            weight=weight,
            mix=mix,
        )
        discriminator.step(found.total)
        return found

    def _persuade(self, discriminator: Player, found: Criticism, fake: Batch) -> Tensor:
        return persuade(
            discriminator.network,
            self._rule.loss,
            real_scores=found.real,
            fake=fake.images,
            labels=fake.labels,
        )

    @torch.inference_mode()
    def _there_and_back(self, pixels: Tensor, there: Player, back: Player) -> list[Tensor]:
        images, labels = to_unit(pixels), torch.zeros(len(pixels), dtype=torch.int64, device=self._device)
        translated = there.average(images, labels)
        returned = back.average(translated, labels)
        return [pixels.cpu(), to_bytes(translated.clone()).cpu(), to_bytes(returned).cpu()]
