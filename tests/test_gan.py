"""gan.Run: a recipe's row to a run, and that every recipe really trains."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, same, weights
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from src import adversarial, config, gan, images, losses, penalties
from src.adversarial import Report

RECIPES = config.load(ROOT / "params.yaml", ROOT / "src" / "datasets.yaml").recipes
TINY = dataclasses.replace(RECIPES["mlp"], latent=3, width=4, batch_size=10, images=60)


@pytest.fixture
def data(image_set: Path) -> images.LabelledImages:
    return images.read(image_set, "train")


def start(
    recipe: config.Recipe, data: images.LabelledImages, *, seed: int, reports: int
) -> tuple[nn.Module, Iterator[Report]]:
    """A run's averaged generator, and its reports."""
    run = gan.Run(recipe, data, seed=seed, reports=reports, retry_factor=0.5, pause=lambda: None)
    return run.generator, iter(run)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `gan.Run` hands to the loop, run by run."""
    calls: list[dict[str, Any]] = []
    train = adversarial.train

    def spy(
        generator: nn.Module, discriminator: nn.Module, average: AveragedModel, loss: Any, **rest: Any
    ) -> Any:
        calls.append({"generator": generator, "discriminator": discriminator, "loss": loss, **rest})
        calls[-1]["first_step"] = rest["progress"].step
        return train(generator, discriminator, average, loss, **rest)

    monkeypatch.setattr(adversarial, "train", spy)
    return calls


def test_the_average_follows_the_recursion(
    data: images.LabelledImages, started: list[dict[str, Any]]
) -> None:
    average, reports = start(dataclasses.replace(TINY, ema=0.35), data, seed=0, reports=1)
    history: list[list[Tensor]] = []
    generator = started[0]["generator"]
    started[0]["optimizer_g"].register_step_post_hook(lambda *_: history.append(weights(generator)))
    list(reports)
    assert len(history) == 6
    # The first weights are taken as they are; then a = d a + (1 - d) w, d = (1 + n) / (10 + n), at most 0.35.
    expected = history[0]
    for decay, following in zip((2 / 11, 3 / 12, 4 / 13, 0.35, 0.35), history[1:], strict=True):
        expected = [decay * a + (1 - decay) * w for a, w in zip(expected, following, strict=True)]
    torch.testing.assert_close(weights(average), expected)
    assert not same(weights(average), weights(generator))


def test_without_averaging_the_generator_itself_comes_out(
    data: images.LabelledImages, started: list[dict[str, Any]]
) -> None:
    average, reports = start(dataclasses.replace(TINY, ema=0), data, seed=0, reports=1)
    list(reports)
    assert same(weights(average), weights(started[0]["generator"]))


def test_a_recipe_reaches_networks_loss_and_optimisers(
    data: images.LabelledImages, started: list[dict[str, Any]]
) -> None:
    recipe = config.Recipe(
        loss="lsgan",
        network="mlp",
        conditional=False,
        latent=5,
        width=6,
        spectral_norm=True,
        batch_size=7,
        images=77,
        critic_steps=2,
        weight_clip=0.3,
        penalty="r1",
        penalty_weight=0.7,
        penalty_every=3,
        penalty_decay=0.2,
        learning_rate=0.004,
        beta1=0.25,
        beta2=0.75,
        decay_from=0.5,
        ema=0.5,
    )
    average, _ = start(recipe, data, seed=0, reports=4)
    (call,) = started
    options = {"latent": 5, "width": 6, "conditional": False}
    assert average.built_from == {"name": "mlp-generator", "options": options}
    assert call["discriminator"].built_from["options"] == {
        "width": 6,
        "conditional": False,
        "spectral_norm": True,
    }
    assert call["loss"] is losses.LOSSES["lsgan"]
    for name, network in (("optimizer_g", call["generator"]), ("optimizer_d", call["discriminator"])):
        (group,) = call[name].param_groups
        assert (group["lr"], group["betas"]) == (0.004, (0.25, 0.75))
        assert {id(p) for p in group["params"]} == {id(p) for p in network.parameters()}
    expected = {
        "latent": 5,
        "images_total": 77,
        "batch_size": 7,
        "critic_steps": 2,
        "weight_clip": 0.3,
        "penalty": penalties.r1,
        "penalty_weight": 0.7,
        "penalty_every": 3,
        "penalty_decay": 0.2,
        "reports": 4,
    }
    assert {name: call[name] for name in expected} == expected
    streams = (call["noise"], call["mix"], call["batches"]._rng)
    assert len({rng.initial_seed() for rng in streams}) == 3


def test_the_learning_rate_falls_linearly_to_nothing_over_the_last_part(
    data: images.LabelledImages, started: list[dict[str, Any]]
) -> None:
    # Ten steps, decay from 0.6: the first six at the full rate, then 4/4, 3/4, 2/4, 1/4 of it are left.
    recipe = dataclasses.replace(TINY, images=100, learning_rate=0.1, decay_from=0.6)
    _, reports = start(recipe, data, seed=0, reports=1)
    (call,) = started
    rates: dict[str, list[float]] = {"optimizer_g": [], "optimizer_d": []}
    for name, found in rates.items():
        call[name].register_step_pre_hook(
            lambda optimizer, *_, found=found: found.append(optimizer.param_groups[0]["lr"])
        )
    list(reports)
    expected = [0.1] * 7 + [0.075, 0.05, 0.025]
    assert rates["optimizer_g"] == pytest.approx(expected)
    assert rates["optimizer_d"] == pytest.approx(expected)


def test_a_rate_that_never_falls_stays_exactly_the_same(
    data: images.LabelledImages, started: list[dict[str, Any]]
) -> None:
    _, reports = start(dataclasses.replace(TINY, learning_rate=0.1, decay_from=1), data, seed=0, reports=1)
    list(reports)
    assert started[0]["optimizer_g"].param_groups[0]["lr"] == 0.1


# Falling back


def broken_at(bad: set[int], which: str = "discriminator") -> losses.Loss:
    """The usual loss, whose so-many-th values of one half are NaN."""
    count = 0
    halves = losses.LOSSES["gan"]._asdict()
    whole = halves[which]

    def half(*, real: Tensor, fake: Tensor) -> Tensor:
        nonlocal count
        count += 1
        value = whole(real=real, fake=fake)
        return value * float("nan") if count in bad else value

    return losses.Loss(**halves | {which: half})


def broken_run(
    data: images.LabelledImages, monkeypatch: pytest.MonkeyPatch, bad: set[int], **changes: Any
) -> gan.Run:
    monkeypatch.setitem(losses.LOSSES, "gan", broken_at(bad))
    recipe = dataclasses.replace(TINY, learning_rate=0.1, **changes)
    return gan.Run(recipe, data, seed=0, reports=3, retry_factor=0.25, pause=lambda: None)


def test_a_step_that_is_not_finite_goes_back_once_at_a_lower_rate(
    data: images.LabelledImages,
    monkeypatch: pytest.MonkeyPatch,
    started: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Reports after steps 2, 4 and 6; step 4 is NaN: back to step 2, then steps 3 to 6 once more.
    run = broken_run(data, monkeypatch, {4})
    (call,) = started
    snapshots: list[list[Tensor]] = []
    rates: list[float] = []

    def before_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        snapshots.append(weights(call["discriminator"]) + weights(run.generator))
        rates.append(optimizer.param_groups[0]["lr"])

    call["optimizer_d"].register_step_pre_hook(before_step)
    found = list(run)
    assert [report.images_seen for report in found] == [20, 40, 60]
    assert run.retries == 1
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.025, 0.025, 0.025, 0.025])
    assert [report.learning_rate for report in found] == pytest.approx([0.1, 0.025, 0.025])
    assert started[1]["first_step"] == 2
    # The second third step starts from the weights that the first one started from.
    assert same(snapshots[3], snapshots[2])
    assert not same(snapshots[4], snapshots[2])
    said = " ".join(capsys.readouterr().out.split())
    assert "discriminator loss is nan at step 4" in said
    assert "going back to step 2, from there with 0.25 times the learning rate" in said


def test_before_the_first_report_it_goes_back_to_the_start(
    data: images.LabelledImages, monkeypatch: pytest.MonkeyPatch, started: list[dict[str, Any]]
) -> None:
    run = broken_run(data, monkeypatch, {2})
    untrained = weights(run.generator)
    history: list[list[Tensor]] = []
    started[0]["optimizer_d"].register_step_pre_hook(lambda *_: history.append(weights(run.generator)))
    assert [report.images_seen for report in run] == [20, 40, 60]
    assert [call["first_step"] for call in started] == [0, 0]
    assert same(history[1], untrained)


def test_a_generators_step_that_is_not_finite_goes_back_too(
    data: images.LabelledImages, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(losses.LOSSES, "gan", broken_at({3}, "generator"))
    run = gan.Run(TINY, data, seed=0, reports=3, retry_factor=0.25, pause=lambda: None)
    assert [report.images_seen for report in run] == [20, 40, 60]
    assert run.retries == 1
    assert "generator loss is nan at step 3" in " ".join(capsys.readouterr().out.split())


def test_the_second_time_it_gives_up(data: images.LabelledImages, monkeypatch: pytest.MonkeyPatch) -> None:
    run = broken_run(data, monkeypatch, {4, 6})
    with pytest.raises(adversarial.NonFiniteError, match=r"discriminator loss is nan at step 4; lower"):
        list(run)
    assert run.retries == 1
    assert all(w.isfinite().all() for w in weights(run.generator))


def test_the_schedule_goes_on_from_where_it_was(
    data: images.LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Rates without a fault: 0.1 up to step 4, then 0.1 (step 5 of 6: 2/2 of it are left), 0.05.
    run = broken_run(data, monkeypatch, {5}, decay_from=2 / 3)
    rates: list[float] = []
    for report in run:
        rates.append(report.learning_rate)
    assert rates == pytest.approx([0.1, 0.1, 0.25 * 0.05])


# Reproducibility


def test_a_seed_gives_the_same_bytes_and_another_one_others(data: images.LabelledImages) -> None:
    def trained(seed: int, disturbance: int) -> tuple[list[bytes], list[Report]]:
        torch.manual_seed(disturbance)
        average, reports = start(TINY, data, seed=seed, reports=3)
        found = list(reports)
        return [w.numpy().tobytes() for w in weights(average)], found

    once = trained(4, 1)
    assert trained(4, 2) == once
    others = trained(5, 1)
    assert all(a != b for a, b in zip(once[0], others[0], strict=True))
    assert once[1] != others[1]


def test_the_first_weights_depend_on_the_seed_too(data: images.LabelledImages) -> None:
    first, again, other = (weights(start(TINY, data, seed=seed, reports=1)[0]) for seed in (4, 4, 5))
    assert same(first, again)
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_takes_real_steps(data: images.LabelledImages, name: str) -> None:
    recipe = RECIPES[name]
    recipe = dataclasses.replace(recipe, images=4 * recipe.critic_steps * recipe.batch_size)
    average, reports = start(recipe, data, seed=0, reports=2)
    before = weights(average)
    found = list(reports)
    assert [report.images_seen for report in found] == [recipe.images // 2, recipe.images]
    assert torch.tensor(found).isfinite().all()
    assert all(report.d_loss != 0 != report.g_loss for report in found)
    for old, new in zip(before, weights(average), strict=True):
        assert new.isfinite().all()
        assert not torch.equal(old, new)


def test_the_discriminator_learns_to_tell_real_from_generated(data: images.LabelledImages) -> None:
    recipe = dataclasses.replace(RECIPES["mlp"], width=16, batch_size=50, images=50 * 200)
    _, reports = start(recipe, data, seed=0, reports=4)
    first = next(iter(reports))
    assert first.real_score > first.fake_score + 0.5


def test_a_conditional_generator_learns_what_the_classes_look_like(data: images.LabelledImages) -> None:
    recipe = dataclasses.replace(
        RECIPES["mlp"], width=32, batch_size=50, learning_rate=0.001, images=50 * 500, ema=0.95
    )
    average, reports = start(recipe, data, seed=0, reports=1)
    list(reports)
    labels = torch.arange(200) % 10
    with torch.no_grad():
        pictures = average(
            torch.randn(200, recipe.latent, generator=torch.Generator().manual_seed(0)), labels
        )
    # The class is where the bright bar is: rows 4 + 2 label and the next.
    bars = torch.stack(
        [pictures[:, 0, 4 + 2 * c : 6 + 2 * c, 6:22].mean(dim=(1, 2)) for c in range(10)], dim=1
    )
    assert (bars.argmax(dim=1) == labels).double().mean() > 0.7  # 1.0 with each of six seeds; by chance 0.1
