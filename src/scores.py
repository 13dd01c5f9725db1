"""Every score of synthetic images against real ones: its spread, its floor and its ceiling."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import NamedTuple

from scipy.stats import t
from torch import Tensor, nn

from src import distances, quality, supervised
from src.errors import PipelineError
from src.quality import Embedded, Extractor

FEWEST = 20  # of fewer images no score says anything


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

    def look(self, pixels: Tensor, labels: Tensor | None) -> Sample:
        """What they make of images, uint8 (n, 1, 28, 28), and whether it is their labels, int64 (n,)."""
        seen = quality.embed(self.trained, pixels)
        embedded = seen if self.extractor is self.trained else quality.embed(self.extractor, pixels)
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
        "fid": quality.fid(reference.features, features),
        "fid_infinity": distances.fid_at_infinity(reference.features, features, seed=seed),
        "kid": distances.kid(reference.features, features),
        "is": quality.inception_score(embedded.logits, splits=splits, seed=seed)[0],
    }
    found |= quality.manifold(reference.features, features, neighbours=neighbours)._asdict()
    return found | {name: hits.double().mean().item() for name, hits in sample.hits.items()}


def require_comparable(mine: Mapping[str, object], other: Mapping[str, object], name: str) -> None:
    """Refuses to compare scores of two protocols (results/quality_manifest.json).

    Args:
        mine: One protocol.
        other: The other.
        name: What to call the other.

    Raises:
        PipelineError: The scores were made in different ways; says what differs.
    """
    for key in ("extractor_sha256", "images_each_side", "neighbours", "inception_score_splits"):
        here, there = mine.get(key), other.get(key)
        if here != there:
            raise PipelineError(
                f"the scores here and at {name} can't be compared: {key} is {here} here and {there} there; "
                "score both sets in one way: python -m stages.evaluate --extractor FILE --synthetic FOLDER"
            )
