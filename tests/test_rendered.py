"""Rendered digits: their shapes, how a hand varies them, MNIST's frame, and the set that the stage writes."""

import builtins
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import GREY, ROOT, write_set
from PIL import Image
from scipy import ndimage

from src.core import files
from src.core.errors import PipelineError
from src.core.params import DATASETS, ConfigError
from src.datasets import fonts, glyphs, handwriting, idx, ink, labelled, rendered, strokes
from src.datasets.glyphs import DISCS, Glyph, from_shape, from_strokes
from src.datasets.spec import read_names, read_spec, write_spec
from stages import render

FACES = [name for row in fonts.FACES.values() for name in row]
VARIANTS = [(label, name) for label, variants in strokes.TABLE.items() for name in variants]


@pytest.fixture(scope="module")
def found() -> dict[str, list[Glyph]]:
    return rendered.glyphs()


def variant(label: int, name: str) -> Glyph:
    return from_strokes(label, [strokes.curve(stroke) for stroke in strokes.TABLE[label][name]])


def plain(glyph: Glyph, pen: float = 1.0) -> np.ndarray:
    """The glyph as it is, but for discs too small for a pen."""
    pens, radii = np.array([pen]), pen * np.clip(glyph.weights, *handwriting.DISC)[None]
    return ink.drawn(glyph.centres[None], radii, pens, np.ones(1))[0]


def holes(image: np.ndarray) -> int:
    """Black areas that ink encloses."""
    return int(ndimage.label(np.pad(image < 64, 1))[1]) - 1


def line(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, float)


# Glyphs


def test_a_straight_stroke_is_a_row_of_equally_spaced_discs() -> None:
    glyph = from_strokes(1, [line((7, 10), (7, 30))])
    assert glyph.label == 1
    assert glyph.written
    assert glyph.centres[:, 0].tolist() == [0] * DISCS
    assert glyph.centres[:, 1] == pytest.approx(np.linspace(-0.5, 0.5, DISCS))
    assert glyph.places == pytest.approx(np.linspace(0, 1, DISCS))
    assert glyph.weights.tolist() == [1] * DISCS
    assert glyph.strokes.tolist() == [0] * DISCS


def test_strokes_share_the_discs_by_their_length() -> None:
    # Lengths of 60 and 20: three quarters of 96 discs and one; the box is 20 wide and 60 high.
    glyph = from_strokes(4, [line((0, 0), (0, 60)), line((0, 60), (20, 60))])
    assert glyph.strokes.tolist() == [0] * 72 + [1] * 24
    assert glyph.centres[0] == pytest.approx([-1 / 6, -0.5])
    assert glyph.centres[-1] == pytest.approx([1 / 6, 0.5])
    assert glyph.places[[0, 71, 72, 95]].tolist() == [0, 1, 0, 1]


def test_a_dot_of_a_stroke_has_two_discs() -> None:
    lines = [line((0, 0), (0, 100)), line((1, 50), (1, 50.001))]
    assert np.bincount(from_strokes(1, lines).strokes).tolist() == [94, 2]


def test_a_shape_is_filled_by_discs() -> None:
    # A bar of 60 by 11 pixels: a row's distances from outside are 1 to 6 and back to 1, 36 / 11 on average
    # but for the ends, so the largest discs weigh 6 / (2 * 36 / 11), and a little more for the ends.
    glyph = from_shape(1, np.ones((60, 11), bool))
    assert not glyph.written
    assert glyph.strokes.tolist() == [0] * DISCS
    assert glyph.weights.max() == pytest.approx(11 / 12, rel=0.15)
    large = glyph.weights > 0.99 * glyph.weights.max()
    assert large.sum() > 20
    assert np.ptp(glyph.centres[large, 0]) == 0  # all in the middle column
    assert np.ptp(glyph.centres[:, 1]) == pytest.approx(1)
    assert glyph.weights.min() > glyph.weights.max() / 2  # corners are left out
    # A thin line at the side of a thick one is not taken for one.
    shape = np.zeros((60, 31), bool)
    shape[:, :11] = shape[28:31] = True
    glyph = from_shape(1, shape)
    assert glyph.weights.min() < glyph.weights.max() / 2
    assert glyph.centres[:, 0].max() > 0.15


def test_a_curve_goes_through_its_points_and_turns_sharply_at_corners_only() -> None:
    corner = strokes.curve("0,0 10,0! 10,10")
    assert np.all((corner[:, 1] == 0) | (corner[:, 0] == 10))  # two straight lines
    smooth = strokes.curve("0,0 10,0 10,10")
    assert (10, 0) in map(tuple, smooth.tolist())
    assert not np.all((smooth[:, 1] == 0) | (smooth[:, 0] == 10))
    assert strokes.curve("-6,3 2.5,4")[[0, -1]].tolist() == [[-6, 3], [2.5, 4]]


# What is drawn of


@pytest.mark.parametrize(
    ("label", "name", "expected"),
    [
        *((0, "oval", 1), (0, "round", 1), (1, "bar", 0), (1, "serif and foot", 0), (2, "flat base", 0)),
        *((2, "wide loop", 1), (2, "angular", 0), (3, "two bowls", 0), (3, "flat top", 0), (4, "open", 0)),
        *((4, "open, rounded", 0), (4, "closed", 1), (5, "one stroke", 0), (5, "detached bar", 0)),
        *((6, "straight tail", 1), (6, "wide bowl", 1), (7, "plain", 0), (7, "barred", 0)),
        *((8, "two circles", 2), (8, "one stroke", 2), (8, "leaning", 2), (9, "straight tail", 1)),
        *((9, "slanted tail", 1), (9, "two strokes", 1)),
    ],
)
def test_variants_have_the_holes_that_they_should(label: int, name: str, expected: int) -> None:
    assert holes(plain(variant(label, name), pen=0.8)) == expected


def test_the_table_has_several_ways_to_write_each_digit() -> None:
    assert list(strokes.TABLE) == list(range(10))
    assert min(map(len, strokes.TABLE.values())) >= 5
    assert max(len(those) for variants in strokes.TABLE.values() for those in variants.values()) == 2
    assert len(strokes.glyphs()) == len(VARIANTS)
    assert [glyph.label for glyph in strokes.glyphs()] == [label for label, _ in VARIANTS]
    assert len({those for variants in strokes.TABLE.values() for those in variants.values()}) == len(VARIANTS)


@pytest.mark.parametrize("name", [*fonts.HERSHEY, *FACES])
def test_each_font_has_all_ten_digits_and_they_differ(name: str) -> None:
    those = fonts.hershey(name) if name in fonts.HERSHEY else fonts.type_face(name)
    assert [glyph.label for glyph in those] == list(range(10))
    images = [plain(glyph, pen=1.2) for glyph in those]
    assert len({image.tobytes() for image in images}) == 10
    # No font of signs in the place of digits has these holes.
    assert holes(images[0]) == 1
    assert holes(images[8]) == 2
    assert holes(images[7]) == 0


def test_only_single_lines_of_fonts_are_strokes_of_a_hand() -> None:
    assert {name: fonts.hershey(name)[0].written for name in fonts.HERSHEY} == {
        **{"futural": True, "rowmand": False, "timesr": False, "timesi": False}
    }
    assert max(glyph.strokes.max() for glyph in fonts.hershey("futural")) < glyphs.STROKES
    assert not fonts.type_face("cmr10")[3].written


def test_a_missing_package_or_font_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PipelineError, match=r"nothing\.ttf is no font that can be read .*; run make setup"):
        fonts.type_face("nothing")
    with pytest.raises(
        PipelineError, match=r"^the package hershey-fonts has no font nothing; run make setup"
    ):
        fonts.hershey("nothing")
    real = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name == "HersheyFonts":
            raise ImportError
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(PipelineError, match=r"^the package hershey-fonts is not installed; run make setup"):
        fonts.hershey("futural")


# Ink and frame


def test_a_straight_stroke_stands_in_the_middle_with_its_ends_round() -> None:
    # A pen of radius 2 fits into 20 pixels: its middle goes 16 pixels down. It is 4 pixels wide, at whole
    # pixels, so that no pixel is grey there, and 20 pixels high.
    image = plain(from_strokes(1, [line((0, 0), (0, 1))]), pen=2.0)
    assert image.shape == (28, 28)
    rows, columns = np.nonzero(image)
    assert (rows.min(), rows.max()) == (4, 23)
    assert columns.max() - columns.min() == 3
    assert image[14, columns.min() : columns.max() + 1].min() >= 250  # between discs, there is a dent
    assert image[6:22].sum() / 255 == pytest.approx(16 * 4, rel=0.01)
    # a rectangle of 16 by 4 and a disc of radius 2
    assert image.sum() / 255 == pytest.approx(16 * 4 + np.pi * 4, rel=0.02)


def test_the_longer_side_fills_the_box_and_the_aspect_is_kept() -> None:
    wide = plain(from_strokes(1, [line((0, 0), (30, 0)), line((30, 0), (30, 10))]), pen=1.0)
    rows, columns = np.nonzero(wide)
    assert np.ptp(columns) + 1 == 20
    # 18 pixels for the pen's way of 30, so 6 for 10, and the pen's own 2
    assert np.ptp(rows) + 1 in (8, 9)


def test_a_softer_edge_is_wider_but_not_outside_of_the_box() -> None:
    centres, radii = np.zeros((1, DISCS, 2)), np.full((1, DISCS), 2.0)
    centres[0, :, 1] = np.linspace(0, 1, DISCS)
    hard, soft = (ink.drawn(centres, radii, np.array([2.0]), np.array([s]))[0] for s in (1.0, 1.6))
    grey = [int(((image > 0) & (image < 255)).sum()) for image in (hard, soft)]
    assert grey[1] > 2 * grey[0]
    assert np.ptp(np.nonzero(soft)[0]) + 1 == 20


def test_boxes_are_moved_by_whole_pixels_until_their_mass_is_in_the_middle() -> None:
    boxes = np.zeros((3, 20, 20), np.uint8)
    boxes[0, 0, 0] = 7  # a pixel in the corner
    boxes[1, 3, 4:8] = 100  # its middle is at 5.5: both sides are as near
    boxes[2, 0, :] = boxes[2, :, 0] = 10  # partly outside: nothing of it comes back on the other side
    boxes[2, 15:, 15:] = 255
    images = ink.framed(boxes)
    assert np.argwhere(images[0]).tolist() == [[14, 14]]
    assert images[0].sum() == 7
    assert np.nonzero(images[1])[0].tolist() == [14] * 4
    assert np.nonzero(images[1])[1].min() in (12, 13)
    assert images[2][:, 20:].max() == 0 or images[2][:, 20:].sum() < boxes[2].sum()
    assert images[2].sum() < boxes[2].sum()


def test_images_are_framed_like_those_of_mnist(found: dict[str, list[Glyph]]) -> None:
    (block,) = rendered.blocks(found, 1000, purpose="test", seed=0)
    images = block.pixels[:, 0].numpy()
    rows, columns = images.max(axis=2) > 0, images.max(axis=1) > 0
    heights, widths = (
        side.shape[1] - side[:, ::-1].argmax(axis=1) - side.argmax(axis=1) for side in (rows, columns)
    )
    assert heights.max() == widths.max() == 20
    assert np.mean(np.maximum(heights, widths) == 20) > 0.95  # the others have a side too dim to be seen
    pixel, mass = np.arange(28), images.sum(axis=(1, 2), dtype=np.int64)
    for axis in (1, 2):
        centre = images.sum(axis=axis, dtype=np.int64) @ pixel / mass
        assert np.abs(centre - 14).max() <= 0.5
    assert images.max(axis=(1, 2)).min() > 200


# Images with labels


def test_labels_are_balanced_and_image_i_depends_on_seed_and_i_only(found: dict[str, list[Glyph]]) -> None:
    def made(count: int, purpose: str = "a", seed: int = 0) -> labelled.Labelled:
        those = list(rendered.blocks(found, count, purpose=purpose, seed=seed))
        return labelled.Labelled(torch.cat([b.pixels for b in those]), torch.cat([b.given for b in those]))

    more = made(1010)
    assert more.pixels.dtype == torch.uint8
    assert tuple(more.pixels.shape) == (1010, 1, 28, 28)
    assert more.given.bincount().tolist() == [101] * 10
    assert more.given[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    more.require_mixed("rendered images")
    assert len({image.numpy().tobytes() for image in more.pixels}) == 1010
    few = made(7)
    assert torch.equal(few.pixels, more.pixels[:7])
    assert torch.equal(made(1010).pixels, more.pixels)
    for other in (made(7, seed=1), made(7, purpose="b")):
        assert not any(torch.equal(a, b) for a, b in zip(other.pixels, few.pixels, strict=True))


def test_glyphs_are_of_the_label_asked_for_and_of_all_sources_by_their_shares() -> None:
    def marked(source: int) -> list[Glyph]:
        steady = line((0, 0), (0, 1))
        return [from_strokes(label, [steady + source]) for label in range(10) for _ in range(2)]

    sources = {"strokes": marked(0), "hershey": marked(1), "faces": marked(2)}
    labels = np.arange(4000) % 10
    chosen = rendered._chosen(sources, labels, np.random.default_rng(0))
    assert [glyph.label for glyph in chosen] == labels.tolist()
    counts = {name: sum(any(g is one for one in those) for g in chosen) for name, those in sources.items()}
    assert counts == {"strokes": pytest.approx(3000, abs=120), "hershey": pytest.approx(400, abs=80),
                      "faces": pytest.approx(600, abs=90)}  # fmt: skip
    assert len({id(glyph) for glyph in chosen}) == 60  # each of them
    assert sum(rendered.SHARES.values()) == pytest.approx(1)


def test_pens_and_slants_stay_in_their_ranges() -> None:
    bar, seven = variant(1, "bar"), variant(7, "plain")
    printed = from_shape(7, np.ones((60, 11), bool))
    shapes = handwriting.laid([bar] * 500 + [seven] * 500 + [printed] * 500)
    centres, radii, pens = handwriting.written(shapes, np.random.default_rng(0))
    assert centres.shape == (1500, DISCS, 2)
    assert pens.shape == (1500,)
    of_bar, of_seven, of_print = pens[:500], pens[500:1000], pens[1000:]
    assert 0.75 <= of_seven.min() < 0.9
    assert 1.8 < of_seven.max() <= 2.5
    assert 2.5 < of_bar.max() <= 2.5 * 1.9
    assert of_print.min() == 1.1
    assert (radii >= 0.55 * pens[:, None] - 1e-9).all()
    assert (radii <= 1.7 * pens[:, None] + 1e-9).all()
    ends = centres[:500, -1] - centres[:500, 0]
    lean = -ends[:, 0] / ends[:, 1]
    assert 0.1 < np.median(lean) < 0.4  # to the right
    assert lean.min() < -0.2
    assert lean.max() > 0.7


def test_a_printed_shape_keeps_its_strokes_together() -> None:
    # Discs that are neighbours stay so, for all that bends the strokes of a hand.
    shape = np.ones((60, 5), bool)
    printed = from_shape(1, shape)
    centres, _, _ = handwriting.written(handwriting.laid([printed] * 200), np.random.default_rng(0))
    order = np.argsort(printed.centres[:, 1], kind="stable")
    steps = np.hypot(*np.moveaxis(np.diff(centres[:, order], axis=1), 2, 0))
    before = np.diff(printed.centres[order, 1]).max()
    assert steps.max() < 3 * before


# The stage


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    text = (ROOT / "params.yaml").read_text()
    section = "  count: 60000          # training images\n  test_count: 10000     # test images"
    assert text.count(section) == 1
    (tmp_path / "params.yaml").write_text(text.replace(section, "  count: 1020\n  test_count: 130"))
    (tmp_path / DATASETS).parent.mkdir(parents=True)
    shutil.copy(ROOT / DATASETS, tmp_path / DATASETS)
    monkeypatch.chdir(tmp_path)
    files.write_json(Path("labels.json"), {"labels": 0, "rendered": True})
    return tmp_path


def rendered_to(folder: Path) -> None:
    render.main(["--labels", "labels.json", "--output", str(folder)])


def test_where_labels_may_be_used_nothing_is_rendered_and_nothing_slow_loaded(project: Path) -> None:
    files.write_json(Path("labels.json"), {"labels": "all", "rendered": False})
    arguments = ["--labels", "labels.json", "--output", "data/rendered"]
    code = f"import sys; from stages import render; render.main({arguments}); print('torch' in sys.modules)"
    env = {"PYTHONPATH": str(ROOT), "PATH": ""}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False"]
    (written,) = (project / "data/rendered").iterdir()
    assert json.loads(written.read_text()) == {"counts": {}}


def test_a_set_of_other_classes_than_digits_is_refused(project: Path) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("dataset: mnist ", "dataset: fashion-mnist "))
    words = r"what is rendered has the classes 0, 1, .* 9, and fashion-mnist T-shirt"
    with pytest.raises(PipelineError, match=rf"^params.yaml: labels is 0, but {words}"):
        rendered_to(Path("data/rendered"))
    # Where some labels may be read, another setting asked for digits.
    files.write_json(Path("labels.json"), {"labels": 100, "rendered": True})
    words = rf"^params.yaml: label_train.rendered is true, but {words}.*; set it to false, or"
    with pytest.raises(PipelineError, match=words):
        rendered_to(Path("data/rendered"))
    assert not Path("data").exists()


def test_a_folder_of_ones_own_takes_its_place(project: Path) -> None:
    write_set(project / "own", 30, 10)
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace('folder: ""', "folder: own"))
    rendered_to(Path("data/rendered"))
    for ours, own in zip(
        *(idx.read_pair(Path(p), "train", GREY) for p in ("data/rendered", "own")), strict=True
    ):
        assert np.array_equal(ours, own)
    write_spec(project / "own", GREY, list("abcdefghij"))
    with pytest.raises(
        PipelineError, match=r"but own has the classes a, b, .* and mnist 0, 1, 2.*; set labels to"
    ):
        rendered_to(Path("data/rendered"))
    Path("params.yaml").write_text(text.replace('folder: ""', "folder: nowhere"))
    with pytest.raises(PipelineError, match=r"nowhere/spec.json"):
        rendered_to(Path("data/rendered"))


def test_the_example_in_the_documents_makes_such_a_folder(project: Path) -> None:
    text = (ROOT / "docs/labels.md").read_text()
    (code,) = re.findall(r"^python - <<'PY'\n(.*?)^PY$", text, re.DOTALL | re.MULTILINE)
    assert "-S render.folder=data/own" in text
    write_set(project / "data/raw", 5010, 10)
    env = {"PYTHONPATH": str(ROOT), "PATH": ""}
    subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    params = Path("params.yaml")
    params.write_text(params.read_text().replace('folder: ""', "folder: data/own"))
    rendered_to(Path("data/rendered"))
    found, real = labelled.read_source(Path("data/rendered")), labelled.read(Path("data/raw"), "train", GREY)
    assert found is not None
    assert torch.equal(found.pixels, real.pixels[:5000])
    assert torch.equal(found.given, real.given[:5000])


def test_the_stage_writes_a_set_with_manifest_card_and_picture(project: Path) -> None:
    folder = project / "data" / "rendered"
    rendered_to(folder)
    spec = read_spec(folder)
    assert spec == rendered.SPEC
    assert read_names(folder) == ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
    train, test = (labelled.read(folder, split, spec) for split in idx.SPLITS)
    assert (len(train), len(test)) == (1020, 130)
    assert not torch.equal(train.pixels[:130], test.pixels)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["counts"] == {"train": 1020, "test": 130}
    assert manifest["class_counts"] == {"train": [102] * 10, "test": [13] * 10}
    assert manifest["seed"] == 0
    assert manifest["real_labels_seen"] == 0
    assert manifest["shares"] == {"strokes": 0.75, "hershey": 0.1, "faces": 0.15}
    assert manifest["fonts"]["hershey"] == ["futural", "rowmand", "timesr", "timesi"]
    assert sorted(name for row in manifest["fonts"]["faces"].values() for name in row) == sorted(FACES)
    assert manifest["sha256"] == idx.hashes(folder, spec)
    card = (folder / "README.md").read_text()
    assert "1,020 training and 130 test images, 28x28 grey, in 10 classes" in card
    assert "for 75% of the images strokes as people write them, for 10% a Hershey font, for\n  15% a" in card
    assert all(
        name in card for name in (*fonts.HERSHEY, *FACES, "MIT License", "STIX Font License", "BaKoMa")
    )
    assert "Images a class: 0: 102, 1: 102," in card
    assert "$" not in card
    assert not re.search(r"[^\n]{400}", card)
    picture = np.asarray(Image.open(folder / "samples.png"))
    assert picture.shape == (280, 280)
    assert np.array_equal(picture[:28, 28:56], test.pixels[1, 0].numpy())

    again = project / "again"
    rendered_to(again)
    paths = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    assert len(paths) == 8
    assert all((folder / path).read_bytes() == (again / path).read_bytes() for path in paths)


def test_a_bad_count_stops_the_stage_before_it_writes_anything(project: Path) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("  count: 1020\n", "  count: 0\n"))
    with pytest.raises(ConfigError, match=r"^params\.yaml: render\.count is 0; allowed: a number from 1 to "):
        rendered_to(Path("data/rendered"))
    assert not Path("data").exists()
