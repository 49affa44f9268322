"""Responses from any server that speaks chat completions: vLLM with LoRA modules, llama.cpp, Ollama.

Every setting of the sampling is sent, also where it changes nothing: servers have defaults of their own (llama.cpp
keeps 40 tokens and cuts by ``min_p``, vLLM takes what the model's ``generation_config.json`` says), and the plan has
none of those. A setting that the server refuses by name is left out only where it changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from app.providers.calls import RateLimits
from app.providers.chat_server import ChatServer
from app.providers.errors import BadRequestError, LostReplyError, ProviderError, Said
from app.providers.headers import openai_limits

_REFUSED = (400, 422, 501)
_VERSIONS = ("/version", "/api/version")
"""Of vLLM and of Ollama, at the root of the server."""
_SEEDS = 2**31
"""llama.cpp reads 32 bits, the last of which means "draw one"."""
_LIMIT_NAMES = ("max_tokens", "max_completion_tokens")
_ENDS = {"stop": "stop", "eos": "stop", "length": "length"}


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One entry of the list of models. What a server does not tell is empty."""

    name: str
    parent: str = ""
    """vLLM: the base that this LoRA module sits on."""
    owner: str = ""
    """Mostly the software: ``vllm``, ``llamacpp``, ``library``."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One response that is wanted. ``sampling`` as eval batches store it; ``key`` comes back and means nothing here."""

    key: str
    model: str
    messages: Sequence[Mapping[str, str]]
    sampling: Mapping[str, float]
    seed: int


@dataclass(frozen=True, slots=True)
class Completion:
    """One response, and what the server told with it."""

    text: str
    tokens: int
    """As the server counts them; 0 where it does not say."""
    end: str
    """``stop``, ``length``, or what else the server calls the end."""
    model: str
    """As the server names what answered; empty where it does not."""
    system_fingerprint: str
    limits: RateLimits | None


def same_model(one: str, other: str) -> bool:
    """Whether two names mean one model; Ollama adds ``:latest`` to names without a tag."""
    return one.removesuffix(":latest") == other.removesuffix(":latest")


class ModelServer:
    """The models below one address. All methods may raise a ``ProviderError``; several threads may ask."""

    def __init__(self, base_url: str, key: str = "", timeout_seconds: float = 600.0) -> None:
        self._server = ChatServer(base_url, key, timeout_seconds)
        self.name, self.base_url = self._server.name, self._server.base_url
        parts = urlsplit(self.base_url)
        self._root = ChatServer(f"{parts.scheme}://{parts.netloc}", key, min(timeout_seconds, 10.0))
        self._left_out: frozenset[str] = frozenset()
        """What this server has refused so far, though it changes nothing."""

    def models(self) -> tuple[ServedModel, ...]:
        """What it lists."""
        return tuple(
            ServedModel(one["id"], str(one.get("parent") or ""), str(one.get("owned_by") or ""))
            for one in self._server.listed()
        )

    def version(self) -> str:
        """The version of its software where it tells one; never fails."""
        for path in _VERSIONS:
            try:
                response = self._root.request("GET", path)
                found = response.json() if response.is_success else {}
            except (ProviderError, ValueError):
                continue
            if isinstance(found, dict) and isinstance(found.get("version"), str):
                return str(found["version"])
        return ""

    def complete(self, ask: Ask) -> Completion:
        """Ask once; more often only where the server refuses the name of a setting, before it does any work."""
        while True:
            left_out = self._left_out
            response = self._server.request("POST", "/chat/completions", _body(ask, left_out))
            if response.is_success:
                return self._completion(response, ask)
            more = self._refused_names(response, ask, left_out) if response.status_code in _REFUSED else left_out
            if more == left_out:
                raise self._server.refused(response, ask.model)
            self._left_out = more

    def close(self) -> None:
        """Let go of the connections."""
        self._server.close()
        self._root.close()

    def _refused_names(self, response: httpx.Response, ask: Ask, left_out: frozenset[str]) -> frozenset[str]:
        """What to leave out from now on.

        Raises:
            BadRequestError: it refuses a setting without which the text would be another.
        """
        said = self._server.said(response)
        if _LIMIT_NAMES[1] in said.words and _LIMIT_NAMES[0] not in left_out:
            return left_out | {_LIMIT_NAMES[0]}
        sent = _settings(ask.sampling)
        named = {name for name in sent if name in said.words and name not in left_out}
        for name in named:
            twin = _TWINS.get(name)
            if sent[name] != _NEUTRAL[name] and (twin is None or twin in left_out | named):
                words = f"it takes no {name.replace('_', ' ')}, and the plan asks for {sent[name]:g}: {said.words}"
                raise BadRequestError(self.name, Said(words, said.raw, said.request_id))
        return left_out | named

    def _completion(self, response: httpx.Response, ask: Ask) -> Completion:
        request_id = response.headers.get("x-request-id", "")
        try:
            found = response.json()
            choice, usage = found["choices"][0], found.get("usage") or {}
            completion = Completion(
                text="".join(choice["message"].get("content") or ""),
                tokens=int(usage.get("completion_tokens") or 0),
                end=_ENDS.get(str(choice.get("finish_reason")), str(choice.get("finish_reason"))),
                model=str(found.get("model") or ""),
                system_fingerprint=str(found.get("system_fingerprint") or ""),
                limits=openai_limits(response.headers),
            )
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            said = Said(f"This is no chat completion: {error}.", response.text, request_id)
            raise LostReplyError(self.name, said) from error
        if completion.model and not same_model(completion.model, ask.model):
            words = f"asked for {ask.model}, it let {completion.model} answer"
            raise BadRequestError(self.name, Said(words, response.text, request_id))
        return completion


_NEUTRAL: Mapping[str, float] = {"top_k": -1, "min_p": 0, "repetition_penalty": 1, "repeat_penalty": 1}
"""Settings that the protocol does not have and many servers take; with these values they change nothing."""
_TWINS = {"repetition_penalty": "repeat_penalty", "repeat_penalty": "repetition_penalty"}
"""The same under vLLM's name and under llama.cpp's."""


def _settings(sampling: Mapping[str, float]) -> dict[str, float]:
    """What stands beside the protocol's own settings."""
    penalty = sampling["repetition_penalty"]
    return {"top_k": sampling["top_k"] or -1, "min_p": 0, "repetition_penalty": penalty, "repeat_penalty": penalty}


def _body(ask: Ask, left_out: frozenset[str]) -> dict[str, Any]:
    limit = _LIMIT_NAMES[_LIMIT_NAMES[0] in left_out]
    return {
        "model": ask.model,
        "messages": [dict(message) for message in ask.messages],
        "temperature": ask.sampling["temperature"],
        "top_p": ask.sampling["top_p"],
        limit: ask.sampling["max_new_tokens"],
        "seed": ask.seed % _SEEDS,
        "stream": False,
        **{name: value for name, value in _settings(ask.sampling).items() if name not in left_out},
    }
