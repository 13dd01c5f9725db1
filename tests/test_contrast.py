"""Features without labels: the loss by hand, how images are changed, and that like comes to lie by like."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import ROOT, same, weights
from test_checkpoint import Cut, CutError
from torch import Tensor

from src.classifiers import augmentation, contrast
from src.core import params
from src.core.checkpoint import Checkpoint
from src.core.errors import PipelineError
from src.datasets import clusters
from src.datasets.spec import ImageSpec
from src.networks.network import build

SPEC = ImageSpec(channels=1, height=12, width=12, classes=4)
HOW = replace(params.read(ROOT / "params.yaml").label_train, width=4, contrast_steps=8, unlabelled=16)


@pytest.fixture(autouse=True)
def gentle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Corners stay corners."""
    for name, value in (("TURN", 5.0), ("STRETCH", 0.05), ("BEND", 0.02), ("MOVE", 0.05)):
        monkeypatch.setattr(augmentation, name, value)


def corners(count: int) -> tuple[Tensor, Tensor]:
    """A square of any brightness in one of four corners, which is the class, on a ground of any."""
    rng = torch.Generator().manual_seed(0)
    kinds = torch.randint(0, 4, (count,), generator=rng)
    ground = torch.randint(0, 120, (count, 1, 1, 1), generator=rng).expand(count, 1, 12, 12).clone()
    ink = torch.randint(160, 256, (count,), generator=rng)
    for image, kind, value in zip(ground, kinds.tolist(), ink.tolist(), strict=True):
        row, column = 7 * (kind // 2), 7 * (kind % 2)
        image[0, row : row + 5, column : column + 5] = value
    return ground.byte(), kinds


def learnt(checkpoint: Checkpoint | None = None, steps: int = 8, seed: int = 0) -> contrast.Encoder:
    how = replace(HOW, contrast_steps=steps)
    kept = checkpoint or Checkpoint(None)
    return contrast.learn(corners(200)[0], SPEC, how, seed=seed, checkpoint=kept)


def test_the_loss_is_small_if_the_other_version_is_the_nearest() -> None:
    one, other = torch.eye(2)
    # exp(1 / 0.2) for the same direction, exp(0) for the two that are square to it
    near, far = math.exp(5), 1.0
    found = contrast.contrast(torch.stack([one, other, one, other]))
    assert found.item() == pytest.approx(-math.log(near / (near + 2 * far)))
    found = contrast.contrast(torch.stack([one, one, other, other]))
    assert found.item() == pytest.approx(-math.log(far / (near + 2 * far)))


def test_images_change_in_brightness_and_a_square_is_black(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TURN", "STRETCH", "SHEAR", "MOVE", "BEND"):
        monkeypatch.setattr(augmentation, name, 0.0)
    pixels = torch.full((3, 1, 10, 20), 100, dtype=torch.uint8)
    drawn = contrast.changes(3, torch.Generator().manual_seed(0))
    assert ((drawn["light"] >= 0.6) & (drawn["light"] <= 1.4)).all()
    drawn["light"] = torch.tensor([0.5, 1.0, 1.2]).view(3, 1, 1, 1)
    drawn["corners"] = torch.tensor([[0.0, 0.0], [0.999, 0.999], [0.0, 0.999]])
    found = contrast.changed(pixels, **drawn)
    # 36% of 10 rows and of 20 columns: 4 and 7
    first, second, third = found[:, 0]
    assert first[:4, :7].max() == 0
    assert second[6:, 13:].max() == 0
    assert third[:4, 13:].max() == 0
    for image, value in ((first, 50), (second, 100), (third, 120)):
        assert image[image > 0].numpy() == pytest.approx(value, abs=1e-3)
        assert (image == 0).sum() == 28


def test_the_two_versions_of_an_image_are_changed_differently() -> None:
    drawn = contrast.changes(4, torch.Generator().manual_seed(0))
    for changes in drawn.values():
        assert len(changes.flatten(1).unique(dim=0)) == 4


def test_images_of_a_class_come_to_lie_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contrast, "PIXELS", 0.0)
    pixels, kinds = corners(200)

    def shared(encoder: contrast.Encoder) -> float:
        rows, columns = clusters.graph(contrast.embed(encoder, pixels)).nonzero()
        return (kinds[rows] == kinds[columns]).double().mean().item()

    before = shared(build(contrast.Encoder, SPEC, seed=3, width=4).eval())
    assert shared(learnt(steps=60)) > max(0.9, before + 0.03)


def test_points_hold_features_and_half_as_much_of_the_pixels() -> None:
    pixels, _ = corners(50)
    points = contrast.embed(learnt(), pixels)
    assert points.shape == (50, 128 + 36)
    assert points[:, :128].norm(dim=1).numpy() == pytest.approx(1, rel=1e-5)
    assert points[:, 128:].square().sum(dim=1).numpy() == pytest.approx(0.5, rel=1e-5)


def test_the_same_seed_gives_the_same_weights_also_after_a_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = learnt()
    assert not any(module.training for module in whole.modules())
    assert not same(weights(whole), weights(learnt(seed=1)))
    with pytest.raises(CutError):
        learnt(Cut(tmp_path, 4))
    resumed = Checkpoint(tmp_path)
    assert resumed.resumed
    assert same(weights(learnt(resumed)), weights(whole))
    monkeypatch.setattr(contrast, "changes", None)  # once it has finished, nothing is trained again
    again = learnt(resumed)
    assert same(weights(again), weights(whole))
    assert not any(module.training for module in again.modules())


def test_a_loss_that_is_not_finite_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contrast, "contrast", lambda directions: directions.sum() * float("nan"))
    with pytest.raises(
        PipelineError, match="features without labels: loss is nan at step 1; lower its learning_rate"
    ):
        learnt()
