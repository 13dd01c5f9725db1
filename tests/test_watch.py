"""The watch: what a check measures, which generator it keeps, when it says stop; looking changes nothing."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from conftest import GREY, ROOT, same, weights
from torch import Tensor, nn

from src.classifiers import supervised
from src.core import params
from src.core.checkpoint import Checkpoint
from src.core.seeding import generator_for
from src.core.settings import Supervised
from src.datasets.labelled import Labelled
from src.datasets.spec import ImageSpec
from src.gan import games, losses, verdict
from src.gan.gan import Gan
from src.gan.loop import NonFiniteError, Report
from src.gan.run import Run
from src.gan.watch import Check, Watch
from src.networks import sampling
from src.networks.classifier import ConvClassifier
from src.networks.network import build
from src.scores import frechet, manifold, variety
from src.scores.extractor import Embedded

PARAMS = params.read(ROOT / "params.yaml", ROOT / "src/datasets/table.yaml")
SETTINGS = dataclasses.replace(PARAMS.watch, check_images=100, patience=2, neighbours=3)
RECIPE = dataclasses.replace(
    games.recipe(PARAMS.recipes["mlp"], "recipes.mlp"),
    latent=3,
    width=8,
    spectral_norm=True,
    batch_size=10,
    images=60,
)
COLOUR = ImageSpec(channels=3, height=20, width=28, classes=7)


def pictures(count: int, seed: int, spec: ImageSpec = GREY) -> Labelled:
    rng = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, *spec.shape), generator=rng, dtype=torch.uint8)
    return Labelled(pixels, torch.arange(count) % spec.classes)


def watch(game: Gan, spec: ImageSpec = GREY, heldout: int = 200, **changes: Any) -> Watch:
    return Watch(
        game,
        build(ConvClassifier, spec, seed=9, width=2).eval(),
        train=pictures(300, 1, spec),
        heldout=pictures(heldout, 2, spec),
        settings=dataclasses.replace(SETTINGS, **changes),
        seed=0,
    )


@pytest.fixture
def game() -> Gan:
    return Gan(RECIPE, GREY, pictures(300, 1), seed=0)


@pytest.fixture
def watching(game: Gan) -> Watch:
    return watch(game)


def report(images_seen: int) -> Report:
    return {"images_seen": images_seen, "d_loss": 0.5, "g_loss": 0.25, "learning_rate": 0.1}


# Checks


def test_a_check_is_made_of_the_numbers_of_scores(
    watching: Watch, game: Gan, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    fid = frechet.fid
    monkeypatch.setattr(frechet, "fid", lambda real, made: seen.extend([real, made]) or fid(real, made))
    check = watching.look(images_seen=70)
    assert check.images_seen == 70
    assert [len(features) for features in seen] == [100, 100]
    assert check.fid == fid(*seen) > 0
    assert 1 <= check.classes <= 10
    assert 0 <= check.diversity < 1  # an untrained generator's images are nearly all alike
    discriminator = game.discriminator.eval()
    with torch.no_grad():
        expected = [
            discriminator(data.pixels[:100].float() / 127.5 - 1, data.given[:100]).mean().item()
            for data in (pictures(300, 1), pictures(200, 2))
        ]
    assert [check.train_score, check.heldout_score] == pytest.approx(expected, rel=1e-4)
    assert check.train_score != check.heldout_score


def test_precision_and_recall_are_of_real_against_generated_features(
    watching: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def overlap(real: Tensor, generated: Tensor, *, neighbours: int) -> manifold.Overlap:
        asked.append(neighbours)
        # The generated ones are nearly all alike.
        assert real.var(dim=0).sum() > 2 * generated.var(dim=0).sum()
        return manifold.Overlap(precision=0.1, recall=0.2, density=0.3, coverage=0.4)

    monkeypatch.setattr(manifold, "overlap", overlap)
    check = watching.look(0)
    assert (check.precision, check.recall) == (0.1, 0.2)
    assert asked == [3]


def test_agreement_is_with_the_class_that_was_asked_for(
    watching: Watch, game: Gan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn(classes: Tensor) -> Watch:
        """A watch whose generated images the extractor takes for these classes, the real ones for 3."""
        logits = iter([torch.full((100,), 3), torch.full((100,), 3), classes])

        def embed(extractor: object, pixels: Tensor) -> Embedded:
            features = torch.rand(len(pixels), 4, generator=torch.Generator().manual_seed(1))
            return Embedded(features, nn.functional.one_hot(next(logits), 10).float())

        monkeypatch.setattr("src.gan.watch.embed", embed)
        return watch(game)

    asked = torch.arange(100) % 10
    assert drawn(asked).look(0).agreement == 1
    shifted = drawn(torch.where(torch.arange(100) < 25, asked, (asked + 1) % 10))
    assert shifted.look(0).agreement == 0.25
    # Of the held-out real images, whose labels go round, one in ten is a 3.
    assert shifted.real["agreement"] == 0.1
    assert shifted.real["classes"] == 1


def test_real_images_are_scored_as_generated_ones_are(watching: Watch) -> None:
    fields = set(Check._fields) - {"images_seen", "fid", "train_score", "heldout_score"}
    assert set(watching.real) == fields
    # Noise against other noise of the same kind.
    assert watching.real["precision"] > 0.5 < watching.real["coverage"]
    assert 0.5 < watching.real["diversity"] < 2


def test_a_class_is_covered_from_its_part_of_a_fair_share_on(
    game: Gan, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of ten classes a fair share is 0.1, and 0.05 of that is 0.005.
    shares = torch.tensor([0.985, 0.005, 0.0051, 0.0049, *[0.0] * 6], dtype=torch.float64)
    monkeypatch.setattr(variety, "class_shares", lambda _: shares)
    check = watch(game, class_share=0.05).look(0)
    assert check.classes == 3
    # 0.985 log 9.85 + 0.005 log 0.05 + 0.0051 log 0.051 + 0.0049 log 0.049
    assert check.class_kl == pytest.approx(2.2082254, abs=1e-6)
    assert watch(game, class_share=0.5).look(0).classes == 1
    monkeypatch.setattr(variety, "class_shares", lambda _: torch.full((4,), 0.25, dtype=torch.float64))
    assert watch(game, class_share=1.0).look(0)[2:4] == (4, 0.0)


def test_looking_changes_neither_network_nor_mode_and_says_the_same_twice(watching: Watch, game: Gan) -> None:
    pair = (game.generator, game.discriminator)
    before = [{k: v.clone() for k, v in network.state_dict().items()} for network in pair]
    state = torch.random.get_rng_state()
    assert watching.look(1)[1:] == watching.look(2)[1:]
    for network, old in zip(pair, before, strict=True):
        assert network.training
        assert all(torch.equal(value, old[key]) for key, value in network.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    game.discriminator(torch.zeros(1, 1, 28, 28), torch.zeros(1).long()).sum().backward()  # still trainable


def test_small_sets_are_compared_whole(game: Gan, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    blocks = sampling.blocks
    monkeypatch.setattr(
        sampling,
        "blocks",
        lambda network, count, **rest: asked.append(count) or blocks(network, count, **rest),
    )
    watch(game, heldout=40).look(0)
    assert asked == [40]


def test_colour_images_of_other_classes_are_watched_too() -> None:
    watching = watch(Gan(RECIPE, COLOUR, pictures(40, 1, COLOUR), seed=0), COLOUR, grids=1)
    check = watching.look(0)
    assert 1 <= check.classes <= 7
    watching.see(report(60), 1.0)
    assert watching.grids[100].shape == (70, 3, 20, 28)


def bars(count: int, seed: int) -> Labelled:
    """Noise with a bright bar whose row tells the class."""
    pixels = torch.randint(
        0, 60, (count, 1, 28, 28), generator=generator_for("bars", seed), dtype=torch.uint8
    )
    labels = torch.arange(count) % 10
    for image, label in zip(pixels, labels.tolist(), strict=True):
        image[0, 4 + 2 * label : 6 + 2 * label, 6:22] = 255
    return Labelled(pixels, labels)


@pytest.mark.slow
def test_a_generator_whose_labels_were_shuffled_is_judged_mislabelled() -> None:
    train, heldout = bars(1000, 1), bars(200, 2)
    extractor = build(ConvClassifier, GREY, seed=3, width=4)
    how = Supervised(width=4, epochs=2, batch_size=50, learning_rate=0.01, shift=0)
    rng = generator_for("test", 0)
    supervised.fit(extractor, train, how, rng=rng, title="test", checkpoint=Checkpoint(None))
    recipe = games.recipe(PARAMS.recipes["gan"], "recipes.gan")
    recipe = dataclasses.replace(recipe, width=8, latent=8, batch_size=25, images=6000, ema=0.9)
    settings = dataclasses.replace(SETTINGS, checks=1, log_points=1, check_images=200)
    found = {}
    for name, labels in {
        "told": train.given,
        "shuffled": train.given[torch.randperm(1000, generator=rng)],
    }.items():
        game = games.start(recipe, GREY, Labelled(train.pixels, labels), seed=0)
        data = {"train": train, "heldout": heldout}
        watching = Watch(game, extractor, **data, settings=settings, seed=0)
        end = watching.follow(Run(game, recipe, settings, pause=lambda: None), images=6000, title=name)
        check = watching.checks[-1]
        # So short a run has no image that looks real: of the other numbers, those of real images are judged.
        judged = verdict.judge(
            end["real"] | {"agreement": check.agreement},
            end["real"],
            fid_left=check.fid / watching.checks[0].fid,
            **{key: end[key] for key in ("conditional", "exhausted", "non_finite")},
            thresholds=PARAMS.verdict,
        )
        found[name] = check.agreement, judged.outcome
    assert found["told"] == (pytest.approx(0.98, abs=0.03), "still improving")
    assert found["shuffled"] == (pytest.approx(0.1, abs=0.06), "mislabelled")


# What it keeps


def scored(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
    following = iter(scores)
    monkeypatch.setattr(frechet, "fid", lambda *_: next(following))


def test_the_best_generator_is_kept_and_not_the_last(
    watching: Watch, game: Gan, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(monkeypatch, [9.0, 4.0, 6.0, 4.0])
    kept: list[Tensor] = []
    for step in range(4):
        with torch.no_grad():
            for parameter in game.generator.parameters():
                parameter.add_(0.01)
        if step == 1:
            kept = weights(game.generator)
        watching.look(step * 10)
    assert (watching.best.images_seen, watching.best.fid) == (10, 4.0)  # the earlier of two equals
    assert not same(weights(game.generator), kept)
    best = watching.best_generator()
    assert best is game.generator
    assert same(weights(best), kept)


def test_pictures_and_checks_come_evenly_and_a_state_goes_on_from_there(
    game: Gan, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(monkeypatch, [9.0, 4.0, 6.0, 8.0])
    first = watch(game, checks=3, grids=2)
    first.look(0)
    for step in range(1, 5):
        first.see(report(step * 10), step / 6)
    watching = watch(game, checks=3, grids=2)
    watching.load_state_dict(first.state_dict())
    for step in range(5, 7):
        watching.see(report(step * 10), step / 6)
    assert [report["images_seen"] for report in watching.curves] == [10, 20, 30, 40, 50, 60]
    assert [check.images_seen for check in watching.checks] == [0, 20, 40, 60]  # the first third is step 2
    assert list(watching.grids) == [50, 100]
    assert watching.grids[50].shape == (100, 1, 28, 28)
    assert watching.grids[50].dtype == torch.uint8
    assert watching.best is watching.checks[1]
    assert same(list(watching.best_weights.values()), list(first.best_weights.values()))


def test_pictures_show_each_class_in_a_column_of_the_same_latents(game: Gan) -> None:
    with torch.no_grad():  # only the class is left to be seen
        game.generator.layers[0].weight[:, :3] = 0
        game.generator.layers[0].weight.mul_(5)
    watching = watch(game, grids=1)
    watching.see(report(60), 1.0)
    grid = watching.grids[100].view(10, 10, -1)
    assert (grid == grid[0]).all()
    assert len(grid[0].unique(dim=0)) == 10


# When it says stop


def test_patience_counts_the_checks_after_the_best(watching: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    scored(monkeypatch, [9.0, 4.0, 6.0, 3.0, 3.5, 3.0])
    exhausted = []
    for step in range(6):
        watching.look(step)
        exhausted.append(watching.exhausted)
    assert exhausted == [False, False, False, False, False, True]  # patience is 2


class Scripted:
    """A run of given reports, each after so many images, that may end in a fault."""

    def __init__(self, seen: list[int], fault: str = "", retries: int = 0) -> None:
        self.retries, self.taken = retries, 0
        self._seen, self._fault = seen, fault

    def reports(self) -> Iterator[Report]:
        for images in self._seen:
            self.taken += 1
            yield report(images)
        if self._fault:
            raise NonFiniteError(self._fault)


def test_a_run_is_followed_to_its_last_image(game: Gan, monkeypatch: pytest.MonkeyPatch) -> None:
    scored(monkeypatch, [9.0, 4.0, 6.0])
    watching = watch(game, checks=2, grids=2)
    end = watching.follow(Scripted([20, 40, 61], retries=1), images=60, title="test")
    assert end == {
        "stopped": "all images were seen",
        "non_finite": False,
        "retries": 1,
        "exhausted": False,
        "best": watching.checks[1]._asdict(),
        "real": watching.real,
        "conditional": True,
    }
    assert [check.images_seen for check in watching.checks] == [0, 40, 61]
    assert [report["images_seen"] for report in watching.curves] == [20, 40, 61]
    assert list(watching.grids) == [66, 100]


def test_a_run_without_a_better_score_is_stopped(game: Gan, monkeypatch: pytest.MonkeyPatch) -> None:
    scored(monkeypatch, [9.0, 4.0, 6.0, 5.0, 1.0])
    watching, run = watch(game, checks=6), Scripted([10, 20, 30, 40, 50, 60])
    end = watching.follow(run, images=60, title="test")
    assert (end["stopped"], end["exhausted"]) == ("the score did not improve any more", True)
    assert end["best"]["images_seen"] == 10
    assert (run.taken, len(watching.curves), len(watching.checks)) == (3, 3, 4)


def test_a_run_that_diverges_ends_with_what_it_had(game: Gan, monkeypatch: pytest.MonkeyPatch) -> None:
    scored(monkeypatch, [9.0, 4.0])
    watching = watch(game, checks=3)
    run = Scripted([20], "training diverged: d_loss is nan at step 3; lower", retries=1)
    end = watching.follow(run, images=60, title="test")
    assert (end["stopped"], end["non_finite"]) == ("training diverged: d_loss is nan at step 3; lower", True)
    assert (end["retries"], end["exhausted"], end["best"]["images_seen"]) == (1, False, 20)


def test_a_run_that_diverges_before_its_first_report_has_nothing_to_show(watching: Watch) -> None:
    with pytest.raises(NonFiniteError, match="at step 1"):
        watching.follow(Scripted([], "d_loss is nan at step 1"), images=60, title="test")


def test_a_run_that_was_cut_off_is_not_checked_at_its_start_again(
    game: Gan, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(monkeypatch, [9.0, 4.0, 6.0, 5.0])
    first = watch(game, checks=3)
    first.follow(Scripted([20]), images=60, title="test")
    watching = watch(game, checks=3)
    watching.load_state_dict(first.state_dict() | {"end": {}})
    watching.follow(Scripted([40, 60]), images=60, title="test")
    assert [check.images_seen for check in watching.checks] == [0, 20, 40, 60]


def test_the_best_generator_of_a_run_given_up_is_that_of_its_best_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = iter([0.0, 0.0, *[float("nan")] * 9])
    half = losses.LOSSES["gan"]
    broken = losses.Loss(
        lambda *, real, fake: half.discriminator(real=real, fake=fake) + next(values), half.generator
    )
    monkeypatch.setitem(losses.LOSSES, "gan", broken)
    scored(monkeypatch, [9.0, 4.0])
    game = Gan(RECIPE, GREY, pictures(300, 1), seed=0)
    settings = dataclasses.replace(SETTINGS, log_points=3)
    run = Run(game, RECIPE, settings, pause=lambda: None)
    watching = watch(game, checks=3)
    kept: list[list[Tensor]] = []
    see = watching.see
    watching.see = lambda *args, **rest: (see(*args, **rest), kept.append(weights(game.generator)))
    end = watching.follow(run, images=60, title="test")
    assert end["stopped"].startswith("training diverged: d_loss is nan at step 3")
    assert (end["non_finite"], end["retries"], end["best"]["images_seen"]) == (True, 1, 20)
    assert same(weights(watching.best_generator()), kept[0])
    assert all(value.isfinite().all() for value in watching.best_generator().state_dict().values())
