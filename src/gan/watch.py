"""Watches a training run: notes and scores how it goes, keeps its best generator, says when to stop."""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from src.core.seeding import generator_for
from src.core.settings import Watch as Settings
from src.datasets.labelled import Labelled, to_unit
from src.gan.loop import Game, NonFiniteError, Report
from src.gan.run import Run
from src.networks import sampling
from src.networks.network import Network
from src.scores import frechet, manifold, variety
from src.scores.extractor import Embedded, Extractor, embed


class Check(NamedTuple):
    """What a generator's moving average and its discriminator are worth at one point of a run.

    Images are scored on the extractor, against held-out real ones. `classes` counts those that at least
    `watch.class_share` of a class's fair share of the generated images are taken for; `class_kl` is that
    histogram's distance to the uniform one, in nats; `agreement` is the part of the images that are taken for
    the class that was asked for. The last two are the discriminator's mean raw scores of real images that it
    trains on and of others that it has never seen: the first far above the second means that it memorises.
    """

    images_seen: int
    fid: float
    classes: int
    class_kl: float
    diversity: float
    precision: float
    recall: float
    coverage: float
    agreement: float
    train_score: float
    heldout_score: float


class Watch:
    """Follows a run from report to report, and remembers the best generator so far, by FID.

    Args:
        game: What is played; its generator and discriminator are looked at.
        extractor: Scores images; on the same device.
        train: Real images that the run trains on.
        heldout: Real images that nothing trains on, never test images.
        settings: How many checks and grids there are, how many images are compared, and the patience.
        seed: The run's seed.
        source: Labelled images for a translator to start from; other games need none.

    Attributes:
        curves: All reports so far.
        checks: All so far, the first of the untrained generator.
        grids: Generated images, uint8 (n, channels, height, width), by percent of the run.
        real: The scores but FID of real images that the run trains on, by name: what a generator can reach.
            Their `agreement` is that of held-out images with their labels, since the extractor has trained on
            the others.
        best_weights: The generator's weights at the best check; none before the first.
        end: How the run ended, as `follow` returns it; empty until then.
    """

    def __init__(
        self,
        game: Game,
        extractor: Extractor,
        *,
        train: Labelled,
        heldout: Labelled,
        settings: Settings,
        seed: int,
        source: Labelled | None = None,
    ) -> None:
        self._generator, self._discriminator, self._extractor = game.generator, game.discriminator, extractor
        self._settings, self._seed, self._source = settings, seed, source
        count = min(settings.check_images, len(heldout), len(train))
        self._train, self._heldout = train.part(0, count), heldout.part(0, count)
        self._reference = embed(extractor, self._heldout.pixels)
        self.real = self._scores(embed(extractor, self._train.pixels), self._train.given)
        self.real["agreement"] = _agreement(self._reference, self._heldout.given)
        self._device = heldout.pixels.device
        rows, columns = sampling.grid_size(game.generator.spec)
        asked = torch.arange(rows * columns) % columns
        given = sampling.inputs(game.generator, asked, generator_for("gan/grid", seed), source=source)
        self._pictured = given, asked.to(self._device)
        self.curves: list[Report] = []
        self.grids: dict[int, Tensor] = {}
        self.checks: list[Check] = []
        self.best_weights: Mapping[str, Any] = {}
        self.end: dict[str, Any] = {}

    @property
    def best(self) -> Check:
        """The check with the lowest FID, the earliest of equal ones; there must have been one."""
        return min(self.checks, key=lambda check: check.fid)

    def follow(self, run: Run, *, images: int, title: str) -> dict[str, Any]:
        """Trains a run, watching it, until its images are used up, it stops improving, or it diverges.

        Args:
            run: The run, new or taken up where it was cut off.
            images: Real images that it sees at the most.
            title: What the progress bar says.

        Returns:
            How it ended: `stopped`, in words; `non_finite`, whether it gave up at a step that was not finite;
            `retries`; `exhausted`, as the property; `best`, the best check; `real`, as the attribute;
            `conditional`, whether the generator is told classes.

        Raises:
            NonFiniteError: It gave up before the first report.
        """
        if self.end:  # taken up from a checkpoint of a run that had ended
            return self.end
        stopped, non_finite = "all images were seen", False
        if not self.checks:
            self.look(images_seen=0)
        try:
            with tqdm(total=images, desc=title, unit="image", unit_scale=True) as bar:
                for report in run.reports():
                    self.see(report, done=min(report["images_seen"] / images, 1))
                    bar.update(report["images_seen"] - bar.n)
                    if self.exhausted:
                        stopped = "the score did not improve any more"
                        break
                    told = {name: f"{value:.3f}" for name, value in report.items() if name.endswith("_loss")}
                    bar.set_postfix(told | {"FID": f"{self.checks[-1].fid:.2f}"})
        except NonFiniteError as fault:
            if not self.curves:
                raise
            stopped, non_finite = str(fault), True
        self.end = {
            "stopped": stopped,
            "non_finite": non_finite,
            "retries": run.retries,
            "exhausted": self.exhausted,
            "best": self.best._asdict(),
            "real": self.real,
            # Translations have the class of their source image, whatever the options say.
            "conditional": bool(self._generator.options.get("conditional", True)),
        }
        return self.end

    def best_generator(self) -> Network:
        """The run's averaged generator with the weights of the best check."""
        self._generator.load_state_dict(self.best_weights)
        return self._generator

    def see(self, report: Report, done: float) -> None:
        """Notes a report, and adds a picture and a check where the next one is due.

        Args:
            report: The run's latest.
            done: The part of the run that lies behind, in [0, 1].
        """
        self.curves.append(report)
        if int(done * self._settings.grids) > len(self.grids):
            self.grids[int(100 * done)] = sampling.pictures(self._generator, *self._pictured)
        if int(done * self._settings.checks) >= len(self.checks):
            self.look(int(report["images_seen"]))

    def look(self, images_seen: int) -> Check:
        """Adds a check of the run as it stands now."""
        count = len(self._heldout)
        drawn = sampling.blocks(
            self._generator, count, purpose="gan/check", seed=self._seed, source=self._source
        )
        blocks = list(drawn)
        pixels = torch.cat([block.pixels for block in blocks]).to(self._device)
        asked = torch.cat([block.given for block in blocks]).to(self._device)
        self._generator.train()
        embedded = embed(self._extractor, pixels)
        check = Check(
            images_seen=images_seen,
            fid=frechet.fid(self._reference.features, embedded.features),
            **self._scores(embedded, asked),
            train_score=self._mean_score(self._train),
            heldout_score=self._mean_score(self._heldout),
        )
        self.checks.append(check)
        if self.best is check:
            self.best_weights = copy.deepcopy(self._generator.state_dict())
        return check

    def _scores(self, embedded: Embedded, asked: Tensor) -> dict[str, Any]:
        """What images score against the held-out ones, with the labels that they are meant to have."""
        shares = variety.class_shares(embedded.logits)
        fewest = self._settings.class_share / len(shares)
        overlap = manifold.overlap(
            self._reference.features, embedded.features, neighbours=self._settings.neighbours
        )
        return {
            "classes": int((shares >= fewest).sum()),
            "class_kl": variety.kl_to_uniform(shares),
            "diversity": variety.diversity(self._reference, embedded),
            "precision": overlap.precision,
            "recall": overlap.recall,
            "coverage": overlap.coverage,
            "agreement": _agreement(embedded, asked),
        }

    @property
    def exhausted(self) -> bool:
        """Whether the last `watch.patience` checks were no better than the best one before them."""
        return len(self.checks) - 1 - self.checks.index(self.best) >= self._settings.patience

    def state_dict(self) -> dict[str, Any]:
        """All that has been seen so far; nothing of it is copied."""
        return {
            "curves": self.curves,
            "checks": [list(check) for check in self.checks],
            "grids": self.grids,
            "best_weights": self.best_weights,
            "end": self.end,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where `state_dict` was taken."""
        self.curves, self.grids, self.best_weights = state["curves"], state["grids"], state["best_weights"]
        self.end = state["end"]
        self.checks = [Check(*row) for row in state["checks"]]

    @torch.inference_mode()
    def _mean_score(self, data: Labelled) -> float:
        # Spectral normalisation moves on at each call in training mode: looking must not change the run.
        self._discriminator.eval()
        parts: list[Tensor] = []
        for pixels, labels in zip(data.pixels.split(1000), data.given.split(1000), strict=True):
            parts.append(self._discriminator(to_unit(pixels), labels))
        self._discriminator.train()
        return torch.cat(parts).mean().item()


def _agreement(embedded: Embedded, labels: Tensor) -> float:
    """The part of the images that the extractor takes for the class of their label."""
    return (embedded.logits.argmax(dim=1) == labels.cpu()).double().mean().item()
