"""What pretraining bought: the chart shows the numbers of the tables."""

from pathlib import Path
from typing import Any

import pytest

from src.core import files
from src.report import downstream, plots


def row(**cells: object) -> dict[str, str]:
    return {name: str(value) for name, value in cells.items()}


def test_the_chart_has_mean_and_deviation_of_each_arm_by_labels_and_the_level_without_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(plots, "error_curves", lambda *args, **options: asked.extend([*args, options]))
    monkeypatch.setattr(plots, "write_figure", lambda path, figure: asked.append(path.name))
    accuracies = [row(images="synthetic", test_accuracy=value) for value in (0.75, 0.875, 1.0)]
    accuracies += [row(images="real", test_accuracy=value) for value in (0.5, 1.0)]
    found = {(100, "pretrained"): (0.1, 0.3), (20, "pretrained"): (0.5, 0.5), (20, "scratch"): (0.8, 1.0)}
    found[100, "scratch"] = (0.2, 0.2)
    errors = [
        row(labels=labels, arm=arm, test_error=error)
        for (labels, arm), both in found.items()
        for error in both
    ]
    downstream.write(tmp_path, accuracies, errors, labels_behind_synthetic=7)
    counts, curves, level, name = asked
    assert counts == [20, 100]
    root_half = 0.5**0.5  # the deviation of two values is their distance times this
    (pretrained, scratch) = curves.values()
    assert list(curves) == ["pretrained (on synthetic images)", "scratch (random weights)"]
    assert pretrained == (pytest.approx([0.5, 0.2]), pytest.approx([0, 0.2 * root_half]))
    assert scratch == (pytest.approx([0.9, 0.2]), pytest.approx([0.2 * root_half, 0]))
    assert level == {"unlabelled": 0.125}
    assert name == "label_efficiency.png"
    numbers = files.read_json(tmp_path / "downstream.json")
    assert numbers["cas"] == 0.875
    assert numbers["cas_std"] == 0.125
    assert numbers["cas_gap"] == -0.125
    assert numbers["labels_behind_synthetic"] == 7
