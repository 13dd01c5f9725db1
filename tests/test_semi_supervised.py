"""Learning from unlabelled images: guesses are aligned by hand-made numbers, and carry labels over."""

import dataclasses
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import same, weights
from test_checkpoint import Cut, CutError
from torch import Tensor

from src.classifiers import augmentation, semi_supervised, supervised
from src.classifiers.semi_supervised import Alignment
from src.classifiers.spreading import Spread, features
from src.core.checkpoint import Checkpoint
from src.core.errors import PipelineError
from src.core.settings import SemiSupervised
from src.datasets.labelled import Labelled
from src.datasets.spec import ImageSpec
from src.networks.classifier import ConvClassifier
from src.networks.network import build

SPEC = ImageSpec(channels=1, height=12, width=12, classes=4)
SETTINGS = SemiSupervised(
    rendered=False,
    contrast_steps=10,
    width=4,
    steps=250,
    batch_size=16,
    unlabelled=32,
    learning_rate=0.01,
    shift=1,
    threshold=0.9,
    ema=0.9,
    min_agreement=0.5,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def corners(count: int, ink: int, noise: int, seed: int) -> Labelled:
    """A square in one of four corners, which is the class."""
    pixels = torch.randint(0, noise + 1, (count, 1, 12, 12), generator=rng(seed), dtype=torch.uint8)
    labels = torch.randint(0, 4, (count,), generator=rng(seed + 1))
    for image, label in zip(pixels, labels.tolist(), strict=True):
        row, column = 7 * (label // 2), 7 * (label % 2)
        image[0, row : row + 5, column : column + 5] = ink
    return Labelled(pixels, labels)


@pytest.fixture(autouse=True)
def gentle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Corners stay corners."""
    for name, value in (("TURN", 5.0), ("STRETCH", 0.05), ("BEND", 0.02)):
        monkeypatch.setattr(augmentation, name, value)


SOURCE, TARGET = corners(64, 255, 0, 0), corners(300, 140, 65, 7)


def fitted(
    source: Labelled = SOURCE,
    target: Tensor = TARGET.pixels,
    checkpoint: Checkpoint | None = None,
    spread: Spread | None = None,
    **changes: Any,
) -> ConvClassifier:
    network = build(ConvClassifier, SPEC, seed=0, width=4)
    settings = dataclasses.replace(SETTINGS, **changes)
    kept = checkpoint or Checkpoint(None)
    semi_supervised.fit(
        network, source, target, settings, rng=rng(), title="test", checkpoint=kept, spread=spread
    )
    return network


def test_alignment_divides_by_the_running_mean() -> None:
    alignment = Alignment(2, torch.device("cpu"))
    # mean = 0.99 * 0.5 + 0.01 * (0.8 + 0.6) / 2 = 0.502 and 0.498
    first = alignment(torch.tensor([[0.8, 0.2], [0.6, 0.4]]), 1.0)
    row = 0.8 / 0.502, 0.2 / 0.498
    assert first[0].tolist() == pytest.approx([row[0] / sum(row), row[1] / sum(row)])
    assert first.sum(dim=1).tolist() == pytest.approx([1, 1])
    for _ in range(2000):
        last = alignment(torch.tensor([[0.9, 0.1]]), 1.0)
    assert last[0].tolist() == pytest.approx([0.5, 0.5], abs=1e-4)  # what is always said says nothing
    # half the strength: 0.9 / sqrt(0.9) against 0.1 / sqrt(0.1), which is 3 to 1
    assert alignment(torch.tensor([[0.9, 0.1]]), 0.5)[0].tolist() == pytest.approx([0.75, 0.25], abs=1e-4)
    assert alignment(torch.tensor([[0.9, 0.1]]), 0.0)[0].tolist() == pytest.approx([0.9, 0.1])


def test_labels_carry_over_to_images_of_another_kind() -> None:
    network = fitted()
    assert not any(module.training for module in network.modules())
    assert supervised.accuracy(network, TARGET) > 0.95  # 1 on AVX2


def test_only_guesses_from_the_threshold_on_are_learnt() -> None:
    none, again, all_of_them = (fitted(steps=10, threshold=share) for share in (1.0, 0.999999, 0.0))
    assert same(weights(none), weights(again))  # so early, none is as sure as that
    assert not same(weights(none), weights(all_of_them))


def test_what_is_learnt_are_the_guesses_of_the_average_as_they_are_aligned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Tensor] = []

    strengths: list[float] = []

    def align(_: Alignment, guesses: Tensor, strength: float) -> Tensor:
        seen.append(guesses)
        strengths.append(strength)
        return torch.eye(4)[torch.full((len(guesses),), 2)]  # whatever is guessed, it was class 2

    monkeypatch.setattr(Alignment, "__call__", align)
    network = fitted(steps=100)
    assert (supervised.predict(network, TARGET.pixels) == 2).double().mean() > 0.9
    assert {tuple(guesses.shape) for guesses in seen} == {(32, 4)}
    torch.testing.assert_close(torch.cat(seen).sum(dim=1), torch.ones(3200))
    assert strengths == pytest.approx([1 - step / 100 for step in range(100)])


class Told(Spread):
    """These labels for the target, of which so many are sure, whatever they are spread over."""

    def __init__(self, labels: Tensor, sure: float) -> None:
        super().__init__(torch.arange(0), torch.arange(0), len(labels), 4)
        self.load_state_dict({"labels": labels, "sure": torch.arange(len(labels)) < sure * len(labels)})
        self.asked: list[Tensor] = []

    def over(self, points: Tensor) -> None:
        self.asked.append(points)


class Turned(Told):
    """Which are others after they were spread."""

    def over(self, points: Tensor) -> None:
        super().over(points)
        self.labels.copy_((self.labels + 1) % 4)


def test_until_the_network_is_sure_it_learns_the_labels_that_were_spread_and_are_sure() -> None:
    untold, others = fitted(steps=100, threshold=1.0), (TARGET.given + 1) % 4
    # Squares of the source are as bright as can be, and those of the target are not: it tells them apart.
    network = fitted(steps=100, threshold=1.0, spread=Told(others, 1))
    assert (supervised.predict(network, TARGET.pixels) == others).double().mean() > 0.9
    assert supervised.accuracy(untold, TARGET) > 0.9
    assert same(weights(untold), weights(fitted(steps=100, threshold=1.0, spread=Told(others, 0))))


def test_a_sure_guess_is_learnt_only_if_it_was_spread_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    none, every = torch.full((300,), 3), torch.full((300,), 2)
    with monkeypatch.context() as patch:
        patch.setattr(  # whatever is guessed, it is surely class 2
            Alignment, "__call__", lambda _, guesses, strength: torch.eye(4)[torch.full((len(guesses),), 2)]
        )
        nothing, agreed = (fitted(steps=30, spread=Told(labels, 1)) for labels in (none, every))
        assert same(weights(agreed), weights(fitted(steps=30)))
    assert not same(weights(nothing), weights(agreed))
    assert same(weights(nothing), weights(fitted(steps=30, threshold=1.0)))


def test_after_a_third_of_the_steps_labels_are_spread_over_the_averages_features(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told, steps, align = Told(TARGET.given, 1), [0], Alignment.__call__

    def counted(alignment: Alignment, guesses: Tensor, strength: Tensor) -> Tensor:
        steps[-1] += 1
        return align(alignment, guesses, strength)

    monkeypatch.setattr(Alignment, "__call__", counted)
    monkeypatch.setattr(told, "over", lambda points: (told.asked.append(points), steps.append(0)))
    network = fitted(steps=31, spread=told, ema=1.0)  # an average that stays as it was after the first step
    (points,) = told.asked
    torch.testing.assert_close(points, features(network.body, TARGET.pixels))
    assert steps == [10, 21]
    fitted(steps=2, spread=told)  # too few: never
    assert len(told.asked) == 1


def test_what_comes_out_is_the_moving_average() -> None:
    assert not same(weights(fitted(steps=20, ema=0.9)), weights(fitted(steps=20, ema=0.0)))


def test_the_same_numbers_give_the_same_weights_and_labels_of_the_target_have_no_say() -> None:
    first = fitted(steps=20)
    assert same(weights(first), weights(fitted(steps=20)))
    assert not same(weights(first), weights(fitted(steps=20, target=TARGET.pixels.flip(0))))


@pytest.mark.parametrize("after", [3, 7, 9])  # labels are spread again after 6 steps
def test_a_run_that_is_cut_off_ends_with_the_same_weights(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(checkpoint: Checkpoint | None = None) -> list[Tensor]:
        return weights(fitted(steps=20, threshold=1.0, spread=Turned(TARGET.given, 1), checkpoint=checkpoint))

    whole, turned_at_once = run(), Told((TARGET.given + 1) % 4, 1)
    for other in (Told(TARGET.given, 1), turned_at_once):
        assert not same(whole, weights(fitted(steps=20, threshold=1.0, spread=other)))
    with pytest.raises(CutError):
        run(Cut(tmp_path, after))
    resumed = Checkpoint(tmp_path)
    assert resumed.resumed
    assert same(run(resumed), whole)
    # and once it has finished, nothing is trained again
    monkeypatch.setattr(semi_supervised, "STRONG", None)
    assert same(run(resumed), whole)


def test_a_loss_that_is_not_finite_is_named_with_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = chain([1.0] * 4, repeat(float("nan")))
    original = semi_supervised.cross_entropy
    monkeypatch.setattr(
        semi_supervised, "cross_entropy", lambda *args, **options: next(calls) * original(*args, **options)
    )
    with pytest.raises(PipelineError, match=r"test: loss is nan at step 3; lower its learning_rate"):
        fitted()
