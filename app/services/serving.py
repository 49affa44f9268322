"""Serving: eval batches whose responses another server writes. What it is asked for, and whether it has it at all."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import NoReturn

from app.config import Settings
from app.domain.errors import ArenaError, BadInputError, ConflictError, UnavailableError
from app.domain.serving import BASE_NAME, ServerTold, Serving, checked_url
from app.domain.terms import CheckpointKind, Trouble
from app.models import Checkpoint, EvalBatch
from app.providers.errors import ProviderError
from app.providers.model_server import ModelServer, ServedModel, same_model
from app.queries.seals import server_seal

_LOOK_SECONDS = 15.0
_SHOWN = 300
_NAMED = 12
"""Models of a server that are named in a sentence."""


def planned_serving(url: str, names: Mapping[str, str], members: Sequence[Checkpoint]) -> Serving | None:
    """What a plan for these members, the baseline first, asks of a server; ``None`` without an address.

    A checkpoint that has no name in ``names`` is called there as it is here.

    Raises:
        BadInputError: the address is none, a name is for nobody, or two checkpoints have one name.
    """
    if not url.strip():
        if names:
            raise BadInputError(
                "Nothing was launched: names at a server were given, and no server. Give its address too."
            )
        return None
    base = next((one.name for one in members if one.kind is CheckpointKind.BASE), BASE_NAME)
    called = {base if name == BASE_NAME else name: there for name, there in names.items()}
    strangers = sorted(called.keys() - {one.name for one in members})
    if strangers:
        known = ", ".join(one.name for one in members)
        raise BadInputError(
            f"Nothing was launched: {strangers[0]} takes no part, so it needs no name at the server. Known: {known}."
        )
    models = {one.fingerprint: called.get(one.name, one.name) for one in members}
    shared = [name for name in models.values() if list(models.values()).count(name) > 1]
    if shared:
        raise BadInputError(
            f"Nothing was launched: two checkpoints are both {shared[0]} at the server, so one would answer for the "
            "other. Give each the name of its own."
        )
    return Serving(checked_url(url), models)


def note_told(batch: EvalBatch, told: ServerTold, secret: bytes) -> None:
    """Store with an eval batch what its server said of itself, under a seal."""
    batch.server_told = told.as_json()
    batch.server_seal = server_seal(batch, secret)


def connect(serving: Serving, settings: Settings) -> ModelServer:
    """The server of a plan, with the operator's key."""
    return ModelServer(serving.url, settings.generation_api_key.strip(), settings.generation_timeout_seconds)


def look(serving: Serving, bases: frozenset[str], settings: Settings) -> None:
    """Ask the server, for seconds at most, whether it has all that a plan wants, before anything is launched.

    Raises:
        UnavailableError, ConflictError: it cannot be asked, or has not; says what to do.
    """
    key = settings.generation_api_key.strip()
    try:
        with closing(ModelServer(serving.url, key, min(_LOOK_SECONDS, settings.generation_timeout_seconds))) as server:
            require_served(serving, bases, server.models())
    except ProviderError as error:
        explain(error, serving, "Nothing was launched", "Launch again")


def require_served(serving: Serving, bases: frozenset[str], listed: Sequence[ServedModel]) -> None:
    """Refuse a server that lists something else than a plan wants. ``bases``: fingerprints of the bare bases in it.

    Raises:
        ConflictError: a name is not listed; or, where the server says what sits on what, a base is asked for where the
            plan has an adapter, or the other way round.
    """
    found = {
        name: next((one for one in listed if same_model(one.name, name)), None) for name in serving.models.values()
    }
    missing = [name for name, one in found.items() if one is None]
    if missing:
        known = ", ".join(one.name for one in listed[:_NAMED]) or "none"
        more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
        raise ConflictError(
            f"The server at {serving.place} has no model {' and none called '.join(missing)}, so nothing was asked of "
            f"it. It has: {known}{more}. Load the adapter there under this name, or launch with CHECKPOINT=NAME."
        )
    if not any(one.parent for one in listed):
        return  # this server does not say what is an adapter
    for fingerprint, name in serving.models.items():
        one = found[name]
        if one is not None and bool(one.parent) == (fingerprint in bases):
            has, wants = ("an adapter", "the bare base") if one.parent else ("no adapter", "an adapter")
            raise ConflictError(
                f"The server at {serving.place} says that its model {name} is {has}, and the plan asks it for {wants}, "
                "so nothing was asked of it. Give each checkpoint the name that it has there."
            )


def explain(error: ProviderError, serving: Serving, kept: str, again: str) -> NoReturn:
    """Say what is wrong with the server in words of an eval batch.

    Args:
        error: what the server did.
        serving: which one it is.
        kept: the beginning of the sentence: what became of the work.
        again: what to do when it is mended, such as ``Launch again``.

    Raises:
        UnavailableError: a server that may be back later.
        ConflictError: something that a person has to change.
    """
    words = " ".join(error.said.words.split())
    why, then = _WHY.get(error.trouble, ("refuses what it is asked", "Check what it is asked for"))
    told = f" ({words[:_SHOWN]}{'…' if len(words) > _SHOWN else ''})" if words else ""
    kind: type[ArenaError] = UnavailableError if error.passing else ConflictError
    raise kind(f"{kept}: the server at {serving.place} {why}{told}. {then}. {again}.", error.detail) from error


_LATER = "Look at its log, and whether it has room for so many requests (ARENA_GENERATION_CONCURRENCY)"
_KEY = "Put the right one into ARENA_GENERATION_API_KEY in .env, and start the arena again"
_WHY = {
    Trouble.WRONG_KEY: ("does not accept the key", _KEY),
    Trouble.EMPTY_BALANCE: ("says that the balance is empty", "Add credit there"),
    Trouble.RETIRED_MODEL: ("does not have the model any more", "Load it there under the same name"),
    Trouble.BAD_REQUEST: ("refuses a request", "Check the sampling settings and how much its context holds"),
    Trouble.RATE_LIMITED: ("keeps asking to wait", _LATER),
    Trouble.OVERLOADED: ("is overloaded", _LATER),
    Trouble.SERVER_FAULT: ("keeps failing", _LATER),
    Trouble.NO_NETWORK: ("cannot be reached", "Check its address and whether it runs"),
    Trouble.LOST_REPLY: ("sends no usable reply", _LATER),
}
