"""Write the labelled synthetic set in MNIST's layout, with its manifest and dataset card.

DVC runs: python -m stages.generate --data data/raw --generator ... --output data/synthetic
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from src import card, checkpoints, config, files, idx, images, networks, plots, resume, sampling, supervised
from src.errors import run
from src.seeding import environment, generator_for, set_up, stream_seed


def main(argv: Sequence[str] | None = None) -> None:
    """Generates both splits, block by block, and describes them."""
    parser = argparse.ArgumentParser(prog="python -m stages.generate", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="real images, for a labeller")
    parser.add_argument("--generator", type=Path, required=True, help="network to draw from")
    parser.add_argument("--verdict", type=Path, required=True, help="JSON of verdict")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    args = parser.parse_args(argv)
    params = config.load()
    device = set_up(params.device, params.threads)
    judged = files.read_json(args.verdict)
    generator = checkpoints.read(args.generator, torch.nn.Module).to(device)
    train, validation = images.read_train(args.data, params.validation)

    trained = (params.labeller, params.seed, params.validation, params.device, params.threads)
    with resume.opened(__file__, settings=trained, inputs=(args.data,)) as checkpoint:
        labeller, accuracy, changed = None, None, 0
        if params.generate.relabel or not params.recipe.conditional:
            # Neither the extractor, which scores these labels, nor the downstream network.
            weights = stream_seed("labeller/weights", params.seed)
            rng = generator_for("labeller/batches", params.seed)
            labeller = networks.build("conv-classifier", seed=weights, width=params.labeller.width).to(device)
            supervised.fit(
                labeller, train.to(device), params.labeller, rng=rng, title="labeller", checkpoint=checkpoint
            )
            accuracy = supervised.accuracy(labeller, validation.to(device))

        with files.folder(args.output) as folder:
            counts: dict[str, list[int]] = {}
            sha256: dict[str, str] = {}
            for split, count in (("train", params.generate.count), ("test", params.generate.test_count)):
                paths = [idx.folder(folder) / name for name in idx.NAMES[split]]
                blocks = sampling.blocks(
                    generator,
                    count,
                    latent=params.recipe.latent,
                    scale=params.generate.latent_scale,
                    purpose=f"generate/{split}",
                    seed=params.seed,
                    device=device,
                )
                with (
                    idx.Writer(paths[0], (count, networks.SIDE, networks.SIDE)) as image_file,
                    idx.Writer(paths[1], (count,)) as label_file,
                    tqdm(total=count, desc=f"synthetic {split}", unit="image") as bar,
                ):
                    for pictures, told in blocks:
                        labels = supervised.predict(labeller, pictures.to(device)).cpu() if labeller else told
                        changed += int((labels != told).sum())
                        image_file.append(pictures.squeeze(1).numpy())
                        label_file.append(labels.to(torch.uint8).numpy())
                        bar.update(len(labels))
                counts[split] = np.bincount(idx.read(paths[1], ndim=1), minlength=networks.CLASSES).tolist()
                sha256 |= {path.name: files.sha256(path) for path in paths}

            manifest = card.manifest(
                dataset=params.dataset,
                loss=params.loss,
                recipe=asdict(params.recipe),
                environment=environment(device),
                seed=params.seed,
                real_images=len(train.images),
                generator_sha256=files.sha256(args.generator),
                verdict={name: judged[name] for name in ("collapsed", "diverged", "converged")},
                latent_scale=params.generate.latent_scale,
                labeller_accuracy=accuracy,
                labels_changed=changed if params.recipe.conditional else None,
                class_counts=counts,
                sha256=sha256,
            )
            files.write_json(folder / "manifest.json", manifest)
            files.write_text(folder / "README.md", card.card(manifest))
            grid = sampling.tiled(images.read(folder, "test").images[:100], columns=10)
            plots.write_grey(folder / "samples.png", grid)


if __name__ == "__main__":
    run(main)
