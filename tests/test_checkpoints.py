"""Networks on disk: they come back as they were, and what is damaged or of another kind is refused."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from src import checkpoints, networks
from src.errors import PipelineError

# Small options for every network; a new one needs a line here.
OPTIONS = {
    "mlp-generator": {"latent": 5, "width": 4, "conditional": True},
    "mlp-discriminator": {"width": 4, "conditional": False, "spectral_norm": False},
    "conv-generator": {"latent": 5, "width": 2, "conditional": True},
    "conv-discriminator": {"width": 2, "conditional": True, "spectral_norm": True},
    "conv-classifier": {"width": 2},
}
INPUTS = {
    "generator": (torch.randn(3, 5), torch.arange(3)),
    "discriminator": (torch.randn(3, 1, 28, 28), torch.arange(3)),
    "classifier": (torch.randn(3, 1, 28, 28),),
}


def built(name: str, seed: int = 1) -> nn.Module:
    return networks.build(name, seed=seed, **OPTIONS[name])


def output(network: nn.Module, name: str) -> torch.Tensor:
    with torch.no_grad():
        return network(*INPUTS[name.rpartition("-")[2]])


def refusal(path: Path, kind: type[nn.Module] = nn.Module) -> str:
    with pytest.raises(PipelineError) as error:
        checkpoints.read(path, kind)
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(f"{path}: ")
    assert text.endswith("; run `dvc repro`")
    return text


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    checkpoints.write(tmp_path / "network.safetensors", built("mlp-generator"))
    return tmp_path / "network.safetensors"


def test_every_network_has_options_here() -> None:
    assert set(OPTIONS) == set(networks.NETWORKS)


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_a_network_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    network = built(name).train()
    if name in ("conv-classifier", "conv-generator"):
        output(network, name)  # moves the buffers of batch norm
    checkpoints.write(tmp_path / "a" / "x.safetensors", network)
    again = checkpoints.read(tmp_path / "a" / "x.safetensors", networks.NETWORKS[name])
    assert type(again) is networks.NETWORKS[name]
    assert not again.training
    assert network.training  # the one that was saved goes on as it was
    assert again.built_from == {"name": name, "options": OPTIONS[name]}
    before, after = network.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert value.dtype == after[key].dtype
        assert torch.equal(value, after[key])
    assert torch.equal(output(network.eval(), name), output(again, name))
    # and saved again it gives the same file
    checkpoints.write(tmp_path / "y.safetensors", again)
    assert (tmp_path / "y.safetensors").read_bytes() == (tmp_path / "a" / "x.safetensors").read_bytes()


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_the_same_weights_give_the_same_bytes_and_others_do_not(tmp_path: Path, name: str) -> None:
    for file, seed in (("one", 1), ("two", 1), ("three", 2)):
        checkpoints.write(tmp_path / file, built(name, seed))
    one, two, three = ((tmp_path / file).read_bytes() for file in ("one", "two", "three"))
    assert one == two != three


def test_the_header_holds_one_key_of_metadata(saved: Path) -> None:
    data = saved.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert list(header["__metadata__"]) == ["network"]
    assert json.loads(header["__metadata__"]["network"]) == {
        "name": "mlp-generator",
        "options": OPTIONS["mlp-generator"],
    }


def test_weights_that_are_a_view_are_saved_whole(tmp_path: Path) -> None:
    network = built("mlp-generator")
    network.layers[0].weight.data = torch.arange(60.0).view(15, 4).t()
    checkpoints.write(tmp_path / "x", network)
    again = checkpoints.read(tmp_path / "x", networks.MLPGenerator)
    assert again.layers[0].weight[1, 2].item() == 9.0


def test_reading_leaves_the_default_generator_alone(saved: Path) -> None:
    state = torch.random.get_rng_state()
    checkpoints.read(saved, nn.Module)
    assert torch.equal(torch.random.get_rng_state(), state)


# What is refused


def test_a_network_of_another_kind(saved: Path) -> None:
    assert "(it holds a mlp-generator)" in refusal(saved, networks.ConvClassifier)


def test_a_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("size", [0, 1, 7, 8, 50, -1, -100])
def test_a_file_that_ends_early(saved: Path, size: int) -> None:
    saved.write_bytes(saved.read_bytes()[:size])
    assert "not the network that belongs there" in refusal(saved)


def test_a_file_that_goes_on(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"more")
    assert "not the network that belongs there" in refusal(saved)


def test_bits_flipped_in_the_header(saved: Path) -> None:
    data = saved.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    expected = checkpoints.read(saved, nn.Module).state_dict()
    reasons = []
    for place in range(end):
        damaged = bytearray(data)
        damaged[place] ^= 1 << (place * 5 % 8)
        saved.write_bytes(damaged)
        try:
            found = checkpoints.read(saved, nn.Module).state_dict()
        except PipelineError as error:
            reasons.append(str(error))
        else:  # a flip in padding, say: then it must not matter
            assert all(torch.equal(value, found[key]) for key, value in expected.items())
    assert len(reasons) > 0.9 * end
    assert all(reason.startswith(f"{saved}: ") for reason in reasons)


class Harmful:
    """Its pickle makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("writer", [pickle.dump, torch.save])
def test_a_pickle_is_refused_and_not_run(tmp_path: Path, writer) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        writer(Harmful(tmp_path / "harm"), file)
    assert "not the network that belongs there" in refusal(path)
    assert not (tmp_path / "harm").exists()


METADATA = {
    "none": None,
    "another key": {"format": "pt"},
    "no JSON": {"network": "mlp"},
    "no object": {"network": "[1]"},
    "no options": {"network": '{"name": "mlp-generator"}'},
    "unknown name": {"network": '{"name": "diffusion", "options": {}}'},
    "unknown option": {"network": '{"name": "conv-classifier", "options": {"depth": 3}}'},
    "wrong type": {"network": '{"name": "conv-classifier", "options": {"width": "wide"}}'},
    "other shapes": {"network": '{"name": "conv-classifier", "options": {"width": 3}}'},
}


@pytest.mark.parametrize("case", METADATA)
def test_weights_without_a_fitting_description(tmp_path: Path, case: str) -> None:
    weights = {name: part.contiguous() for name, part in built("conv-classifier").state_dict().items()}
    save_file(weights, tmp_path / "x", metadata=METADATA[case])
    assert "not the network that belongs there" in refusal(tmp_path / "x")


@pytest.mark.parametrize("change", ["missing", "additional"])
def test_weights_that_do_not_match_their_description(tmp_path: Path, change: str) -> None:
    network = built("mlp-discriminator")
    weights = network.state_dict()
    if change == "missing":
        del weights["head.score.bias"]
    else:
        weights["extra"] = torch.zeros(1)
    save_file(weights, tmp_path / "x", metadata={"network": json.dumps(network.built_from)})
    assert {"missing": "score.bias", "additional": "extra"}[change] in refusal(tmp_path / "x")
