"""One server that speaks chat completions: its address, its key, one request at a time, and its errors as ours."""

import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx

from app.domain.errors import BadInputError
from app.providers.errors import (
    BadRequestError,
    EmptyBalanceError,
    LostReplyError,
    NoNetworkError,
    ProviderError,
    RetiredModelError,
    Said,
    ServerFaultError,
    WrongKeyError,
    error_of,
)
from app.providers.headers import retry_after

_NOT_FOUND = 404
_CONNECT_SECONDS = 5.0


class ChatServer:
    """What lies below one address, such as ``http://127.0.0.1:11434/v1``. Threads may share it.

    Raises:
        BadInputError: the address is none.
        WrongKeyError: the key cannot be one.
    """

    def __init__(self, base_url: str, key: str, timeout_seconds: float) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise BadInputError(
                f"{base_url!r} is no address of a server; write it like http://127.0.0.1:11434/v1, up to and "
                "without /chat/completions."
            )
        self.name = f"The server at {parts.netloc.rpartition('@')[2]}"
        if not (key.isascii() and (key.isprintable() or not key)):
            raise WrongKeyError(self.name, Said("The key has characters that no key has."))
        self.base_url, self._key = base_url.rstrip("/"), key
        self._client = httpx.Client(
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, _CONNECT_SECONDS)),
        )

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """Ask once; whatever status comes back is an answer.

        Raises:
            NoNetworkError: nothing was sent.
            LostReplyError: something was, and no whole answer came.
        """
        try:
            return self._client.request(method, self.base_url + path, json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NoNetworkError(self.name, Said(str(error))) from error
        except httpx.HTTPError as error:
            raise LostReplyError(self.name, Said(f"{type(error).__name__} {error}".strip())) from error

    def listed(self) -> list[dict[str, Any]]:
        """The models that it lists, each with an ``id``.

        Raises:
            ProviderError: there is no such list, or it cannot be had.
        """
        try:
            response = self.request("GET", "/models")
            if not response.is_success:
                raise self.refused(response)
        except LostReplyError as error:  # nothing is paid for a list
            raise ServerFaultError(self.name, error.said) from error
        try:
            return [{**model, "id": str(model["id"])} for model in response.json()["data"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ServerFaultError(self.name, Said(f"This is no list of models: {error}.", response.text)) from error

    def said(self, response: httpx.Response) -> Said:
        """The server's words, wherever it puts them, without our key."""
        words: Any = None
        try:
            found = response.json()
            words = found.get("error", found.get("message", found.get("detail")))
            if isinstance(words, dict):
                words = words.get("message")
        except (json.JSONDecodeError, UnicodeDecodeError, AttributeError):
            words = response.text
        return Said(
            words=str(words or f"status {response.status_code}"),
            raw=response.text,
            request_id=response.headers.get("x-request-id", ""),
            retry_after=retry_after(response.headers),
        ).without(self._key)

    def refused(self, response: httpx.Response, model: str = "") -> ProviderError:
        """Our error for an answer that is none; ``model`` is what was asked."""
        said = self.said(response)
        if "insufficient_quota" in said.raw or "billing" in said.raw:
            return EmptyBalanceError(self.name, said)
        if response.status_code == _NOT_FOUND and model and model in said.words:
            return RetiredModelError(self.name, said, model)
        if response.is_redirect:
            return BadRequestError(self.name, replace(said, words="it sends calls on to another address"))
        return error_of(response.status_code)(self.name, said)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()
