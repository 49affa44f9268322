"""What goes to a provider and what comes back. A provider sends each call once: retries are the caller's, with rows."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from app.domain.errors import BadInputError
from app.domain.judging import JudgePrompt
from app.domain.terms import ProviderKind, StopReason
from app.providers.errors import ProviderError

_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_LEAST_TOKENS, _MOST_TOKENS = 64, 64_000
_HOTTEST = 2.0


@dataclass(frozen=True)
class Parameters:
    """How a judge's model is asked; part of what the judge is. ``None`` leaves it to the model."""

    max_tokens: int = 2048
    """Of the reply, with all thinking. What a call can cost at most depends on it."""
    effort: str | None = None
    """Anthropic: low, medium, high, xhigh or max."""
    thinking: bool | None = None
    """Anthropic: whether the model may think before it replies. The schema asks for reasoning in either case."""
    temperature: float | None = None
    """Other servers: 0 makes a local model repeat itself. Anthropic's API has no temperature."""

    def __post_init__(self) -> None:
        """Refuse what no provider takes.

        Raises:
            BadInputError: a value is out of its range.
        """
        if not _LEAST_TOKENS <= self.max_tokens <= _MOST_TOKENS:
            raise BadInputError(
                f"A reply may have {_LEAST_TOKENS} to {_MOST_TOKENS:,} tokens; choose a number between."
            )
        if self.effort not in (None, *_EFFORTS):
            raise BadInputError(
                f"The effort {self.effort!r} is not known; choose {', '.join(_EFFORTS)} or leave it out."
            )
        if self.temperature is not None and not 0 <= self.temperature <= _HOTTEST:
            raise BadInputError("The temperature is between 0 and 2; choose one, or leave it out.")

    def as_json(self) -> dict[str, Any]:
        """For storing and for hashing; ``Parameters(**stored)`` reads it back."""
        return asdict(self)


@dataclass(frozen=True)
class JudgeRequest:
    """One call."""

    model: str
    prompt: JudgePrompt
    parameters: Parameters


@dataclass(frozen=True)
class Usage:
    """Tokens of one call, each counted once: the input of a call is the sum of the four kinds."""

    input_tokens: int = 0
    """Neither written to a cache nor read from one."""
    output_tokens: int = 0
    """With thinking."""
    cache_write_tokens: int = 0
    """Kept for five minutes."""
    cache_write_1h_tokens: int = 0
    cache_read_tokens: int = 0

    @property
    def all_input_tokens(self) -> int:
        """The whole request."""
        return self.input_tokens + self.cache_write_tokens + self.cache_write_1h_tokens + self.cache_read_tokens


@dataclass(frozen=True)
class Limit:
    """What is left of one rate limit, where the provider says so."""

    limit: int | None
    remaining: int | None
    resets_at: datetime | None


@dataclass(frozen=True)
class RateLimits:
    """The limits that a reply names."""

    requests: Limit
    input_tokens: Limit
    output_tokens: Limit


@dataclass(frozen=True)
class Reply:
    """What a model said, and what it took."""

    raw: str
    """The body as it came."""
    text: str
    stop: StopReason
    usage: Usage
    model: str
    """As the provider names it; it may be more exact than what was asked for."""
    request_id: str
    latency_ms: int | None
    """None: in a batch nobody waits."""
    limits: RateLimits | None


@dataclass(frozen=True)
class TokenCount:
    """Tokens of a request before it is sent."""

    tokens: int
    exact: bool
    """Counted by the provider; otherwise a guess that is rather too high."""


class Lifecycle(StrEnum):
    """Where a model stands."""

    ACTIVE = "active"
    DEPRECATED = "deprecated"
    RETIRED = "retired"


@dataclass(frozen=True)
class ModelOffer:
    """A model that a provider lists. Retired ones are listed too, so that a judge can say why it stopped."""

    id: str
    name: str
    lifecycle: Lifecycle
    retires_at: datetime | None
    """Known or planned. The lifecycle says whether it has happened."""
    structured: bool | None
    """Whether replies can be held to a schema; None where the provider does not say."""
    thinking_optional: bool | None = None
    """Whether ``Parameters.thinking`` may be False; None where the provider does not say."""


@dataclass(frozen=True)
class Batch:
    """A batch of calls at the provider."""

    id: str
    created_at: datetime
    expires_at: datetime | None
    ended: bool
    """Its results can be read."""
    processing: int
    succeeded: int
    errored: int
    canceled: int
    expired: int

    @property
    def total(self) -> int:
        """All calls of it."""
        return self.processing + self.succeeded + self.errored + self.canceled + self.expired


@dataclass(frozen=True)
class BatchResult:
    """What became of one call of a batch: a reply, or why there is none. Only replies are paid for."""

    custom_id: str
    outcome: Reply | ProviderError


class Provider(Protocol):
    """Where models are asked. All methods may raise a ``ProviderError``; all may be called from several threads."""

    kind: ProviderKind
    base_url: str

    def body(self, request: JudgeRequest) -> dict[str, Any]:
        """What ``send`` would send, for the record. The key is no part of it."""

    def send(self, request: JudgeRequest) -> Reply:
        """Ask once."""

    def count_tokens(self, request: JudgeRequest) -> TokenCount:
        """The size of a request, free of charge."""

    def models(self) -> tuple[ModelOffer, ...]:
        """What is offered, newest first where the provider orders them."""

    def close(self) -> None:
        """Let go of the connections."""


class BatchProvider(Provider, Protocol):
    """A provider that also takes many calls at once, at half the price, within a day.

    After a crash between sending a batch and storing its id, ``batches`` finds it again: look through those created
    since, and match the ``custom_id`` of their results with the stored attempts.
    """

    def batch_body(self, request: JudgeRequest) -> dict[str, Any]:
        """What a batch would hold for this call, for the record."""

    def create_batch(self, requests: Sequence[tuple[str, JudgeRequest]]) -> Batch:
        """Hand in calls, each with an id of ours: unique, at most 64 letters, digits, hyphens and underscores."""

    def batch(self, batch_id: str) -> Batch:
        """How far it is."""

    def batches(self, since: datetime) -> Iterator[Batch]:
        """Those created at or after ``since``, newest first."""

    def results(self, batch_id: str) -> Iterator[BatchResult]:
        """Each call's result once, in any order."""

    def cancel_batch(self, batch_id: str) -> Batch:
        """Stop what has not begun. What was done is paid for and has results."""


def takes_batches(provider: Provider) -> bool:
    """Whether the provider is a ``BatchProvider``."""
    return hasattr(provider, "create_batch")
