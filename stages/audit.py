"""Look for training images that the synthetic set repeats, measured against held-out real images.

DVC runs: python -m stages.audit --real data/raw --synthetic data/synthetic --metrics ... --picture ...
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn.functional import pad

from src import config, files, images, memorisation, networks, plots, sampling
from src.errors import PipelineError, run
from src.seeding import generator_for, set_up


def main(argv: Sequence[str] | None = None) -> None:
    """Writes how close synthetic images come to training images, and a picture of the ten closest pairs."""
    parser = argparse.ArgumentParser(prog="python -m stages.audit", description=__doc__)
    parser.add_argument("--real", type=Path, required=True, help="folder of the real images")
    parser.add_argument("--synthetic", type=Path, required=True, help="folder of the synthetic set")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON to write")
    parser.add_argument("--picture", type=Path, required=True, help="PNG of the closest pairs to write")
    args = parser.parse_args(argv)
    params = config.load()
    device = set_up(params.device, params.threads)
    train, heldout = (part.to(device) for part in images.read_train(args.real, params.validation))
    synthetic = images.read(args.synthetic, "train").to(device)
    n = params.evaluate.images
    for name, data in (("validation", heldout), ("synthetic", synthetic)):
        if len(data.images) < n:
            raise PipelineError(
                f"params.yaml: evaluate.images is {n}; allowed: at most the {len(data.images)} {name} images"
            )
    # At random: the first ones need not be like the rest.
    picked = torch.randperm(len(heldout.images), generator=generator_for("audit/real", params.seed))[:n]
    others = heldout.images[picked.sort().values.to(device)]
    near, near_real = (memorisation.nearest(data, train.images) for data in (synthetic.images[:n], others))
    found = memorisation.judge(near.cpu(), near_real.cpu(), generator_for("audit/bootstrap", params.seed))
    files.write_json(args.metrics, found._asdict())
    order = near.distances.argsort(stable=True)
    labels = synthetic.labels[:n][order]
    # Thin ones are close to each other in any set: the closest pair of each class tells more.
    first = [(labels == value).nonzero().flatten()[:1] for value in range(networks.CLASSES)]
    blocks = []
    for closest in (order[:10], order[torch.cat(first)]):
        pairs = torch.cat([synthetic.images[closest], train.images[near.indices[closest]]]).cpu()
        block = sampling.tiled(pairs, columns=len(closest))
        blocks.append(pad(block, (0, 10 * pairs.shape[-1] - block.shape[1])))  # a class may be missing
    # Four rows: synthetic images, their nearest training images; the same for the closest of each class.
    picture = torch.cat(blocks).repeat_interleave(3, dim=0).repeat_interleave(3, dim=1)
    plots.write_grey(args.picture, picture)


if __name__ == "__main__":
    run(main)
