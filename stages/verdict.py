"""Judge the GAN run: collapsed, diverged, converged. A failed one ends the pipeline, unless that is allowed.

DVC runs: python -m stages.verdict --gan results/gan --metrics metrics/gan.json --picture ...
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
        PipelineError: The run collapsed or diverged, and verdict.allow_failed is not set.
    """
    parser = stage.parser(
        __file__,
        __doc__,
        gan="folder of train_gan's results",
        metrics="JSON to write",
        picture="PNG of the curves to write",
    )
    args = parser.parse_args(argv)
    thresholds = params.load(Settings).verdict
    end = files.read_json(args.gan / "end.json")
    curves, checks = (files.read_numbers(args.gan / f"{name}.csv") for name in ("curves", "checks"))
    last, best = checks[-1], end["best"]
    fid_left = last["fid"] / checks[0]["fid"]  # the first is of the untrained generator
    found = verdict.judge(
        missing=end["spec"]["classes"] - int(last["classes"]),
        **{name: last[name] for name in ("class_kl", "diversity", "precision")},
        fid_left=fid_left,
        exhausted=end["exhausted"],
        non_finite=end["non_finite"],
        thresholds=thresholds,
    )
    files.write_json(args.metrics, verdict.metrics(found, curves[-1], last, best, fid_left, end["retries"]))
    plots.write_figure(args.picture, plots.training_curves(curves, checks))
    print(f"{end['stopped']}; best validation FID {best['fid']:.2f} at {best['images_seen']:,} images")
    if found.reasons:
        words = f"the GAN run {'diverged' if found.diverged else 'collapsed'}: {', '.join(found.reasons)}"
        advice = "try another recipe or seed, or set verdict.allow_failed to true"
        if not thresholds.allow_failed:
            raise PipelineError(f"{words}; look at {args.gan / 'samples'}, {advice}")
        print(f"warning: {words}; going on, as verdict.allow_failed says")


if __name__ == "__main__":
    stage.run(main)
