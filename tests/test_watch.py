"""The watch: what a check measures, which generator it keeps, when it says stop; looking changes nothing."""

import dataclasses
from typing import Any

import pytest
import torch
from conftest import ROOT, same, weights
from torch import Tensor, nn

from src import config, networks, quality, sampling, watch
from src.adversarial import Report
from src.images import LabelledImages

SETTINGS = dataclasses.replace(
    config.load(ROOT / "params.yaml", ROOT / "src" / "datasets.yaml").train, check_images=100, patience=2
)


def pictures(count: int, seed: int) -> LabelledImages:
    rng = torch.Generator().manual_seed(seed)
    return LabelledImages(
        torch.randint(0, 256, (count, 1, 28, 28), generator=rng, dtype=torch.uint8), torch.arange(count) % 10
    )


@pytest.fixture
def pair() -> tuple[nn.Module, nn.Module]:
    return networks.build_pair("mlp", seed=0, latent=3, width=8, conditional=True, spectral_norm=True)


@pytest.fixture
def watching(pair: tuple[nn.Module, nn.Module]) -> watch.Watch:
    extractor = networks.build("conv-classifier", seed=9, width=2).eval()
    return watch.Watch(
        *pair,
        extractor,
        train=pictures(300, 1),
        heldout=pictures(200, 2),
        latent=3,
        settings=SETTINGS,
        seed=0,
    )


def test_a_check_is_made_of_the_numbers_of_quality(
    watching: watch.Watch, pair: tuple[nn.Module, nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    fid = quality.fid
    monkeypatch.setattr(quality, "fid", lambda real, made: seen.extend([real, made]) or fid(real, made))
    check = watching.look(images_seen=70)
    assert check.images_seen == 70
    assert [len(features) for features in seen] == [100, 100]
    assert check.fid == fid(*seen) > 0
    assert 1 <= check.classes <= 10
    assert 0 <= check.diversity < 1  # an untrained generator's images are nearly all alike
    discriminator = pair[1].eval()
    with torch.no_grad():
        expected = [
            discriminator(data.images[:100].float() / 127.5 - 1, data.labels[:100]).mean().item()
            for data in (pictures(300, 1), pictures(200, 2))
        ]
    assert [check.train_score, check.heldout_score] == pytest.approx(expected, rel=1e-4)
    assert check.train_score != check.heldout_score


def test_looking_changes_neither_network_nor_mode_and_says_the_same_twice(
    watching: watch.Watch, pair: tuple[nn.Module, nn.Module]
) -> None:
    before = [{k: v.clone() for k, v in network.state_dict().items()} for network in pair]
    state = torch.random.get_rng_state()
    assert watching.look(1)[1:] == watching.look(2)[1:]
    for network, old in zip(pair, before, strict=True):
        assert network.training
        assert all(torch.equal(value, old[key]) for key, value in network.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    pair[1](torch.zeros(1, 1, 28, 28), torch.zeros(1, dtype=torch.int64)).sum().backward()  # still trainable


def scored(watching: watch.Watch, monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
    following = iter(scores)
    monkeypatch.setattr(quality, "fid", lambda *_: next(following))


def test_the_best_generator_is_kept_and_not_the_last(
    watching: watch.Watch, pair: tuple[nn.Module, nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(watching, monkeypatch, [9.0, 4.0, 6.0, 4.0])
    kept: list[Tensor] = []
    for step in range(4):
        with torch.no_grad():
            for parameter in pair[0].parameters():
                parameter.add_(0.01)
        if step == 1:
            kept = weights(pair[0])
        watching.look(step * 10)
    assert (watching.best.images_seen, watching.best.fid) == (10, 4.0)  # the earlier of two equals
    assert not same(weights(pair[0]), kept)
    pair[0].load_state_dict(watching.best_weights)
    assert same(weights(pair[0]), kept)


def test_pictures_and_checks_come_evenly_and_a_state_goes_on_from_there(
    watching: watch.Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(watching, monkeypatch, [9.0, 4.0, 6.0, 8.0])
    watching._settings = dataclasses.replace(SETTINGS, checks=3, grids=2)
    watching.look(0)
    for step in range(1, 5):
        watching.see(Report(step * 10, *[0.5] * 7), step / 6)
    state = watching.state_dict()
    watching.load_state_dict(state)
    for step in range(5, 7):
        watching.see(Report(step * 10, *[0.5] * 7), step / 6)
    assert [report.images_seen for report in watching.curves] == [10, 20, 30, 40, 50, 60]
    assert [check.images_seen for check in watching.checks] == [0, 20, 40, 60]  # the first third is step 2
    assert list(watching.grids) == [50, 100]
    assert watching.grids[50].shape == (280, 280)
    assert watching.best is watching.checks[1]


def test_patience_counts_the_checks_after_the_best(
    watching: watch.Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(watching, monkeypatch, [9.0, 4.0, 6.0, 3.0, 3.5, 3.0])
    exhausted = []
    for step in range(6):
        watching.look(step)
        exhausted.append(watching.exhausted)
    assert exhausted == [False, False, False, False, False, True]  # patience is 2


def test_small_sets_are_compared_whole(pair: tuple[nn.Module, nn.Module], monkeypatch: Any) -> None:
    asked: list[int] = []
    blocks = sampling.blocks
    monkeypatch.setattr(
        sampling,
        "blocks",
        lambda network, count, **rest: asked.append(count) or blocks(network, count, **rest),
    )
    extractor = networks.build("conv-classifier", seed=9, width=2).eval()
    small = watch.Watch(
        *pair, extractor, train=pictures(300, 1), heldout=pictures(40, 2), latent=3, settings=SETTINGS, seed=0
    )
    small.look(0)
    assert asked == [40]
