"""The game of two translators: its terms by hand, who steps on what, what comes of it, what is refused."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, same, weights, write_set
from PIL import Image
from test_checkpoint import Cut, CutError
from test_gan import Read
from test_no_label import INSTRUMENT, write_project
from test_pipeline import plotted
from torch import Tensor, nn

from src.core import params
from src.core.checkpoint import Checkpoint
from src.core.errors import PipelineError
from src.datasets import labelled
from src.datasets.labelled import Labelled, to_bytes, to_unit
from src.datasets.spec import ImageSpec
from src.gan import cyclegan, games, loop
from src.gan.cyclegan import Batch, Cyclegan, cycle_loss, identity_loss, label_loss
from src.gan.loop import Progress
from src.gan.run import Run
from src.gan.watch import Watch
from src.networks import sampling
from src.networks.classifier import ConvClassifier
from src.networks.conv import ConvDiscriminator
from src.networks.network import Network, build
from src.networks.translator import Translator
from stages import recipe, train_gan

PARAMS = params.read(ROOT / "params.yaml", ROOT / "src/datasets/table.yaml")
RECIPE = games.recipe(PARAMS.recipes["cyclegan"], "recipes.cyclegan")
SMALL = ImageSpec(channels=1, height=8, width=9, classes=3)
TINY = dataclasses.replace(RECIPE, width=4, batch_size=6, images=60, pool=5, ema=0.9, identity_weight=1.0)


def noise(count: int, seed: int, spec: ImageSpec = SMALL, labels: bool = True) -> Labelled:
    rng = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, *spec.shape), generator=rng, dtype=torch.uint8)
    return Labelled(pixels, torch.arange(count) % spec.classes if labels else None)


SOURCE, TARGET = noise(30, 1), noise(40, 2, labels=False)


def judge() -> ConvClassifier:
    return build(ConvClassifier, SMALL, seed=9, width=2).eval()


def started(**changes: Any) -> Cyclegan:
    data = changes.pop("data", TARGET)
    extra = {name: changes.pop(name) for name in ("seed", "source", "judge", "precision") if name in changes}
    given = {"seed": 0, "source": SOURCE, "judge": judge()} | extra
    return Cyclegan(dataclasses.replace(TINY, **changes), SMALL, data, **given)


def networks(game: Cyclegan) -> dict[str, nn.Module]:
    return {name: player.network for name, player in game.players.items()}


def shown(network: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Images and labels of each call from now on."""
    found: list[tuple[Tensor, Tensor]] = []
    network.register_forward_pre_hook(lambda _, inputs: found.append(inputs))
    return found


# The terms, by hand


def test_cycle_and_identity_are_mean_distances() -> None:
    images = torch.tensor([[[[1.0, -1.0], [0.5, 0.0]]]])
    others = torch.tensor([[[[0.0, -1.0], [1.0, 0.5]]]])
    # (1 + 0 + 0.5 + 0.5) / 4
    assert cycle_loss(images, others).item() == 0.5
    assert identity_loss(images, others).item() == 0.5
    assert cycle_loss(images, images).item() == 0


class Shares(nn.Module):
    """Logits whose softmax is 0.2, 0.3, 0.5, whatever the images."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.tensor([0.2, 0.3, 0.5]).log().expand(len(images), 3)


def test_the_label_term_is_the_judges_cross_entropy() -> None:
    batch = Batch(torch.zeros(2, 1, 8, 9), torch.tensor([0, 2]))
    # -(log 0.2 + log 0.5) / 2
    assert label_loss(Shares(), batch).item() == pytest.approx(-(math.log(0.2) + math.log(0.5)) / 2)


class Same(Network):
    """Leaves images alone, but for what is added to all pixels."""

    def __init__(self, added: float = 0.0) -> None:
        super().__init__(SMALL, width=1)
        self.added = nn.Parameter(torch.tensor(added))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return images + self.added


class Mean(Network):
    """The mean of an image's pixels as its score, but for what is added."""

    def __init__(self, added: float) -> None:
        super().__init__(SMALL, width=1)
        self.added = nn.Parameter(torch.tensor(added))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return images.mean(dim=(1, 2, 3)) + self.added


def stubbed(monkeypatch: pytest.MonkeyPatch, there: float, back: float, **changes: Any) -> Cyclegan:
    """A game of networks as simple as they get; a source image is 0.2 throughout, a target image 0.6."""
    made = iter([Same(there), Same(back), Mean(0.5), Mean(-0.5)])
    monkeypatch.setattr(cyclegan, "build", lambda *_, **__: next(made))
    plain = {"source": 153, "target": 204}  # bytes of 0.2 and 0.6
    source, target = (
        Labelled(torch.full((9, *SMALL.shape), value, dtype=torch.uint8), torch.arange(9) % 3)
        for value in plain.values()
    )
    return started(data=target, source=source, judge=Shares(), pool=0, learning_rate=1e-9, **changes)


def test_identity_translators_lose_nothing_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    found = stubbed(monkeypatch, 0.0, 0.0).play(1, 10)
    assert found["cycle"].item() == found["identity"].item() == 0


def test_all_terms_of_a_step_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    weighted = {"cycle_weight": 3.0, "identity_weight": 5.0, "label_weight": 7.0}
    game = stubbed(monkeypatch, 0.25, -0.125, **weighted)
    losses: list[Tensor] = []
    step_together = cyclegan.step_together
    monkeypatch.setattr(
        cyclegan, "step_together", lambda players, loss: (losses.append(loss), step_together(players, loss))
    )
    found = {name: value.item() for name, value in game.play(1, 10).items()}
    # G adds 0.25, F takes 0.125 away; D_Y scores the mean + 0.5, D_X the mean - 0.5.
    expected = {
        "real_score": 0.6 + 0.5,
        "fake_score": 0.2 + 0.25 + 0.5,
        "penalty": 0,
        # least squares: ((1.1 - 1)^2 + 0.95^2) / 2, ((-0.3 - 1)^2 + (0.6 - 0.125 - 0.5)^2) / 2
        "d_loss": (0.1**2 + 0.95**2) / 2,
        "d_back_loss": (1.3**2 + 0.025**2) / 2,
        "g_loss": (0.95 - 1) ** 2 / 2,
        "g_back_loss": (-0.025 - 1) ** 2 / 2,
        "cycle": 2 * 0.125,
        "identity": 0.25 + 0.125,
        "label": -(math.log(0.2) + math.log(0.3) + math.log(0.5)) / 3,
    }
    # The labels of a batch of six out of nine images are not those of all.
    expected.pop("label")
    found_label = found.pop("label")
    assert found == pytest.approx(expected, abs=1e-6)
    total = expected["g_loss"] + expected["g_back_loss"] + 3 * 0.25 + 5 * 0.375 + 7 * found_label
    assert [loss.item() for loss in losses] == [pytest.approx(total, rel=1e-6)]


@pytest.mark.parametrize(
    ("weight", "name"), [("identity_weight", "identity"), ("label_weight", "label"), ("cycle_weight", "")]
)
def test_a_weight_of_zero_spares_a_term(weight: str, name: str) -> None:
    all_terms = started().play(1, 10).keys()
    assert all_terms - started(**{weight: 0.0}).play(1, 10).keys() == ({name} if name else set())


# Who sees what, and who steps


@pytest.mark.parametrize(("critic_steps", "generating"), [(1, [1, 2, 3, 4]), (2, [2, 4]), (3, [3])])
def test_translators_step_after_so_many_steps_of_the_discriminators(
    critic_steps: int, generating: list[int]
) -> None:
    game = started(critic_steps=critic_steps)
    assert game.period == critic_steps
    for step in range(1, 5):
        before = {name: weights(network) for name, network in networks(game).items()}
        values = game.play(step, 10)
        moved = {name for name, network in networks(game).items() if not same(weights(network), before[name])}
        assert moved == ({"d", "d_back", "g", "g_back"} if step in generating else {"d", "d_back"})
        assert ("g_loss" in values) == ("cycle" in values) == (step in generating)


def test_discriminators_see_real_images_and_detached_translations() -> None:
    game = started(pool=0)
    seen = {name: shown(network) for name, network in networks(game).items()}
    made: list[Tensor] = []
    networks(game)["g"].register_forward_hook(lambda _m, _i, output: made.append(output))
    game.play(1, 10)
    # Translation and identity in one pass, then the way back of the other translator's.
    assert [len(images) for images, _ in seen["g"]] == [12, 6]
    assert [len(images) for images, _ in seen["d"]] == [12, 6]
    both, persuaded = seen["d"]
    assert not both[0].requires_grad
    assert persuaded[0].requires_grad
    assert torch.equal(both[0][6:], persuaded[0])
    assert torch.equal(both[0][6:], made[0][:6])
    sources = {image.numpy().tobytes() for image in SOURCE.pixels}
    targets = {image.numpy().tobytes() for image in TARGET.pixels}
    assert {image.numpy().tobytes() for image in to_bytes(seen["g"][0][0][:6].clone())} <= sources
    assert {image.numpy().tobytes() for image in to_bytes(both[0][:6].clone())} <= targets
    assert {image.numpy().tobytes() for image in to_bytes(seen["d_back"][0][0][:6].clone())} <= sources


def test_labels_are_those_of_the_source_and_guesses_of_the_target_where_they_are_told() -> None:
    guesses = torch.arange(40) % 2  # never class 2
    game = started(conditional=True, data=Labelled(TARGET.pixels, guesses), pool=0)
    seen = {name: shown(network) for name, network in networks(game).items()}
    game.play(1, 10)
    given, guessed = seen["d_back"][0][1][:6], seen["d"][0][1][:6]
    for images, labels, data in (
        (seen["d_back"][0][0][:6], given, SOURCE),
        (seen["d"][0][0][:6], guessed, Labelled(TARGET.pixels, guesses)),
    ):
        for image, label in zip(to_bytes(images.clone()), labels.tolist(), strict=True):
            (place,) = (data.pixels == image).flatten(1).all(dim=1).nonzero().flatten().tolist()
            assert data.given[place].item() == label
    # translations keep the labels of the images that they come from
    assert seen["d"][0][1][6:].tolist() == seen["d"][1][1].tolist() == given.tolist()
    assert seen["d_back"][0][1][6:].tolist() == seen["d_back"][1][1].tolist() == guessed.tolist()


def test_a_conditional_recipe_needs_guesses_and_another_does_not() -> None:
    started().play(1, 10)
    with pytest.raises(PipelineError, match="these images have no labels"):
        started(conditional=True).play(1, 10)


def test_the_label_term_moves_the_translator_only() -> None:
    keeper = judge()
    before = {name: value.clone() for name, value in keeper.state_dict().items()}
    game = started(judge=keeper, cycle_weight=0.0, identity_weight=0.0, label_weight=1.0)
    network = networks(game)["g"]
    images = network(to_unit(SOURCE.pixels), SOURCE.given)
    label_loss(keeper, Batch(images, SOURCE.given)).backward()
    assert all(parameter.grad.any() for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in keeper.parameters())
    assert all(parameter.grad is None for parameter in networks(game)["g_back"].parameters())
    game.play(1, 10)
    assert not keeper.training
    assert all(torch.equal(value, before[name]) for name, value in keeper.state_dict().items())


def test_a_recipe_reaches_networks_and_players() -> None:
    game = started(conditional=False, width=6, learning_rate=0.004, beta1=0.25, beta2=0.75)
    assert (type(game.generator), type(game.discriminator)) == (Translator, ConvDiscriminator)
    assert game.generator.options == {"width": 6}
    assert game.discriminator.options == {"width": 6, "conditional": False, "spectral_norm": False}
    assert game.generator is game.players["g"].average is not game.players["g"].network
    assert game.discriminator is game.players["d"].network
    for player in game.players.values():
        (group,) = player.state_dict()["optimizer"]["param_groups"]
        assert (group["lr"], group["betas"]) == (0.004, (0.25, 0.75))
    first = [weights(network)[0] for network in networks(game).values()]
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[2], first[3])
    drawn = {bytes(stream.state_dict()["rng"].numpy()) for stream in game.streams.values()}
    assert len(drawn) == len(game.streams) == 5


@pytest.mark.parametrize("changes", [{}, {"conditional": True}, {"penalty": "r1_r2", "penalty_weight": 1.0}])
def test_a_step_reads_nothing_back(changes: dict[str, Any]) -> None:
    game = started(data=noise(40, 2), **changes)
    with Read() as reading:
        for step in range(1, 6):
            game.play(step, 40)
    assert not reading.read


def test_layers_run_in_bfloat16_where_that_is_asked_for() -> None:
    inside: set[torch.dtype] = set()
    game = started(precision="bfloat16")
    for network in networks(game).values():
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(lambda _m, _i, output: inside.add(output.dtype))
    values = game.play(1, 10)
    assert inside == {torch.bfloat16}
    assert {value.dtype for value in values.values()} == {torch.float32}
    assert all(weight.dtype in (torch.float32, torch.int64) for weight in weights(game.generator))


# Drawing


def drawn(count: int, **changes: Any) -> Labelled:
    translator = build(Translator, SMALL, seed=0, width=4)
    given = {"purpose": "test", "seed": 3, "source": SOURCE} | changes
    parts = list(sampling.blocks(translator, count, **given))
    return Labelled(torch.cat([part.pixels for part in parts]), torch.cat([part.given for part in parts]))


def test_image_i_translates_a_source_image_of_class_i(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "BLOCK", 7)
    translator = build(Translator, SMALL, seed=0, width=4)
    with torch.no_grad():
        all_translated = to_bytes(translator(to_unit(SOURCE.pixels), SOURCE.given))
    many = drawn(30)
    assert many.given.tolist() == [i % 3 for i in range(30)]
    places = []
    for image, label in zip(many.pixels, many.given, strict=True):
        distances = (all_translated.int() - image.int()).abs().flatten(1).amax(dim=1)
        place = int(distances.argmin())
        assert distances[place] <= 1  # of a batch of another size
        assert SOURCE.given[place] == label
        places.append(place)
    assert len(set(places)) > 12
    for count in (1, 7, 8, 29):
        assert torch.equal(drawn(count).pixels, many.pixels[:count])
    assert not torch.equal(drawn(30, seed=4).pixels, many.pixels)
    assert not torch.equal(drawn(30, purpose="another").pixels, many.pixels)


def test_one_image_of_each_class_that_is_asked_for() -> None:
    data = Labelled(torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1), torch.tensor([2, 0, 2, 1, 2, 0]))
    found = data.of_classes(torch.tensor([2, 0, 1] * 200), torch.Generator().manual_seed(0))
    assert found.given.tolist() == [2, 0, 1] * 200
    counts = found.pixels.flatten().long().bincount().tolist()
    # 200 of each class: 0, 2 and 4 share class 2; 1 and 5 class 0
    assert counts == pytest.approx([66.7, 100, 66.7, 200, 66.7, 100], abs=20)


def test_a_split_of_translations_is_written_with_their_labels(tmp_path: Path) -> None:
    translator = build(Translator, SMALL, seed=0, width=4)
    given = {"scale": 1.0, "seed": 3, "label": None, "source": SOURCE}
    counts, changed = sampling.write_split(tmp_path, "test", translator, 10, **given)
    found = labelled.read(tmp_path, "test", SMALL)
    assert torch.equal(found.pixels, drawn(10, purpose="generate/test").pixels)
    assert (counts, changed) == ([4, 3, 3], 0)


# A run


SETTINGS = dataclasses.replace(PARAMS.watch, log_points=5, checks=2, grids=1, check_images=100, neighbours=3)


def run_of(kept: Checkpoint, **changes: Any) -> tuple[Any, ...]:
    """What comes of a watched run of ten steps, as bytes."""
    game = started(data=noise(40, 2), **changes)
    recipe = dataclasses.replace(TINY, **changes)
    run = Run(game, recipe, SETTINGS, pause=kept.pause)
    data, extractor = noise(100, 4), build(ConvClassifier, SMALL, seed=8, width=2).eval()
    watching = Watch(game, extractor, train=data, heldout=data, settings=SETTINGS, seed=0, source=SOURCE)
    kept.track("gan", run=run, watch=watching)
    end = watching.follow(run, images=recipe.images, title="test")
    assert end["conditional"]  # translations are to be of their label's class
    pictures = game.translations(4, seed=0)
    tensors = [
        *weights(game.generator),
        *weights(game.discriminator),
        *pictures["source"],
        *pictures["target"],
    ]
    return (
        [t.numpy().tobytes() for t in (*tensors, *watching.grids.values())],
        watching.curves,
        watching.checks,
    )


@pytest.mark.parametrize("changes", [{}, {"critic_steps": 2, "conditional": True}])
def test_a_run_cut_off_again_and_again_ends_with_the_same_bytes(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    whole = run_of(Checkpoint(None), **changes)
    assert run_of(Checkpoint(None), **changes) == whole
    cuts = 0
    while True:
        try:
            parts = run_of(Cut(tmp_path, 3), **changes)
            break
        except CutError:
            cuts += 1
    assert cuts == 3
    assert parts == whole


def test_another_seed_gives_other_bytes() -> None:
    def after(seed: int) -> list[Tensor]:
        game = started(seed=seed)
        for step in (1, 2):
            game.play(step, 10)
        return weights(game.generator)

    assert same(after(0), after(0))
    assert not any(torch.equal(a, b) for a, b in zip(after(0), after(1), strict=True))


def test_pictures_show_images_their_translations_and_the_way_back() -> None:
    game = started()
    for step in (1, 2):
        game.play(step, 10)
    there, back = game.players["g"].average, game.players["g_back"].average
    for name, (first, second) in {"source": (there, back), "target": (back, there)}.items():
        rows = game.translations(4, seed=0)[name]
        assert [row.shape for row in rows] == [(4, 1, 8, 9)] * 3
        with torch.no_grad():
            translated = first(to_unit(rows[0]), torch.zeros(4).long())
            returned = second(translated, torch.zeros(4).long())
        assert torch.equal(rows[1], to_bytes(translated.clone()))
        assert torch.equal(rows[2], to_bytes(returned))
    assert torch.equal(game.translations(4, seed=0)["target"][0], TARGET.pixels[:4])


@pytest.mark.parametrize("loss", ["cyclegan", "gan"])
def test_a_run_leaves_pictures_of_translations_where_dvc_plots_shows_them(
    loss: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(tmp_path, loss, 0, relabel=False, garbage=False)
    monkeypatch.chdir(tmp_path)
    recipe.main(["--output", "recipe.json", "--labels", "labels.json"])
    places = {"--data": "data/raw", "--source": "data/raw", "--extractor": INSTRUMENT}
    places |= {"--recipe": "recipe.json", "--generator": "generator", "--results": "results/gan"}
    train_gan.main([word for pair in places.items() for word in pair])
    pictures = {path.relative_to(tmp_path) for path in tmp_path.glob("results/**/*.png")}
    assert {path.parent.as_posix() for path in pictures} <= set(plotted())
    names = {path.name for path in pictures}
    translated = {"source_translated.png", "target_translated.png"}
    assert names - translated == {"050_percent.png", "100_percent.png"}
    assert names & translated == (translated if loss == "cyclegan" else set())
    for name in names & translated:
        with Image.open(tmp_path / "results/gan/samples" / name) as picture:
            # Rows of images, their translations, and the way back.
            assert picture.size == (20 * 28, 3 * 28)


# What is refused


def refusal(**changes: Any) -> str:
    with pytest.raises(PipelineError) as error:
        started(**changes)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_source_that_does_not_fit_is_refused() -> None:
    assert refusal(source=None) == (
        "labelled images to start from are missing; name a folder of some with --source"
    )
    assert refusal(source=noise(30, 1, ImageSpec(3, 8, 9, 3))) == (
        "the source images are 9x8 with 3 channels; allowed: 9x8 grey, as the images to be like"
    )
    assert refusal(source=noise(30, 1, ImageSpec(1, 9, 9, 3))).startswith(
        "the source images are 9x9 with 1 channels"
    )
    assert refusal(source=noise(30, 1, ImageSpec(1, 8, 9, 4))) == (
        "a source image has label 3; allowed: below 3"
    )
    assert refusal(source=Labelled(SOURCE.pixels[:2], torch.tensor([1, 1]))) == (
        "the source images have none of class 0, 2; allowed: images of every class"
    )
    assert "have no labels" in refusal(source=Labelled(SOURCE.pixels, None))


def test_a_label_weight_without_a_judge_is_refused() -> None:
    assert refusal(judge=None) == ("label_weight above 0 needs a classifier; set it to 0")
    assert "label" not in started(judge=None, label_weight=0.0).play(1, 10)


def test_a_scale_of_latent_vectors_is_refused_for_a_translator() -> None:
    with pytest.raises(
        PipelineError, match=r"^params\.yaml: generate\.latent_scale is 0\.5; allowed: 1, since"
    ):
        drawn(5, scale=0.5)
    with pytest.raises(PipelineError, match="labelled images to start from are missing"):
        drawn(5, source=None)


def test_a_folder_that_holds_no_set_is_no_source(tmp_path: Path) -> None:
    assert labelled.read_source(None) is labelled.read_source(tmp_path) is None
    assert labelled.read_source(tmp_path / "absent") is None
    write_set(tmp_path, 20, 10, spec=SMALL)
    found = labelled.read_source(tmp_path)
    assert found.pixels.shape == (20, 1, 8, 9)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"latent": 3}, "latent is 3; allowed: no such key; kind, loss"),
        ({"cycle_weight": -1}, "cycle_weight is -1; allowed: a number from 0 to 1000"),
        ({"pool": 0.5}, "pool is 0.5; allowed: a whole number"),
        ({"network": "thin"}, "network is 'thin'; allowed: mlp, conv"),
    ],
)
def test_a_wrong_row_is_refused_by_its_key(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(params.ConfigError) as error:
        games.recipe(dict(PARAMS.recipes["cyclegan"]) | change, "recipes.own")
    assert str(error.value).startswith(f"params.yaml: recipes.own.{expected}")


# What comes of it


def strokes(count: int, seed: int, bright: int, thick: int) -> Labelled:
    """12x12 images of a lying or a standing stroke, the classes, of one brightness and thickness."""
    rng = torch.Generator().manual_seed(seed)
    pixels = torch.zeros(count, 1, 12, 12, dtype=torch.uint8)
    labels = torch.randint(2, (count,), generator=rng)
    places = torch.randint(2, 12 - 2 - thick, (count,), generator=rng)
    for image, label, place in zip(pixels[:, 0], labels.tolist(), places.tolist(), strict=True):
        (image.t() if label else image)[place : place + thick, 2:10] = bright
    return Labelled(pixels, labels)


def told_apart(pixels: Tensor) -> Tensor:
    """The class of strokes as they look in the target set, 2 where they do not look so.

    Those are four pixels thick and half as bright: about 32 pixels between 60 and 190, hardly one brighter.
    """
    values = pixels[:, 0].double()
    within = ((values > 60) & (values < 190)).sum(dim=(1, 2))
    # Of a lying stroke, rows differ more than columns do.
    standing = values.mean(dim=1).var(dim=1) > values.mean(dim=2).var(dim=1)
    looks = (within > 22) & ((values >= 190).sum(dim=(1, 2)) < 6)
    return torch.where(looks, standing.long(), 2)


@pytest.mark.slow
def test_translations_have_the_look_of_the_target_and_the_labels_of_the_source() -> None:
    spec = ImageSpec(1, 12, 12, 2)
    source, target = strokes(500, 1, bright=255, thick=2), strokes(500, 2, bright=128, thick=4)
    assert (told_apart(target.pixels) == target.given).double().mean() == 1
    assert (told_apart(source.pixels) == source.given).double().mean() == 0
    recipe = dataclasses.replace(
        RECIPE,
        width=8,
        batch_size=25,
        images=25 * 300,
        learning_rate=0.003,
        pool=50,
        cycle_weight=5.0,
        identity_weight=1.0,
        label_weight=0.0,
        ema=0.9,
    )
    game = Cyclegan(recipe, spec, Labelled(target.pixels, None), seed=0, source=source)

    def right() -> float:
        (block,) = sampling.blocks(game.generator, 400, purpose="test", seed=0, source=source)
        return (told_apart(block.pixels) == block.given).double().mean().item()

    untrained = right()
    pieces = {"steps": recipe.steps, "batch_size": recipe.batch_size, "reports": 1}
    list(loop.play(game, Progress(), **pieces, pause=lambda: None))
    trained = right()
    assert untrained < 0.05
    assert trained > 0.6  # 0.75 to 1.0 with each of six seeds
