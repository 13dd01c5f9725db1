"""Render labelled digits from strokes and fonts, where `labels` is 0 or label_train.rendered asks for them.

They take the layout of the real set, with manifest and card. With a folder of your own as `render.folder`,
its images take their place.

DVC runs: python -m stages.render --labels results/labels.json --output data/rendered
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from src.core import files, params, stage
from src.core.errors import PipelineError
from src.core.settings import Render, Seed

ROWS = 10  # of the sample grid, with a column for each digit


@dataclass(frozen=True)
class Settings:
    """What this stage reads of params.yaml."""

    seed: Seed
    dataset: str
    render: Render


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the rendered set; where none is asked for, only that."""
    parser = stage.parser(__file__, __doc__, labels="JSON of stage recipe", output="folder to write")
    args = parser.parse_args(argv)
    settings, allowed = params.load(Settings), files.read_json(args.labels)
    if allowed["rendered"]:
        render(settings, args.output, allowed["labels"])
        return
    with files.folder(args.output) as folder:
        files.write_json(folder / "manifest.json", {"counts": {}})


def render(settings: Settings, output: Path, labels: int) -> None:
    """Renders both splits, block by block, and describes them; `labels` are those of real images.

    Raises:
        PipelineError: The data set has other classes than digits.
    """
    # Not at the top: these take seconds, which a run with all labels need not wait.
    from src.datasets import fetch, idx, labelled, ledger, rendered, rendered_card
    from src.datasets.spec import read_names, read_spec
    from src.report import grids, plots

    own, names = settings.render.folder, list(fetch.rows()[settings.dataset].names)
    theirs = read_names(Path(own)) if own else rendered.NAMES
    if theirs != names:
        asked, advice = "labels is 0", "labels to all or to a number"
        if labels:
            asked, advice = "label_train.rendered is true", "it to false"
        raise PipelineError(
            f"params.yaml: {asked}, but {own or 'what is rendered'} has the classes {', '.join(theirs)}, and "
            f"{settings.dataset} {', '.join(names)}; set {advice}, or render.folder to such a set"
        )
    sizes = {"train": settings.render.count, "test": settings.render.test_count}
    with files.folder(output) as folder:
        if own:
            ledger.copy(Path(own), folder, read_spec(Path(own)), names, labels=0)
            return
        glyphs = rendered.glyphs()
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
