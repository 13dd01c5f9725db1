"""Experiments of the real pipeline in a scratch clone: in its workspace, in a copy, and on the queue."""

import json
import re
import shutil

import pytest
import torch
import torchvision
from scratch import STAGES, Clone, ran

from src.core import files

pytestmark = pytest.mark.smoke


def test_an_experiment_with_another_loss_reruns_what_depends_on_it(clone: Clone) -> None:
    output = clone.run("dvc", "exp", "run", "-n", "baseline", "-S", "loss=source")
    # All but the data set, with what labels it may have, and the instruments, which read real images alone.
    kept = {"download", "render", "label_train", "train_extractor"}
    assert ran(output) == set(STAGES) - kept - {"pretrain_real", "finetune_scratch", "worth_real"}
    difference = clone.run("dvc", "metrics", "diff", "HEAD", "baseline", "--all", "--md")
    for metric in ("fid", "fid_ratio", "cas", "error_pretrained_10", "d_loss", "validation_fid"):
        assert re.search(rf"\| {metric} +\|", difference), difference
    assert "params.yaml" in clone.run("dvc", "params", "diff", "HEAD", "baseline")
    assert "baseline" in clone.run("dvc", "exp", "show", "--no-pager", "--csv")
    clone.run("dvc", "plots", "diff", "HEAD", "baseline", "-o", "dvc_plots")
    page = (clone.path / "dvc_plots/index.html").read_text()
    for title in ("GAN losses", "Test error over real labels", "Classifier trained on synthetic images"):
        assert title in page
    assert (clone.path / "dvc_plots/static").is_dir()
    # It is the unconditional one, which gets its labels from a classifier, and says so.
    manifest = json.loads((clone.path / "data/synthetic/manifest.json").read_text())
    assert "classifier trained on real labels" in manifest["labels"]["source"]
    assert 0 <= manifest["labels"]["labeller_validation_accuracy"] <= 1
    assert "classifier trained on real labels" in (clone.path / "data/synthetic/README.md").read_text()
    clone.restore()


def test_a_budget_of_labels_binds_a_whole_run(clone: Clone) -> None:
    output = clone.run("dvc", "exp", "run", "-n", "few", "-S", "labels=60", "-S", "label_draw=random")
    # The data set, and the instruments, which read all labels of real images.
    assert ran(output) == set(STAGES) - {"download", "train_extractor", "pretrain_real", "finetune_scratch"}
    read = clone.metrics("labels")
    assert (read["budget"], read["total"], read["guessing"], read["verdict"]) == (60, 60, 60, 0)
    assert clone.metrics("downstream")["labels_behind_synthetic"] == clone.metrics("worth")["labels"] == 60
    card = (clone.path / "data/synthetic/README.md").read_text()
    assert "| total, each label once | 60 |" in card
    assert "error_both_tuned" in clone.run("dvc", "metrics", "diff", "HEAD", "few", "--all", "--md")

    # Without any: the labels are guessed from another set, here the real one once more.
    shutil.copytree(clone.path / "data/raw", clone.path / "own")
    free = ("-S", "labels=0", "-S", "render.folder=own", "-S", "label_train.min_agreement=0")
    clone.run("dvc", "exp", "run", "-n", "none", *free, "generate", "worth_real")
    manifest = files.read_json(clone.path / "data/synthetic/manifest.json")
    assert {manifest["labels"]["read"][name] for name in ("budget", "total", "conditioning", "watching")} == {
        0
    }
    errors = files.read_json(clone.path / "results/worth_real/errors.json")
    assert errors["guessed"] == errors["guessed_tuned"]
    shutil.rmtree(clone.path / "own")
    clone.restore()


def test_an_experiment_on_the_queue_runs_its_own_code_and_leaves_the_workspace_alone(clone: Clone) -> None:
    images = clone.path / "data/synthetic/MNIST/raw/train-images-idx3-ubyte"
    assert files.read_json(clone.path / "models/labeller/labeller.json") == {"trained": False}
    before, drawn = clone.locked(), files.sha256(images)
    module = clone.path / "src/report/downstream.py"
    original = module.read_text()
    # A change that only the experiment is to have: made, queued, and taken back before it runs.
    module.write_text(original.replace('"labels_behind_synthetic":', '"labels_behind_it":'))
    wider = ("-S", "generate.latent_scale=1.5", "-S", "generate.relabel=true")
    clone.run("dvc", "exp", "run", "--queue", "-n", "wider", *wider)
    module.write_text(original)
    output = clone.run("dvc", "exp", "run", "--run-all")
    # A labeller is trained, on real images alone, and no GAN.
    again = {"train_labeller", "generate", "evaluate", "audit", "pretrain", "finetune", "worth"}
    assert ran(output) == again | {"report"}
    assert clone.locked() == before
    assert "labels_behind_synthetic" in clone.metrics("downstream")
    assert "labels_behind_it" in clone.run("dvc", "metrics", "diff", "HEAD", "wider", "--json")
    assert clone.run("git", "status", "--porcelain") == ""

    clone.run("dvc", "exp", "apply", "wider")
    assert "labels_behind_it" in clone.metrics("downstream")
    manifest = json.loads((clone.path / "data/synthetic/manifest.json").read_text())
    assert manifest["latent_scale"] == 1.5
    labeller = files.read_json(clone.path / "models/labeller/labeller.json")
    assert (labeller["trained"], labeller["labels"]) == (True, 300)
    assert manifest["labels"]["labeller_validation_accuracy"] == labeller["validation_accuracy"]
    assert manifest["sha256"]["train-images-idx3-ubyte"] == files.sha256(images) != drawn
    labels = torchvision.datasets.MNIST(str(clone.path / "data/synthetic"), train=True).targets
    told = torch.arange(200) % 10
    # Two seconds of training make no digits, and a labeller of one epoch hardly knows them.
    assert manifest["labels"]["changed"] >= int((labels != told).sum()) > 0
    assert (
        f"another class of {manifest['labels']['changed']:,} images"
        in (clone.path / "data/synthetic/README.md").read_text()
    )
    clone.restore()


def test_an_experiment_in_a_copy_of_the_project_leaves_the_workspace_alone(clone: Clone) -> None:
    before = clone.locked()
    output = clone.run("dvc", "exp", "run", "--temp", "-n", "aside", "-S", "recipes.gan.beta1=0.3", "verdict")
    assert ran(output) == {"recipe", "train_gan", "verdict"}
    assert "aside" in clone.run("dvc", "exp", "list", "--name-only")
    assert clone.locked() == before
    assert clone.run("git", "status", "--porcelain") == ""
