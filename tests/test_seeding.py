"""Random numbers: a stream of its own for each purpose and seed, whatever else is drawn."""

import torch

from src.core import seeding


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


def test_a_stream_goes_on_from_its_state() -> None:
    stream, other = seeding.Stream("a", 1), seeding.Stream("b", 2)
    assert torch.randn(4, generator=stream.rng).tolist() == draw("a", 1)
    other.load_state_dict(stream.state_dict())
    following = torch.rand(4, generator=stream.rng).tolist()
    assert torch.rand(4, generator=other.rng).tolist() == following
    assert torch.rand(4, generator=stream.rng).tolist() != following


def test_what_is_sent_arrives_as_it_was() -> None:
    drawn = torch.randn(7, 3)
    assert seeding.send(drawn, torch.device("cpu")) is drawn
