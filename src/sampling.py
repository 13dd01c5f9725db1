"""Generator and seed to labelled bytes: image i depends on the seed and on i, on nothing else."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from src.images import to_bytes
from src.seeding import generator_for

# Images are made in blocks of this many, each with random numbers of its own and always whole, so that the
# first n images are the same bytes however many follow, and blocks could be shared out among workers.
BLOCK = 1000


@torch.inference_mode()
def blocks(
    generator: nn.Module,
    count: int,
    *,
    latent: int,
    scale: float = 1,
    purpose: str,
    seed: int,
    device: torch.device,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields images, uint8 (n, 1, 28, 28), and the labels they were asked to have, int64 (n,), on the CPU.

    Labels cycle through 0..9, so that any number of images is as balanced as it can be.

    Args:
        generator: Maps latents (n, latent) and labels (n,) to images in [-1, 1].
        count: Number of images in all; memory does not grow with it.
        latent: Length of a latent vector.
        scale: Standard deviation of its numbers, which in training was 1. Images from less are likelier (what
            Brock et al. 2018, section 3.1, get by truncation), images from more are stranger.
        purpose: Names the stream of random numbers; another name gives other images.
        seed: The run's seed.
        device: Where the generator is.
    """
    generator.eval()
    for start in range(0, count, BLOCK):
        rng = generator_for(f"{purpose}/{start // BLOCK}", seed)
        latents = scale * torch.randn(BLOCK, latent, generator=rng)
        labels = torch.arange(start, start + BLOCK) % 10
        images = to_bytes(generator(latents.to(device), labels.to(device))).cpu()
        size = min(BLOCK, count - start)
        yield images[:size], labels[:size]


@torch.inference_mode()
def grid(generator: nn.Module, latents: Tensor, labels: Tensor) -> Tensor:
    """One picture, uint8 (height, width), of the images that latents (n, d) and labels (n,) give."""
    was_training = generator.training
    generator.eval()
    images = to_bytes(generator(latents, labels)).cpu()
    generator.train(was_training)
    return tiled(images, columns=10)


def tiled(images: Tensor, columns: int) -> Tensor:
    """Images, uint8 (n, 1, h, w), n a multiple of `columns`, as one picture, uint8 (rows h, columns w)."""
    count, _, height, width = images.shape
    rows = images.view(count // columns, columns, height, width)
    return rows.permute(0, 2, 1, 3).reshape(-1, columns * width)
