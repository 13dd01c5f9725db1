"""Every score of synthetic images against real ones: its spread, its floor and its ceiling."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import NamedTuple

import torch
from scipy.stats import t
from torch import Tensor, nn

from src.classifiers import supervised
from src.core.errors import PipelineError
from src.core.seeding import generator_for
from src.core.settings import FEWEST, Evaluate
from src.datasets.labelled import Labelled
from src.scores import frechet, manifold, variety
from src.scores.extractor import Embedded, Extractor, embed
from src.scores.kernel import kid


class Sample(NamedTuple):
    """n images as networks see them.

    `classes`, int64 (n,), is what the trained extractor takes them for. `hits` has an entry for each score
    that is a share of images: its name, and bool (n,) whether an image counts.
    """

    embedded: Embedded
    classes: Tensor
    hits: Mapping[str, Tensor]

    def part(self, start: int, stop: int) -> "Sample":
        """The images from `start` up to `stop`."""
        embedded = Embedded(*(values[start:stop] for values in self.embedded))
        hits = {name: values[start:stop] for name, values in self.hits.items()}
        return Sample(embedded, self.classes[start:stop], hits)


class Judges(NamedTuple):
    """The networks that look at images: all in eval mode, on one device.

    `extractor` gives the features of all distances. `trained` was trained on real images of the same kind,
    and tells the class; it may be the same network. `classifier` was trained on real images too, and is not
    the extractor: the share of synthetic images that it gets right is one more score.
    """

    extractor: Extractor
    trained: Extractor
    classifier: nn.Module | None
    device: torch.device

    def look(self, data: Labelled) -> Sample:
        """What they make of images, and whether it is their labels, where these are known."""
        pixels, labels = (on := data.to(self.device)).pixels, on.labels
        seen = embed(self.trained, pixels)
        embedded = seen if self.extractor is self.trained else embed(self.extractor, pixels)
        classes, hits = seen.logits.argmax(dim=1), {}
        if labels is not None:
            hits["label_agreement"] = classes == labels.cpu()
        if labels is not None and self.classifier is not None:
            hits["cas_reverse"] = (supervised.predict(self.classifier, pixels) == labels).cpu()
        return Sample(embedded, classes, hits)


class Score(NamedTuple):
    """A score of synthetic sets as mean and 95 % interval, beside that of real images and that of noise."""

    mean: float
    low: float
    high: float
    real: float
    noise: float


class Sets(NamedTuple):
    """The images of a comparison: real ones in two parts, the first the reference, and synthetic ones."""

    reference: Labelled
    real: Labelled
    synthetic: Labelled

    @property
    def most(self) -> int:
        """The most images on each side that a comparison can have: two synthetic sets at least."""
        return min(len(self.reference), len(self.real), len(self.synthetic) // 2)

    def require(self, count: int, key: str, *, fewest: int = FEWEST) -> None:
        """Refuses a number of images on each side that these sets do not allow.

        Args:
            count: The number.
            key: What to call it.
            fewest: The fewest that all scores can be made of.

        Raises:
            PipelineError: It is too small, or too large, or no number would do.
        """
        if self.most < fewest:
            raise PipelineError(
                f"too few images to be scored; needed: {fewest} real images and {fewest} others, not "
                f"{len(self.reference)} and {len(self.real)}, and {2 * fewest} synthetic ones, not "
                f"{len(self.synthetic)}{_because(fewest)}"
            )
        if not fewest <= count <= self.most:
            raise PipelineError(
                f"{key} is {count}; allowed: from {fewest} to {self.most}, as many as there are real "
                f"images ({len(self.reference)} and {len(self.real)} others) and half as many as there are "
                f"synthetic ones ({len(self.synthetic)}){_because(fewest)}"
            )


def _because(fewest: int) -> str:
    ask = "; evaluate.neighbours and evaluate.splits in params.yaml ask for so many at least"
    return ask if fewest > FEWEST else ""


class Judged(NamedTuple):
    """What a comparison found.

    Attributes:
        scores: By name.
        reference: The real images that were compared with; labels are those that the extractor sees, where
            there were none.
        synthetic: All synthetic images, likewise.
        perceived: The classes that the extractor takes these for, int64 (n,).
        sets: Synthetic sets that were scored.
        sha256: Of the pixels of the real images that were compared with, and of the other real ones.
    """

    scores: dict[str, Score]
    reference: Labelled
    synthetic: Labelled
    perceived: Tensor
    sets: int
    sha256: tuple[str, str]


def judge(sets: Sets, judges: Judges, *, count: int, settings: Evaluate, seed: int) -> Judged:
    """Scores synthetic images against real ones, beside other real images and random pixels.

    Args:
        sets: The images; labels count where the real and the synthetic ones have them.
        judges: The networks that look at them.
        count: Images on each side, from `settings.fewest` to `sets.most`.
        settings: Neighbours, and splits of the inception score.
        seed: Seeds the choice of real images, the noise, and the choices that some scores make.

    Raises:
        PipelineError: As `compare` does.
    """
    reference = sets.reference.chosen(count, generator_for("evaluate/reference", seed))
    real = sets.real.chosen(count, generator_for("evaluate/real", seed))
    labelled = real.labels is not None and sets.synthetic.labels is not None

    def look(data: Labelled) -> Sample:
        return judges.look(data if labelled else Labelled(data.pixels, None))

    rng = generator_for("evaluate/noise", seed)
    noise = torch.randint(256, reference.pixels.shape, generator=rng, dtype=torch.uint8)
    compared, everything = look(reference), look(sets.synthetic)
    starts = range(0, len(sets.synthetic) - count + 1, count)
    scores = compare(
        compared.embedded,
        [everything.part(start, start + count) for start in starts],
        real=look(real),
        noise=look(Labelled(noise, real.labels)),
        neighbours=settings.neighbours,
        splits=settings.splits,
        seed=seed,
    )
    return Judged(
        scores,
        reference.or_labelled(compared.classes),
        sets.synthetic.or_labelled(everything.classes),
        everything.classes,
        len(starts),
        (reference.sha256, real.sha256),
    )


def compare(
    reference: Embedded,
    parts: Sequence[Sample],
    *,
    real: Sample,
    noise: Sample,
    neighbours: int,
    splits: int,
    seed: int,
) -> dict[str, Score]:
    """All scores of sets of n images against n real ones, each under the same protocol.

    Args:
        reference: n real images that every set is compared with.
        parts: Two or more independent synthetic sets of n images; their scores give mean and interval.
        real: n other real images.
        noise: n images of random pixels.
        neighbours: k of precision, recall, density and coverage.
        splits: Parts for the inception score.
        seed: Seeds the choices of images that some scores make.

    Raises:
        PipelineError: There are too few images for a score, or the real ones are the reference once more.
    """

    def one(sample: Sample) -> dict[str, float]:
        return measure(reference, sample, neighbours=neighbours, splits=splits, seed=seed)

    floor, ceiling = one(real), one(noise)
    # In double precision FID of a set and itself comes out as up to 1e-13 of its variance.
    if floor["fid"] <= 1e-9 * reference.features.double().var(dim=0).sum().item():
        raise PipelineError(
            "FID of the real images against the reference is 0: both are the same images, and no floor; "
            "give real images without repetitions"
        )
    synthetic = [one(part) for part in parts]
    return {
        name: Score(*interval([part[name] for part in synthetic]), floor[name], ceiling[name])
        for name in floor
    }


def flat(found: Mapping[str, Score]) -> dict[str, float]:
    """Means and floors under the names that they have in metrics/quality.json."""
    metrics = {name if name != "is" else "is_mean": score.mean for name, score in found.items()}
    metrics |= {f"{name}_real": score.real for name, score in found.items() if name != "fid"}
    fid = found["fid"]
    return metrics | {"fid_floor": fid.real, "fid_ratio": fid.mean / fid.real}


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean of two or more values of one distribution, and both ends of Student's 95 % interval for it."""
    middle = mean(values)
    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return middle, middle - half, middle + half


def measure(
    reference: Embedded, sample: Sample, *, neighbours: int, splits: int, seed: int
) -> dict[str, float]:
    """All scores of n images against n real ones: one set of `compare`, with the same arguments."""
    embedded, features = sample.embedded, sample.embedded.features
    fewest = max(FEWEST, neighbours + 1, 2 * splits)
    if min(len(reference.features), len(features)) < fewest:
        raise PipelineError(
            f"{len(features)} images are too few to be scored; with these evaluate.neighbours and "
            f"evaluate.splits in params.yaml there must be {fewest} or more on each side"
        )
    found = {
        "fid": frechet.fid(reference.features, features),
        "fid_infinity": frechet.fid_at_infinity(reference.features, features, seed=seed),
        "kid": kid(reference.features, features),
        "is": variety.inception_score(embedded.logits, splits=splits, seed=seed)[0],
    }
    found |= manifold.overlap(reference.features, features, neighbours=neighbours)._asdict()
    return found | {name: hits.double().mean().item() for name, hits in sample.hits.items()}


def protocol(settings: Evaluate, count: int, judged: Judged) -> dict[str, object]:
    """How scores were made, for results/quality_manifest.json.

    Args:
        settings: As given to `judge`.
        count: Images on each side.
        judged: What was found.
    """
    return {
        "extractor": settings.extractor,
        "images_each_side": count,
        "synthetic_sets": judged.sets,
        "inception_score_splits": settings.splits,
        "neighbours": settings.neighbours,
        "reference": "random images of the real test split; of pictures: of one half",
        "real": "random images of the validation split (the end of train); of pictures: of the other half",
        "synthetic": "disjoint parts of the synthetic training split; of pictures: of all",
        "reference_sha256": judged.sha256[0],
        "real_sha256": judged.sha256[1],
    }
