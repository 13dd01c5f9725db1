"""Where the IDX files of a set are found, by whoever asks."""

from pathlib import Path

import pytest
from conftest import GREY

from src.core.errors import PipelineError
from src.datasets import idx, places
from src.datasets.spec import ImageSpec

NAME = "train-images-idx3-ubyte"


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize("place", [".", "raw", "MNIST/raw", "FashionMNIST/raw", "EMNIST/raw"])
@pytest.mark.parametrize(
    "name", [NAME, f"{NAME}.gz", "train-images.idx3-ubyte", "train-images.idx3-ubyte.gz"]
)
def test_a_file_is_found(tmp_path: Path, place: str, name: str) -> None:
    path = put(tmp_path / place / name)
    assert places.found(tmp_path, NAME) == [path]
    assert places.found(tmp_path, "t10k-images-idx3-ubyte") == []
    assert places.holds_any(tmp_path, GREY)
    assert not places.holds_any(tmp_path, ImageSpec(3, 28, 28, 10))


def test_plain_files_come_first_and_the_named_class_before_others(tmp_path: Path) -> None:
    put(tmp_path / "MNIST" / "raw" / f"{NAME}.gz")
    put(tmp_path / "MNIST" / "raw" / NAME)
    put(tmp_path / "FashionMNIST" / "raw" / NAME)

    def shown(first: str) -> list[str]:
        return [path.relative_to(tmp_path).as_posix() for path in places.found(tmp_path, NAME, first)]

    mnist = [f"MNIST/raw/{NAME}", f"MNIST/raw/{NAME}.gz"]
    assert shown("") == shown("MNIST") == [*mnist, f"FashionMNIST/raw/{NAME}"]
    assert shown("FashionMNIST") == [f"FashionMNIST/raw/{NAME}", *mnist]


def test_a_pair_is_of_one_folder(tmp_path: Path) -> None:
    pair = [put(tmp_path / "raw" / name) for name in idx.names("train", GREY)]
    assert places.pair(tmp_path, "train", GREY) == tuple(pair)
    with pytest.raises(
        PipelineError, match=r"neither t10k-images-idx3-ubyte nor .*\.gz, directly .*; add the file"
    ):
        places.pair(tmp_path, "test", GREY)
    put(tmp_path / "FashionMNIST" / "raw" / NAME)
    with pytest.raises(
        PipelineError, match=r"IDX files in .*/FashionMNIST/raw and in .*/raw; give one of these"
    ):
        places.pair(tmp_path, "train", GREY)
