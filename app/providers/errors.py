"""Why a call brought no reply: one class per state that a person has to be told apart.

Three facts steer whoever sends calls: ``unknown`` (the call may have been carried out and paid for), ``passing`` (the
same call may succeed later), ``blocks`` (no call of this judge can succeed until a person does something).
"""

from http import HTTPStatus
from typing import ClassVar

from app.domain.errors import ArenaError
from app.domain.terms import Trouble

_SHOWN = 300
"""Characters of what a server said that fit into a sentence."""


class ProviderError(ArenaError):
    """Base of the family. ``detail`` holds the server's own words, ``raw`` the body that it sent."""

    status = HTTPStatus.BAD_GATEWAY
    trouble: ClassVar[Trouble]
    unknown: ClassVar[bool] = False
    passing: ClassVar[bool] = False
    blocks: ClassVar[bool] = False

    def __init__(
        self, message: str, detail: str = "", *, raw: str = "", request_id: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message, detail)
        self.raw = raw
        self.request_id = request_id
        self.retry_after = retry_after
        """Seconds that the server asks to wait."""


class MissingKeyError(ProviderError):
    """There is no key to ask with."""

    status = HTTPStatus.CONFLICT
    trouble = Trouble.MISSING_KEY
    blocks = True

    def __init__(self, server: str) -> None:
        super().__init__(
            f"There is no key for {server}, so nothing was sent; voting by people goes on. Put the key into .env "
            "(ANTHROPIC_API_KEY for Anthropic), start the arena again, and resume the judge."
        )


class WrongKeyError(ProviderError):
    """The key is not accepted, or not for this model."""

    trouble = Trouble.WRONG_KEY
    blocks = True

    def __init__(self, server: str, detail: str = "", **facts: str) -> None:
        super().__init__(
            f"{server} does not accept the key for this. Nothing was paid, and all verdicts so far are kept. Check the "
            "key and what it may use, then resume the judge.",
            detail,
            **facts,
        )


class EmptyBalanceError(ProviderError):
    """There is no money left, or a spending limit set at the provider is reached."""

    trouble = Trouble.EMPTY_BALANCE
    blocks = True

    def __init__(self, server: str, detail: str = "", **facts: str) -> None:
        super().__init__(
            f"The balance at {server} is empty, or a spending limit set there is reached. All verdicts so far are kept. "
            "Add credit or raise the limit there, then resume the judge; it asks only for what is missing.",
            detail,
            **facts,
        )


class RetiredModelError(ProviderError):
    """The model is not offered (any more)."""

    trouble = Trouble.RETIRED_MODEL
    blocks = True

    def __init__(self, server: str, model: str, retired: str, detail: str = "", **facts: str) -> None:
        when = f": it was to be retired on {retired}" if retired else ""
        super().__init__(
            f"{server} does not offer {model}{when}. Nothing was paid, and the judge's verdicts so far are kept. Add a "
            "judge with a model that is offered; it can judge the same pairs.",
            detail,
            **facts,
        )


class BadRequestError(ProviderError):
    """The server refuses this very request: a text too long for the model, or a parameter that it does not take."""

    trouble = Trouble.BAD_REQUEST

    def __init__(self, server: str, detail: str = "", **facts: str) -> None:
        said = detail if len(detail) <= _SHOWN else f"{detail[:_SHOWN]}…"
        super().__init__(
            f"{server} refuses this request: {said or 'it does not say why'} Nothing was paid, and the pair is kept "
            "without this judge's verdict. Check the model and the parameters of the judge, and the length of the texts.",
            detail,
            **facts,
        )


class RateLimitedError(ProviderError):
    """Too many calls or tokens in a short time."""

    trouble = Trouble.RATE_LIMITED
    passing = True

    def __init__(self, server: str, retry_after: float | None, detail: str = "", **facts: str) -> None:
        pause = f" for {retry_after:g} seconds" if retry_after is not None else ""
        super().__init__(
            f"{server} asks to wait{pause}, because its rate limit is reached. Nothing was paid; the call is sent again "
            "by itself.",
            detail,
            retry_after=retry_after,
            **facts,
        )


class OverloadedError(ProviderError):
    """The server has too much to do for everybody."""

    trouble = Trouble.OVERLOADED
    passing = True

    def __init__(self, server: str, retry_after: float | None, detail: str = "", **facts: str) -> None:
        super().__init__(
            f"{server} is overloaded. Nothing was paid; the call is sent again by itself.",
            detail,
            retry_after=retry_after,
            **facts,
        )


class ServerFaultError(ProviderError):
    """Something failed at the server, and it says so."""

    trouble = Trouble.SERVER_FAULT
    passing = True

    def __init__(self, server: str, detail: str = "", **facts: str) -> None:
        super().__init__(
            f"{server} reports a fault of its own. Nothing was paid; the call is sent again by itself.", detail, **facts
        )


class NoNetworkError(ProviderError):
    """The server was not reached: nothing was sent."""

    trouble = Trouble.NO_NETWORK
    passing = True

    def __init__(self, server: str, detail: str = "") -> None:
        super().__init__(
            f"{server} cannot be reached, so nothing was sent; voting by people goes on. Check the network and the "
            "address, and whether a local server is running; the call is tried again by itself.",
            detail,
        )


class LostReplyError(ProviderError):
    """The request went out and no usable answer came back."""

    trouble = Trouble.LOST_REPLY
    unknown = True
    passing = True

    def __init__(self, server: str, detail: str = "", **facts: str) -> None:
        super().__init__(
            f"A call went out to {server} and no usable reply came back: the wait was too long, the connection broke, or "
            "the reply cannot be read. It may have been paid for, so it is counted as unknown.",
            detail,
            **facts,
        )
