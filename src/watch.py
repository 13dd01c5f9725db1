"""Watches a training run: notes and scores how it goes, keeps its best generator, says when to stop."""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from src import quality, sampling
from src.adversarial import Report
from src.config import Train
from src.images import LabelledImages, to_unit
from src.quality import Extractor
from src.seeding import generator_for


class Check(NamedTuple):
    """What a generator's moving average and its discriminator are worth at one point of a run.

    Images are scored on the extractor, against held-out real ones. `classes` counts those that at least
    `train.class_share` of the generated images are taken for; `class_kl` is that histogram's distance to the
    uniform one, in nats. The last two are the discriminator's mean raw scores of real images that it trains
    on and of others that it has never seen: the first far above the second means that it memorises.
    """

    images_seen: int
    fid: float
    classes: int
    class_kl: float
    diversity: float
    precision: float
    recall: float
    train_score: float
    heldout_score: float


class Watch:
    """Follows a run from report to report, and remembers the best generator so far, by FID.

    Args:
        generator: The moving average of the run's generator.
        discriminator: The run's discriminator.
        extractor: Scores images; on the same device.
        train: Real images that the run trains on.
        heldout: Real images that nothing trains on, never test images.
        latent: Length of a latent vector.
        settings: How many checks and grids there are, how many images are compared, and the patience.
        seed: The run's seed.

    Attributes:
        curves: All reports so far.
        checks: All so far, the first of the untrained generator.
        grids: Pictures of 100 generated images, uint8 (height, width), by percent of the run.
        best: The check with the lowest FID.
        best_weights: The generator's weights at that check.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        extractor: Extractor,
        *,
        train: LabelledImages,
        heldout: LabelledImages,
        latent: int,
        settings: Train,
        seed: int,
    ) -> None:
        self._generator, self._discriminator, self._extractor = generator, discriminator, extractor
        count = min(settings.check_images, len(heldout.images), len(train.images))
        self._train = LabelledImages(train.images[:count], train.labels[:count])
        self._heldout = LabelledImages(heldout.images[:count], heldout.labels[:count])
        self._latent, self._settings, self._seed = latent, settings, seed
        self._reference = quality.embed(extractor, self._heldout.images)
        latents = torch.randn(100, latent, generator=generator_for("gan/grid", seed))
        self._pictured = latents.to(heldout.images.device), torch.arange(100).to(heldout.images.device) % 10
        self.curves: list[Report] = []
        self.grids: dict[int, Tensor] = {}
        self.checks: list[Check] = []
        self.best: Check
        self.best_weights: Mapping[str, Any]

    def see(self, report: Report, done: float) -> None:
        """Notes a report, and adds a picture and a check where the next one is due.

        Args:
            report: The run's latest.
            done: The part of the run that lies behind, in [0, 1].
        """
        self.curves.append(report)
        if int(done * self._settings.grids) > len(self.grids):
            self.grids[int(100 * done)] = sampling.grid(self._generator, *self._pictured)
        if int(done * self._settings.checks) >= len(self.checks):
            self.look(report.images_seen)

    def look(self, images_seen: int) -> Check:
        """Adds a check of the run as it stands now."""
        blocks = sampling.blocks(
            self._generator,
            len(self._heldout.images),
            latent=self._latent,
            purpose="gan/check",
            seed=self._seed,
            device=self._heldout.images.device,
        )
        images = torch.cat([images for images, _ in blocks]).to(self._heldout.images.device)
        self._generator.train()
        embedded = quality.embed(self._extractor, images)
        shares = quality.class_shares(embedded.logits)
        overlap = quality.manifold(self._reference.features, embedded.features, neighbours=5)
        check = Check(
            images_seen=images_seen,
            fid=quality.fid(self._reference.features, embedded.features),
            classes=int((shares >= self._settings.class_share).sum()),
            class_kl=quality.kl_to_uniform(shares),
            diversity=quality.diversity(self._reference, embedded),
            precision=overlap.precision,
            recall=overlap.recall,
            train_score=self._mean_score(self._train),
            heldout_score=self._mean_score(self._heldout),
        )
        self.checks.append(check)
        if len(self.checks) == 1 or check.fid < self.best.fid:
            self.best, self.best_weights = check, copy.deepcopy(self._generator.state_dict())
        return check

    @property
    def exhausted(self) -> bool:
        """Whether the last `train.patience` checks were no better than the best one before them."""
        return len(self.checks) - 1 - self.checks.index(self.best) >= self._settings.patience

    def state_dict(self) -> dict[str, Any]:
        """All that has been seen so far; nothing of it is copied."""
        return {
            "curves": [list(report) for report in self.curves],
            "checks": [list(check) for check in self.checks],
            "grids": self.grids,
            "best": self.checks.index(self.best),
            "best_weights": self.best_weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where `state_dict` was taken."""
        self.curves = [Report(*row) for row in state["curves"]]
        self.checks = [Check(*row) for row in state["checks"]]
        self.grids = state["grids"]
        self.best, self.best_weights = self.checks[state["best"]], state["best_weights"]

    @torch.inference_mode()
    def _mean_score(self, data: LabelledImages) -> float:
        # Spectral normalisation moves on at each call in training mode: looking must not change the run.
        self._discriminator.eval()
        parts: list[Tensor] = []
        for images, labels in zip(data.images.split(1000), data.labels.split(1000), strict=True):
            parts.append(self._discriminator(to_unit(images), labels))
        self._discriminator.train()
        return torch.cat(parts).mean().item()
