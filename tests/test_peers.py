"""The tools' scores of one pair of folders, side by side."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import GREY, ROOT, write_set
from PIL import Image

from benchmarks import peers
from src.core.errors import PipelineError
from src.datasets import album, labelled
from src.datasets.spec import ImageSpec
from src.networks import weights
from src.networks.classifier import ConvClassifier
from src.networks.network import build
from src.scores import manifold
from src.scores.kernel import kid


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two sets of 300 and 100 images, an untrained extractor, and the code."""
    write_set(tmp_path / "data/raw", 300, 100, seed=0)
    write_set(tmp_path / "data/synthetic", 300, 100, seed=1)
    (tmp_path / "models").mkdir()
    extractor = build(ConvClassifier, GREY, seed=0, width=4)
    weights.write(tmp_path / "models/extractor.safetensors", extractor)
    for name in ("src", "benchmarks"):
        (tmp_path / name).symlink_to(ROOT / name)
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("threads: 2 ", "threads: 1 "))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_tool_that_fails_is_one_line(project: Path) -> None:
    (project / "sets").mkdir()
    peers.write_sets(project / "sets", Path("data/raw"), Path("data/synthetic"), 60)
    with pytest.raises(PipelineError, match=r"^torchmetrics failed: .*subset_size"):
        peers.row("torchmetrics", project / "sets")


# Each tool's own part


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Two folders of pictures, the extractor, and this project's scores of them."""
    # No fewer: two of the tools draw parts of 1,000 images.
    folder, rng = tmp_path_factory.mktemp("sets"), np.random.default_rng(0)
    for name, top in (("real", 256), ("synthetic", 230)):
        (folder / name).mkdir()
        for number, pixels in enumerate(rng.integers(0, top, (1000, 28, 28), dtype=np.uint8)):
            Image.fromarray(pixels).save(folder / name / f"{number:05}.png")
    extractor = build(ConvClassifier, GREY, seed=0, width=4).eval()
    extractor.head.weight.data *= 1000  # so that it is sure of some class, and the inception score far from 1
    made = SimpleNamespace(extractor=extractor, real=folder / "real", synthetic=folder / "synthetic")
    with torch.inference_mode():
        made.scores = peers.ours(extractor, made.real, made.synthetic, 5)
    assert made.scores["precision"] > made.scores["recall"] + 0.1  # so that the two can't be confused
    return made


def pixels_of(path: Path | str) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def images(arrays: list[np.ndarray]) -> torch.Tensor:
    """Arrays (height, width, 3) as torchvision's ToTensor makes one tensor of them: bytes become [0, 1]."""
    stacked = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)
    return stacked / 255 if stacked.dtype == torch.uint8 else stacked


def distance(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    root = np.sqrt(np.linalg.eigvals(cov1 @ cov2).astype(complex)).real.sum()
    return float(((mean1 - mean2) ** 2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * root)


def statistics(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return features.mean(axis=0), np.cov(features, rowvar=False)


# Stand-ins take what the tools take, by the same names, and do with it what they do.


def of_pytorch_fid(
    files: list[Path],
    model: Any,
    batch_size: int = 50,
    dims: int = 2048,
    device: str = "cpu",
    num_workers: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    made = np.empty((len(files), dims))
    for start in range(0, len(files), batch_size):
        part = images([pixels_of(file) for file in files[start : start + batch_size]])
        made[start : start + batch_size] = model(part)[0].squeeze(3).squeeze(2).numpy()
    return statistics(made)


def of_clean_fid(
    fdir: str,
    model: Any = None,
    num_workers: int = 12,
    batch_size: int = 128,
    device: Any = None,
    custom_fn_resize: Any = None,
    verbose: bool = True,
) -> np.ndarray:
    made = [custom_fn_resize(pixels_of(path)) for path in sorted(Path(fdir).glob("*.png"))]
    part = images(made)
    return model((255 * part if made[0].dtype == np.uint8 else part).to(device)).numpy()


def of_prdc(real_features: np.ndarray, fake_features: np.ndarray, nearest_k: int) -> dict[str, float]:
    found = manifold.overlap(*map(torch.from_numpy, (real_features, fake_features)), neighbours=nearest_k)
    return found._asdict()


def kernel(features1: np.ndarray, features2: np.ndarray) -> float:
    return kid(torch.from_numpy(features1), torch.from_numpy(features2))


STAND_INS: dict[str, dict[str, Callable[..., Any]]] = {
    "pytorch_fid.fid_score": {
        "calculate_activation_statistics": of_pytorch_fid,
        "calculate_frechet_distance": distance,
    },
    "cleanfid.fid": {
        "get_folder_features": of_clean_fid,
        "fid_from_feats": lambda a, b: distance(*statistics(a), *statistics(b)),
        "kernel_distance": kernel,
    },
    "prdc": {"compute_prdc": of_prdc},
}


def stand_in(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package, _, inner = name.partition(".")
    module = ModuleType(name)
    vars(module).update(STAND_INS[name])
    monkeypatch.setitem(sys.modules, name, module)
    if inner:
        outer = ModuleType(package)
        setattr(outer, inner, module)
        monkeypatch.setitem(sys.modules, package, outer)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "stands_in"),
    [
        ("torchmetrics", ""),
        pytest.param("torch-fidelity", "", marks=pytest.mark.slow),
        ("pytorch-fid", ""),
        ("pytorch-fid", "pytorch_fid.fid_score"),
        ("clean-fid", ""),
        ("clean-fid", "cleanfid.fid"),
        ("prdc", ""),
        ("prdc", "prdc"),
    ],
)
def test_each_tool_is_given_the_same_images_and_finds_what_we_find(
    tool: str, stands_in: str, sets: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stands_in:
        stand_in(stands_in, monkeypatch)
    else:
        pytest.importorskip(peers.TOOLS[tool].module)
    with torch.inference_mode():
        found = peers.TOOLS[tool].scores(sets.extractor, sets.real, sets.synthetic, 5)
    names = {
        "torchmetrics": {"fid", "kid", "is"},
        "torch-fidelity": {"fid", "kid", "is", "precision", "recall"},
        "pytorch-fid": {"fid"},
        "clean-fid": {"fid", "kid"},
        "prdc": {"precision", "recall", "density", "coverage"},
    }
    assert found.keys() == names[tool]
    # The others draw parts of the images for the kernel distance and for the inception score.
    near = {"fid": 1e-3, "kid": 0.05, "is": 0.02}
    for name, value in found.items():
        assert value == pytest.approx(sets.scores[name], rel=near.get(name, 1e-6)), name
