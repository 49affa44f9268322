"""Why a call brought no reply: one class per state that a person has to be told apart.

Three facts steer whoever sends calls: ``unknown`` (the call may have been carried out and paid for), ``passing`` (the
same call may succeed later), ``blocks`` (no call of this judge can succeed until a person does something).
"""

from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import ClassVar

from app.domain.errors import ArenaError
from app.domain.terms import Trouble

_SHOWN = 300
"""Characters of what a server said that fit into a sentence."""


@dataclass(frozen=True)
class Said:
    """What came back instead of a reply."""

    words: str = ""
    raw: str = ""
    """The body as it came."""
    request_id: str = ""
    retry_after: float | None = None
    """Seconds that the server asks to wait."""

    def without(self, key: str) -> "Said":
        """The same where no server gives the key away by repeating it: what was said is stored and exported."""
        if not key:
            return self
        return replace(self, words=self.words.replace(key, "…"), raw=self.raw.replace(key, "…"))


NOTHING = Said()


class ProviderError(ArenaError):
    """Base of the family. ``detail`` holds the server's own words."""

    status = HTTPStatus.BAD_GATEWAY
    trouble: ClassVar[Trouble]
    unknown: ClassVar[bool] = False
    passing: ClassVar[bool] = False
    blocks: ClassVar[bool] = False
    slows: ClassVar[bool] = False
    """The provider has too much to do: fewer calls at once."""
    sentence: ClassVar[str]
    """For people; ``{server}`` is its name."""

    def __init__(self, server: str, said: Said = NOTHING) -> None:
        super().__init__(self._message(server, said), said.words)
        self.said = said

    def _message(self, server: str, said: Said) -> str:  # noqa: ARG002 - some sentences say more
        return self.sentence.replace("{server}", server)


class MissingKeyError(ProviderError):
    """There is no key to ask with."""

    status = HTTPStatus.CONFLICT
    trouble = Trouble.MISSING_KEY
    blocks = True
    sentence = (
        "There is no key for {server}, so nothing was sent; voting by people goes on. Put the key into .env "
        "(ANTHROPIC_API_KEY for Anthropic), start the arena again, and resume the judge."
    )


class WrongKeyError(ProviderError):
    """The key is not accepted, or not for this model."""

    trouble = Trouble.WRONG_KEY
    blocks = True
    sentence = (
        "{server} does not accept the key for this. Nothing was paid, and all verdicts so far are kept. Check the key "
        "and what it may use, then resume the judge."
    )


class EmptyBalanceError(ProviderError):
    """There is no money left, or a spending limit set at the provider is reached."""

    trouble = Trouble.EMPTY_BALANCE
    blocks = True
    sentence = (
        "The balance at {server} is empty, or a spending limit set there is reached. All verdicts so far are kept. Add "
        "credit or raise the limit there, then resume the judge; it asks only for what is missing."
    )


class RetiredModelError(ProviderError):
    """The model is not offered, or not any more."""

    trouble = Trouble.RETIRED_MODEL
    blocks = True

    def __init__(self, server: str, said: Said, model: str, retired: str = "") -> None:
        self.model = model
        self.retired = retired
        """The day, in words, where it is known."""
        super().__init__(server, said)

    def _message(self, server: str, said: Said) -> str:  # noqa: ARG002 - as above
        when = f"; its retirement was set for {self.retired}" if self.retired else ""
        return (
            f"{server} does not offer the model {self.model}{when}. Nothing was paid, and the judge's verdicts so far "
            "are kept. Add a judge with a model that is offered; it can judge the same pairs."
        )


class BadRequestError(ProviderError):
    """The server refuses this very request: texts too long for the model, or a parameter that it does not take."""

    trouble = Trouble.BAD_REQUEST

    def _message(self, server: str, said: Said) -> str:
        words = " ".join(said.words.split()) or "it does not say why"
        short = words if len(words) <= _SHOWN else f"{words[:_SHOWN]}…"
        return (
            f"{server} refuses this request ({short}). Nothing was paid, and the pair is kept without this judge's "
            "verdict. Check the model and the parameters of the judge, and how long the texts are."
        )


class RateLimitedError(ProviderError):
    """Too many calls or tokens in a short time."""

    trouble = Trouble.RATE_LIMITED
    passing = True
    slows = True

    def _message(self, server: str, said: Said) -> str:
        pause = f" for {said.retry_after:g} seconds" if said.retry_after is not None else ""
        return (
            f"{server} asks to wait{pause}, because its rate limit is reached. Nothing was paid; the call is sent "
            "again by itself."
        )


class OverloadedError(ProviderError):
    """The server has too much to do for everybody."""

    trouble = Trouble.OVERLOADED
    passing = True
    slows = True
    sentence = "{server} is overloaded. Nothing was paid; the call is sent again by itself."


class ServerFaultError(ProviderError):
    """Something failed at the server, and it says so."""

    trouble = Trouble.SERVER_FAULT
    passing = True
    sentence = "{server} reports a fault of its own. Nothing was paid; the call is sent again by itself."


class NoNetworkError(ProviderError):
    """The server was not reached: nothing was sent."""

    trouble = Trouble.NO_NETWORK
    passing = True
    sentence = (
        "{server} cannot be reached, so nothing was sent; voting by people goes on. Check the network and the address, "
        "and whether a local server is running; the call is tried again by itself."
    )


class LostReplyError(ProviderError):
    """The request went out and no usable answer came back."""

    trouble = Trouble.LOST_REPLY
    unknown = True
    passing = True
    sentence = (
        "A call went out to {server} and no usable reply came back: the wait was too long, the connection broke, or "
        "the reply cannot be read. It may have been paid for, so it is counted as unknown."
    )


_FIRST_FAULT = 500
_BY_STATUS: dict[int, type[ProviderError]] = {
    401: WrongKeyError,
    402: EmptyBalanceError,
    403: WrongKeyError,
    408: LostReplyError,
    409: ServerFaultError,
    429: RateLimitedError,
    499: LostReplyError,
    503: OverloadedError,
    504: LostReplyError,
    529: OverloadedError,
}


def error_of(status: int) -> type[ProviderError]:
    """The class for an HTTP status that says no more than itself."""
    return _BY_STATUS.get(status, ServerFaultError if status >= _FIRST_FAULT else BadRequestError)
