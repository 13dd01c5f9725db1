"""The arms that tell what a synthetic set is worth: what each is trained on, for how long, and from where."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import GREY
from torch import Tensor, nn

from src.classifiers import arms, supervised
from src.classifiers.arms import Arms
from src.classifiers.augmentation import STRONG, shift
from src.core.checkpoint import Checkpoint
from src.core.settings import Supervised, Worth
from src.datasets.labelled import Labelled
from src.report import worth

HOW = Worth(
    steps=7,
    batch_size=20,
    learning_rate=0.01,
    synthetic_share=0.5,
    finetune_steps=3,
    finetune_learning_rate=0.001,
)
CLASSIFIER = Supervised(width=4, epochs=9, batch_size=99, learning_rate=0.5, shift=1)


def images(count: int, brightness: int) -> Labelled:
    return Labelled(torch.full((count, 1, 28, 28), brightness, dtype=torch.uint8), torch.arange(count) % 10)


def made(own: int, seed: int = 0) -> Arms:
    return Arms(HOW, CLASSIFIER, GREY, images(own, 50), images(40, 90), seed, Checkpoint(None))


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the arms ask the classifier loop for."""
    asked: list[dict[str, Any]] = []

    def fit(network: nn.Module, data: Labelled, settings: Supervised, **how: Any) -> None:
        first = torch.cat([value.flatten() for value in network.state_dict().values()])
        asked.append({"network": network, "first": first, "data": data, "settings": settings, **how})

    monkeypatch.setattr(supervised, "fit", fit)
    return asked


def test_all_arms_start_from_the_same_weights_and_take_as_many_steps(fits: list[dict[str, Any]]) -> None:
    run = made(own=10)
    errors = run.scratch(run.own) | run.pretrained("synthetic", images(60, 200))
    assert set(errors) == {"scratch", "synthetic", "synthetic_tuned"}
    scratch, first, tuning = fits
    assert scratch["first"].equal(first["first"])
    assert scratch["network"] is not first["network"]
    assert first["network"] is tuning["network"]
    assert (scratch["steps"], first["steps"], tuning["steps"]) == (10, 7, 3)
    assert [len(fit["data"]) for fit in fits] == [10, 60, 10]
    assert [fit["settings"].learning_rate for fit in fits] == [0.01, 0.01, 0.001]
    assert {fit["settings"].batch_size for fit in fits} == {20}
    assert {fit["change"] for fit in fits} == {STRONG}
    assert len({fit["rng"].initial_seed() for fit in fits}) == len({fit["title"] for fit in fits}) == 3


def test_without_labels_nothing_is_tuned(fits: list[dict[str, Any]]) -> None:
    run = made(own=0)
    errors = run.pretrained("guessed", images(60, 200))
    assert len(fits) == 1
    assert errors["guessed"] == errors["guessed_tuned"]


def test_another_seed_is_another_start(fits: list[dict[str, Any]]) -> None:
    for seed in (0, 1):
        made(own=10, seed=seed).scratch(images(10, 50))
    assert not fits[0]["first"].equal(fits[1]["first"])


def test_an_error_is_the_part_of_the_test_images_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def predict(network: nn.Module, pixels: Tensor) -> Tensor:
        return torch.cat([torch.arange(30) % 10, torch.full((10,), 9)])  # of the last ten one is a 9

    monkeypatch.setattr(supervised, "predict", predict)
    assert made(own=10).error(nn.Identity()) == pytest.approx(9 / 40)


@pytest.mark.parametrize(("share", "synthetic"), [(0.5, 30), (0.25, 10), (0.75, 90), (0.0, 0)])
def test_real_and_synthetic_images_are_mixed_in_the_stated_proportion(share: float, synthetic: int) -> None:
    run = made(own=10)._replace(how=replace(HOW, synthetic_share=share))
    mixed = run.mixed(images(30, 50), images(40, 200))
    assert [(mixed.pixels[:, 0, 0, 0] == value).sum() for value in (50, 200)] == [30, synthetic]
    assert mixed.given[30:].tolist() == (torch.arange(synthetic) % 40 % 10).tolist()
    alone = made(own=10)._replace(how=replace(HOW, synthetic_share=1.0))
    assert alone.mixed(images(30, 50), images(40, 200)).pixels.unique().tolist() == [200]


def test_an_arm_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    # One row of light tells the class; nothing moves it.
    monkeypatch.setattr(arms, "STRONG", shift(0))
    pixels = torch.zeros(200, 1, 28, 28, dtype=torch.uint8)
    labels = torch.arange(200) % 10
    for index, label in enumerate(labels.tolist()):
        pixels[index, 0, 2 * label : 2 * label + 2] = 255
    bars = Labelled(pixels, labels)
    run = Arms(replace(HOW, steps=60), CLASSIFIER, GREY, bars.part(0, 20), bars, 0, Checkpoint(None))
    wrong = Labelled(pixels, (labels + 1) % 10)
    assert run.pretrained("synthetic", bars)["synthetic"] < 0.05
    assert run.pretrained("guessed", wrong)["guessed"] > 0.95


def test_gains_are_what_the_error_falls_by(tmp_path: Path) -> None:
    errors = {"scratch": 0.5, "semi_supervised": 0.04, "guessed": 0.035, "guessed_tuned": 0.03}
    errors |= {"synthetic": 0.06, "synthetic_tuned": 0.05, "both": 0.025, "both_tuned": 0.02}
    worth.write(tmp_path, 10, errors)
    found = json.loads((tmp_path / "worth.json").read_text())
    gains = {name: found.pop(name) for name in list(found) if name.startswith("gain")}
    assert found == {"labels": 10} | {f"error_{arm}": error for arm, error in errors.items()}
    assert gains == pytest.approx(
        {
            "gain_instead": -0.02,
            "gain_besides": 0.01,
            "gain_over_semi_supervised": 0.02,
            "gain_over_scratch": 0.48,
        }
    )
