"""Claude, through Anthropic's SDK: each call is sent once, its raw reply is kept, and its errors become ours.

The SDK is imported with the first provider, since that takes seconds which the start of the page should not.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from app.domain.judging import REPLY_SCHEMA
from app.domain.terms import ProviderKind, StopReason
from app.providers.calls import Batch, BatchResult, JudgeRequest, Lifecycle, ModelOffer, Reply, TokenCount, Usage
from app.providers.errors import (
    BadRequestError,
    EmptyBalanceError,
    LostReplyError,
    MissingKeyError,
    NoNetworkError,
    ProviderError,
    RetiredModelError,
    Said,
    ServerFaultError,
    WrongKeyError,
    error_of,
)
from app.providers.headers import anthropic_limits, retry_after

if TYPE_CHECKING:
    from anthropic import AnthropicError, APIStatusError
    from anthropic.types import ModelInfo
    from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse
    from anthropic.types.messages.batch_create_params import Request

SERVER = "Anthropic"
BASE_URL = "https://api.anthropic.com"
MOST_IN_BATCH = 100_000
"""Calls of one batch; together they may have 256 MB."""

DEFAULT_MODELS = ("claude-opus-5-5", "claude-sonnet-5-5")
CHEAP_MODEL = "claude-haiku-5-5"
"""What is suggested to begin with. Whether they are still offered, ``models`` says."""

_SHORT, _LONG = "5m", "1h"
"""How long a rubric is kept: calls follow each other within minutes, a batch may take an hour."""

_PAGE = 100
_CONNECT_SECONDS = 5.0
_NOT_FOUND = 404
_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)
_SPENT = {
    "contract_spend_limit_reached",
    "enforced_spend_limit_reached",
    "linked_organization_billing_unavailable",
    "linked_organization_spend_limit_reached",
}
_NO_CREDIT = "credit balance is too low"
_BATCH_ERRORS: dict[str, type[ProviderError]] = {
    "invalid_request_error": BadRequestError,
    "authentication_error": WrongKeyError,
    "permission_error": WrongKeyError,
}
"""What stands in a result instead of a status; all else passes."""
_STOPS = {
    "end_turn": StopReason.END,
    "stop_sequence": StopReason.END,
    "max_tokens": StopReason.LENGTH,
    "model_context_window_exceeded": StopReason.LENGTH,
    "refusal": StopReason.REFUSAL,
}


class AnthropicProvider:
    """Messages, Message Batches, Models and token counts of one key."""

    kind = ProviderKind.ANTHROPIC

    def __init__(self, key: str, base_url: str = BASE_URL, timeout_seconds: float = 120.0) -> None:
        if not key.strip():
            raise MissingKeyError(SERVER)
        if not (key.isascii() and key.isprintable()):
            raise WrongKeyError(SERVER, Said("The key has characters that no key has."))
        import anthropic  # noqa: PLC0415 - see above
        import httpx2  # noqa: PLC0415 - the client inside the SDK

        self._sdk, self._http = anthropic, httpx2
        self.base_url, self._key = base_url, key
        # Also given with each call: without it the SDK refuses calls that it guesses to be long.
        self._timeout = httpx2.Timeout(timeout_seconds, connect=min(timeout_seconds, _CONNECT_SECONDS))
        self._client = anthropic.Anthropic(
            api_key=key,
            base_url=base_url,
            timeout=self._timeout,
            max_retries=0,  # every attempt has a row of its own
            open_telemetry=False,  # a trace would carry texts and tokens to wherever traces go
        )

    def body(self, request: JudgeRequest) -> dict[str, Any]:
        """What ``send`` would send."""
        return _arguments(request, _SHORT)

    def send(self, request: JudgeRequest) -> Reply:
        """Ask once."""
        started = time.monotonic()
        with self._translating(request.model, LostReplyError):
            response = self._client.messages.with_raw_response.create(
                **_arguments(request, _SHORT), timeout=self._timeout
            )
        latency = round((time.monotonic() - started) * 1000)
        raw, request_id = response.text(), response.request_id or ""
        try:
            found = json.loads(raw)
            return _reply(found, raw, request_id, latency, response.headers)
        except _UNREADABLE as error:
            raise LostReplyError(SERVER, Said(f"This is no message: {error}.", raw, request_id)) from error

    def count_tokens(self, request: JudgeRequest) -> TokenCount:
        """Counted by Anthropic, free of charge."""
        arguments = _arguments(request, _SHORT)
        del arguments["max_tokens"]
        with self._translating(request.model):
            return TokenCount(int(self._client.messages.count_tokens(**arguments).input_tokens), exact=True)

    def models(self) -> tuple[ModelOffer, ...]:
        """All models, the retired ones too."""
        with self._translating():
            found = self._client.models.list(lifecycle=["active", "deprecated", "retired"], limit=_PAGE)
            return tuple(_offer(model) for model in found)

    def batch_body(self, request: JudgeRequest) -> dict[str, Any]:
        """What a batch would hold for this call: the rubric is cached for longer."""
        return _arguments(request, _LONG)

    def create_batch(self, requests: Sequence[tuple[str, JudgeRequest]]) -> Batch:
        """Hand in calls under ids of ours."""
        entries: list[Request] = [
            {"custom_id": custom_id, "params": _arguments(request, _LONG)}  # type: ignore[typeddict-item]
            for custom_id, request in requests
        ]
        with self._translating(requests[0][1].model if requests else "", LostReplyError):
            return _batch(self._client.messages.batches.create(requests=entries))

    def batch(self, batch_id: str) -> Batch:
        """How far it is."""
        with self._translating():
            return _batch(self._client.messages.batches.retrieve(batch_id))

    def batches(self, since: datetime) -> Iterator[Batch]:
        """Those created at or after ``since``, newest first."""
        with self._translating():
            for found in self._client.messages.batches.list(limit=_PAGE):
                if found.created_at < since:
                    return
                yield _batch(found)

    def results(self, batch_id: str) -> Iterator[BatchResult]:
        """Each call's result once, in any order. What breaks off can be read again."""
        with self._translating():
            for one in self._client.messages.batches.results(batch_id):
                yield _result(one)

    def cancel_batch(self, batch_id: str) -> Batch:
        """Stop what has not begun."""
        with self._translating():
            return _batch(self._client.messages.batches.cancel(batch_id))

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    @contextmanager
    def _translating(self, model: str = "", lost: type[ProviderError] = ServerFaultError) -> Iterator[None]:
        """Errors of the SDK become ours. It hands on unchecked what a page in between answers in Anthropic's place.

        ``lost`` is what a lost answer means: nothing is paid for most calls, whatever became of them.
        """
        try:
            yield
        except self._sdk.AnthropicError as error:
            raise self._translated(error, model, lost) from error
        except self._http.HTTPError as error:  # a stream that breaks off
            raise NoNetworkError(SERVER, Said(str(error))) from error
        except _UNREADABLE as error:
            raise lost(SERVER, Said(f"The answer cannot be read: {error}.")) from error

    def _translated(self, error: "AnthropicError", model: str, lost: type[ProviderError]) -> ProviderError:
        """Our error for one of the SDK's."""
        if isinstance(error, self._sdk.APIStatusError):
            return self._refused(error, model, lost)
        cause = error.__cause__
        said = Said(f"{error} {cause or ''}".strip())
        if not isinstance(error, self._sdk.APIError):  # the SDK itself will not do it, such as read results too early
            return BadRequestError(SERVER, said)
        not_sent = (self._http.ConnectError, self._http.ConnectTimeout, self._http.PoolTimeout)
        return NoNetworkError(SERVER, said) if isinstance(cause, not_sent) else lost(SERVER, said)

    def _refused(self, error: "APIStatusError", model: str, lost: type[ProviderError]) -> ProviderError:
        """Our error for an answer of the server."""
        said = Said(
            words=error.api_message or f"status {error.status_code}",
            raw=error.response.text,
            request_id=error.request_id or "",
            retry_after=retry_after(error.response.headers),
        ).without(self._key)
        if error.type == "billing_error" or error.error_code in _SPENT or _NO_CREDIT in said.words:
            return EmptyBalanceError(SERVER, said)
        if error.status_code == _NOT_FOUND and error.type == "not_found_error" and model:
            return RetiredModelError(SERVER, said, model, retired_on(model))
        kind = error_of(error.status_code)
        return (lost if kind is LostReplyError else kind)(SERVER, said)


def retired_on(model: str) -> str:
    """The day on which the SDK's own table retires a model, in its words; empty if it is not in the table."""
    from anthropic.resources.messages.messages import DEPRECATED_MODELS  # noqa: PLC0415 - see above

    return DEPRECATED_MODELS.get(model, "")


def _arguments(request: JudgeRequest, cached_for: str) -> dict[str, Any]:
    """A call in Anthropic's words. The system part is cached: it is the same for all calls with one rubric."""
    parameters = request.parameters
    config: dict[str, Any] = {"format": {"type": "json_schema", "schema": REPLY_SCHEMA}}
    arguments: dict[str, Any] = {
        "model": request.model,
        "max_tokens": parameters.max_tokens,
        "system": [
            {
                "type": "text",
                "text": request.prompt.system,
                "cache_control": {"type": "ephemeral", "ttl": cached_for},
            }
        ],
        "messages": [{"role": "user", "content": request.prompt.user}],
        "output_config": config,
    }
    if parameters.effort is not None:
        config["effort"] = parameters.effort
    if parameters.thinking is not None:
        arguments["thinking"] = {"type": "adaptive" if parameters.thinking else "disabled"}
    return arguments


def _reply(
    found: dict[str, Any], raw: str, request_id: str, latency: int | None, headers: Mapping[str, str] | None
) -> Reply:
    usage = found["usage"]
    written = usage.get("cache_creation_input_tokens") or 0
    long = (usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0
    return Reply(
        raw=raw,
        text="".join(block["text"] for block in found["content"] if block["type"] == "text"),
        stop=_STOPS.get(found["stop_reason"], StopReason.OTHER),
        usage=Usage(
            input_tokens=int(usage["input_tokens"]),
            output_tokens=int(usage["output_tokens"]),
            cache_write_tokens=max(written - long, 0),
            cache_write_1h_tokens=long,
            cache_read_tokens=usage.get("cache_read_input_tokens") or 0,
        ),
        model=found["model"],
        request_id=request_id,
        latency_ms=latency,
        limits=anthropic_limits(headers) if headers is not None else None,
    )


def _offer(model: "ModelInfo") -> ModelOffer:
    can = model.capabilities
    return ModelOffer(
        id=model.id,
        name=model.display_name,
        lifecycle=Lifecycle(model.lifecycle),
        retires_at=model.retires_at,
        structured=can.structured_outputs.supported if can else None,
        thinking_optional=can.thinking.types.disabled.supported if can else None,
    )


def _batch(found: "MessageBatch") -> Batch:
    counts = found.request_counts
    return Batch(
        id=found.id,
        created_at=found.created_at,
        expires_at=found.expires_at,
        ended=found.processing_status == "ended",
        processing=counts.processing,
        succeeded=counts.succeeded,
        errored=counts.errored,
        canceled=counts.canceled,
        expired=counts.expired,
    )


def _result(one: "MessageBatchIndividualResponse") -> BatchResult:
    result = one.result
    raw = result.to_json(indent=None)
    if result.type == "succeeded":
        message = result.message
        return BatchResult(one.custom_id, _reply(message.to_dict(), message.to_json(indent=None), "", None, None))
    if result.type == "errored":
        failed = result.error.error
        said = Said(failed.message, raw, result.error.request_id or "")
        if failed.type == "billing_error" or _NO_CREDIT in failed.message:
            return BatchResult(one.custom_id, EmptyBalanceError(SERVER, said))
        if failed.type == "not_found_error":
            model = failed.message.removeprefix("model: ")
            return BatchResult(one.custom_id, RetiredModelError(SERVER, said, model, retired_on(model)))
        return BatchResult(one.custom_id, _BATCH_ERRORS.get(failed.type, ServerFaultError)(SERVER, said))
    said = Said(f"The batch ended before this call began: {result.type}.", raw)
    return BatchResult(one.custom_id, ServerFaultError(SERVER, said))
