"""Any server that speaks chat completions: vLLM, Ollama, llama.cpp, OpenAI and what imitates them. A key is optional.

Servers differ in what they take. What one refuses by name is left out from then on: a schema for the reply, then JSON
at all (the request says in words what is wanted), and ``max_tokens`` under its newer name. A refusal costs nothing.
"""

import time
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import httpx

from app.domain.judging import REPLY_SCHEMA
from app.domain.terms import ProviderKind, StopReason
from app.providers.calls import JudgeRequest, Lifecycle, ModelOffer, Reply, TokenCount, Usage
from app.providers.chat_server import ChatServer
from app.providers.errors import LostReplyError, Said
from app.providers.headers import openai_limits

_REFUSED = (400, 422, 501)
_BYTES_PER_TOKEN = 3
"""Rather too few: English has four, other scripts have tokenizers of their own."""

_STOPS = {
    "stop": StopReason.END,
    "eos": StopReason.END,
    "length": StopReason.LENGTH,
    "content_filter": StopReason.REFUSAL,
}
_SCHEMA = {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": REPLY_SCHEMA}}
_FORMATS: tuple[dict[str, Any] | None, ...] = (_SCHEMA, {"type": "json_object"}, None)
_FORMAT_WORDS = ("response_format", "json_schema", "json_object", "grammar", "guided")


@dataclass(frozen=True)
class _Dialect:
    """What this server has not refused yet."""

    format: int = 0
    """Which of ``_FORMATS``."""
    length: str = "max_tokens"


class OpenAICompatibleProvider:
    """Chat completions and the model list below one address, such as ``http://127.0.0.1:11434/v1``."""

    kind = ProviderKind.OPENAI_COMPATIBLE

    def __init__(self, base_url: str, key: str = "", timeout_seconds: float = 600.0) -> None:
        self._server = ChatServer(base_url, key, timeout_seconds)
        self.base_url = self._server.base_url
        self._dialect = _Dialect()

    def body(self, request: JudgeRequest) -> dict[str, Any]:
        """What ``send`` would send by what is known of the server so far."""
        return _body(request, self._dialect)

    def send(self, request: JudgeRequest) -> Reply:
        """Ask once; more often only where the server refuses a part of the form, before it does any work."""
        while True:
            dialect = self._dialect
            started = time.monotonic()
            response = self._server.request("POST", "/chat/completions", _body(request, dialect))
            latency = round((time.monotonic() - started) * 1000)
            if response.is_success:
                return self._reply(response, latency)
            words = self._server.said(response).words
            simpler = _simpler(dialect, words) if response.status_code in _REFUSED else None
            if simpler is None:
                raise self._server.refused(response, request.model)
            self._dialect = simpler

    def count_tokens(self, request: JudgeRequest) -> TokenCount:
        """A guess from the length: these servers have no way to ask."""
        prompt = request.prompt
        return TokenCount(ceil(len((prompt.system + prompt.user).encode()) / _BYTES_PER_TOKEN), exact=False)

    def models(self) -> tuple[ModelOffer, ...]:
        """What the server lists; it says nothing about retirement."""
        ids = [model["id"] for model in self._server.listed()]
        return tuple(ModelOffer(one, one, Lifecycle.ACTIVE, retires_at=None, structured=None) for one in ids)

    def close(self) -> None:
        """Let go of the connections."""
        self._server.close()

    def _reply(self, response: httpx.Response, latency: int) -> Reply:
        request_id = response.headers.get("x-request-id", "")
        try:
            found = response.json()
            choice, usage = found["choices"][0], found.get("usage") or {}
            message = choice["message"]
            cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
            stop = _STOPS.get(choice.get("finish_reason"), StopReason.OTHER)
            return Reply(
                raw=response.text,
                text=message.get("content") or "",
                stop=StopReason.REFUSAL if message.get("refusal") else stop,
                usage=Usage(
                    input_tokens=max(int(usage.get("prompt_tokens") or 0) - cached, 0),
                    output_tokens=int(usage.get("completion_tokens") or 0),
                    cache_read_tokens=cached,
                ),
                model=found.get("model") or "",
                request_id=request_id,
                latency_ms=latency,
                limits=openai_limits(response.headers),
            )
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            said = Said(f"This is no chat completion: {error}.", response.text, request_id)
            raise LostReplyError(self._server.name, said) from error


def _body(request: JudgeRequest, dialect: _Dialect) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [
            {"role": "system", "content": request.prompt.system},
            {"role": "user", "content": request.prompt.user},
        ],
        dialect.length: request.parameters.max_tokens,
    }
    if request.parameters.temperature is not None:
        body["temperature"] = request.parameters.temperature
    if (wanted := _FORMATS[dialect.format]) is not None:
        body["response_format"] = wanted
    return body


def _simpler(dialect: _Dialect, words: str) -> _Dialect | None:
    """What to try instead of what the server named as the fault; None if it named something else."""
    if dialect.length == "max_tokens" and "max_completion_tokens" in words:
        return replace(dialect, length="max_completion_tokens")
    if dialect.format < len(_FORMATS) - 1 and any(word in words.lower() for word in _FORMAT_WORDS):
        return replace(dialect, format=dialect.format + 1)
    return None
