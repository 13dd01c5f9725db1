"""Networks on disk: weights as safetensors with the name and options that rebuild the network beside them."""

import json
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from src import files, networks
from src.errors import PipelineError

# One key only: safetensors writes several in an order that differs from run to run.
KEY = "network"
Network = TypeVar("Network", bound=nn.Module)


def write(path: Path, network: nn.Module) -> None:
    """Saves a network that `networks.build` made; the same weights give the same bytes.

    Args:
        path: Where to, by convention with the ending .safetensors.
        network: Its weights may be on any device.
    """
    weights = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    built_from = json.dumps(network.built_from, sort_keys=True)
    files.write_bytes(path, save(weights, metadata={KEY: built_from}))


def read(path: Path, kind: type[Network]) -> Network:
    """Rebuilds a saved network, in eval mode on the CPU. No code in the file is ever run.

    Args:
        path: The file.
        kind: The class that it must be of.

    Raises:
        PipelineError: The file is missing, damaged, or holds something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            built_from = json.loads((file.metadata() or {})[KEY])
            network = networks.build(built_from["name"], seed=0, **built_from["options"])
            if not isinstance(network, kind):
                raise TypeError(f"it holds a {built_from['name']}")
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except FileNotFoundError:
        raise PipelineError(f"{path}: no such file; run `dvc repro`") from None
    except (SafetensorError, ArithmeticError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise PipelineError(
            f"{path}: not the network that belongs there ({reason}); run `dvc repro`"
        ) from None
    return network.eval()
