"""The tools' scores of one pair of folders, side by side."""

from pathlib import Path

import pytest
import torch
from conftest import GREY, ROOT, write_set

from benchmarks import peers
from src.core.errors import PipelineError
from src.datasets import album, labelled
from src.datasets.spec import ImageSpec
from src.networks import weights
from src.networks.classifier import ConvClassifier
from src.networks.network import build


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two sets of 300 and 100 images, an untrained extractor, and the code."""
    write_set(tmp_path / "data/raw", 300, 100, seed=0)
    write_set(tmp_path / "data/synthetic", 300, 100, seed=1)
    (tmp_path / "models").mkdir()
    extractor = build(ConvClassifier, GREY, seed=0, width=4)
    weights.write(tmp_path / "models/extractor.safetensors", extractor)
    for name in ("src", "benchmarks", "params.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_ours_is_printed_beside_what_is_not_installed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = peers.Tool("no_such_module", peers.ours)
    monkeypatch.setitem(peers.TOOLS, "prdc", missing)
    peers.main(["--images", "60", "--tools", "ours", "prdc"])
    header, _, ours, other = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()]
    assert len(header) == len(ours) == len(other) == 10
    assert header[0].strip() == "60 against 60"
    values = [float(value.replace(",", "")) for value in ours[1:]]
    assert values[0] > 0
    assert all(0 <= value <= 1 for value in values[3:5])
    assert values[-1] > 100  # MiB: torch alone is more
    assert other[1].strip() == "not installed"


def test_more_images_than_the_test_split_has_come_from_the_training_split(project: Path) -> None:
    sets = {}
    for count in (100, 101):
        folder = project / str(count)
        folder.mkdir()
        peers.write_sets(folder, Path("data/raw"), Path("data/synthetic"), count)
        sets[count] = [path.read_bytes() for path in sorted((folder / "real").iterdir())]
        assert len(sets[count]) == len(list((folder / "synthetic").iterdir())) == count
    assert sets[100] != sets[101][:100]
    (project / "more").mkdir()
    with pytest.raises(PipelineError, match=r"--images is 301; allowed: up to 300, as real has no more"):
        peers.write_sets(project / "more", Path("data/raw"), Path("data/synthetic"), 301)


def test_colour_images_keep_their_colours(tmp_path: Path) -> None:
    spec = ImageSpec(channels=3, height=24, width=26, classes=3)
    for name in ("real", "synthetic"):
        write_set(tmp_path / name, 12, 10, spec=spec)
    (tmp_path / "sets").mkdir()
    peers.write_sets(tmp_path / "sets", tmp_path / "real", tmp_path / "synthetic", 10)
    written = album.read(tmp_path / "sets" / "real", spec, seed=0).pixels
    images = labelled.read(tmp_path / "real", "test", spec).pixels
    assert {image.numpy().tobytes() for image in written} == {image.numpy().tobytes() for image in images}
    extractor = build(ConvClassifier, spec, seed=0, width=4).eval()
    logits = peers.Whole(extractor, "logits")
    assert torch.equal(logits(images), extractor(labelled.to_unit(images)))
    assert (logits.num_features, logits(images).shape) == (3, (10, 3))


def test_a_tool_that_fails_is_one_line(project: Path) -> None:
    (project / "sets").mkdir()
    peers.write_sets(project / "sets", Path("data/raw"), Path("data/synthetic"), 60)
    with pytest.raises(PipelineError, match=r"^torchmetrics failed: .*subset_size"):
        peers.row("torchmetrics", project / "sets")
