"""One handler that turns the error family into a page, or JSON for clients that ask for it."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from app.domain.errors import ArenaError, SignInRequiredError, TooManyError
from app.log import get_logger
from app.web.local import local_path
from app.web.render import render
from app.web.security import HEADERS

log = get_logger(__name__)


_LONGEST_FIELD = 60


@dataclass(frozen=True)
class ErrorPage:
    """What went wrong, for a person."""

    status: int
    title: str
    message: str


_TITLES = {
    HTTPStatus.NOT_FOUND: "Not here",
    HTTPStatus.CONFLICT: "That does not fit what is stored",
    HTTPStatus.FORBIDDEN: "Not for you",
    HTTPStatus.UNPROCESSABLE_ENTITY: "That cannot be used",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "That is too large",
    HTTPStatus.TOO_MANY_REQUESTS: "Too often",
    HTTPStatus.SERVICE_UNAVAILABLE: "Not available right now",
}


_SENTENCES = {
    HTTPStatus.BAD_REQUEST: "The body cannot be read. Send JSON in UTF-8; nothing was stored.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address exists, but not for this method.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "More than one megabyte was sent. Nothing was stored; send less.",
}
"""What the framework says in two words, in a sentence for programs."""


def for_programs(request: Request) -> bool:
    """Whether the address is one that programs ask: every answer there is JSON."""
    return request.url.path.startswith("/api/") or request.url.path == "/metrics"


def answer(request: Request, status: HTTPStatus, message: str) -> Response:
    """The error as JSON or as a page, as the client prefers."""
    if for_programs(request) or "application/json" in request.headers.get("accept", ""):
        return JSONResponse({"error": message}, status_code=status)
    page = ErrorPage(status, _TITLES.get(status, "That did not work"), message)
    return render(request, "error.html", status=status, page=page)


def _route(request: Request) -> str:
    """The route's pattern: the path itself may hold the token of an entry link."""
    return getattr(request.scope.get("route"), "path", "unknown")


def _sign_in(request: Request, error: SignInRequiredError) -> Response:
    if for_programs(request):
        response = answer(request, error.status, error.message)
        response.headers["WWW-Authenticate"] = "Bearer"
        return response
    if "application/json" in request.headers.get("accept", "") or request.method != "GET":
        return answer(request, error.status, error.message)
    return render(request, "enter/needed.html", status=error.status, next_path=next_path(request))


def next_path(request: Request) -> str:
    """Where to go after signing in: the page that was asked for, and nothing for a part of one."""
    if request.headers.get("hx-request"):
        return ""
    query = f"?{request.url.query}" if request.url.query else ""
    return local_path(request.url.path + query)


def _too_many(request: Request, error: TooManyError) -> Response:
    response = answer(request, error.status, error.message)
    response.headers["Retry-After"] = str(error.retry_after)
    return response


def _arena(request: Request, error: ArenaError) -> Response:
    if error.detail:
        log.warning("request_refused", route=_route(request), detail=error.detail)
    return answer(request, error.status, error.message)


def _http(request: Request, error: HTTPException) -> Response:
    status = HTTPStatus(error.status_code)
    sentence = "There is no page at this address." if status is HTTPStatus.NOT_FOUND else str(error.detail)
    response = answer(request, status, _SENTENCES.get(status, sentence) if for_programs(request) else sentence)
    response.headers.update(error.headers or {})
    return response


def _form(request: Request, error: RequestValidationError) -> Response:
    problem = error.errors()[0]
    field = str(problem["loc"][-1]).encode(errors="replace").decode()  # JSON can name half of a character
    field = field[:_LONGEST_FIELD].replace("_", " ")
    status = HTTPStatus.NOT_FOUND if problem["loc"][0] == "path" else HTTPStatus.UNPROCESSABLE_ENTITY
    if status is HTTPStatus.NOT_FOUND:
        return answer(request, status, "There is no page at this address.")
    if problem["type"] == "json_invalid":
        return answer(request, status, "The body is not JSON, so nothing was stored.")
    if problem["loc"] == ("body",):
        return answer(request, status, "The body must be a JSON object, sent as application/json. Nothing was stored.")
    return answer(request, status, f"The field “{field}” cannot be used: {problem['msg'].lower()}.")


def _integrity(request: Request, error: IntegrityError) -> Response:
    # Two requests met at a unique constraint: the first one stands.
    log.info("constraint_kept", route=_route(request), detail=type(error.orig).__name__)
    return answer(
        request,
        HTTPStatus.CONFLICT,
        "Somebody did the same at this moment. Nothing was stored twice; reload.",
    )


def _data(request: Request, error: DataError) -> Response:
    log.info("value_refused", detail=type(error.orig).__name__)
    return answer(
        request,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The database cannot store what was sent: a text holds a null character, or a value is too long or too "
        "large. Nothing was stored.",
    )


def _database(request: Request, error: SQLAlchemyError) -> Response:
    log.error("database_failed", route=_route(request), kind=type(error).__name__)
    return answer(
        request,
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The database cannot be used right now. Nothing was changed.",
    )


def _unexpected(request: Request, error: Exception) -> Response:
    log.error("request_failed", route=_route(request), kind=type(error).__name__)
    response = answer(
        request,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Something unexpected went wrong here. Nothing was stored; the log of the arena says more.",
    )
    response.headers.update(HEADERS)  # this answer is made outside of the middleware that adds them
    return response


_HANDLERS: dict[int | type[Exception], Any] = {
    SignInRequiredError: _sign_in,
    TooManyError: _too_many,
    ArenaError: _arena,
    HTTPException: _http,
    RequestValidationError: _form,
    IntegrityError: _integrity,
    DataError: _data,
    SQLAlchemyError: _database,
    500: _unexpected,
}


def install(app: FastAPI) -> None:
    """Register the handlers."""
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
