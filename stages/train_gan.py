"""Train the GAN that `loss` in params.yaml names, on real training images, and keep its best generator.

DVC runs: python -m stages.train_gan --data data/raw --extractor ... --generator ... --results ...
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from src import adversarial, checkpoints, config, files, gan, images, networks, plots, resume, watch
from src.errors import run
from src.seeding import environment, set_up


def main(argv: Sequence[str] | None = None) -> None:
    """Trains and writes the best averaged generator, the curves, the checks and the sample grids."""
    parser = argparse.ArgumentParser(prog="python -m stages.train_gan", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real images")
    parser.add_argument("--extractor", type=Path, required=True, help="network that scores checks")
    parser.add_argument("--generator", type=Path, required=True, help="network to write")
    parser.add_argument("--results", type=Path, required=True, help="folder to write curves to")
    args = parser.parse_args(argv)
    params = config.load()
    recipe, settings = params.recipe, params.train
    device = set_up(params.device, params.threads)

    train, heldout = (part.to(device) for part in images.read_train(args.data, params.validation))
    with resume.opened(
        __file__,
        settings=(recipe, settings, params.seed, params.validation, params.device, params.threads),
        inputs=(args.data, args.extractor),
    ) as checkpoint:
        training = gan.Run(
            recipe,
            train,
            seed=params.seed,
            reports=settings.log_points,
            retry_factor=settings.retry_factor,
            pause=checkpoint.pause,
        )
        watching = watch.Watch(
            training.generator,
            training.discriminator,
            checkpoints.read(args.extractor, networks.ConvClassifier).to(device),
            train=train,
            heldout=heldout,
            latent=recipe.latent,
            settings=settings,
            seed=params.seed,
        )
        checkpoint.track("gan", run=training, watch=watching)
        if not watching.checks:
            watching.look(images_seen=0)
        stopped, non_finite = "all images were seen", False
        try:
            with tqdm(total=recipe.images, desc=params.loss, unit="image", unit_scale=True) as bar:
                for report in training:
                    watching.see(report, done=min(report.images_seen / recipe.images, 1))
                    bar.update(report.images_seen - bar.n)
                    if watching.exhausted:
                        stopped = "the score did not improve any more"
                        break
                    bar.set_postfix(
                        D=f"{report.d_loss:.3f}",
                        G=f"{report.g_loss:.3f}",
                        FID=f"{watching.checks[-1].fid:.2f}",
                    )
        except adversarial.NonFiniteError as fault:
            if not watching.curves:
                raise
            stopped, non_finite = str(fault), True
        training.generator.load_state_dict(watching.best_weights)

        # Everything is written at the end: a run that is killed leaves what stood there before.
        with files.folder(args.results) as folder:
            files.write_csv(folder / "curves.csv", adversarial.Report._fields, watching.curves)
            files.write_csv(folder / "checks.csv", watch.Check._fields, watching.checks)
            end = {"stopped": stopped, "non_finite": non_finite, "retries": training.retries}
            end |= {"exhausted": watching.exhausted, "best": watching.best._asdict()}
            end |= {"environment": environment(device)}
            files.write_json(folder / "end.json", end)
            for percent, picture in watching.grids.items():
                plots.write_grey(folder / "samples" / f"{percent:03d}_percent.png", picture)
        checkpoints.write(args.generator, training.generator)


if __name__ == "__main__":
    run(main)
