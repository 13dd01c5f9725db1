"""What a comparison leaves behind: each number in its place."""

from pathlib import Path

import torch
from conftest import GREY
from PIL import Image

from src.core import files
from src.datasets.labelled import Labelled
from src.report import scorecard
from src.scores.comparison import Judged, Score

SCORES = {
    "fid": Score(3.0, 2.5, 3.5, 1.5, 900.0),
    "is": Score(8.0, 7.5, 8.5, 9.0, 1.0),
    "label_agreement": Score(0.5, 0.25, 0.75, 1.0, 0.125),
}


def test_scores_classes_and_pictures_are_written(tmp_path: Path) -> None:
    # Of five images two were asked to be 0s and three 1s; three look like 1s, one like a 0, one like a 2.
    labels, perceived = torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 1, 1, 1, 2])
    pixels = torch.zeros(5, *GREY.shape, dtype=torch.uint8)
    data = Labelled(pixels, labels)
    scorecard.write(tmp_path, Judged(SCORES, data, data, perceived, 2, ("a", "b")), classes=3)
    assert files.read_json(tmp_path / "quality.json") == {
        "fid": 3.0,
        "fid_floor": 1.5,
        "fid_ratio": 2.0,
        "is_mean": 8.0,
        "is_real": 9.0,
        "label_agreement": 0.5,
        "label_agreement_real": 1.0,
        "class_share_max": 0.6,
        "class_share_min": 0.2,
    }
    assert (tmp_path / "class_histogram.csv").read_text().splitlines() == [
        *("class,label,extractor,agreeing", "0,2,1,1", "1,3,3,2", "2,0,1,0")
    ]
    assert (tmp_path / "scores.csv").read_text().splitlines() == [
        *("score,mean,low,high,real,noise", "fid,3.0,2.5,3.5,1.5,900.0", "is,8.0,7.5,8.5,9.0,1.0"),
        "label_agreement,0.5,0.25,0.75,1.0,0.125",
    ]
    with Image.open(tmp_path / "real_and_synthetic.png") as picture:
        assert picture.format == "PNG"


def test_the_table_for_a_terminal_has_a_line_for_each_score() -> None:
    head, first, *others = scorecard.table(SCORES).splitlines()
    assert head.split() == ["mean", "95", "%", "interval", "real", "noise"]
    assert first.replace("[", " ").replace("]", " ").replace(",", " ").split() == [
        *("fid", "3.0000", "2.5000", "3.5000", "1.5000", "900.0000")
    ]
    assert [line.split()[0] for line in others] == ["is", "label_agreement"]
    assert {len(line) for line in (head, first, *others)} == {len(head)}
