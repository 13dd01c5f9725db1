"""Render labelled digits from strokes and fonts in the layout of the real set, with manifest and card.

DVC runs: python -m stages.render --rendered data/rendered
"""

from collections.abc import Sequence
from dataclasses import dataclass

from src.core import files, params, stage
from src.core.settings import Render, Seed
from src.datasets import idx, labelled, rendered, rendered_card
from src.report import grids, plots

ROWS = 10  # of the sample grid, with a column for each digit


@dataclass(frozen=True)
class Settings:
    """What this stage reads of params.yaml."""

    seed: Seed
    render: Render


def main(argv: Sequence[str] | None = None) -> None:
    """Renders both splits, block by block, and describes them."""
    parser = stage.parser(__file__, __doc__, rendered="folder to write")
    args = parser.parse_args(argv)
    settings = params.load(Settings)
    sizes = {"train": settings.render.count, "test": settings.render.test_count}
    glyphs = rendered.glyphs()
    with files.folder(args.rendered) as folder:
        counts: dict[str, list[int]] = {
            split: rendered.write_split(folder, split, glyphs, sizes[split], settings.seed)
            for split in idx.SPLITS
        }
        manifest = rendered_card.Manifest(settings.seed, counts, idx.hashes(folder, rendered.SPEC))
        rendered_card.write(folder, manifest)
        pixels = labelled.read(folder, "test", rendered.SPEC).pixels[: ROWS * rendered.SPEC.classes]
        plots.write_picture(folder / "samples.png", grids.tiled(pixels, rendered.SPEC.classes))


if __name__ == "__main__":
    stage.run(main)
