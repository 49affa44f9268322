"""One response asked for by a route: the thread of the engine tells, the loop of the server listens."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from training.decoder import Row
from training.errors import TrainingError
from training.generate import LocalEngine
from training.serve import Asked, Piece, Service
from worker.endpoint.shapes import Shape, usage_of


class Conversation:
    """Pieces of one response as they come. Leaving before its end takes it out of the batch."""

    def __init__(self, service: Service, row: Callable[[LocalEngine], Row], stops: Sequence[str]) -> None:
        loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[Piece] = asyncio.Queue()
        self._ahead: Piece | None = None

        def tell(piece: Piece) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever listened
                loop.call_soon_threadsafe(self._pieces.put_nowait, piece)

        self._asked = Asked(row, tell, tuple(stops))
        service.ask(self._asked)

    def leave(self) -> None:
        """Nobody waits any more."""
        self._asked.gone.set()

    async def begun(self) -> None:
        """Wait for the first piece, so that a prompt that does not fit is an error and no stream.

        Raises:
            TrainingError: what is wrong with the request.
        """
        self._ahead = await self._next()

    async def _next(self) -> Piece:
        piece = await self._pieces.get()
        if piece.error is not None:
            raise piece.error
        return piece

    async def pieces(self) -> AsyncIterator[Piece]:
        """All pieces to the last.

        Raises:
            TrainingError: the response was broken off.
        """
        piece = self._ahead or await self._next()
        while True:
            yield piece
            if piece.last:
                return
            piece = await self._next()


async def as_whole(conversation: Conversation, shape: Shape, *, gone: Callable[[], Awaitable[bool]]) -> dict[str, Any]:
    """The response as one object. Where ``gone`` says that nobody waits any more, it ends at once."""
    text = ""
    async for piece in conversation.pieces():
        text += piece.text
        if await gone():
            conversation.leave()
            break
    return shape.whole(text, piece.finish_reason, usage_of(piece.prompt_tokens, piece.tokens))


async def as_stream(
    conversation: Conversation, shape: Shape, *, with_usage: bool, error: Callable[[TrainingError], dict[str, Any]]
) -> AsyncIterator[str]:
    """The response as server-sent events. One that is broken off ends with the error, and without the end mark."""
    try:
        if (first := shape.first()) is not None:
            yield _event(first)
        async for piece in conversation.pieces():
            if piece.text:
                yield _event(shape.piece(piece.text))
        yield _event(shape.end(piece.finish_reason))
        if with_usage:
            yield _event(shape.usage(usage_of(piece.prompt_tokens, piece.tokens)))
        yield "data: [DONE]\n\n"
    except TrainingError as failure:
        yield _event(error(failure))
    finally:
        conversation.leave()


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"
