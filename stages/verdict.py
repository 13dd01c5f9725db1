"""Judge the GAN run. A failed one ends the pipeline, unless that is allowed or the recipe is a baseline.

DVC runs: python -m stages.verdict --recipe results/recipe.json --gan results/gan --metrics ... ...
"""

from collections.abc import Sequence
from dataclasses import dataclass

from src.core import files, params, stage
from src.core.errors import PipelineError
from src.core.settings import Thresholds
from src.gan import verdict
from src.report import plots


@dataclass(frozen=True)
class Settings:
    """What this stage reads of params.yaml."""

    verdict: Thresholds


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the verdict with the run's last numbers, and draws its curves.

    Raises:
        PipelineError: The run failed, and neither verdict.allow_failed nor verdict.baselines lets it pass.
    """
    parser = stage.parser(
        __file__,
        __doc__,
        recipe="JSON of stage recipe",
        gan="folder of train_gan's results",
        metrics="JSON to write",
        outcome="JSON to write, with the verdict in a word",
        picture="PNG of the curves to write",
    )
    args = parser.parse_args(argv)
    thresholds, name = params.load(Settings).verdict, files.read_json(args.recipe)["name"]
    end = files.read_json(args.gan / "end.json")
    curves, checks = (files.read_numbers(args.gan / f"{name}.csv") for name in ("curves", "checks"))
    last, best = checks[-1], end["best"]
    fid_left = last["fid"] / checks[0]["fid"]  # the first is of the untrained generator
    found = verdict.judge(
        last,
        end["real"],
        fid_left=fid_left,
        conditional=end["conditional"],
        exhausted=end["exhausted"],
        non_finite=end["non_finite"],
        thresholds=thresholds,
    )
    fell = verdict.setback(checks)
    told = verdict.metrics(found, curves[-1], last, best, fid_left, fell, end["retries"])
    files.write_json(args.metrics, told)
    files.write_json(args.outcome, {"outcome": found.outcome})
    plots.write_figure(args.picture, plots.training_curves(curves, checks))
    print(
        f"{found.outcome}: {end['stopped']}; "
        f"best validation FID {best['fid']:.2f} at {best['images_seen']:,} images"
    )
    if found.outcome in verdict.FAILED:
        words = f"the GAN run failed ({found.outcome}): {', '.join(found.reasons)}"
        if name in thresholds.baselines:
            print(f"warning: {words}; going on, as verdict.baselines has {name}")
        elif thresholds.allow_failed:
            print(f"warning: {words}; going on, as verdict.allow_failed says")
        else:
            advice = "try another recipe or seed, or set verdict.allow_failed to true"
            raise PipelineError(f"{words}; look at {args.gan / 'samples'}, {advice}")


if __name__ == "__main__":
    stage.run(main)
