"""Train the GAN that `loss` in params.yaml names, on real training images.

DVC runs: python -m stages.train_gan --data data/raw --generator ... --results ...
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from src import adversarial, checkpoints, config, files, gan, images, plots, sampling
from src.errors import run
from src.seeding import generator_for, set_up


def main(argv: Sequence[str] | None = None) -> None:
    """Trains and writes the averaged generator, the training curves and the sample grids."""
    parser = argparse.ArgumentParser(prog="python -m stages.train_gan", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real images")
    parser.add_argument("--generator", type=Path, required=True, help="network to write")
    parser.add_argument("--results", type=Path, required=True, help="folder to write curves to")
    args = parser.parse_args(argv)
    params = config.load()
    recipe = params.recipe
    device = set_up(params.device, params.threads)

    train, _ = images.read_train(args.data, params.validation)
    points = params.train.log_points
    generator, reports = gan.start(recipe, train.to(device), seed=params.seed, reports=points)

    fixed = torch.randn(100, recipe.latent, generator=generator_for("gan/grid", params.seed))
    digits = torch.arange(100).to(device) % 10
    curves: list[adversarial.Report] = []
    grids: dict[int, torch.Tensor] = {}
    with tqdm(total=recipe.images, desc=params.loss, unit="image", unit_scale=True) as bar:
        for report in reports:
            curves.append(report)
            bar.update(report.images_seen - bar.n)
            bar.set_postfix(D=f"{report.d_loss:.3f}", G=f"{report.g_loss:.3f}")
            done = min(report.images_seen / recipe.images, 1)
            if int(done * params.train.grids) > len(grids):
                grids[int(100 * done)] = sampling.grid(generator, fixed.to(device), digits)

    # Everything is written at the end: a run that fails leaves what stood there before.
    with files.folder(args.results) as folder:
        files.write_csv(folder / "curves.csv", adversarial.Report._fields, curves)
        for percent, picture in grids.items():
            plots.write_grey(folder / "samples" / f"{percent:03d}_percent.png", picture)
    checkpoints.write(args.generator, generator)


if __name__ == "__main__":
    run(main)
