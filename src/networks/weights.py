"""Networks on disk: weights as safetensors, with what rebuilds the network in the file's header."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from src.core import files
from src.core.errors import PipelineError
from src.datasets.spec import ImageSpec
from src.networks.classifier import CLASSIFIERS, ConvClassifier
from src.networks.network import Network, build

# One key only: safetensors writes several in an order that differs from run to run.
KEY = "network"
# What a file that holds something else can make safetensors, json, a class or torch raise.
_FAULTS = (SafetensorError, ArithmeticError, KeyError, TypeError, ValueError, RuntimeError, PipelineError)
Kinds = Mapping[str, type[Network]]


def write(path: Path, network: Network, kinds: Kinds = CLASSIFIERS) -> None:
    """Saves a network; the same weights give the same bytes.

    Args:
        path: Where to, by convention with the ending .safetensors.
        network: Its weights may be on any device.
        kinds: A table that names its class.
    """
    # Pairs may share a class: its first name will do.
    name = next(name for name, kind in kinds.items() if kind is type(network))
    built_from = {"name": name, "spec": asdict(network.spec), "options": network.options}
    tensors = {key: tensor.cpu().contiguous() for key, tensor in network.state_dict().items()}
    files.write_bytes(path, save(tensors, metadata={KEY: json.dumps(built_from, sort_keys=True)}))


def read(path: Path, kinds: Kinds) -> Network:
    """Rebuilds a saved network, in eval mode on the CPU. No code in the file is ever run.

    Args:
        path: The file.
        kinds: The classes that it may be of, by name.

    Raises:
        PipelineError: The file is missing, damaged, or holds something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            built_from = json.loads((file.metadata() or {})[KEY])
            if built_from["name"] not in kinds:
                raise TypeError(f"it holds a {built_from['name']}")
            kind, spec = kinds[built_from["name"]], ImageSpec(**built_from["spec"])
            network = build(kind, spec, seed=0, **built_from["options"])
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except FileNotFoundError:
        raise PipelineError(f"{path}: no such file; run `dvc repro`") from None
    except _FAULTS as error:
        reason = " ".join(str(error).split())
        raise PipelineError(
            f"{path}: not the network that belongs there ({reason}); run `dvc repro`"
        ) from None
    return network.eval()


def classifiers(folder: Path) -> list[Path]:
    """The files 0.safetensors, 1.safetensors, ... of a folder, in that order.

    Raises:
        PipelineError: There is none.
    """
    found: list[Path] = []
    while (path := folder / f"{len(found)}.safetensors").exists():
        found.append(path)
    if not found:
        raise PipelineError(f"{folder}: no 0.safetensors in it; run `dvc repro`")
    return found


def read_classifier(path: Path, spec: ImageSpec | None = None) -> ConvClassifier:
    """Rebuilds a saved classifier; arguments and errors are those of `read`.

    Args:
        path: The file.
        spec: The images that it must have been trained for, if that matters.
    """
    network = read(path, CLASSIFIERS)
    assert isinstance(network, ConvClassifier)
    if spec is not None and network.spec != spec:
        raise PipelineError(
            f"{path} was trained for {network.spec.classes} classes of {network.spec} images, not for "
            f"{spec.classes} classes of {spec} images; run `dvc repro`"
        )
    return network
