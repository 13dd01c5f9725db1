"""What images look like: kept in spec.json, and refused where no network can be built for them."""

import json
from pathlib import Path

import pytest
from conftest import GREY

from src.core.errors import PipelineError
from src.datasets.spec import ImageSpec, read_names, read_spec, write_spec

COLOUR = ImageSpec(channels=3, height=32, width=24, classes=2)


def test_spec_json_is_read_back(tmp_path: Path) -> None:
    write_spec(tmp_path, COLOUR, ["cat", "dog"])
    assert json.loads((tmp_path / "spec.json").read_text()) == {
        "channels": 3,
        "height": 32,
        "width": 24,
        "classes": 2,
        "names": ["cat", "dog"],
    }
    assert read_spec(tmp_path) == COLOUR
    assert read_names(tmp_path) == ["cat", "dog"]


def test_shape_and_size_of_an_image() -> None:
    assert COLOUR.shape == (3, 32, 24)
    assert COLOUR.values == 2304
    assert str(COLOUR) == "24x32 colour"
    assert (GREY.shape, GREY.values, str(GREY)) == ((1, 28, 28), 784, "28x28 grey")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"channels": 2}, r"^images of 2 channels; allowed: 1 \(grey\) or 3 \(colour\)$"),
        ({"channels": 4}, "^images of 4 channels"),
        ({"height": 7}, "^images of 24x7; allowed: 8 pixels or more on each side$"),
        ({"width": 0}, "^images of 0x32; allowed: 8 pixels or more"),
        ({"classes": 1}, "^a data set of 1 classes; allowed: 2 or more$"),
    ],
)
def test_what_no_network_can_be_built_for_is_refused(changes: dict[str, int], fault: str) -> None:
    with pytest.raises(PipelineError, match=fault):
        ImageSpec(**({"channels": 3, "height": 32, "width": 24, "classes": 2} | changes))


def test_the_smallest_images_are_allowed() -> None:
    assert ImageSpec(channels=1, height=8, width=8, classes=2).values == 64


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (None, "does not exist; run dvc repro"),
        ("{", "spec.json is .*JSON"),
        ("[1]", "JSON object"),
        ("{}", r"spec\.json does not describe images \(KeyError\('channels'\)\); run dvc repro"),
        ('{"channels": 3, "height": "tall", "width": 24, "classes": 2}', "does not describe images"),
        ('{"channels": 3, "height": null, "width": 24, "classes": 2}', "does not describe images"),
        ('{"channels": 9, "height": 32, "width": 24, "classes": 2}', "images of 9 channels"),
    ],
)
def test_another_file_is_named(tmp_path: Path, text: str | None, fault: str) -> None:
    if text is not None:
        (tmp_path / "spec.json").write_text(text)
    with pytest.raises(PipelineError, match=fault):
        read_spec(tmp_path)
