"""ImageNet's Inception network: the real architecture with random weights, and what is said without any."""

import hashlib
import pickle
import re
from pathlib import Path

import pytest
import torch
import torch_fidelity.feature_extractor_inceptionv3 as theirs
from torchmetrics.image.fid import NoTrainInceptionV3

from src.core.errors import PipelineError
from src.scores import inception
from src.scores.extractor import embed


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights, as the real file is written."""
    path = tmp_path_factory.mktemp("inception") / inception.FILE
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        patch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(theirs.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = theirs.FeatureExtractorInceptionV3("inception", ["2048"])
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def network(weights: Path) -> inception.Inception:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception, "SHA256", hashlib.sha256(weights.read_bytes()).hexdigest())
        patch.setenv(inception.VARIABLE, str(weights))
        return inception.read()


def pixels(count: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 1, 28, 28), generator=rng, dtype=torch.uint8)


@pytest.mark.slow
def test_features_and_logits_are_those_of_torch_fidelity_and_torchmetrics(
    network: inception.Inception, weights: Path
) -> None:
    images = pixels(3)
    found = embed(network, images)
    assert found.features.shape == (3, 2048)
    assert found.logits.shape == (3, 1008)
    tiled = images.repeat(1, 3, 1, 1)
    both = theirs.FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], str(weights))
    features, logits = both(tiled)
    assert features.std() > 0
    assert torch.equal(found.features, features)
    assert torch.allclose(found.logits, logits, rtol=1e-5, atol=1e-6)
    # torchmetrics' own Inception resizes as TensorFlow did where it is told not to smooth
    metric = NoTrainInceptionV3("inception", ["2048"], str(weights), antialias=False)
    assert torch.allclose(found.features, metric(tiled), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_colour_images_are_seen_in_their_colours(network: inception.Inception, weights: Path) -> None:
    rng = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (2, 3, 32, 24), generator=rng, dtype=torch.uint8)
    both = theirs.FeatureExtractorInceptionV3("inception", ["2048"], str(weights))
    assert torch.equal(embed(network, images).features, both(images)[0])


@pytest.mark.slow
def test_features_do_not_depend_on_how_many_are_asked_for(
    network: inception.Inception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inception, "BATCH", 2)
    assert torch.equal(embed(network, pixels(4)).features[:2], embed(network, pixels(2)).features)


@pytest.mark.slow
def test_it_stays_in_eval_mode(network: inception.Inception) -> None:
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.network.parameters())


def test_another_file_is_refused_and_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "other.pth"
    path.write_bytes(b"cos\nsystem\n(S'touch opened'\ntR.")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(inception.VARIABLE, str(path))
    with pytest.raises(PipelineError, match=rf"has the sha256 [0-9a-f]{{64}} instead of {inception.SHA256}"):
        inception.read()
    # even under the right hash, no code in it is run
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(pickle.UnpicklingError, match="module os is blocked"):
        inception.read()
    assert [item.name for item in tmp_path.iterdir()] == ["other.pth"]


def test_a_variable_that_names_no_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(inception.VARIABLE, str(tmp_path / "none.pth"))
    with pytest.raises(
        PipelineError, match=r"INCEPTION_WEIGHTS is .*none\.pth, which is not a file; set it to"
    ):
        inception.find()


def test_where_they_cannot_be_had_the_file_its_hash_and_its_place_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(inception.VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(inception, "URL_INCEPTION_V3", f"http://127.0.0.1:9/{inception.FILE}")
    with pytest.raises(PipelineError) as error:
        inception.find()
    place = tmp_path / "hub" / "checkpoints" / inception.FILE
    for words in (inception.FILE, inception.SHA256, str(place), "evaluate.extractor", "INCEPTION_WEIGHTS"):
        assert re.search(re.escape(words), str(error.value))
    assert not place.exists()
    place.write_bytes(b"had")
    assert inception.find() == place
