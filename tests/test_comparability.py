"""Which protocols of scores may be compared, and what is said of those that may not."""

import pytest

from src.core.errors import PipelineError
from src.report.comparability import require_comparable

PROTOCOL = {
    "extractor_sha256": "a" * 64,
    "reference_sha256": "d" * 64,
    "real_sha256": "e" * 64,
    "images_each_side": 100,
    "neighbours": 5,
    "inception_score_splits": 10,
}


SOME = {"labels_extractor_sha256": "f" * 64, "classifier_sha256": "0" * 64}
SCORES = {
    "label_agreement": "labels_extractor_sha256",
    "label_agreement_real": "labels_extractor_sha256",
    "class_share_min": "labels_extractor_sha256",
    "class_share_max": "labels_extractor_sha256",
    "cas_reverse": "classifier_sha256",
    "cas_reverse_real": "classifier_sha256",
}


def test_scores_of_one_protocol_compare() -> None:
    require_comparable(PROTOCOL, PROTOCOL | {"synthetic_sets": 3}, "main", ["fid"])
    require_comparable(PROTOCOL | SOME, PROTOCOL | SOME, "main", ["fid", *SCORES])


@pytest.mark.parametrize("key", PROTOCOL)
def test_scores_of_different_protocols_do_not(key: str) -> None:
    other = PROTOCOL | {key: "b" * 64}
    with pytest.raises(
        PipelineError, match=rf"at main can't be compared: {key} is .* here and b{{64}} there"
    ):
        require_comparable(PROTOCOL, other, "main", ["fid"])


@pytest.mark.parametrize("score", SCORES)
def test_networks_that_some_scores_ask_must_be_the_same_where_those_are_compared(score: str) -> None:
    key = SCORES[score]
    other = PROTOCOL | SOME | {key: "b" * 64}
    require_comparable(PROTOCOL | SOME, other, "main", ["fid", "kid"])
    with pytest.raises(PipelineError, match=rf"can't be compared: {key} is .* here and b{{64}} there"):
        require_comparable(PROTOCOL | SOME, other, "main", ["fid", score])


@pytest.mark.parametrize("key", PROTOCOL)
def test_what_is_not_known_is_not_taken_for_the_same(key: str) -> None:
    without = {name: value for name, value in PROTOCOL.items() if name != key}
    with pytest.raises(PipelineError, match=rf"{key} is .* here and not known there"):
        require_comparable(PROTOCOL, without, "main", ["fid"])
    with pytest.raises(PipelineError, match=rf"{key} is not known here and not known there"):
        require_comparable(without, without, "main", ["fid"])
