"""Networks on disk: they come back as they were, and what is damaged or of another kind is refused."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import GREY
from safetensors.torch import save_file

from src.core.errors import PipelineError
from src.datasets.spec import ImageSpec
from src.networks import weights
from src.networks.classifier import CLASSIFIERS, ConvClassifier
from src.networks.network import Network, build
from src.networks.pairs import GENERATORS
from src.networks.translator import Translator

KINDS = CLASSIFIERS | GENERATORS
COLOUR = ImageSpec(channels=3, height=10, width=13, classes=4)
# Small options for every network that is saved; a new one needs a line here.
OPTIONS: dict[str, dict[str, Any]] = {
    "mlp-generator": {"latent": 5, "width": 4, "conditional": True},
    "conv-generator": {"latent": 5, "width": 2, "conditional": True},
    "translator": {"width": 2},
    "conv-classifier": {"width": 2},
}


def built(name: str, seed: int = 1, spec: ImageSpec = GREY) -> Network:
    return build(KINDS[name], spec, seed=seed, **OPTIONS[name])


def output(network: Network) -> torch.Tensor:
    shape = network.spec.shape
    if type(network) not in GENERATORS.values():
        inputs: tuple[torch.Tensor, ...] = (torch.ones(3, *shape) / 3,)
    elif isinstance(network, Translator):
        inputs = torch.ones(3, *shape) / 3, torch.arange(3)
    else:
        inputs = torch.linspace(-2, 2, 15).view(3, 5), torch.arange(3)
    with torch.no_grad():
        return network(*inputs)


def refusal(path: Path, kinds: weights.Kinds = KINDS) -> str:
    with pytest.raises(PipelineError) as error:
        weights.read(path, kinds)
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(f"{path}: ")
    assert text.endswith("; run `dvc repro`")
    return text


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    weights.write(tmp_path / "network.safetensors", built("mlp-generator"), GENERATORS)
    return tmp_path / "network.safetensors"


def test_every_network_has_options_here() -> None:
    assert set(OPTIONS) == set(KINDS)


@pytest.mark.parametrize("spec", [GREY, COLOUR], ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_a_network_comes_back_as_it_was(tmp_path: Path, name: str, spec: ImageSpec) -> None:
    network = built(name, spec=spec).train()
    if name in ("conv-classifier", "conv-generator"):
        output(network)  # moves the buffers of batch norm
    weights.write(tmp_path / "a" / "x.safetensors", network, KINDS)
    again = weights.read(tmp_path / "a" / "x.safetensors", KINDS)
    assert type(again) is KINDS[name]
    assert not again.training
    assert network.training  # the one that was saved goes on as it was
    assert (again.spec, again.options) == (spec, OPTIONS[name])
    before, after = network.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert value.dtype == after[key].dtype
        assert torch.equal(value, after[key])
    assert torch.equal(output(network.eval()), output(again))
    # and saved again it gives the same file
    weights.write(tmp_path / "y.safetensors", again, KINDS)
    assert (tmp_path / "y.safetensors").read_bytes() == (tmp_path / "a" / "x.safetensors").read_bytes()


@pytest.mark.parametrize("name", KINDS)
def test_the_same_weights_give_the_same_bytes_and_others_do_not(tmp_path: Path, name: str) -> None:
    for file, seed in (("one", 1), ("two", 1), ("three", 2)):
        weights.write(tmp_path / file, built(name, seed), KINDS)
    one, two, three = ((tmp_path / file).read_bytes() for file in ("one", "two", "three"))
    assert one == two != three


def test_the_header_holds_one_key_of_metadata(saved: Path) -> None:
    data = saved.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert list(header["__metadata__"]) == ["network"]
    assert json.loads(header["__metadata__"]["network"]) == {
        "name": "mlp-generator",
        "spec": {"channels": 1, "height": 28, "width": 28, "classes": 10},
        "options": OPTIONS["mlp-generator"],
    }


def test_weights_that_are_a_view_are_saved_whole(tmp_path: Path) -> None:
    network = built("mlp-generator")
    network.layers[0].weight.data = torch.arange(60.0).view(15, 4).t()
    weights.write(tmp_path / "x", network, GENERATORS)
    again = weights.read(tmp_path / "x", GENERATORS)
    assert again.layers[0].weight[1, 2].item() == 9.0


def test_reading_leaves_the_default_generator_alone(saved: Path) -> None:
    state = torch.random.get_rng_state()
    weights.read(saved, GENERATORS)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_classifier_is_of_the_images_that_it_was_trained_for(tmp_path: Path) -> None:
    weights.write(tmp_path / "x", built("conv-classifier"))
    for spec in (None, GREY):
        again = weights.read_classifier(tmp_path / "x", spec)
        assert type(again) is ConvClassifier
        assert not again.training
    with pytest.raises(PipelineError) as error:
        weights.read_classifier(tmp_path / "x", COLOUR)
    assert str(error.value) == (
        f"{tmp_path / 'x'} was trained for 10 classes of 28x28 grey images, not for 4 classes of 13x10 "
        "colour images; run `dvc repro`"
    )


# What is refused


def test_a_network_of_another_kind(saved: Path) -> None:
    assert "(it holds a mlp-generator)" in refusal(saved, CLASSIFIERS)
    with pytest.raises(PipelineError, match=r"\(it holds a mlp-generator\)"):
        weights.read_classifier(saved)


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
    expected = weights.read(saved, GENERATORS).state_dict()
    reasons = []
    for place in range(end):
        damaged = bytearray(data)
        damaged[place] ^= 1 << (place * 5 % 8)
        saved.write_bytes(damaged)
        try:
            found = weights.read(saved, GENERATORS).state_dict()
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


SPEC = '"spec": {"channels": 1, "height": 28, "width": 28, "classes": 10}'
METADATA = {
    "none": None,
    "another key": {"format": "pt"},
    "no JSON": {"network": "mlp"},
    "no object": {"network": "[1]"},
    "no options": {"network": f'{{"name": "conv-classifier", {SPEC}}}'},
    "no spec": {"network": '{"name": "conv-classifier", "options": {"width": 2}}'},
    "unknown name": {"network": f'{{"name": "diffusion", {SPEC}, "options": {{}}}}'},
    "unknown option": {"network": f'{{"name": "conv-classifier", {SPEC}, "options": {{"depth": 3}}}}'},
    "wrong type": {"network": f'{{"name": "conv-classifier", {SPEC}, "options": {{"width": "wide"}}}}'},
    "other shapes": {"network": f'{{"name": "conv-classifier", {SPEC}, "options": {{"width": 3}}}}'},
    "other images": {
        "network": f'{{"name": "conv-classifier", {SPEC.replace("28", "32")}, "options": {{"width": 2}}}}'
    },
    "impossible images": {
        "network": f'{{"name": "conv-classifier", {SPEC.replace("28", "2")}, "options": {{"width": 2}}}}'
    },
}


@pytest.mark.parametrize("case", METADATA)
def test_weights_without_a_fitting_description(tmp_path: Path, case: str) -> None:
    tensors = {name: part.contiguous() for name, part in built("conv-classifier").state_dict().items()}
    save_file(tensors, tmp_path / "x", metadata=METADATA[case])
    assert "not the network that belongs there" in refusal(tmp_path / "x")


def test_such_weights_with_a_fitting_description(tmp_path: Path) -> None:
    tensors = {name: part.contiguous() for name, part in built("conv-classifier").state_dict().items()}
    fitting = f'{{"name": "conv-classifier", {SPEC}, "options": {{"width": 2}}}}'
    save_file(tensors, tmp_path / "x", metadata={"network": fitting})
    assert torch.equal(output(weights.read(tmp_path / "x", KINDS)), output(built("conv-classifier").eval()))


@pytest.mark.parametrize("change", ["missing", "additional"])
def test_weights_that_do_not_match_their_description(tmp_path: Path, change: str) -> None:
    network = built("mlp-generator")
    tensors = network.state_dict()
    if change == "missing":
        del tensors["layers.4.bias"]
    else:
        tensors["extra"] = torch.zeros(1)
    description = {"name": "mlp-generator", "spec": vars(network.spec), "options": network.options}
    save_file(tensors, tmp_path / "x", metadata={"network": json.dumps(description)})
    assert {"missing": "layers.4.bias", "additional": "extra"}[change] in refusal(tmp_path / "x")


def test_the_classifiers_of_a_folder_come_in_order_of_their_numbers(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"no 0\.safetensors in it; run `dvc repro`"):
        weights.classifiers(tmp_path)
    for name in ["x.safetensors", "13.safetensors", *(f"{number}.safetensors" for number in range(12))]:
        (tmp_path / name).touch()
    expected = [tmp_path / f"{number}.safetensors" for number in range(12)]
    assert weights.classifiers(tmp_path) == expected
