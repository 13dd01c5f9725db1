"""Features of images that nobody labelled, learnt by telling each image from all others: SimCLR.

Two changed versions of an image are to be near each other, and far from those of other images (Chen et al.
2020). Their brightness changes, too, and a square is blacked out: with changes of shape alone, features knew
less of Fashion-MNIST's classes than pixels do (docs/results.md).
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, normalize
from tqdm import tqdm

from src.classifiers.augmentation import STRONG
from src.classifiers.spreading import centred, features
from src.classifiers.supervised import Losses
from src.core.checkpoint import Checkpoint
from src.core.replay import Piece, Replay
from src.core.seeding import generator_for, stream_seed
from src.core.settings import SemiSupervised
from src.datasets.batches import Shuffled
from src.datasets.spec import ImageSpec
from src.networks.classifier import ConvClassifier
from src.networks.network import Network, build

TITLE = "features without labels"
TEMPERATURE = 0.2
PROJECTED = 64  # length of what is compared; features are taken before it, as in the paper
LIGHT = 0.4  # brightness changes by a factor between 1 - LIGHT and 1 + LIGHT
CUT = 0.36  # of each side is blacked out
PIXELS = 0.5**0.5  # length of the pixels beside that of the features, 1: half as much in squared distances


class Encoder(Network):
    """A classifier's layers up to its features, and a projection that is only there to be trained.

    Args:
        spec: The images that it sees.
        width: The classifier's.
    """

    def __init__(self, spec: ImageSpec, *, width: int) -> None:
        super().__init__(spec, width=width)
        self.body, size = ConvClassifier(spec, width=width).body, ConvClassifier.num_features
        self.projection = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, PROJECTED))

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (n, channels, height, width) in [-1, 1] to directions (n, PROJECTED) of length 1."""
        return normalize(self.projection(self.body(images)))


def learn(
    pixels: Tensor, spec: ImageSpec, how: SemiSupervised, *, seed: int, checkpoint: Checkpoint
) -> Encoder:
    """Trains an encoder on images without labels; it ends in eval mode.

    Args:
        pixels: uint8 (n, channels, height, width).
        spec: What they look like.
        how: The classifier's width; `contrast_steps`, of `unlabelled` images each; and the learning rate.
        seed: The run's seed.
        checkpoint: Takes the training up where it was cut off.

    Raises:
        PipelineError: The loss is NaN or infinite; names the step.
    """
    encoder = build(Encoder, spec, seed=stream_seed("contrast/weights", seed), width=how.width)
    encoder.to(pixels.device)
    if weights := checkpoint.finished(TITLE):
        encoder.load_state_dict(weights)
        return encoder.eval()
    rng, rate, steps = generator_for("contrast/batches", seed), how.learning_rate, how.contrast_steps
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    batches = Shuffled(len(pixels), how.unlabelled, rng)
    checkpoint.track(TITLE, network=encoder, optimizer=optimizer, schedule=schedule, batches=batches)
    done, losses = schedule.last_epoch, Losses(TITLE, steps)

    def gradients(*, batch: Tensor, **changes: Tensor) -> Iterator[Piece]:
        twice = pixels[batch.repeat(2)]
        loss = contrast(encoder(changed(twice, **changes).div_(127.5).sub_(1)))
        optimizer.zero_grad()
        loss.backward()
        yield encoder, {"loss": loss.detach()}

    replay = Replay(gradients, pixels.device)
    encoder.train()
    with tqdm(total=steps, initial=done, desc=TITLE, unit="step", mininterval=1) as bar:
        for step in range(done + 1, steps + 1):
            checkpoint.pause()
            ((_, told),) = replay({"batch": next(batches)} | changes(2 * how.unlabelled, rng))
            optimizer.step()
            schedule.step()
            bar.update()
            if (value := losses.add(step, told["loss"])) is not None:
                bar.set_postfix(loss=f"{value:.3f}", refresh=False)
    checkpoint.finish(TITLE, encoder)
    return encoder.eval()


def changes(count: int, rng: torch.Generator) -> dict[str, Tensor]:
    """Draws what `changed` does to so many images."""
    return {
        "maps": STRONG.draw(count, rng),
        "light": 1 + LIGHT * (2 * torch.rand(count, 1, 1, 1, generator=rng) - 1),
        "corners": torch.rand(count, 2, generator=rng),
    }


def changed(pixels: Tensor, *, maps: Tensor, light: Tensor, corners: Tensor) -> Tensor:
    """Images changed in shape and brightness, each with a part blacked out.

    Args:
        pixels: uint8 (n, channels, height, width).
        maps: See `STRONG`.
        light: Factors of their brightness, (n, 1, 1, 1).
        corners: Where the part begins that is blacked out, (n, 2): in [0, 1), of the places that it can have.

    Returns:
        float32 of the same shape, in [0, 255 (1 + LIGHT)].
    """

    def within(first: Tensor, side: int) -> Tensor:
        length = round(CUT * side)
        begin, along = (first * (side - length + 1)).long()[:, None], torch.arange(side, device=first.device)
        return (begin <= along) & (along < begin + length)

    rows, columns = (within(*pair) for pair in zip(corners.T, pixels.shape[2:], strict=True))
    cut = rows[:, None, :, None] & columns[:, None, None, :]
    return (STRONG.make(pixels, maps) * light).masked_fill_(cut, 0)


def contrast(directions: Tensor) -> Tensor:
    """The loss of 2 n images, (2 n, d) of length 1, of which each is the same as that n places on."""
    # l(i, j) = -log(exp(z_i z_j / t) / sum over k != i of exp(z_i z_k / t)), eq. 1
    alike = (directions @ directions.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    count = len(directions)
    return cross_entropy(alike, torch.arange(count, device=directions.device).roll(count // 2))


@torch.inference_mode()
def embed(encoder: Encoder, pixels: Tensor) -> Tensor:
    """Images as points, float32 (n, d): near each other where an encoder and the pixels find them alike.

    Args:
        encoder: A trained one.
        pixels: uint8 (n, channels, height, width).
    """
    coarse = avg_pool2d(pixels.float(), 2, ceil_mode=True).flatten(1)
    return torch.cat([features(encoder.body, pixels), PIXELS * centred(coarse)], dim=1)
