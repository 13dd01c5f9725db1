"""The adversarial loop: how often each half steps, what it reports, who changes what, when it gives up."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from conftest import same, weights
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from src import adversarial, batches, losses, networks
from src.adversarial import Report
from src.errors import PipelineError


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
            "penalty_decay": 1.0,
            "schedules": [],
            "reports": 2,
            "progress": adversarial.Progress(),
            "pause": lambda: None,
            "batches": batches.Shuffled(40, 10, torch.Generator().manual_seed(1)),
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
        self.optimizer_d = optimizers["d"]

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


def test_a_report_holds_this_steps_gradient_norms_and_learning_rate() -> None:
    run = Run(lr_g=0.25, reports=2)
    first = next(run.reports)
    for network, found in ((run.d, first.d_gradient), (run.g, first.g_gradient)):
        squares = sum(parameter.grad.square().sum().item() for parameter in network.parameters())
        assert found == pytest.approx(squares**0.5, rel=1e-5)
        assert found > 0
    assert first.learning_rate == 0.25


def test_a_gradient_that_is_not_finite_stops_the_run_at_the_next_report() -> None:
    run = Run()
    run.optimizer_d.register_step_post_hook(lambda *_: next(run.d.parameters()).grad.fill_(float("nan")))
    with pytest.raises(
        adversarial.NonFiniteError, match=r"diverged: discriminator gradient is nan at step 3; lower"
    ):
        list(run.reports)


def test_a_run_that_goes_on_counts_steps_images_and_reports_from_where_it_was() -> None:
    assert [report.images_seen for report in Run(reports=3).reports] == [20, 40, 60]
    later = Run(reports=3, progress=adversarial.Progress(step=3), critic_steps=2)
    assert [report.images_seen for report in later.reports] == [40, 60]
    assert later.log == ["d", "g", "d", "d", "g"]  # steps 4, 5 and 6: the generator at 4 and 6


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
    assert [labels.tolist() for labels in asked] == [real.tolist()]
    assert [labels.tolist() for labels in shown] == [real.tolist() * 2, real.tolist()]
    assert len(set(real.tolist())) > 1


def test_the_noise_is_drawn_afresh_for_every_batch() -> None:
    run = Run(images_total=20, reports=1)
    drawn: list[Tensor] = []
    run.g.register_forward_hook(lambda _, inputs, output: drawn.append(inputs[0]))
    list(run.reports)
    assert [latents.shape for latents in drawn] == [(10, 3)] * 2
    values = torch.cat(drawn).flatten().tolist()
    assert len(set(values)) == len(values)


def test_the_generator_steps_on_the_images_that_the_discriminator_has_just_seen() -> None:
    run = Run(images_total=20, reports=1)
    shown: list[Tensor] = []
    run.d.register_forward_hook(lambda _, inputs, output: shown.append(inputs[0].detach()))
    list(run.reports)
    assert [len(pictures) for pictures in shown] == [20, 10] * 2  # real and generated, then generated alone
    assert torch.equal(shown[0][10:], shown[1])
    assert torch.equal(shown[2][10:], shown[3])
    assert not torch.equal(shown[1], shown[3])


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
        return run.d.head.score.bias.sum()

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


def test_a_penalty_fades_geometrically_to_what_is_left_at_the_end() -> None:
    def penalty(*_: Any, **__: Any) -> Tensor:
        return run.d.head.score.bias.sum()

    run = Run(loss=counted([0.0] * 9, [0.0] * 9), penalty=penalty, penalty_weight=0.5, penalty_every=3,
              penalty_decay=0.04)  # fmt: skip
    before = run.d.head.score.bias.item()
    list(run.reports)
    # Steps 3 and 6 of 6: 0.1 * 0.5 * 3 times 0.04^0.5 = 0.2 and 0.04.
    assert run.d.head.score.bias.item() == pytest.approx(before - 0.15 * (0.2 + 0.04), rel=1e-5)


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
