"""Requests that come one by one, answered in one batch: a thread that decodes, and a short line before it."""

import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from training import memory
from training.decoder import Decoder, Row
from training.errors import BusyError, MemoryExhaustedError, TrainingError
from training.generate import LocalEngine
from training.text_stream import TextStream


@dataclass(frozen=True, slots=True)
class Piece:
    """More of a response. The last one has a ``finish_reason``, or the ``error`` that ended it."""

    text: str = ""
    tokens: int = 0
    """Tokens of the response so far."""
    prompt_tokens: int = 0
    finish_reason: str = ""
    error: TrainingError | None = None

    @property
    def last(self) -> bool:
        """Whether nothing more comes."""
        return bool(self.finish_reason) or self.error is not None


@dataclass(slots=True, eq=False)
class Asked:
    """One response that somebody waits for. ``tell`` is called by the thread of the engine and must not wait."""

    row: Callable[[LocalEngine], Row]
    """Makes the row; called by the thread of the engine, which alone uses the tokenizer."""
    tell: Callable[[Piece], None]
    stops: tuple[str, ...] = ()
    gone: threading.Event = field(default_factory=threading.Event)
    """Set by who asked when nobody waits any more."""


class Service:
    """An engine that answers whoever asks, up to ``places`` at the same time and ``waiting`` more in line."""

    def __init__(self, engine: LocalEngine, *, places: int, waiting: int) -> None:
        self._engine = engine
        self._places = places
        self._line: queue.Queue[Asked | None] = queue.Queue(maxsize=waiting)
        self._running: dict[Row, tuple[Asked, TextStream]] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End after the token in hand; whoever waits is told."""
        self._ending.set()
        with contextlib.suppress(queue.Full):  # a full line keeps nobody waiting for it
            self._line.put_nowait(None)
        self._thread.join()

    def ask(self, asked: Asked) -> None:
        """Stand in line.

        Raises:
            BusyError: the line is full, or the engine has ended.
        """
        if not self._thread.is_alive():
            raise BusyError("the engine has ended; start the server again")
        try:
            self._line.put_nowait(asked)
        except queue.Full:
            raise BusyError(
                f"{self._line.maxsize} requests wait already, so this one was not taken; try again in a moment"
            ) from None

    def _work(self) -> None:
        try:
            while self._ran_out():
                self._take_fewer()
        finally:  # also when the device gives up: nobody may wait for ever
            self._send_away()

    def _ran_out(self) -> bool:
        """Answer until memory runs out, or until this is to end: false."""
        decoder = self._engine.decoder()
        try:
            while not self._ending.is_set():
                self._let_in(decoder)
                for row, (asked, _) in list(self._running.items()):
                    if asked.gone.is_set():
                        self._end(decoder, row)
                if self._running:
                    decoder.step()
                    self._tell(decoder)
        except RuntimeError as error:
            if not memory.ran_out(error):
                raise
            return True
        return False

    def _take_fewer(self) -> None:
        """What was begun ends, since it has been told in part already; from here on there are fewer at a time."""
        self._engine.give_back()
        count = len(self._running)
        self._places = max(1, count // 2)
        error: TrainingError = BusyError(
            f"memory ran out with {count} responses at a time; from here on there are {self._places}: ask again"
        )
        if count == 1:
            error = MemoryExhaustedError("memory ran out: send a shorter prompt or ask for fewer tokens")
        for asked, _ in self._running.values():
            asked.tell(Piece(error=error))
        self._running.clear()

    def _let_in(self, decoder: Decoder) -> None:
        """Take who waits while there is room; with nothing to do, wait for somebody."""
        while len(self._running) < self._places and not self._ending.is_set():
            try:
                asked = self._line.get(block=not self._running)
            except queue.Empty:
                return
            if asked is not None and not asked.gone.is_set():
                self._begin(decoder, asked)

    def _send_away(self) -> None:
        for asked, _ in self._running.values():
            asked.tell(Piece(error=BusyError("the server was stopped before this response was whole")))
        with contextlib.suppress(queue.Empty):
            while True:
                asked_last = self._line.get_nowait()
                if asked_last is not None:
                    asked_last.tell(Piece(error=BusyError("the server was stopped; nothing was generated")))

    def _begin(self, decoder: Decoder, asked: Asked) -> None:
        try:
            row = asked.row(self._engine)
        except TrainingError as error:  # this request's fault, and nobody else's
            asked.tell(Piece(error=error))
            return
        self._running[row] = asked, TextStream(self._engine.text_of, asked.stops)
        decoder.start(row)
        self._tell(decoder)

    def _tell(self, decoder: Decoder) -> None:
        """Hand out what has become certain of each response."""
        for row, (asked, stream) in list(self._running.items()):
            text = stream.push(row.tokens, last=bool(row.finish_reason))
            reason = "stop" if stream.stopped else row.finish_reason
            if text or reason:
                asked.tell(Piece(text, len(row.tokens), len(row.ids), reason))
            if reason:
                self._end(decoder, row)

    def _end(self, decoder: Decoder, row: Row) -> None:
        decoder.drop(row)
        del self._running[row]
        if self._line.empty():
            decoder.compact()
