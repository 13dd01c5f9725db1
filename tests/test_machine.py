"""The machine set up: torch deterministic with so many threads, a device that is not there, what ran."""

import os

import pytest
import torch

from src.core import machine
from src.core.errors import PipelineError


def test_torch_is_deterministic_on_so_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.get_num_threads()
    try:
        assert machine.set_up("cpu", before + 1) == torch.device("cpu")
        assert torch.get_num_threads() == before + 1
    finally:
        machine.set_up("cpu", before)
    assert torch.get_num_threads() == before
    assert torch.are_deterministic_algorithms_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert (torch.tensor(1e-39) * 1.0).item() == 0.0  # a subnormal number


def test_a_gpu_multiplies_in_float32_unless_told_otherwise() -> None:
    # torch's own default is tf32 for convolutions.
    found = []
    for precision in ("tf32", "bfloat16", "float32"):
        machine.set_up("cpu", torch.get_num_threads(), precision)
        found.append((torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision))
    assert found == [("tf32", "tf32"), ("ieee", "ieee"), ("ieee", "ieee")]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_named_with_its_parameter() -> None:
    with pytest.raises(PipelineError, match=r"device is 'cuda'.*set it to cpu"):
        machine.set_up("cuda", 2)


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_freed_memory_is_kept_where_glibc_is_and_nothing_breaks_elsewhere(
    platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []

    class Library:
        def mallopt(self, option: int, value: int) -> None:
            asked.append((option, value))

    monkeypatch.setattr(machine.sys, "platform", platform)
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda _: Library())
    machine.set_up("cpu", 1)
    # malloc.h: M_MMAP_THRESHOLD is -3, M_TRIM_THRESHOLD -1; 32 MiB and 1 GiB
    assert asked == ([(-3, 33_554_432), (-1, 1_073_741_824)] if platform == "linux" else [])
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda _: object())  # another C library
    machine.set_up("cpu", 1)


def test_the_environment_is_what_the_last_bits_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.1.0+cu118")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU of {device}")
    cpu, gpu = (machine.environment(torch.device(name)) for name in ("cpu", "cuda:1"))
    assert cpu == {"torch": "2.1.0", "device": "cpu", "processor": "AVX2", "threads": 3}
    assert gpu == {"torch": "2.1.0", "device": "cuda", "processor": "GPU of cuda:1", "threads": 3}
