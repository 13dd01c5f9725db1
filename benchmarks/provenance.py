"""Where and from which code a benchmark's numbers come: two columns of each table that it writes to docs/."""

import subprocess

import torch

from src.core.machine import environment
from src.report.markdown import machine


def provenance(device: torch.device) -> dict[str, str]:
    """The processor and the commit; `+` marks a work tree that differs from it.

    Args:
        device: Set up by `src.core.machine.set_up`.
    """
    described = ("git", "describe", "--always", "--dirty=+", "--exclude=*")
    commit = subprocess.run(described, capture_output=True, text=True, check=False).stdout.strip()
    return {"processor": machine(environment(device)), "commit": commit or "unknown"}
