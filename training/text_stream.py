"""The text of a response while it grows: never a part of a letter, never a stop string or the beginning of one."""

from collections.abc import Callable, Sequence

_BROKEN = "\ufffd"
"""What a tokenizer writes for bytes that are no whole letter yet."""


class TextStream:
    """Pieces of one response. Put together they are the whole text, cut at the first stop string."""

    def __init__(self, text_of: Callable[[Sequence[int]], str], stops: Sequence[str] = ()) -> None:
        self._text_of = text_of
        self._stops = tuple(stops)
        self._told = 0
        self.stopped = False
        """Whether a stop string was met; nothing more comes then."""

    def push(self, tokens: Sequence[int], *, last: bool = False) -> str:
        """What can be told now that was not before; ``tokens`` are all tokens of the response so far."""
        if self.stopped:
            return ""
        text = self._text_of(tokens)
        ends = [place for place in (text.find(stop) for stop in self._stops) if place >= 0]
        if ends:
            self.stopped = True
            text = text[: min(ends)]
        elif not last:
            text = text[: len(text) - self._held(text)]
        piece = text[self._told :]
        self._told = max(self._told, len(text))
        return piece

    def _held(self, text: str) -> int:
        """Characters at the end that the next token may change, or that may be the beginning of a stop string."""
        whole = text.rstrip(_BROKEN)
        begun = max(
            (size for stop in self._stops for size in range(1, len(stop)) if whole.endswith(stop[:size])), default=0
        )
        return len(text) - len(whole) + begun
