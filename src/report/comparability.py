"""Whether two protocols of scores may be compared."""

from collections.abc import Collection, Mapping

from src.core.errors import PipelineError

# What every score depends on, and what only some of metrics/quality.json do.
ALWAYS = (
    "extractor_sha256",
    "reference_sha256",
    "real_sha256",
    "images_each_side",
    "neighbours",
    "inception_score_splits",
)
SOME = {
    "labels_extractor_sha256": {
        *("label_agreement", "label_agreement_real"),
        *("class_share_max", "class_share_min"),
    },
    "classifier_sha256": {"cas_reverse", "cas_reverse_real"},
}


def require_comparable(
    mine: Mapping[str, object], other: Mapping[str, object], name: str, scores: Collection[str]
) -> None:
    """Refuses to compare scores of two protocols (results/quality_manifest.json).

    Args:
        mine: One protocol.
        other: The other.
        name: What to call the other.
        scores: Names of the scores that both have, as in metrics/quality.json.

    Raises:
        PipelineError: The scores were made in different ways; says what differs.
    """
    for key in (*ALWAYS, *(key for key, names in SOME.items() if names & set(scores))):
        here, there = (protocol.get(key, "not known") for protocol in (mine, other))
        if here != there or key not in mine:
            raise PipelineError(
                f"the scores here and at {name} can't be compared: {key} is {here} here and {there} there; "
                "score both sets in one way: python -m stages.evaluate --extractor FILE --synthetic FOLDER"
            )
