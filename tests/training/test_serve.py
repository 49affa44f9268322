"""One engine that answers whoever asks: the same text as alone, whoever else asks at the same time."""

import queue
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from training.decoder import Decoder, Row
from training.errors import BusyError, MemoryExhaustedError, PromptError
from training.generate import LocalEngine, Request
from training.sampling import Sampling
from training.serve import Asked, Piece, Service

SAMPLING = Sampling(max_new_tokens=24)
ENDLESS = Sampling(temperature=0, max_new_tokens=4000)
"""Greedily, the tiny model says the same letter for ever."""
QUESTIONS = ("what is cheese?", "what is brie?", "who are you?")


@pytest.fixture(scope="module")
def engine(tiny_base: Path, adapters: dict[str, Path]) -> LocalEngine:
    return LocalEngine(tiny_base, adapters, device="cpu", dtype="float32")


@pytest.fixture
def service(engine: LocalEngine) -> Iterator[Service]:
    made = Service(engine, places=6, waiting=40)
    made.start()
    yield made
    made.stop()


class Waiting:
    """One request and what came of it."""

    def __init__(self, request: Request, sampling: Sampling = SAMPLING, stops: tuple[str, ...] = ()) -> None:
        self.pieces: queue.Queue[Piece] = queue.Queue()
        self.asked = Asked(lambda engine: engine.row(request, sampling), self.pieces.put, stops)

    def read(self) -> list[Piece]:
        read = [self.pieces.get(timeout=60)]
        while not read[-1].last:
            read.append(self.pieces.get(timeout=60))
        return read


def request(number: int, adapter: str | None) -> Request:
    return Request(str(number), adapter, ({"role": "user", "content": QUESTIONS[number % 3]},), seed=number)


def wanted() -> list[Request]:
    return [request(number, (None, "wide", "narrow")[number % 3]) for number in range(9)]


def test_many_at_once_say_what_each_says_alone(engine: LocalEngine, service: Service) -> None:
    alone = {one.key: one for each in wanted() for one in engine.generate([each], SAMPLING, batch_size=1)}
    waiting = [Waiting(each) for each in wanted()]
    for one in waiting:
        service.ask(one.asked)
    for each, one in zip(wanted(), waiting, strict=True):
        read = one.read()
        assert "".join(piece.text for piece in read) == alone[each.key].text
        assert (read[-1].tokens, read[-1].finish_reason) == (alone[each.key].token_count, alone[each.key].finish_reason)
        assert read[-1].prompt_tokens == len(engine.row(each, SAMPLING).ids)
    assert len({alone[each.key].text for each in wanted()}) > 6


def test_each_has_its_own_sampling(engine: LocalEngine, service: Service) -> None:
    settings = [Sampling(temperature=0), Sampling(top_p=0.5), Sampling(top_k=3, repetition_penalty=1.3), Sampling()]
    settings = [Sampling(one.temperature, one.top_p, one.top_k, 20, one.repetition_penalty) for one in settings]
    each = request(1, "wide")
    alone = [next(engine.generate([each], one, batch_size=1)).text for one in settings]
    waiting = [Waiting(each, one) for one in settings]
    for one in waiting:
        service.ask(one.asked)
    assert ["".join(piece.text for piece in one.read()) for one in waiting] == alone
    assert len(set(alone)) == len(alone)


def test_a_stop_string_ends_a_response(engine: LocalEngine, service: Service) -> None:
    each = request(0, None)
    whole = next(engine.generate([each], SAMPLING, batch_size=1)).text
    stop = whole[3:5]
    one = Waiting(each, stops=(stop,))
    service.ask(one.asked)
    read = one.read()
    assert "".join(piece.text for piece in read) == whole[: whole.index(stop)]
    assert read[-1].finish_reason == "stop"


def test_a_prompt_that_does_not_fit_is_told_to_who_sent_it(service: Service) -> None:
    long = Request("long", None, ({"role": "user", "content": "x" * 5000},), seed=1)
    wrong, right = Waiting(long), Waiting(request(1, None))
    for one in (wrong, right):
        service.ask(one.asked)
    (piece,) = wrong.read()
    assert isinstance(piece.error, PromptError)
    assert "the model's context holds 4096" in piece.error.reason
    assert right.read()[-1].finish_reason


def test_a_line_that_is_full_takes_nobody(engine: LocalEngine) -> None:
    service = Service(engine, places=1, waiting=2)
    with pytest.raises(BusyError, match="the engine has ended"):
        service.ask(Waiting(request(0, None)).asked)
    begun: queue.Queue[None] = queue.Queue()
    held: queue.Queue[None] = queue.Queue()
    first = Waiting(request(0, None))

    def row(one: LocalEngine) -> Row:
        begun.put(None)
        held.get(timeout=60)
        return one.row(request(0, None), SAMPLING)

    first.asked = Asked(row, first.pieces.put)
    service.start()
    service.ask(first.asked)
    begun.get(timeout=60)
    taken = [Waiting(request(number, None)) for number in (1, 2)]
    for one in taken:
        service.ask(one.asked)
    with pytest.raises(BusyError, match="2 requests wait already"):
        service.ask(Waiting(request(3, None)).asked)
    held.put(None)
    for one in (first, *taken):
        assert one.read()[-1].finish_reason
    service.stop()


def test_whoever_leaves_makes_room(engine: LocalEngine) -> None:
    service = Service(engine, places=1, waiting=4)
    service.start()
    gone, after = Waiting(request(0, None), ENDLESS), Waiting(request(1, None))
    service.ask(gone.asked)
    gone.pieces.get(timeout=60)
    service.ask(after.asked)
    gone.asked.gone.set()
    assert after.read()[-1].finish_reason
    service.stop()
    while not gone.pieces.empty():
        assert not gone.pieces.get().last


def test_a_server_that_stops_tells_who_waits(engine: LocalEngine) -> None:
    service = Service(engine, places=1, waiting=4)
    service.start()
    running, waiting = Waiting(request(0, None), ENDLESS), Waiting(request(1, None))
    service.ask(running.asked)
    running.pieces.get(timeout=60)
    service.ask(waiting.asked)
    service.stop()
    assert isinstance(running.read()[-1].error, BusyError)
    assert isinstance(waiting.read()[-1].error, BusyError)


def test_where_memory_runs_out_who_waits_is_told_and_fewer_are_answered_at_a_time(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, most = Decoder.step, list[int]()

    def limited(decoder: Decoder) -> None:
        most.append(len(decoder.live))
        if len(decoder.live) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        step(decoder)

    monkeypatch.setattr(Decoder, "step", limited)
    alone = {one.key: one.text for each in wanted() for one in engine.generate([each], SAMPLING, batch_size=1)}
    service = Service(engine, places=4, waiting=40)
    waiting = [Waiting(each) for each in wanted()]
    held: queue.Queue[None] = queue.Queue()
    make_row = waiting[0].asked.row

    def row(one: LocalEngine) -> Row:
        held.get(timeout=60)  # until all stand in line
        return make_row(one)

    waiting[0].asked.row = row
    service.start()
    for one in waiting:
        service.ask(one.asked)
    held.put(None)
    last = [one.read() for one in waiting]
    service.stop()
    for read in last[:4]:
        assert isinstance(read[-1].error, BusyError)
        assert "with 4 responses at a time; from here on there are 2: ask again" in read[-1].error.message
    for each, read in zip(wanted()[4:], last[4:], strict=True):
        assert "".join(piece.text for piece in read) == alone[each.key]
    assert max(most[most.index(4) + 1 :]) == 2


def test_a_response_that_does_not_fit_alone_ends_and_the_service_goes_on(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Decoder.step

    def limited(decoder: Decoder) -> None:
        if any(len(row.ids) > 40 for row in decoder.live):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        step(decoder)

    monkeypatch.setattr(Decoder, "step", limited)
    service = Service(engine, places=1, waiting=40)
    service.start()
    long = Request("long", None, ({"role": "user", "content": "x" * 90},), seed=1)
    large, small = Waiting(long), Waiting(request(1, None))
    for one in (large, small):
        service.ask(one.asked)
    assert isinstance(large.read()[-1].error, MemoryExhaustedError)
    assert small.read()[-1].finish_reason
    service.stop()


def test_a_text_is_continued_without_a_template(engine: LocalEngine) -> None:
    row = engine.text_row("k", "cheese is", "wide", SAMPLING, 1)
    assert engine.text_of(row.ids) == "cheese is"
    with pytest.raises(PromptError, match="the prompt is empty"):
        engine.text_row("k", "", None, SAMPLING, 1)
