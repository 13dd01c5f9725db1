"""Look for training images that the synthetic set repeats, measured against held-out real images.

DVC runs: python -m stages.audit --real data/raw --synthetic data/synthetic --metrics ... --picture ...
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from src.core import files, params, stage
from src.core.errors import PipelineError
from src.core.machine import set_up
from src.core.seeding import generator_for
from src.core.settings import Common
from src.datasets import labelled
from src.datasets.spec import read_spec
from src.report import grids, plots
from src.scores import memorisation

CLOSEST = 10  # pairs in the picture, whatever their class


@dataclass(frozen=True)
class Settings(Common):
    """What this stage reads of params.yaml."""

    images: int = params.at("evaluate.images")


def main(argv: Sequence[str] | None = None) -> None:
    """Writes how close synthetic images come to training images, and a picture of the closest pairs.

    Raises:
        PipelineError: There are fewer images than evaluate.images.
    """
    parser = stage.parser(
        __file__,
        __doc__,
        real="folder of the real images",
        synthetic="folder of the synthetic set",
        metrics="JSON to write",
        picture="PNG of the closest pairs to write",
    )
    args = parser.parse_args(argv)
    settings = params.load(Settings)
    n, seed = settings.images, settings.seed
    device = set_up(settings.device, settings.threads)
    spec = read_spec(args.real)
    train, heldout = (p.to(device) for p in labelled.read_train(args.real, spec, settings.validation))
    synthetic = labelled.read(args.synthetic, "train", spec).to(device)
    for name, data in (("validation", heldout), ("synthetic", synthetic)):
        if len(data) < n:
            raise PipelineError(
                f"params.yaml: evaluate.images is {n}; allowed: at most the {len(data)} {name} images"
            )
    synthetic, others = synthetic.part(0, n), heldout.chosen(n, generator_for("audit/real", seed))
    near, near_real = (memorisation.nearest(data.pixels, train.pixels) for data in (synthetic, others))
    found = memorisation.judge(near.cpu(), near_real.cpu(), generator_for("audit/bootstrap", seed))
    files.write_json(args.metrics, found._asdict())
    order = near.distances.argsort(stable=True)
    labels = synthetic.given[order]
    # Thin ones are close to each other in any set: the closest pair of each class tells more.
    first = [order[(labels == value).nonzero().flatten()[:1]] for value in range(spec.classes)]
    rows = [
        data.pixels[which].cpu()
        for closest in (order[:CLOSEST], torch.cat(first[: grids.MOST_CLASSES]))
        for data, which in ((synthetic, closest), (train, near.indices[closest]))
    ]
    # Four rows: synthetic images, their nearest training images; the same for the closest of each class.
    picture = grids.sheet(rows, columns=max(map(len, rows)))
    plots.write_picture(args.picture, grids.enlarged(picture, 3))


if __name__ == "__main__":
    stage.run(main)
