"""Every score of synthetic images against real ones: its spread, its floor and its ceiling."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import NamedTuple

from scipy.stats import t

from src import distances, quality
from src.quality import Embedded


class Score(NamedTuple):
    """A score of synthetic sets as mean and 95 % interval, beside that of real images and that of noise."""

    mean: float
    low: float
    high: float
    real: float
    noise: float


def compare(
    reference: Embedded,
    parts: Sequence[Embedded],
    *,
    real: Embedded,
    noise: Embedded,
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
    """

    def one(embedded: Embedded) -> dict[str, float]:
        return measure(reference, embedded, neighbours=neighbours, splits=splits, seed=seed)

    synthetic, floor, ceiling = [one(part) for part in parts], one(real), one(noise)
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
    reference: Embedded, embedded: Embedded, *, neighbours: int, splits: int, seed: int
) -> dict[str, float]:
    """All scores of n images against n real ones: one set of `compare`, with the same arguments."""
    features = embedded.features
    found = {
        "fid": quality.fid(reference.features, features),
        "fid_infinity": distances.fid_at_infinity(reference.features, features, seed=seed),
        "kid": distances.kid(reference.features, features, seed=seed),
        "is": quality.inception_score(embedded.logits, splits=splits, seed=seed)[0],
    }
    return found | quality.manifold(reference.features, features, neighbours=neighbours)._asdict()
