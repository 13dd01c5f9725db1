"""The classifier loop: it learns, it repeats itself, and its parts do what hand-made cases say."""

import dataclasses
from pathlib import Path

import pytest
import torch
from conftest import GREY, write_set
from torch import Tensor, nn

from src.classifiers import supervised
from src.classifiers.augmentation import Change, shift
from src.classifiers.supervised import Losses
from src.core.checkpoint import Checkpoint
from src.core.errors import PipelineError
from src.core.settings import Supervised
from src.datasets import labelled
from src.datasets.labelled import Labelled
from src.datasets.spec import ImageSpec
from src.networks.classifier import ConvClassifier
from src.networks.network import build

SETTINGS = Supervised(width=4, epochs=6, batch_size=32, learning_rate=0.02, shift=0)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def classifier(spec: ImageSpec = GREY) -> ConvClassifier:
    return build(ConvClassifier, spec, seed=0, width=4)


@pytest.fixture
def train(image_set: Path) -> Labelled:
    return labelled.read(image_set, "train", GREY)


def steps_of(network: nn.Module, data: Labelled, settings: Supervised, **options: int) -> list[int]:
    """The sizes of the batches that the network is trained on."""
    sizes: list[int] = []
    handle = network.register_forward_hook(lambda _, inputs, output: sizes.append(len(output)))
    supervised.fit(network, data, settings, rng=rng(), title="test", checkpoint=Checkpoint(None), **options)
    handle.remove()
    return sizes


def test_it_learns_the_classes_and_ends_in_eval_mode(image_set: Path, train: Labelled) -> None:
    network, test = classifier(), labelled.read(image_set, "test", GREY)
    assert supervised.accuracy(network, test) < 0.5
    supervised.fit(network, train, SETTINGS, rng=rng(), title="test", checkpoint=Checkpoint(None))
    assert not network.training
    assert not any(module.training for module in network.modules())
    assert supervised.accuracy(network, test) > 0.95


def test_it_learns_colour_images_of_other_classes_too(tmp_path: Path) -> None:
    spec = ImageSpec(channels=3, height=20, width=28, classes=5)
    write_set(tmp_path, 300, 100, spec=spec)
    train, test = (labelled.read(tmp_path, split, spec) for split in ("train", "test"))
    network = classifier(spec)
    settings = dataclasses.replace(SETTINGS, shift=1)
    supervised.fit(network, train, settings, rng=rng(), title="test", checkpoint=Checkpoint(None))
    assert supervised.accuracy(network, test) > 0.95
    assert set(supervised.predict(network, test.pixels).tolist()) == {0, 1, 2, 3, 4}


def test_a_classifier_that_was_finished_is_taken_up_as_it_was(train: Labelled) -> None:
    checkpoint = Checkpoint(None)
    first, again, another = classifier(), classifier(), classifier()
    settings = dataclasses.replace(SETTINGS, epochs=1)
    supervised.fit(first, train, settings, rng=rng(), title="one", checkpoint=checkpoint)
    supervised.fit(again, train, settings, rng=rng(5), title="one", checkpoint=checkpoint)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in first.state_dict().items())
    assert not again.training
    supervised.fit(another, train, settings, rng=rng(5), title="two", checkpoint=checkpoint)
    assert not torch.equal(another.head.weight, first.head.weight)


def test_shifts_are_part_of_training(train: Labelled) -> None:
    # Bars are 2 rows apart: moved by up to 8 they can't be told apart, so the shift must reach the batches.
    still, moved = classifier(), classifier()
    supervised.fit(still, train, SETTINGS, rng=rng(), title="test", checkpoint=Checkpoint(None))
    supervised.fit(
        moved,
        train,
        dataclasses.replace(SETTINGS, shift=8),
        rng=rng(),
        title="test",
        checkpoint=Checkpoint(None),
    )
    assert supervised.accuracy(still, train) > supervised.accuracy(moved, train) + 0.1


def test_the_same_random_numbers_give_the_same_weights(train: Labelled) -> None:
    def trained(seed: int, disturbance: int) -> list[bytes]:
        torch.manual_seed(disturbance)
        network = classifier()
        settings = dataclasses.replace(SETTINGS, epochs=1, shift=1)
        supervised.fit(network, train, settings, rng=rng(seed), title="test", checkpoint=Checkpoint(None))
        return [value.numpy().tobytes() for value in network.state_dict().values()]

    once = trained(1, 1)
    assert trained(1, 2) == once
    assert trained(2, 1) != once


@pytest.mark.parametrize(
    ("count", "epochs", "steps", "expected"),
    [
        (300, 2, None, 19),  # 600 / 32 = 18.75
        (300, 2, 7, 7),
        (300, 2, 25, 25),
        (32, 3, None, 3),
        (10, 1, 7, 7),
    ],
)
def test_steps_are_those_of_all_epochs_or_a_number(
    train: Labelled, count: int, epochs: int, steps: int | None, expected: int
) -> None:
    data = train.part(0, count)
    settings = dataclasses.replace(SETTINGS, epochs=epochs)
    assert steps_of(classifier(), data, settings, steps=steps) == [32] * expected
    if not steps:
        assert supervised.steps_of(settings, count) == expected


def test_a_change_of_batches_takes_the_place_of_the_shift(train: Labelled) -> None:
    seen: list[torch.Tensor] = []

    def blank(images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        assert drawn.tolist() == [7] * len(images)
        return torch.zeros(images.shape)

    class Watching(torch.nn.Module):
        """Keeps what it is given."""

        def __init__(self) -> None:
            super().__init__()
            self.inside = classifier()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert (images == -1).all()  # black
            return self.inside(images)

    settings = dataclasses.replace(SETTINGS, shift=2)
    checkpoint = Checkpoint(None)
    supervised.fit(
        Watching(),
        train.part(0, 32),
        settings,
        rng=rng(),
        title="test",
        checkpoint=checkpoint,
        change=Change(lambda count, _: torch.full((count,), 7), blank),
    )
    in_order = train.pixels[:32].flatten(1).long().sum(dim=1).sort().values
    assert seen[0].flatten(1).long().sum(dim=1).sort().values.equal(in_order)  # as they are, not moved


@pytest.mark.parametrize("steps", range(1, 13))
def test_any_number_of_steps_has_a_schedule(train: Labelled, steps: int) -> None:
    data = train.part(0, 4)
    settings = dataclasses.replace(SETTINGS, epochs=1)
    assert len(steps_of(classifier(), data, settings, steps=steps)) == steps


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero(
    train: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []

    class Watched(torch.optim.AdamW):
        def step(self, *args: object) -> object:
            rates.append(self.param_groups[0]["lr"])
            return super().step(*args)

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    data = train.part(0, 32)
    supervised.fit(
        classifier(), data, SETTINGS, rng=rng(), title="test", checkpoint=Checkpoint(None), steps=100
    )
    assert len(rates) == 100
    assert max(rates) == pytest.approx(0.02)
    assert rates.index(max(rates)) == 29
    assert rates[0] < 0.002
    assert rates[-1] < 0.0001
    assert rates[:30] == sorted(rates[:30])
    assert rates[30:] == sorted(rates[30:], reverse=True)


def test_a_loss_that_is_no_number_is_named_with_title_and_step(train: Labelled) -> None:
    class Poisoned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(784, 10)
            self.calls = 0

        def forward(self, pictures: Tensor) -> Tensor:
            self.calls += 1
            return self.layer(pictures.flatten(1)) * (float("nan") if self.calls == 3 else 1.0)

    with pytest.raises(PipelineError, match=r"labeller: loss is nan at step 3; lower its learning_rate"):
        supervised.fit(Poisoned(), train, SETTINGS, rng=rng(), title="labeller", checkpoint=Checkpoint(None))


# Shifts


def shifted(pixels: Tensor, limit: int, rng: torch.Generator) -> Tensor:
    change = shift(limit)
    return change.make(pixels, change.draw(len(pixels), rng))


def draw(monkeypatch: pytest.MonkeyPatch, down: list[int], right: list[int], limit: int) -> None:
    """Lets `shifted` draw given moves."""
    drawn = torch.tensor([down, right])

    def randint(low: int, high: int, size: tuple[int, ...], *, generator: torch.Generator) -> Tensor:
        assert (low, high, size) == (0, 2 * limit + 1, (2, len(down)))
        return drawn

    monkeypatch.setattr(torch, "randint", randint)


def test_a_shift_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 9]], dtype=torch.uint8)
    # With a limit of 1, a draw of 1 leaves an image where it is, 0 and 2 move it one pixel.
    draw(monkeypatch, down=[1, 2, 1, 0], right=[1, 1, 0, 2], limit=1)
    moved = shifted(picture.expand(4, 1, 3, 3), 1, rng())
    assert moved[:, 0].tolist() == [
        [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
        [[4, 5, 6], [7, 8, 9], [0, 0, 0]],
        [[0, 1, 2], [0, 4, 5], [0, 7, 8]],
        [[0, 0, 0], [2, 3, 0], [5, 6, 0]],
    ]


def test_all_channels_of_an_image_move_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of another height than width, with the tens digit telling the channel.
    image = torch.tensor([[[1, 2, 3], [4, 5, 6]], [[11, 12, 13], [14, 15, 16]], [[21, 22, 23], [24, 25, 26]]])
    draw(monkeypatch, down=[2, 1], right=[1, 0], limit=1)
    moved = shifted(image.byte().expand(2, 3, 2, 3), 1, rng())
    assert moved[0].tolist() == [
        [[4, 5, 6], [0, 0, 0]],
        [[14, 15, 16], [0, 0, 0]],
        [[24, 25, 26], [0, 0, 0]],
    ]
    assert moved[1].tolist() == [
        [[0, 1, 2], [0, 4, 5]],
        [[0, 11, 12], [0, 14, 15]],
        [[0, 21, 22], [0, 24, 25]],
    ]
    monkeypatch.undo()
    grey = torch.randint(0, 256, (50, 1, 9, 12), dtype=torch.uint8)
    moved = shifted(torch.cat([grey, 255 - grey, grey], dim=1), 2, rng())
    assert torch.equal(moved[:, :1], shifted(grey, 2, rng()))
    assert torch.equal(moved[:, 0], moved[:, 2])
    inside = moved[:, :, 2:-2, 2:-2].int()
    assert (inside[:, 0] + inside[:, 1] == 255).all()


def test_moves_reach_the_limit_each_way_and_not_beyond() -> None:
    dot = torch.zeros(2000, 1, 9, 9, dtype=torch.uint8)
    dot[:, 0, 4, 4] = 200
    moved = shifted(dot, 2, rng())
    assert moved.dtype == torch.uint8
    assert moved.shape == dot.shape
    places = moved.squeeze(1).nonzero()
    # Each image keeps its one dot, and its place in the batch.
    assert places[:, 0].tolist() == list(range(2000))
    assert moved.max() == 200
    offsets = places[:, 1:] - 4
    counts = {(y, x): 0 for y in range(-2, 3) for x in range(-2, 3)}
    for y, x in offsets.tolist():
        counts[y, x] += 1
    # Evenly: 80 of each expected, standard deviation 9.
    assert min(counts.values()) > 40
    assert max(counts.values()) < 120


def test_what_leaves_the_picture_is_gone_and_black_comes_in() -> None:
    white = torch.full((500, 1, 6, 6), 255, dtype=torch.uint8)
    moved = shifted(white, 3, rng())
    assert set(moved.unique().tolist()) == {0, 255}
    remaining = (moved == 255).sum(dim=(1, 2, 3))
    assert remaining.min() == 9
    assert remaining.max() == 36
    assert white.min() == 255  # left alone


def test_no_shift_is_no_change_and_draws_nothing() -> None:
    pictures = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8)
    generator = rng()
    assert torch.equal(shifted(pictures, 0, generator), pictures)
    assert torch.equal(generator.get_state(), rng().get_state())


def test_labels_stay_with_their_images(train: Labelled, monkeypatch: pytest.MonkeyPatch) -> None:
    # Image i is all of brightness i, and its label is i % 10: each batch must show them in step.
    pictures = torch.arange(100, dtype=torch.uint8).view(100, 1, 1, 1).repeat(1, 1, 28, 28)
    seen: list[Tensor] = []
    wanted: list[Tensor] = []
    entropy = nn.functional.cross_entropy

    def spy(logits: Tensor, labels: Tensor) -> Tensor:
        wanted.append(labels)
        return entropy(logits, labels)

    monkeypatch.setattr(supervised, "cross_entropy", spy)
    network = classifier()
    network.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    settings = dataclasses.replace(SETTINGS, epochs=1, shift=2)
    supervised.fit(
        network,
        Labelled(pictures, torch.arange(100) % 10),
        settings,
        rng=rng(),
        title="test",
        checkpoint=Checkpoint(None),
    )
    brightness = labelled.to_bytes(torch.cat(seen)).amax(dim=(1, 2, 3)).long()
    assert torch.equal(brightness % 10, torch.cat(wanted))
    assert len(brightness.unique()) == 100


# Predictions


class Brightest(nn.Module):
    """Says class 3 of dark images and class 8 of bright ones; in training mode, 0."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Parameter(torch.zeros(1))  # tells the device

    def forward(self, pictures: Tensor) -> Tensor:
        logits = torch.zeros(len(pictures), 10)
        if not self.training:
            bright = pictures.mean(dim=(1, 2, 3)) > 0
            logits[bright, 8] = 1.0
            logits[~bright, 3] = 1.0
        return logits


def test_accuracy_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "INFERENCE_BATCH", 3)
    bytes_ = torch.tensor([0, 255, 100, 200, 255], dtype=torch.uint8)
    pictures = bytes_.view(5, 1, 1, 1).expand(5, 1, 28, 28)
    network = Brightest().train()
    assert supervised.predict(network, pictures).tolist() == [3, 8, 3, 8, 8]
    labels = torch.tensor([3, 8, 8, 8, 3])
    assert supervised.accuracy(network, Labelled(pictures, labels)) == 0.6
    assert type(supervised.accuracy(network, Labelled(pictures, labels))) is float


# The order of labels


def test_every_prefix_of_the_order_is_balanced() -> None:
    labels = torch.randint(0, 10, (500,), generator=rng(5))
    order = supervised.balanced_order(labels, rng())
    assert sorted(order.tolist()) == list(range(500))
    full = labels.bincount(minlength=10)
    least = int(full.min())
    assert 20 < least < 50  # unequal classes: some run out before others
    for count in range(1, 500):
        found = labels[order[:count]].bincount(minlength=10)
        # A class may be behind the fullest by more than one only where it has run out.
        assert (found >= torch.minimum(full, found.max() - 1)).all(), count
    assert labels[order[: 10 * least]].bincount(minlength=10).tolist() == [least] * 10


def test_the_order_is_random_and_repeatable() -> None:
    labels = torch.arange(200) % 10
    order = supervised.balanced_order(labels, rng(1))
    assert torch.equal(order, supervised.balanced_order(labels, rng(1)))
    assert not torch.equal(order, supervised.balanced_order(labels, rng(2)))
    # Not only the classes' order within each ten, but also which images they are.
    assert set(order[:10].tolist()) != set(supervised.balanced_order(labels, rng(2))[:10].tolist())


# Losses


def test_losses_are_read_now_and_then_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Losses, "EVERY", 3)
    losses = Losses("test", steps=5)
    found = [losses.add(step, torch.tensor(step / 4)) for step in range(1, 6)]
    assert found == [None, None, 0.75, None, 1.25]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_first_loss_that_is_not_finite_is_named_though_it_is_read_later(
    value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Losses, "EVERY", 4)
    losses = Losses("test", steps=100)
    for step in range(5, 8):
        losses.add(step, torch.tensor(value if step > 5 else 1.0))
    with pytest.raises(PipelineError, match=rf"test: loss is {value} at step 6; lower its learning_rate"):
        losses.add(8, torch.tensor(1.0))
