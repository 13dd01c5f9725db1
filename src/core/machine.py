"""The machine that computes: torch made deterministic on it, and what it is."""

import ctypes
import os
import sys

import torch

from src.core.errors import PipelineError


def set_up(device: str, threads: int, precision: str = "float32") -> torch.device:
    """Makes torch deterministic with a fixed number of threads (more threads sum in another order).

    Args:
        device: `cpu` or `cuda`.
        threads: Threads for one operation.
        precision: Of a GPU's products and convolutions: `tf32` rounds what is multiplied to 10 bits. With
            anything else nothing is rounded, as torch itself would for convolutions.

    Raises:
        PipelineError: The device is not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise PipelineError("params.yaml: device is 'cuda' but torch sees no GPU; set it to cpu")
    rounding = "tf32" if precision == "tf32" else "ieee"
    torch.backends.cuda.matmul.fp32_precision = rounding
    torch.backends.cudnn.fp32_precision = rounding
    # Some versions of torch have a value of their own for convolutions, which is tf32.
    torch.backends.cudnn.conv.fp32_precision = rounding  # type: ignore[attr-defined]
    # cuBLAS reads this once, at its first use: https://pytorch.org/docs/stable/notes/randomness.html
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Meant to expose code that reads memory it never wrote; it costs a tenth of the training time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    # Subnormal numbers cost a CPU dozens of times as much as others, and a trained ReLU net makes many.
    torch.set_flush_denormal(True)
    _keep_freed_memory()
    return torch.device(device)


def environment(device: torch.device) -> dict[str, object]:
    """What the last bits of a result depend on beside code, parameters and data: what ran, and on what."""
    if device.type == "cuda":
        processor = torch.cuda.get_device_name(device)
    else:
        processor = torch.backends.cpu.get_cpu_capability()  # the vector instructions that torch uses
    return {
        "torch": torch.__version__.partition("+")[0],  # without the build, which changes no CPU's numbers
        "device": device.type,
        "processor": processor,
        "threads": torch.get_num_threads(),
    }


def _keep_freed_memory() -> None:
    """Lets glibc keep what is freed: handed back, each large tensor's memory would be zeroed anew."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # other C libraries on Linux don't have it
        mallopt(-3, 2**25)  # M_MMAP_THRESHOLD, at its largest
        mallopt(-1, 2**30)  # M_TRIM_THRESHOLD
