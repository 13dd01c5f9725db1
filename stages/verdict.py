"""Judge the GAN run: collapsed, diverged, converged. A failed one ends the pipeline, unless that is allowed.

DVC runs: python -m stages.verdict --gan results/gan --metrics metrics/gan.json --picture ...
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from src import config, files, plots, verdict
from src.errors import PipelineError, run


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the verdict with the run's last numbers, and draws its curves."""
    parser = argparse.ArgumentParser(prog="python -m stages.verdict", description=__doc__)
    parser.add_argument("--gan", type=Path, required=True, help="folder of train_gan's results")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON to write")
    parser.add_argument("--picture", type=Path, required=True, help="PNG of the curves to write")
    args = parser.parse_args(argv)
    params = config.load()
    end = files.read_json(args.gan / "end.json")
    curves, checks = (
        [
            {name: float(value) for name, value in row.items()}
            for row in files.read_csv(args.gan / f"{name}.csv")
        ]
        for name in ("curves", "checks")
    )
    last = checks[-1]
    fid_left = last["fid"] / checks[0]["fid"]  # the first is of the untrained generator
    found = verdict.judge(
        **{name: last[name] for name in ("classes", "class_kl", "diversity", "precision")},
        fid_left=fid_left,
        exhausted=end["exhausted"],
        non_finite=end["non_finite"],
        thresholds=params.verdict,
    )
    metrics = last | curves[-1] | {"validation_fid": last["fid"], "fid_left": fid_left}
    del metrics["fid"]  # evaluate's, of another n and reference, has that name
    metrics |= {name: int(metrics[name]) for name in ("images_seen", "classes")}
    best = end["best"]
    metrics |= {"best_images_seen": best["images_seen"], "best_validation_fid": best["fid"]}
    metrics |= {"retries": end["retries"]}
    metrics |= {"collapsed": found.collapsed, "diverged": found.diverged, "converged": found.converged}
    files.write_json(args.metrics, metrics)
    plots.write_figure(args.picture, plots.training_curves(curves, checks))
    print(f"{end['stopped']}; best validation FID {best['fid']:.2f} at {best['images_seen']:,} images")
    if found.reasons:
        words = f"the GAN run {'diverged' if found.diverged else 'collapsed'}: {', '.join(found.reasons)}"
        advice = (
            f"look at {args.gan / 'samples'}, try another recipe or seed, or set verdict.allow_failed to true"
        )
        if not params.verdict.allow_failed:
            raise PipelineError(f"{words}; {advice}")
        print(f"warning: {words}; going on, as verdict.allow_failed says")


if __name__ == "__main__":
    run(main)
