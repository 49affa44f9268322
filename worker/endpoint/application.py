"""The API: models, chat completions and completions, for programs with a token of the arena."""

import secrets
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response, StreamingResponse

from app.db import Database
from app.domain.errors import ArenaError, ForbiddenError, NotFoundError, SignInRequiredError
from app.domain.terms import TokenScope
from app.services import tokens
from training.decoder import Row
from training.errors import BusyError, TrainingError
from training.generate import LocalEngine
from training.generate import Request as Wanted
from training.serve import Service
from worker.endpoint.asking import Conversation, as_stream, as_whole
from worker.endpoint.shapes import ChatRequest, Settings, Shape, TextRequest, error_of

LARGEST_BODY = 1_000_000
"""Bytes of a request."""

_SHORTEST_FINGERPRINT = 12
_WRONG = "invalid_request_error"
_KINDS = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "server_error",
}
_bearer = HTTPBearer(auto_error=False)


@dataclass(frozen=True)
class Served:
    """A checkpoint that can be asked. ``adapter`` is its name on the engine; nothing for the bare base."""

    name: str
    fingerprint: str
    adapter: str | None
    created_at: datetime


@dataclass(frozen=True)
class Offer:
    """What a server serves, to whom, and within which limits."""

    models: Sequence[Served]
    service: Service
    database: Database
    most_tokens: int
    """Of one response."""
    engine_fingerprint: str


def create_app(offer: Offer) -> FastAPI:
    """The application; the engine behind ``offer.service`` must have been started."""
    app = FastAPI(max_body_size=LARGEST_BODY, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.offer = offer
    app.add_exception_handler(ArenaError, _of_arena)
    app.add_exception_handler(TrainingError, _of_training)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    guarded = [Depends(_allowed)]
    app.add_api_route("/v1/models", _models, methods=["GET"], dependencies=guarded)
    # Names of checkpoints have slashes in them.
    app.add_api_route("/v1/models/{model:path}", _model, methods=["GET"], dependencies=guarded)
    app.add_api_route("/v1/chat/completions", _chat, methods=["POST"], dependencies=guarded, response_model=None)
    app.add_api_route("/v1/completions", _completion, methods=["POST"], dependencies=guarded, response_model=None)
    return app


async def _get_offer(request: Request) -> Offer:
    offer: Offer = request.app.state.offer
    return offer


OfferDep = Annotated[Offer, Depends(_get_offer)]


def _allowed(offer: OfferDep, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
    """Whoever asks has a token of the arena with the scope for it."""
    if sent is None:
        raise SignInRequiredError("Send an API token: the header “Authorization: Bearer arena_…”.")
    holder = tokens.authenticate(offer.database, sent.credentials, now=datetime.now(UTC))
    if TokenScope.COMPLETE not in holder.scopes:
        raise ForbiddenError(f"This token lacks the scope “{TokenScope.COMPLETE}”. Make one that has it.")


async def _models(offer: OfferDep) -> dict[str, Any]:
    return {"object": "list", "data": [_told(served) for served in offer.models]}


async def _model(offer: OfferDep, model: str) -> dict[str, Any]:
    return _told(_find(offer, model))


def _told(served: Served) -> dict[str, Any]:
    return {
        "id": served.name, "object": "model", "created": int(served.created_at.timestamp()), "owned_by": "brie-arena",
        "fingerprint": served.fingerprint,
    }  # fmt: skip


def _find(offer: Offer, wanted: str) -> Served:
    """By name, or by the beginning of the fingerprint."""
    for served in offer.models:
        if served.name == wanted:
            return served
    alike = [served for served in offer.models if served.fingerprint.startswith(wanted)]
    if len(wanted) >= _SHORTEST_FINGERPRINT and len(alike) == 1:
        return alike[0]
    known = ", ".join(served.name for served in offer.models)
    raise NotFoundError(f"The model {wanted!r} is not served here. Served: {known}.")


async def _chat(request: Request, offer: OfferDep, body: ChatRequest) -> Response:
    messages = tuple(message.plain() for message in body.messages)
    served, sampling, seed = _find(offer, body.model), body.sampling(offer.most_tokens), _seed(body)

    def row(engine: LocalEngine) -> Row:
        return engine.row(Wanted(body.model, served.adapter, messages, seed), sampling)

    return await _answered(request, offer, body, served, row, chat=True)


async def _completion(request: Request, offer: OfferDep, body: TextRequest) -> Response:
    served, sampling, seed = _find(offer, body.model), body.sampling(offer.most_tokens), _seed(body)

    def row(engine: LocalEngine) -> Row:
        return engine.text_row(body.model, body.prompt, served.adapter, sampling, seed)

    return await _answered(request, offer, body, served, row, chat=False)


def _seed(body: Settings) -> int:
    return secrets.randbits(62) if body.seed is None else body.seed


async def _answered(
    request: Request, offer: Offer, body: Settings, served: Served, row: Callable[[LocalEngine], Row], *, chat: bool
) -> Response:
    wanted = body.max_completion_tokens or body.max_tokens or 0
    if wanted > offer.most_tokens:
        return JSONResponse(
            error_of(f"At most {offer.most_tokens} tokens are written here.", _WRONG, param="max_tokens"), 400
        )
    shape = Shape(
        chat=chat,
        id_=f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
        model=served.name,
        created=int(time.time()),
        system_fingerprint=offer.engine_fingerprint[:16],
    )
    conversation = Conversation(offer.service, row, body.stops)
    await conversation.begun()
    if not body.stream:
        return JSONResponse(await as_whole(conversation, shape, gone=request.is_disconnected))
    with_usage = body.stream_options is not None and body.stream_options.include_usage
    events = as_stream(conversation, shape, with_usage=with_usage, error=_body_of)
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _of_arena(_: Request, error: Exception) -> Response:
    if not isinstance(error, ArenaError):
        raise error
    code = {HTTPStatus.NOT_FOUND: "model_not_found", HTTPStatus.UNAUTHORIZED: "invalid_api_key"}.get(error.status)
    body = error_of(error.message, _KINDS.get(error.status, _WRONG), code=code)
    headers = {"WWW-Authenticate": "Bearer"} if error.status is HTTPStatus.UNAUTHORIZED else None
    return JSONResponse(body, error.status, headers=headers)


async def _of_training(_: Request, error: Exception) -> Response:
    if not isinstance(error, TrainingError):
        raise error
    busy = isinstance(error, BusyError)
    return JSONResponse(_body_of(error), 429 if busy else 400, headers={"Retry-After": "1"} if busy else None)


def _body_of(error: TrainingError) -> dict[str, Any]:
    message = f"{error.message[:1].upper()}{error.message[1:]}."
    if isinstance(error, BusyError):
        return error_of(message, _KINDS[HTTPStatus.TOO_MANY_REQUESTS], code="rate_limit_exceeded")
    return error_of(message, _WRONG)


async def _of_validation(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"][1:]) or None
    message = str(first["msg"]).removeprefix("Value error, ")
    return JSONResponse(error_of(f"{param}: {message}" if param else message, _WRONG, param=param), 400)


async def _of_http(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    kind = _KINDS.get(HTTPStatus(error.status_code), _WRONG)
    return JSONResponse(error_of(str(error.detail), kind), error.status_code)
