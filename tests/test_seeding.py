import pytest
import torch

from src import seeding
from src.errors import PipelineError


def draw(purpose: str, seed: int, count: int = 4) -> list[float]:
    return torch.randn(count, generator=seeding.generator_for(purpose, seed)).tolist()


def test_a_purpose_and_a_seed_give_one_stream_and_any_other_gives_another() -> None:
    assert draw("a", 1) == draw("a", 1)
    assert draw("a", 1) != draw("b", 1)
    assert draw("a", 1) != draw("a", 2)
    # "a" with seed 11 and "a:1" with seed 1 are different purposes, not the same text.
    assert seeding.stream_seed("a", 11) != seeding.stream_seed("a:1", 1)


def test_a_stream_seed_is_the_same_on_every_machine() -> None:
    # The first 8 bytes of sha256("gan/noise:0"), big-endian, halved: `printf gan/noise:0 | sha256sum`.
    assert seeding.stream_seed("gan/noise", 0) == int("9e7ec50e2fc63b8a", 16) >> 1


def test_the_default_generator_is_seeded_inside_and_put_back_after() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3).tolist()
    torch.manual_seed(5)
    with seeding.default_generator("metric", 0):
        inside = torch.rand(3).tolist()
    assert torch.rand(3).tolist() == expected
    with seeding.default_generator("metric", 0):
        assert torch.rand(3).tolist() == inside


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_named_with_its_parameter() -> None:
    with pytest.raises(PipelineError, match=r"device is 'cuda'.*set it to cpu"):
        seeding.set_up("cuda", 2)


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_freed_memory_is_kept_where_glibc_is_and_nothing_breaks_elsewhere(
    platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []

    class Library:
        def mallopt(self, option: int, value: int) -> None:
            asked.append((option, value))

    monkeypatch.setattr(seeding.sys, "platform", platform)
    monkeypatch.setattr(seeding.ctypes, "CDLL", lambda _: Library())
    seeding.set_up("cpu", 1)
    # malloc.h: M_MMAP_THRESHOLD is -3, M_TRIM_THRESHOLD -1; 32 MiB and 1 GiB
    assert asked == ([(-3, 33_554_432), (-1, 1_073_741_824)] if platform == "linux" else [])
    monkeypatch.setattr(seeding.ctypes, "CDLL", lambda _: object())  # another C library
    seeding.set_up("cpu", 1)


def test_the_environment_is_what_the_last_bits_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.1.0+cu118")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU of {device}")
    cpu, gpu = (seeding.environment(torch.device(name)) for name in ("cpu", "cuda:1"))
    assert cpu == {"torch": "2.1.0", "device": "cpu", "processor": "AVX2", "threads": 3}
    assert gpu == {"torch": "2.1.0", "device": "cuda", "processor": "GPU of cuda:1", "threads": 3}
