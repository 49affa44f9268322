"""Serving: a server writes the responses of an eval batch, and has names of its own for the checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from app.domain.errors import BadInputError

BASE_NAME = "base"
"""In a mapping: the bare base model."""
_LONGEST_URL, _LONGEST_NAME = 300, 200


@dataclass(frozen=True)
class Serving:
    """A part of a frozen plan. ``models``: by fingerprint, the name under which the server has a checkpoint.

    What a server has behind a name cannot be hashed from here, so its weights are never verified.
    """

    url: str
    models: Mapping[str, str]

    @property
    def place(self) -> str:
        """Host and port, as people say it."""
        return urlsplit(self.url).netloc

    def as_json(self) -> dict[str, Any]:
        """For storing and sealing; ``of`` reads it back."""
        return {"url": self.url, "models": dict(self.models)}

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> "Serving | None":
        """From what is stored; ``None``: written on this machine."""
        return None if stored is None else cls(str(stored["url"]), dict(stored["models"]))


@dataclass(frozen=True)
class ServerTold:
    """What a server told of itself when it was last asked to write, and sentences about what looked odd."""

    software: str = ""
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For storing and sealing; ``of`` reads it back."""
        return {"software": self.software, "warnings": list(self.warnings)}

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> "ServerTold":
        """From what is stored; nothing yet where that is ``None``."""
        return cls() if stored is None else cls(str(stored["software"]), tuple(map(str, stored["warnings"])))


def checked_url(url: str) -> str:
    """The address of a server without a trailing slash.

    Raises:
        BadInputError: it is none, or holds what should not be stored with a plan.
    """
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        parts, usable = urlsplit(""), False
    if not usable or len(url) > _LONGEST_URL:
        raise BadInputError(
            f"Nothing was launched: {url[:80]!r} is no address of a server. Write it like http://127.0.0.1:8000/v1, up "
            "to and without /chat/completions."
        )
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise BadInputError(
            "Nothing was launched: the address holds a name, a key or a question mark, and it is stored and shown with "
            "the plan. Leave them out, and put the key into ARENA_GENERATION_API_KEY in .env."
        )
    return url


def read_names(pairs: Sequence[str]) -> dict[str, str]:
    """``checkpoint=name there``, each checkpoint once, divided by the first ``=``.

    Raises:
        BadInputError: a text of another form, or a checkpoint named twice.
    """
    names: dict[str, str] = {}
    for pair in pairs:
        checkpoint, _, name = (part.strip() for part in pair.partition("="))
        if not checkpoint or not name or len(name) > _LONGEST_NAME:
            raise BadInputError(
                f"Nothing was launched: {pair[:80]!r} does not say what a checkpoint is called at the server. Write "
                "CHECKPOINT=NAME, such as base=SmolLM2-135M."
            )
        if checkpoint in names:
            raise BadInputError(f"Nothing was launched: {checkpoint} was given two names at the server. Keep one.")
        names[checkpoint] = name
    return names
