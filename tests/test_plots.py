"""Pictures are whole PNG files, exact where they hold images, and the same bytes for the same data."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from src.report import plots

PICTURE = np.arange(256, dtype=np.uint8).reshape(8, 32)
COLOUR = (np.arange(3 * 8 * 32) % 251).astype(np.uint8).reshape(8, 32, 3)
DARK = PICTURE // 4 + 10  # must not be stretched to black and white
ROWS = [
    {"images_seen": 100.0 * i, "d_loss": 1 / i, "g_loss": 0.5 * i, "real_score": i, "fake_score": -i}
    | {"d_gradient": 2.0 * i, "g_gradient": 0.1 * i}
    for i in range(1, 5)
]
CHECKS = [
    {"images_seen": 0.0, "fid": 90.0, "diversity": 0.1, "precision": 0.0, "recall": 0.0}
    | {"train_score": 0.5, "heldout_score": 0.4},
    {"images_seen": 400.0, "fid": 3.0, "diversity": 0.9, "precision": 0.8, "recall": 0.7}
    | {"train_score": 0.3, "heldout_score": 0.2},
]
FIGURES: dict[str, Callable[[], Figure]] = {
    "side by side": lambda: plots.side_by_side(DARK, DARK[::-1], ("real", "synthetic")),
    "side by side in colour": lambda: plots.side_by_side(COLOUR, COLOUR[::-1], ("real", "synthetic")),
    "error curves": lambda: plots.error_curves(
        [10, 1000],
        {"pretrained": ([0.1, 0.05], [0.01, 0.0]), "scratch": ([0.5, 0.06], [0.1, 0.01])},
        unlabelled=0.2,
    ),
    "training curves": lambda: plots.training_curves(ROWS, CHECKS),
}


def decoded(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        image.load()
        return np.asarray(image)


@pytest.mark.parametrize(
    "picture", [PICTURE, PICTURE.T, PICTURE[:, ::3], COLOUR, COLOUR.swapaxes(0, 1), COLOUR[:, :, ::-1]]
)
def test_a_picture_comes_back_pixel_by_pixel(tmp_path: Path, picture: plots.Picture) -> None:
    plots.write_picture(tmp_path / "sub" / "x.png", picture)
    found = decoded(tmp_path / "sub" / "x.png")
    assert (found.dtype, found.shape) == (np.uint8, tuple(picture.shape))
    assert found.tolist() == picture.tolist()


def test_a_picture_is_the_same_bytes_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        plots.write_picture(tmp_path / name, PICTURE)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_a_picture_of_some_size_and_the_same_bytes_twice(tmp_path: Path, name: str) -> None:
    for file in ("a.png", "b.png"):
        plots.write_figure(tmp_path / file, FIGURES[name]())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    found = decoded(tmp_path / "a.png")
    assert found.shape[0] > 300
    assert found.shape[1] > 600
    assert len(np.unique(found.reshape(-1, found.shape[2]), axis=0)) > 5  # something is drawn
    with Image.open(tmp_path / "a.png") as image:
        assert set(image.info) <= {"dpi"}  # no program, time or host


def test_two_pictures_stand_side_by_side_unscaled_in_value() -> None:
    figure = FIGURES["side by side"]()
    assert [axes.get_title() for axes in figure.axes] == ["real", "synthetic"]
    shown = [axes.images[0] for axes in figure.axes]
    assert np.asarray(shown[0].get_array()).tolist() == DARK.tolist()
    assert np.asarray(shown[1].get_array()).tolist() == DARK[::-1].tolist()
    assert [image.get_clim() for image in shown] == [(0, 255)] * 2
    coloured = FIGURES["side by side in colour"]().axes[1].images[0]
    assert np.asarray(coloured.get_array()).tolist() == COLOUR[::-1].tolist()


def test_error_curves_are_in_percent_with_a_curve_an_arm() -> None:
    (axes,) = FIGURES["error curves"]().axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    curves = {container.get_label(): container.lines[0] for container in axes.containers}
    assert list(curves) == ["pretrained", "scratch"]
    assert curves["pretrained"].get_xdata().tolist() == [10, 1000]
    assert curves["pretrained"].get_ydata().tolist() == pytest.approx([10, 5])
    assert curves["scratch"].get_ydata().tolist() == pytest.approx([50, 6])
    level = next(line for line in axes.lines if line.get_label() == "pretrained, not fine-tuned")
    assert level.get_ydata() == pytest.approx([20, 20])
    labels = {
        round(where): label.get_text()
        for where, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    }
    assert labels == {value: f"{value} %" for value in (1, 2, 5, 10, 20, 50)}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["10", "1,000"]
    (bars,) = axes.containers[1].lines[2]
    assert bars.get_segments()[0][:, 1].tolist() == pytest.approx([40, 60])


def test_training_curves_show_every_monitor_over_the_images_seen() -> None:
    axes = FIGURES["training curves"]().axes
    assert [[line.get_label() for line in chart.lines] for chart in axes] == [
        ["d_loss", "g_loss"],
        ["real_score", "fake_score"],
        ["d_gradient", "g_gradient"],
        ["fid"],
        ["diversity", "precision", "recall"],
        ["train_score", "heldout_score"],
    ]
    assert list(axes[0].lines[1].get_xdata()) == [100, 200, 300, 400]
    assert list(axes[0].lines[1].get_ydata()) == [0.5, 1.0, 1.5, 2.0]
    assert list(axes[1].lines[1].get_ydata()) == [-1, -2, -3, -4]
    assert list(axes[3].lines[0].get_xdata()) == [0, 400]
    assert list(axes[3].lines[0].get_ydata()) == [90.0, 3.0]
