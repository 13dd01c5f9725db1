"""The real pipeline in a scratch clone, driven through DVC as a user drives it, on a tiny data set."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torchvision
from scratch import STAGES, Clone, ran

from src.core import files

pytestmark = pytest.mark.smoke


def test_repro_leaves_everything_up_to_date_and_nothing_to_commit(clone: Clone) -> None:
    assert "up to date" in clone.run("dvc", "status")
    assert clone.run("git", "status", "--porcelain") == ""
    assert set(clone.locked()) == set(STAGES)


def test_metrics_are_flat_finite_numbers_and_pictures_are_there(clone: Clone) -> None:
    for name in ("extractor", "gan", "quality", "memorisation", "downstream"):
        metrics = clone.metrics(name)
        assert metrics
        assert all(type(value) in (int, float) for value in metrics.values()), metrics
    assert clone.metrics("gan")["images_seen"] == 2000
    quality = clone.metrics("quality")
    assert quality["fid"] > quality["fid_floor"] > 0
    assert quality["fid_ratio"] == pytest.approx(quality["fid"] / quality["fid_floor"])
    downstream = clone.metrics("downstream")
    assert downstream["cas_gap"] == pytest.approx(downstream["cas_real"] - downstream["cas"])
    assert downstream["labels_behind_synthetic"] == 300
    for picture in ("real_and_synthetic", "nearest", "label_efficiency", "gan_curves"):
        assert (clone.path / "metrics" / f"{picture}.png").read_bytes()[:4] == b"\x89PNG"
    assert len(list((clone.path / "results/gan/samples").glob("*.png"))) == 2
    summary = clone.run("python", "-m", "stages.summary")
    assert f"{downstream['cas']:.2%}" in summary
    assert "metrics/label_efficiency.png" in summary


def test_torchvision_opens_the_synthetic_set_in_place_of_the_real_one(clone: Clone) -> None:
    train = torchvision.datasets.MNIST(str(clone.path / "data/synthetic"), train=True)
    test = torchvision.datasets.MNIST(str(clone.path / "data/synthetic"), train=False)
    assert (len(train), len(test)) == (200, 100)
    assert train.targets.bincount().tolist() == [20] * 10
    assert train[0][0].size == (28, 28)
    manifest = json.loads((clone.path / "data/synthetic/manifest.json").read_text())
    assert manifest["generator_sha256"] == files.sha256(clone.path / "models/generator.safetensors")
    raw = clone.path / "data/synthetic/MNIST/raw"
    assert manifest["sha256"] == {path.name: files.sha256(path) for path in raw.iterdir()}


def test_editing_the_recipe_of_another_loss_reruns_nothing(clone: Clone) -> None:
    with clone.params({"recipes.wgan.learning_rate": 0.5}):
        assert "up to date" in clone.run("dvc", "status")


LOSS = """

def own_discriminator(*, real: Tensor, fake: Tensor) -> Tensor:
    return relu(1 - real).square().mean() + relu(1 + fake).square().mean()


def own_generator(*, real: Tensor, fake: Tensor) -> Tensor:
    return relu(1 - fake).square().mean()


LOSSES["own"] = Loss(own_discriminator, own_generator)
"""
PENALTY = """

def own(discriminator: Discriminator, *, real: Tensor, fake: Tensor, mix: Tensor | None) -> Tensor:
    return squared_slopes(discriminator, fake).sqrt().mean()


PENALTIES["own"] = own
"""
ROW = "  {name}: {{<<: *conv, {values}}}\n"


def add(path: Path, text: str, before: str = "") -> None:
    """Adds text to a file, in front of another text or at the end."""
    old = path.read_text()
    assert not before or old.count(before) == 1
    path.write_text(old.replace(before, text + before) if before else old + text)


@pytest.fixture
def disturbed(clone: Clone) -> Iterator[Clone]:
    """The clone, put back after a test that edits its files by hand."""
    yield clone
    clone.restore()
    assert clone.run("git", "status", "--porcelain") == ""
    assert "up to date" in clone.run("dvc", "status")


def test_a_new_row_of_a_table_reruns_nothing_but_the_stage_that_reads_the_tables(disturbed: Clone) -> None:
    source, params = disturbed.path / "src", disturbed.path / "params.yaml"
    add(source / "gan/losses.py", LOSS)
    add(params, ROW.format(name="new", values="loss: own"), before="\nwatch:")
    assert ran(disturbed.run("dvc", "repro")) == {"recipe"}

    add(source / "gan/penalties.py", PENALTY)
    add(
        source / "networks/pairs.py",
        '    "own": Pair(ConvGenerator, MLPDiscriminator),\n',
        before='    "conv": Pair(',
    )
    add(params, ROW.format(name="newer", values="loss: own, penalty: own, network: own"), before="\nwatch:")
    assert ran(disturbed.run("dvc", "repro")) == {"recipe"}
    assert "up to date" in disturbed.run("dvc", "status")

    # And it can be trained.
    with disturbed.params({"loss": "newer"}):
        assert ran(disturbed.run("dvc", "repro", "train_gan")) == {"recipe", "train_gan"}
    chosen = files.read_json(disturbed.path / "results/recipe.json")
    assert (chosen["name"], chosen["recipe"]["network"], chosen["recipe"]["images"]) == ("newer", "own", 2000)


def test_a_bad_row_is_found_by_the_first_stage_and_nothing_else_runs(disturbed: Clone) -> None:
    values: dict[str, object] = {"recipes.wgan.loss": "nonsense"}
    with disturbed.params(values):
        assert "up to date" in disturbed.run("dvc", "repro")  # it is not the selected row
    # What makes the stage run, neither as any other test has it: DVC's run cache would bring that one's back.
    values["recipes.gan.beta1"] = 0.45
    with disturbed.params(values):
        outputs = [disturbed.run("dvc", "repro", ok=False)]
    del values["recipes.gan.beta1"]
    add(disturbed.path / "src/gan/losses.py", "\n# Another table.\n")
    with disturbed.params(values):
        outputs.append(disturbed.run("dvc", "repro", ok=False))
    told = "error: params.yaml: recipes.wgan.loss is 'nonsense'; allowed: gan, minimax, wgan, lsgan"
    for output in outputs:
        assert ran(output) == {"recipe"}
        assert told in output
        assert output.count("error:") == 1
        assert "Traceback" not in output


def test_a_value_that_a_row_merges_can_be_set_for_an_experiment(disturbed: Clone) -> None:
    def resolved(*values: str) -> dict[str, object]:
        options = [option for value in values for option in ("-S", value)]
        assert ran(disturbed.run("dvc", "exp", "run", *options, "recipe")) == {"recipe"}
        found: dict[str, object] = files.read_json(disturbed.path / "results/recipe.json")["recipe"]
        return found

    before = (disturbed.path / "params.yaml").read_text()
    assert "hinge: {<<: *conv, loss: hinge}" in before
    assert "  wgan:                  # Arjovsky et al. 2017, clipped\n    <<: [*free, *conv]\n" in before
    found = resolved("loss=hinge", "recipes.hinge.images=1000")
    assert (found["images"], found["batch_size"], found["loss"]) == (1000, 100, "hinge")
    disturbed.restore()
    # Through a list of bases; and a number that DVC writes without the point of YAML 1.1.
    found = resolved("loss=wgan", "recipes.wgan.penalty_weight=3", "recipes.wgan.learning_rate=0.00005")
    assert (found["penalty_weight"], found["penalty"], found["latent"]) == (3.0, "none", 64)
    assert found["learning_rate"] == 0.00005
    assert "learning_rate: 5e-05" in (disturbed.path / "params.yaml").read_text()


def test_what_a_desktop_leaves_in_an_output_folder_changes_nothing(clone: Clone) -> None:
    left = [clone.path / name for name in ("data/synthetic/.DS_Store", "results/gan/samples/Thumbs.db")]
    for path in left:
        path.write_bytes(b"\0")
    assert "up to date" in clone.run("dvc", "status")
    clone.run("dvc", "checkout")
    assert clone.run("git", "status", "--porcelain") == ""
    for path in left:
        path.unlink()


def test_a_downstream_parameter_never_retrains_the_gan(clone: Clone) -> None:
    arms = {"worth", "worth_real"}
    for (key, value), expected in {
        ("classifier.epochs", 2): {"pretrain", "pretrain_real", "finetune", "finetune_scratch", *arms},
        ("worth.steps", 2): arms,
        ("finetune.min_steps", 4): {"finetune", "finetune_scratch"},
        ("evaluate.splits", 3): {"evaluate"},
        ("evaluate.images", 99): {"evaluate", "audit"},
        ("generate.count", 201): {"generate", "pretrain", "pretrain_real"},
        ("generate.relabel", True): {"train_labeller", "generate"},
        ("labeller.epochs", 2): {"train_labeller"},
        ("verdict.min_precision", 0.1): {"verdict"},
    }.items():
        with clone.params({key: value}):
            status = json.loads(clone.run("dvc", "status", "--json"))
        assert {name for name, what in status.items() if "params.yaml" in json.dumps(what)} == expected


def test_a_bad_parameter_stops_the_run_with_one_line_and_leaves_what_was_there(clone: Clone) -> None:
    before = clone.locked()
    output = clone.run("dvc", "exp", "run", "-S", "generate.count=-5", ok=False)
    assert "error: params.yaml: generate.count is -5; allowed: a number from 1 to" in output
    assert "Traceback" not in output
    clone.restore()
    assert clone.locked() == before
    assert "up to date" in clone.run("dvc", "status")


def test_a_failed_run_says_so_and_nothing_is_made_of_it(clone: Clone) -> None:
    output = clone.run("dvc", "exp", "run", "-S", "verdict.allow_failed=false", ok=False)
    assert re.search(
        r"error: the GAN run failed \((collapsed|diverged|mislabelled)\): .*set verdict.allow_failed to true",
        output,
    )
    assert "Traceback" not in output
    assert ran(output) == {"verdict"}  # the training itself is not repeated
    verdict = clone.metrics("gan")
    assert verdict["collapsed"] + verdict["diverged"] + verdict["mislabelled"] == 1
    clone.restore()
    assert "up to date" in clone.run("dvc", "status")


def test_a_diverging_run_names_step_and_loss_and_earlier_outputs_come_back(clone: Clone) -> None:
    losses = clone.path / "src/gan/losses.py"
    losses.write_text(
        losses.read_text().replace("softplus(-real).mean() +", "(softplus(-real) / 0).mean() +")
    )
    output = clone.run("dvc", "repro", ok=False)
    assert "error: training diverged: d_loss is inf at step 1; lower" in output
    assert ran(output) == {"recipe", "train_gan"}
    assert "Traceback" not in output
    clone.restore()
    assert "up to date" in clone.run("dvc", "status")


def test_a_fresh_clone_pulls_everything_and_retrains_nothing(clone: Clone, tmp_path: Path) -> None:
    clone.run("dvc", "remote", "add", "-f", "--local", "-d", "shared", str(tmp_path / "remote"))
    clone.run("dvc", "push")
    clone.run("git", "clone", "-q", str(clone.path), str(tmp_path / "fresh"))
    fresh = Clone(tmp_path / "fresh", tmp_path / "nowhere")  # no data set to fall back on
    fresh.run("dvc", "remote", "add", "--local", "-d", "shared", str(tmp_path / "remote"))
    fresh.run("dvc", "pull")
    assert "up to date" in fresh.run("dvc", "status")
    assert ran(fresh.run("dvc", "repro")) == set()
    generator = "models/generator.safetensors"
    assert (fresh.path / generator).read_bytes() == (clone.path / generator).read_bytes()
