"""Many responses from one server, whatever it does."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from app.providers.errors import NoNetworkError, RetiredModelError, ServerFaultError
from app.providers.model_server import Ask, ModelServer
from tests.fakes.model_server import FakeModelServer, Fault, model_server
from training.errors import Cancelled
from worker.served_engine import ServedEngine

SAMPLING = {"temperature": 0.7, "top_p": 0.9, "top_k": 0, "max_new_tokens": 64, "repetition_penalty": 1.0}
FAULTS = (Fault.RATE_LIMITED, Fault.SERVER_FAULT, Fault.DROPPED, Fault.NO_JSON)


def asks(count: int, model: str = "brie") -> list[Ask]:
    messages = [{"role": "user", "content": "Why?"}]
    return [Ask(str(seed), model, messages, SAMPLING, seed) for seed in range(count)]


@contextmanager
def engine_on(fake: FakeModelServer, *, most: int = 4, seconds: float = 30) -> Iterator[ServedEngine]:
    with model_server(fake):
        server = ModelServer(fake.url, timeout_seconds=seconds)
        yield ServedEngine(server, most=most, first_wait=0.001, rng=random.Random(1))  # noqa: S311
        server.close()


def collect(
    engine: ServedEngine, wanted: list[Ask], into: dict[str, str], should_stop: Callable[[], bool] = lambda: False
) -> None:
    """What comes, as far as it comes. Fails if something comes twice."""
    for came in engine.complete(wanted, should_stop):
        for ask, done in came:
            assert ask.key not in into
            into[ask.key] = done.text


def texts(engine: ServedEngine, wanted: list[Ask]) -> dict[str, str]:
    found: dict[str, str] = {}
    collect(engine, wanted, found)
    return found


def test_every_response_comes_once_and_no_more_at_a_time_than_allowed() -> None:
    fake = FakeModelServer({"brie": ""})
    with engine_on(fake, most=3) as engine:
        found = texts(engine, asks(20))
    assert found == {str(seed): f"brie on “Why?” with {seed}." for seed in range(20)}
    assert len(fake.bodies) == 20
    assert 1 <= fake.most_at_once <= 3


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.lower())
def test_what_fails_and_passes_is_asked_again_and_comes_to_the_same_texts(fault: Fault) -> None:
    fake = FakeModelServer({"brie": ""}, faults=dict.fromkeys((0, 3, 4), fault))
    with engine_on(fake) as engine:
        found = texts(engine, asks(8))
    assert found == {str(seed): f"brie on “Why?” with {seed}." for seed in range(8)}
    assert len(fake.bodies) == 8 + 3


def test_a_reply_that_hangs_is_given_up_and_asked_for_again() -> None:
    fake = FakeModelServer({"brie": ""}, faults={1: Fault.HANGING})
    with engine_on(fake, most=1, seconds=0.3) as engine:
        assert len(texts(engine, asks(3))) == 3
    assert len(fake.bodies) == 4


def test_a_server_that_keeps_failing_ends_it_after_eight_tries() -> None:
    fake = FakeModelServer({"brie": ""}, faults=dict.fromkeys(range(100), Fault.SERVER_FAULT))
    with engine_on(fake, most=1) as engine, pytest.raises(ServerFaultError):
        texts(engine, asks(1))
    assert len(fake.bodies) == 8


def test_what_is_under_way_when_one_is_refused_is_still_received() -> None:
    fake = FakeModelServer({"brie": ""})
    found: dict[str, str] = {}
    with engine_on(fake, most=2) as engine, pytest.raises(RetiredModelError):
        collect(engine, [*asks(3)[:2], *asks(3, "nobody")[2:], *asks(20)[3:]], found)
    assert {"0", "1"} <= found.keys()
    assert len(found) < 19


def test_stopping_does_not_wait_for_what_hangs() -> None:
    fake = FakeModelServer({"brie": ""}, hang_from=2)
    found: dict[str, str] = {}
    with engine_on(fake, most=2, seconds=600) as engine, pytest.raises(Cancelled):
        collect(engine, asks(9), found, lambda: len(found) == 2)
    assert len(found) == 2


def test_a_server_that_is_not_there_is_named() -> None:
    with model_server(FakeModelServer({"brie": ""})) as gone:
        pass
    engine = ServedEngine(ModelServer(gone.url), most=2, first_wait=0.001, rng=random.Random(1))  # noqa: S311
    with pytest.raises(NoNetworkError):
        texts(engine, asks(2))
