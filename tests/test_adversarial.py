"""The adversarial loop: how often each half steps, what it reports, and that every recipe really trains."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from src import adversarial, config, gan, images, losses, networks, penalties
from src.adversarial import Report
from src.errors import PipelineError

RECIPES = config.load(ROOT / "params.yaml", ROOT / "src" / "datasets.yaml").recipes
TINY = dataclasses.replace(RECIPES["gan"], latent=3, width=4, batch_size=10, images=60)


def weights(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


class Run:
    """A run of `adversarial.train` on 40 noise images, with plain gradient descent and a log of its steps."""

    def __init__(self, lr_g: float = 0.1, lr_d: float = 0.1, **changes: Any) -> None:
        self.g, self.d = networks.build_pair(
            "mlp", seed=0, latent=3, width=4, conditional=True, spectral_norm=False
        )
        self.log: list[str] = []
        optimizers = {}
        for name, network, lr in (("g", self.g, lr_g), ("d", self.d, lr_d)):
            optimizers[name] = torch.optim.SGD(network.parameters(), lr)
            optimizers[name].register_step_post_hook(lambda *_, name=name: self.stepped(name))
        rng = torch.Generator().manual_seed(0)
        settings = {
            "loss": losses.LOSSES["gan"],
            "images": torch.randint(0, 256, (40, 1, 28, 28), generator=rng, dtype=torch.uint8),
            "labels": torch.arange(40) % 10,
            "latent": 3,
            "images_total": 60,
            "batch_size": 10,
            "critic_steps": 1,
            "weight_clip": 0.0,
            "penalty": None,
            "penalty_weight": 0.0,
            "penalty_every": 1,
            "schedules": [],
            "reports": 2,
            "shuffle": torch.Generator().manual_seed(1),
            "noise": torch.Generator().manual_seed(2),
            "mix": torch.Generator().manual_seed(3),
        }
        self.average = AveragedModel(self.g, multi_avg_fn=get_ema_multi_avg_fn(0.5))
        self.reports: Iterator[Report] = adversarial.train(
            self.g,
            self.d,
            self.average,
            optimizer_g=optimizers["g"],
            optimizer_d=optimizers["d"],
            **(settings | changes),
        )

    def stepped(self, name: str) -> None:
        self.log.append(name)


def counted(discriminator: list[float], generator: list[float]) -> losses.Loss:
    """A loss of given values, one after another."""

    def half(values: list[float]) -> losses.Half:
        following = iter(values)
        return lambda *, real, fake: next(following) + 0 * (real.sum() + fake.sum())

    return losses.Loss(half(discriminator), half(generator))


# Steps and reports


@pytest.mark.parametrize(
    ("critic_steps", "expected"), [(1, "dgdgdgdgdgdgdg"), (3, "dddgdddgd"), (7, "dddddddg")]
)
def test_the_generator_steps_after_so_many_steps_of_the_discriminator(
    critic_steps: int, expected: str
) -> None:
    run = Run(images_total=70, critic_steps=critic_steps)
    list(run.reports)
    assert "".join(run.log) == expected


def test_a_run_too_short_for_a_generator_step_is_refused() -> None:
    with pytest.raises(PipelineError, match=r"images is 70; allowed: at least 80"):
        list(Run(images_total=70, critic_steps=8).reports)


def test_no_report_comes_without_a_generator_step_to_tell_of() -> None:
    run = Run(images_total=70, critic_steps=3, reports=7)
    found = list(run.reports)
    assert [report.images_seen for report in found] == [40, 70]  # 2 generator steps: 2 reports
    assert all(report.g_loss != 0 for report in found)


@pytest.mark.parametrize(
    ("images_total", "reports", "expected"),
    [
        (120, 4, [30, 60, 90, 120]),
        (120, 1, [120]),
        (50, 5, [10, 20, 30, 40, 50]),
        (91, 5, [20, 40, 60, 80, 100]),  # rounded up to 10 whole batches
        (100, 3, [40, 70, 100]),  # steps 3.33 and 6.67, rounded up
    ],
)
def test_reports_come_at_equal_intervals(images_total: int, reports: int, expected: list[int]) -> None:
    run = Run(images_total=images_total, reports=reports)
    assert [report.images_seen for report in run.reports] == expected


def test_a_report_holds_means_since_the_last_one() -> None:
    # Six steps, two reports; the generator steps at 2, 4 and 6.
    loss = counted([1.0, 2.0, 6.0, 4.0, 5.0, 9.0], [10.0, 20.0, 30.0])
    first, second = Run(loss=loss, critic_steps=2).reports
    assert (first.d_loss, first.g_loss) == (3.0, 10.0)
    assert (second.d_loss, second.g_loss) == (6.0, 25.0)


def test_scores_are_the_discriminators_means_of_real_and_of_generated_images() -> None:
    run = Run(images_total=20, reports=1, lr_g=0.0, lr_d=0.0)
    seen: list[tuple[Tensor, Tensor]] = []
    run.d.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output.detach())))
    (report,) = run.reports
    both = [(pictures, scores) for pictures, scores in seen if len(scores) == 20]  # the discriminator's steps
    assert len(both) == 2
    real = torch.stack([scores[:10].mean() for _, scores in both]).mean().item()
    fake = torch.stack([scores[10:].mean() for _, scores in both]).mean().item()
    assert report.real_score == pytest.approx(real, rel=1e-5)
    assert report.fake_score == pytest.approx(fake, rel=1e-5)
    assert abs(real - fake) > 1e-3
    # The first half are the noise images, spread over [-1, 1]; the second an untrained generator's, near 0.
    assert both[0][0][:10].std() > 0.5
    assert both[0][0][10:].std() < 0.3


def test_generated_images_carry_the_labels_of_the_real_ones() -> None:
    run = Run(images_total=10, reports=1)
    asked: list[Tensor] = []
    shown: list[Tensor] = []
    run.g.register_forward_hook(lambda _, inputs, output: asked.append(inputs[1]))
    run.d.register_forward_hook(lambda _, inputs, output: shown.append(inputs[1]))
    list(run.reports)
    real = shown[0][:10]
    assert [labels.tolist() for labels in asked] == [real.tolist()] * 2
    assert [labels.tolist() for labels in shown] == [real.tolist() * 2, real.tolist()]
    assert len(set(real.tolist())) > 1


def test_the_noise_is_drawn_afresh_for_every_batch() -> None:
    run = Run(images_total=20, reports=1)
    drawn: list[Tensor] = []
    run.g.register_forward_hook(lambda _, inputs, output: drawn.append(inputs[0]))
    list(run.reports)
    assert [latents.shape for latents in drawn] == [(10, 3)] * 4
    values = torch.cat(drawn).flatten().tolist()
    assert len(set(values)) == len(values)


# Who changes what


def test_a_step_of_one_network_leaves_the_other_alone() -> None:
    class Watched(Run):
        def stepped(self, name: str) -> None:
            super().stepped(name)
            now = {"g": weights(self.g), "d": weights(self.d)}
            other = "d" if name == "g" else "g"
            assert same(now[other], self.before[other]), f"a step of {name} changed {other}"
            assert not same(now[name], self.before[name]), f"a step of {name} changed nothing"
            self.before = now

    run = Watched(critic_steps=2)
    run.before = {"g": weights(run.g), "d": weights(run.d)}
    list(run.reports)
    assert run.log == ["d", "d", "g"] * 3


def test_the_generators_step_leaves_no_gradient_in_the_discriminator() -> None:
    class Watched(Run):
        gradients = None

        def stepped(self, name: str) -> None:
            super().stepped(name)
            found = [parameter.grad.clone() for parameter in self.d.parameters()]
            if name == "g":
                assert same(found, self.gradients)
            self.gradients = found

    run = Watched()
    list(run.reports)
    assert len(run.log) == 12
    assert all(parameter.requires_grad for parameter in run.d.parameters())


def test_each_half_goes_down_its_own_loss() -> None:
    # With the other one frozen, a step on one batch lowers a network's loss, as the values tell.
    only_d = [report.d_loss for report in Run(lr_g=0.0, images_total=300, reports=3).reports]
    assert only_d[-1] < only_d[0] - 0.1
    only_g = [report.g_loss for report in Run(lr_d=0.0, lr_g=1.0, images_total=300, reports=3).reports]
    assert only_g[-1] < only_g[0] - 0.01


def test_weights_of_the_discriminator_are_clipped_after_each_step() -> None:
    class Watched(Run):
        def stepped(self, name: str) -> None:
            super().stepped(name)
            if name == "g":  # what the generator is trained against
                assert max(w.abs().max() for w in weights(self.d)) <= 0.02

    run = Watched(weight_clip=0.02, lr_d=1.0)
    list(run.reports)
    largest = [w.abs().max().item() for w in weights(run.d)]
    assert max(largest) == pytest.approx(0.02)
    assert run.log.count("g") == 6
    assert max(w.abs().max() for w in weights(run.g)) > 0.02


def test_a_clip_of_zero_clips_nothing() -> None:
    run = Run(weight_clip=0.0)
    list(run.reports)
    assert max(w.abs().max() for w in weights(run.d)) > 0.1


# Penalties


def test_a_penalty_counts_in_every_so_many_th_step_and_so_many_times_as_much() -> None:
    calls: list[tuple[Tensor, Tensor]] = []

    def penalty(discriminator: Any, *, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
        calls.append((real, fake))
        assert discriminator(real).shape == (10,)
        return torch.tensor(1.0, requires_grad=True) * bias(run)

    def bias(run: Run) -> Tensor:
        return run.d.score.bias.sum()

    # The loss itself has no slope: only the penalty moves the bias, by lr * weight * every = 0.1 * 0.5 * 3.
    flat = counted([0.0] * 9, [0.0] * 9)
    run = Run(loss=flat, penalty=penalty, penalty_weight=0.5, penalty_every=3)
    before = bias(run).item()
    reports = list(run.reports)
    assert len(calls) == 2  # steps 3 and 6 of 6
    assert bias(run).item() == pytest.approx(before - 2 * 0.15, rel=1e-5)
    assert [report.d_loss for report in reports] == [0.0, 0.0]  # reports tell of the loss without it
    real, fake = calls[0]
    assert real.std() > 0.5 > fake.std()


def test_a_penalty_that_is_not_finite_stops_the_run() -> None:
    def penalty(*_: Any, **__: Any) -> Tensor:
        return torch.tensor(float("nan"), requires_grad=True)

    with pytest.raises(PipelineError, match=r"diverged: discriminator loss is nan at step 2"):
        list(Run(penalty=penalty, penalty_weight=1.0, penalty_every=2).reports)


# Divergence


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_diverging_discriminator_is_named_with_its_step(value: float) -> None:
    run = Run(loss=counted([0.5, 0.5, value], [0.5] * 9), critic_steps=2)
    with pytest.raises(
        PipelineError, match=rf"training diverged: discriminator loss is {value} at step 3; lower"
    ):
        list(run.reports)


def test_a_diverging_generator_is_named_with_its_step() -> None:
    run = Run(loss=counted([0.5] * 9, [0.5, float("nan")]), critic_steps=2)
    with pytest.raises(PipelineError, match=r"training diverged: generator loss is nan at step 4; lower"):
        list(run.reports)
    run = Run(loss=losses.LOSSES["wgan"], lr_d=1e20, lr_g=1e20)
    with pytest.raises(
        PipelineError, match=r"training diverged: \w+ loss is (nan|-?inf) at step \d;"
    ) as error:
        list(run.reports)
    assert "\n" not in str(error.value)


# gan.start: a recipe to a run


@pytest.fixture
def data(image_set: Path) -> images.LabelledImages:
    return images.read(image_set, "train")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `gan.start` hands to the loop, run by run."""
    calls: list[dict[str, Any]] = []
    train = adversarial.train

    def spy(
        generator: nn.Module, discriminator: nn.Module, average: AveragedModel, loss: Any, **rest: Any
    ) -> Any:
        calls.append({"generator": generator, "discriminator": discriminator, "loss": loss, **rest})
        return train(generator, discriminator, average, loss, **rest)

    monkeypatch.setattr(adversarial, "train", spy)
    return calls


def test_the_average_follows_the_recursion(
    data: images.LabelledImages, started: list[dict[str, Any]]
) -> None:
    average, reports = gan.start(dataclasses.replace(TINY, ema=0.75), data, seed=0, reports=1)
    history: list[list[Tensor]] = []
    generator = started[0]["generator"]
    started[0]["optimizer_g"].register_step_post_hook(lambda *_: history.append(weights(generator)))
    list(reports)
    assert len(history) == 6
    # The first weights are taken as they are; then a = 0.75 a + 0.25 w.
    expected = history[0]
    for following in history[1:]:
        expected = [0.75 * a + 0.25 * w for a, w in zip(expected, following, strict=True)]
    torch.testing.assert_close(weights(average), expected)
    assert not same(weights(average), weights(generator))


def test_without_averaging_the_generator_itself_comes_out(
    data: images.LabelledImages, started: list[dict[str, Any]]
) -> None:
    average, reports = gan.start(dataclasses.replace(TINY, ema=0), data, seed=0, reports=1)
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
        learning_rate=0.004,
        beta1=0.25,
        beta2=0.75,
        decay_from=0.5,
        ema=0.5,
    )
    average, _ = gan.start(recipe, data, seed=0, reports=4)
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
        "reports": 4,
    }
    assert {name: call[name] for name in expected} == expected
    assert len({call[name].initial_seed() for name in ("shuffle", "noise", "mix")}) == 3


def test_the_learning_rate_falls_linearly_to_nothing_over_the_last_part(
    data: images.LabelledImages, started: list[dict[str, Any]]
) -> None:
    # Ten steps, decay from 0.6: the first six at the full rate, then 4/4, 3/4, 2/4, 1/4 of it are left.
    recipe = dataclasses.replace(TINY, images=100, learning_rate=0.1, decay_from=0.6)
    _, reports = gan.start(recipe, data, seed=0, reports=1)
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
    _, reports = gan.start(
        dataclasses.replace(TINY, learning_rate=0.1, decay_from=1), data, seed=0, reports=1
    )
    list(reports)
    assert started[0]["optimizer_g"].param_groups[0]["lr"] == 0.1


def test_a_seed_gives_the_same_bytes_and_another_one_others(data: images.LabelledImages) -> None:
    def trained(seed: int, disturbance: int) -> tuple[list[bytes], list[Report]]:
        torch.manual_seed(disturbance)
        average, reports = gan.start(TINY, data, seed=seed, reports=3)
        found = list(reports)
        return [w.numpy().tobytes() for w in weights(average)], found

    once = trained(4, 1)
    assert trained(4, 2) == once
    others = trained(5, 1)
    assert all(a != b for a, b in zip(once[0], others[0], strict=True))
    assert once[1] != others[1]


def test_the_first_weights_depend_on_the_seed_too(data: images.LabelledImages) -> None:
    first, again, other = (weights(gan.start(TINY, data, seed=seed, reports=1)[0]) for seed in (4, 4, 5))
    assert same(first, again)
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_takes_real_steps(data: images.LabelledImages, name: str) -> None:
    recipe = RECIPES[name]
    recipe = dataclasses.replace(recipe, images=4 * recipe.critic_steps * recipe.batch_size)
    average, reports = gan.start(recipe, data, seed=0, reports=2)
    before = weights(average)
    found = list(reports)
    assert [report.images_seen for report in found] == [recipe.images // 2, recipe.images]
    assert torch.tensor(found).isfinite().all()
    assert all(report.d_loss != 0 != report.g_loss for report in found)
    for old, new in zip(before, weights(average), strict=True):
        assert new.isfinite().all()
        assert not torch.equal(old, new)


def test_the_discriminator_learns_to_tell_real_from_generated(data: images.LabelledImages) -> None:
    recipe = dataclasses.replace(RECIPES["gan"], width=16, batch_size=50, images=50 * 200)
    _, reports = gan.start(recipe, data, seed=0, reports=4)
    first = next(iter(reports))
    assert first.real_score > first.fake_score + 0.5


def test_a_conditional_generator_learns_what_the_classes_look_like(data: images.LabelledImages) -> None:
    recipe = dataclasses.replace(
        RECIPES["gan"], width=32, batch_size=50, learning_rate=0.001, images=50 * 500, ema=0.95
    )
    average, reports = gan.start(recipe, data, seed=0, reports=1)
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
