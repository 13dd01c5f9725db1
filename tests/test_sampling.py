"""Image i depends on seed, purpose and i; what is drawn is written as a set; grids have a column a class."""

from pathlib import Path

import pytest
import torch
from conftest import GREY
from torch import Tensor, nn

from src.core.seeding import generator_for
from src.datasets import labelled
from src.datasets.labelled import Labelled, to_bytes
from src.datasets.spec import ImageSpec
from src.networks import sampling
from src.networks.mlp import MLPGenerator
from src.networks.network import Network, build

SETTINGS = {"purpose": "test", "seed": 3}
COLOUR = ImageSpec(channels=3, height=9, width=12, classes=7)


def made(spec: ImageSpec) -> Network:
    # Weights twice as large: bytes from 0 to 255 instead of grey around the middle.
    network = build(MLPGenerator, spec, seed=0, latent=5, width=8, conditional=True)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
    return network


@pytest.fixture(scope="module")
def generator() -> Network:
    return made(GREY)


def sample(generator: Network, count: int, **changes: object) -> Labelled:
    parts = list(sampling.blocks(generator, count, **(SETTINGS | changes)))
    return Labelled(torch.cat([part.pixels for part in parts]), torch.cat([part.given for part in parts]))


@pytest.fixture(scope="module")
def many(generator: Network) -> Labelled:
    return sample(generator, 2 * sampling.BLOCK + 345)


# Blocks


@pytest.mark.parametrize("count", [1, 7, 999, 1000, 1001, 2000, 2345])
def test_the_first_images_are_the_same_however_many_follow(
    generator: Network, many: Labelled, count: int
) -> None:
    found = sample(generator, count)
    assert len(found.pixels) == len(found.given) == count
    assert torch.equal(found.pixels, many.pixels[:count])
    assert torch.equal(found.given, many.given[:count])


def test_images_are_bytes_of_the_whole_range_and_differ(many: Labelled) -> None:
    assert many.pixels.shape == (2345, 1, 28, 28)
    assert many.pixels.dtype == torch.uint8
    assert many.given.dtype == torch.int64
    assert many.pixels.min() < 20
    assert many.pixels.max() > 235
    # Blocks do not repeat each other either (a network this small has a few latents that saturate alike).
    assert len(many.pixels.flatten(1).unique(dim=0)) > 2200


@pytest.mark.parametrize("block", [1000, 7])
def test_labels_cycle_also_over_the_edge_of_a_block(
    generator: Network, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(sampling, "BLOCK", block)
    assert sample(generator, 25).given.tolist() == [*range(10), *range(10), 0, 1, 2, 3, 4]


@pytest.mark.parametrize("block", [1000, 10])
def test_images_and_labels_are_of_the_generators_kind(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(sampling, "BLOCK", block)
    found = sample(made(COLOUR), 24)
    assert found.pixels.shape == (24, 3, 9, 12)
    assert found.given.tolist() == [*range(7), *range(7), *range(7), 0, 1, 2]


def test_memory_holds_one_block_at_a_time(generator: Network) -> None:
    sizes = [len(block) for block in sampling.blocks(generator, 2345, **SETTINGS)]
    assert sizes == [1000, 1000, 345]


def test_a_block_has_random_numbers_of_its_own_and_images_follow_their_labels(
    generator: Network, many: Labelled
) -> None:
    latents = torch.randn(1000, 5, generator=generator_for("test/1", 3))
    with torch.no_grad():
        expected = to_bytes(generator(latents, torch.arange(1000) % 10))
        other = to_bytes(generator(latents, (torch.arange(1000) + 1) % 10))
    assert torch.equal(many.pixels[1000:2000], expected)
    assert not torch.equal(expected, other)


def test_the_scale_multiplies_the_latent_vectors_and_nothing_else(generator: Network, many: Labelled) -> None:
    latents = torch.randn(1000, 5, generator=generator_for("test/0", 3))
    with torch.no_grad():
        expected = to_bytes(generator(1.5 * latents, torch.arange(1000) % 10))
    found = sample(generator, 1000, scale=1.5)
    assert torch.equal(found.pixels, expected)
    assert torch.equal(found.given, many.given[:1000])
    assert not torch.equal(found.pixels, many.pixels[:1000])
    assert torch.equal(sample(generator, 1000, scale=1).pixels, many.pixels[:1000])


@pytest.mark.parametrize("change", [{"seed": 4}, {"purpose": "another"}])
def test_another_seed_or_purpose_gives_other_images(
    generator: Network, many: Labelled, change: dict[str, object]
) -> None:
    found = sample(generator, 20, **change)
    assert (found.pixels != many.pixels[:20]).flatten(1).any(dim=1).all()
    assert torch.equal(found.given, many.given[:20])


def test_the_default_generator_neither_matters_nor_moves(generator: Network, many: Labelled) -> None:
    torch.manual_seed(9)
    state = torch.random.get_rng_state()
    found = sample(generator, 5)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(found.pixels, many.pixels[:5])


class Moody(Network):
    """White in training mode, black in eval mode."""

    def __init__(self) -> None:
        super().__init__(GREY, latent=5)
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        return torch.full((len(latents), 1, 28, 28), 1.0 if self.training else -1.0)


def test_images_are_made_in_eval_mode() -> None:
    assert sample(Moody(), 5).pixels.max() == 0


# Grids


@pytest.mark.parametrize("training", [True, False])
def test_pictures_are_made_in_eval_mode_and_leave_the_mode_as_it_was(training: bool) -> None:
    network = Moody().train(training)
    found = sampling.pictures(network, torch.zeros(20, 5), torch.zeros(20).long())
    assert found.shape == (20, 1, 28, 28)
    assert found.dtype == torch.uint8
    assert found.max() == 0
    assert network.training is training


def test_pictures_are_of_the_latents_and_labels_in_their_order(generator: Network) -> None:
    latents, labels = torch.randn(20, 5), torch.arange(20) % 10
    found = sampling.pictures(generator, latents, labels)
    with torch.no_grad():
        assert torch.equal(found, to_bytes(generator(latents, labels)))
    assert not torch.equal(found, sampling.pictures(generator, latents, labels.flip(0)))


@pytest.mark.parametrize(
    ("classes", "expected"), [(10, (10, 10)), (2, (10, 2)), (26, (10, 26)), (200, (10, 30))]
)
def test_a_grid_has_a_column_for_each_class_that_there_is_room_for(
    classes: int, expected: tuple[int, int]
) -> None:
    assert sampling.grid_size(ImageSpec(1, 28, 28, classes)) == expected


# Sets on disk


@pytest.mark.parametrize("spec", [GREY, COLOUR], ids=str)
def test_a_split_holds_what_was_drawn_with_the_labels_that_were_asked_for(
    tmp_path: Path, spec: ImageSpec
) -> None:
    generator = made(spec)
    counts, changed = sampling.write_split(tmp_path, "test", generator, 1024, scale=0.5, seed=3, label=None)
    drawn = sample(generator, 1024, purpose="generate/test", scale=0.5)
    found = labelled.read(tmp_path, "test", spec)
    assert torch.equal(found.pixels, drawn.pixels)
    assert torch.equal(found.given, drawn.given)
    # 102 tens and 4 more; 146 sevens and 2 more
    assert counts == ([103] * 4 + [102] * 6 if spec is GREY else [147] * 2 + [146] * 5)
    assert changed == 0
    sampling.write_split(tmp_path, "train", generator, 24, scale=0.5, seed=3, label=None)
    assert not torch.equal(labelled.read(tmp_path, "train", spec).pixels, found.pixels[:24])


def test_labels_can_be_overridden_by_what_the_images_look_like(tmp_path: Path, generator: Network) -> None:
    seen: list[Tensor] = []

    def label(pixels: Tensor) -> Tensor:
        seen.append(pixels)
        return torch.where(torch.arange(len(pixels)) < 5, 9, torch.arange(len(pixels)) % 10)

    counts, changed = sampling.write_split(tmp_path, "train", generator, 20, scale=1, seed=3, label=label)
    found = labelled.read(tmp_path, "train", GREY)
    assert found.given.tolist() == [9] * 5 + [5, 6, 7, 8, 9, *range(10)]
    assert counts == [1, 1, 1, 1, 1, 2, 2, 2, 2, 7]
    assert changed == 5
    assert torch.equal(torch.cat(seen), found.pixels)
