"""Print the result of the last run and where its pictures are. No DVC stage: it only reads metrics/.

Command: python -m stages.summary
Or, beside the result of another commit, branch or experiment: python -m stages.summary --against REVISION
"""

import json
from collections.abc import Sequence
from pathlib import Path

from src.core import files, stage
from src.core.errors import PipelineError
from src.report import summary
from src.report.comparability import require_comparable


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a short table from metrics/*.json."""
    parser = stage.parser(__file__, __doc__)
    parser.add_argument("--metrics", type=Path, default=Path("metrics"), help="folder of metrics")
    parser.add_argument("--against", metavar="REVISION", help="compare with the scores there instead")
    args = parser.parse_args(argv)
    if args.against:
        compare(args.metrics, args.against)
        return
    names = ("quality", "downstream", "worth", "outcome")
    quality, downstream, worth, ended = (files.read_json(args.metrics / f"{name}.json") for name in names)
    print(summary.table(quality, downstream, worth, ended["outcome"]))
    print("\nPictures:")
    for path in sorted(args.metrics.glob("*.png")):
        print(f"  {path}")
    print("Everything else: dvc metrics show, dvc plots show, dvc exp show")


def compare(metrics: Path, revision: str) -> None:
    """Prints the scores of the synthetic set beside those at another revision.

    Raises:
        PipelineError: Both were not made in the same way, or the other's are not there.
    """
    import dvc.api  # takes a second that the plain summary does not need
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError

    protocol = Path("results/quality_manifest.json")
    try:
        there = [json.loads(dvc.api.read(str(p), rev=revision)) for p in (protocol, metrics / "quality.json")]
    except (DvcException, SCMError, OSError) as error:
        raise PipelineError(f"no scores at {revision}: {error}; try dvc fetch, or another revision") from None
    here = files.read_json(metrics / "quality.json")
    require_comparable(files.read_json(protocol), there[0], revision, here.keys() & there[1].keys())
    print(summary.beside(here, there[1], revision))


if __name__ == "__main__":
    stage.run(main)
