"""Image i depends on seed, purpose and i; pictures are laid out row by row."""

import pytest
import torch
from torch import Tensor, nn

from src import networks, sampling
from src.images import to_bytes
from src.seeding import generator_for

CPU = torch.device("cpu")
SETTINGS = {"latent": 5, "purpose": "test", "seed": 3, "device": CPU}


@pytest.fixture(scope="module")
def generator() -> nn.Module:
    # Weights twice as large: bytes from 0 to 255 instead of grey around the middle.
    network = networks.build("mlp-generator", seed=0, latent=5, width=8, conditional=True)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
    return network


def sample(generator: nn.Module, count: int, **changes: object) -> tuple[Tensor, Tensor]:
    parts = list(sampling.blocks(generator, count, **(SETTINGS | changes)))
    return torch.cat([images for images, _ in parts]), torch.cat([labels for _, labels in parts])


@pytest.fixture(scope="module")
def many(generator: nn.Module) -> tuple[Tensor, Tensor]:
    return sample(generator, 2 * sampling.BLOCK + 345)


@pytest.mark.parametrize("count", [1, 7, 999, 1000, 1001, 2000, 2345])
def test_the_first_images_are_the_same_however_many_follow(generator, many, count) -> None:
    images, labels = sample(generator, count)
    assert len(images) == len(labels) == count
    assert torch.equal(images, many[0][:count])
    assert torch.equal(labels, many[1][:count])


def test_images_are_bytes_of_the_whole_range_and_differ(many) -> None:
    images, labels = many
    assert images.shape == (2345, 1, 28, 28)
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert images.min() < 20
    assert images.max() > 235
    # Blocks do not repeat each other either (a network this small has a few latents that saturate alike).
    assert len(images.flatten(1).unique(dim=0)) > 2200


@pytest.mark.parametrize("block", [1000, 7])
def test_labels_cycle_also_over_the_edge_of_a_block(generator, monkeypatch, block) -> None:
    monkeypatch.setattr(sampling, "BLOCK", block)
    _, labels = sample(generator, 25)
    assert labels.tolist() == [*range(10), *range(10), 0, 1, 2, 3, 4]


def test_memory_holds_one_block_at_a_time(generator) -> None:
    sizes = [len(images) for images, _ in sampling.blocks(generator, 2345, **SETTINGS)]
    assert sizes == [1000, 1000, 345]


def test_a_block_has_random_numbers_of_its_own_and_images_follow_their_labels(generator, many) -> None:
    latents = torch.randn(1000, 5, generator=generator_for("test/1", 3))
    with torch.no_grad():
        expected = to_bytes(generator(latents, torch.arange(1000) % 10))
        other = to_bytes(generator(latents, (torch.arange(1000) + 1) % 10))
    assert torch.equal(many[0][1000:2000], expected)
    assert not torch.equal(expected, other)


def test_the_scale_multiplies_the_latent_vectors_and_nothing_else(generator, many) -> None:
    latents = torch.randn(1000, 5, generator=generator_for("test/0", 3))
    with torch.no_grad():
        expected = to_bytes(generator(1.5 * latents, torch.arange(1000) % 10))
    images, labels = sample(generator, 1000, scale=1.5)
    assert torch.equal(images, expected)
    assert torch.equal(labels, many[1][:1000])
    assert not torch.equal(images, many[0][:1000])
    assert torch.equal(sample(generator, 1000, scale=1)[0], many[0][:1000])


@pytest.mark.parametrize("change", [{"seed": 4}, {"purpose": "another"}])
def test_another_seed_or_purpose_gives_other_images(generator, many, change) -> None:
    images, labels = sample(generator, 20, **change)
    assert (images != many[0][:20]).flatten(1).any(dim=1).all()
    assert torch.equal(labels, many[1][:20])


def test_the_default_generator_neither_matters_nor_moves(generator, many) -> None:
    torch.manual_seed(9)
    state = torch.random.get_rng_state()
    images, _ = sample(generator, 5)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(images, many[0][:5])


class Moody(nn.Module):
    """White in training mode, black in eval mode."""

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        return torch.full((len(latents), 1, 28, 28), 1.0 if self.training else -1.0)


def test_images_are_made_in_eval_mode() -> None:
    images, _ = sample(Moody(), 5)
    assert images.max() == 0


@pytest.mark.parametrize("training", [True, False])
def test_a_grid_is_made_in_eval_mode_and_leaves_the_mode_as_it_was(training) -> None:
    network = Moody().train(training)
    picture = sampling.grid(network, torch.zeros(20, 5), torch.zeros(20).long())
    assert picture.shape == (2 * 28, 10 * 28)
    assert picture.dtype == torch.uint8
    assert picture.max() == 0
    assert network.training is training


def test_a_grid_has_its_images_row_by_row(generator) -> None:
    latents, labels = torch.randn(20, 5), torch.arange(20) % 10
    picture = sampling.grid(generator, latents, labels)
    with torch.no_grad():
        images = to_bytes(generator(latents, labels))
    assert torch.equal(picture[28:56, 3 * 28 : 4 * 28], images[13, 0])
    assert torch.equal(picture[:28, 9 * 28 :], images[9, 0])


def test_tiles_lie_row_by_row() -> None:
    # Four images of 2x3: the tens digit is the image, the units digit the pixel.
    images = torch.tensor([[[[10 * n + 3 * y + x for x in range(3)] for y in range(2)]] for n in range(4)])
    assert sampling.tiled(images.byte(), columns=2).tolist() == [
        [0, 1, 2, 10, 11, 12],
        [3, 4, 5, 13, 14, 15],
        [20, 21, 22, 30, 31, 32],
        [23, 24, 25, 33, 34, 35],
    ]
    assert sampling.tiled(images.byte(), columns=4).shape == (2, 12)
