"""Watches a training run: scores it on held-out real images, keeps its best generator, says when to stop."""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from src import quality, sampling
from src.config import Train
from src.images import LabelledImages, to_unit
from src.quality import Extractor


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
    """Checks a run when asked to, and remembers the best generator so far, by FID.

    Args:
        generator: The moving average of the run's generator.
        discriminator: The run's discriminator.
        extractor: Scores images; on the same device.
        train: Real images that the run trains on.
        heldout: Real images that nothing trains on, never test images.
        latent: Length of a latent vector.
        settings: How many images are compared, and the patience.
        seed: The run's seed.

    Attributes:
        checks: All so far, the first of the untrained generator.
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
        self.checks: list[Check] = []
        self.best: Check
        self.best_weights: Mapping[str, Any]

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

    @torch.inference_mode()
    def _mean_score(self, data: LabelledImages) -> float:
        # Spectral normalisation moves on at each call in training mode: looking must not change the run.
        self._discriminator.eval()
        parts: list[Tensor] = []
        for images, labels in zip(data.images.split(1000), data.labels.split(1000), strict=True):
            parts.append(self._discriminator(to_unit(images), labels))
        self._discriminator.train()
        return torch.cat(parts).mean().item()
