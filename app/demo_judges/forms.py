"""Anthropic's forms: how requests are checked and read, and how messages, errors, pages and headers are written."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, Response

from app.demo_judges.script import Fault, Script, SimulatedModel
from app.demo_judges.simulation import Answer, Call
from app.domain.terms import ProviderKind, StopReason
from app.providers.calls import Usage

_STOPS = {StopReason.END: "end_turn", StopReason.LENGTH: "max_tokens", StopReason.REFUSAL: "refusal"}
NO_CREDIT = (
    "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase "
    "credits."
)
REFUSED = {
    Fault.RATE_LIMITED: (429, "rate_limit_error", "This request would exceed your simulated rate limit."),
    Fault.OVERLOADED: (529, "overloaded_error", "Overloaded (simulated)"),
    Fault.SERVER_FAULT: (500, "api_error", "Internal server error (simulated)"),
}
_NEEDED = ("model", "max_tokens", "messages")
_GONE = ("temperature", "top_p", "top_k")
_YES = {"supported": True}
_CAPABILITIES = {
    "batch": _YES,
    "citations": _YES,
    "code_execution": _YES,
    "context_management": {"supported": False},
    "effort": {"supported": True, "low": _YES, "medium": _YES, "high": _YES, "xhigh": _YES, "max": _YES},
    "image_input": _YES,
    "pdf_input": _YES,
    "server_tools": {"supported": False},
    "structured_outputs": _YES,
    "thinking": {
        "supported": True,
        "types": {"adaptive": _YES, "between_tools": _YES, "disabled": _YES, "enabled": {"supported": False}},
    },
}
_DEFAULT_PAGE, _LARGEST_PAGE = 20, 1000
_HTTP_ERRORS = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error"}


class RefusedError(Exception):
    """An answer that is no reply."""

    def __init__(self, status: int, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.kind = status, message, kind or _HTTP_ERRORS[status]


def let_in(request: Request, script: Script) -> None:
    """Only with the key, or with any where the script has none, and with a version.

    Raises:
        RefusedError: one of them is missing or wrong.
    """
    key = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
    if not key or key != (script.key or key):
        raise RefusedError(401, "invalid x-api-key")
    if "anthropic-version" not in request.headers:
        raise RefusedError(400, "anthropic-version: header is required")


def check(body: dict[str, Any], script: Script) -> None:
    """Whether a message can be asked for.

    Raises:
        RefusedError: something is missing, is not taken any more, or the model is retired.
    """
    for name in _NEEDED:
        if name not in body:
            raise RefusedError(400, f"{name}: Field required")
    for name in _GONE:
        if name in body:
            raise RefusedError(400, f"{name}: Extra inputs are not permitted")
    stages = {model.id: model.lifecycle for model in script.models}
    if stages.get(body["model"], "retired") == "retired":
        raise RefusedError(404, f"model: {body['model']}")


def page(request: Request, rows: list[dict[str, Any]]) -> Response:
    """A part of a list, by ``limit`` and ``after_id``."""
    limit = min(int(request.query_params.get("limit", _DEFAULT_PAGE)), _LARGEST_PAGE)
    after = request.query_params.get("after_id")
    ids = [row["id"] for row in rows]
    start = ids.index(after) + 1 if after in ids else 0
    shown = rows[start : start + limit]
    return answered(
        {
            "data": shown,
            "has_more": start + limit < len(rows),
            "first_id": shown[0]["id"] if shown else None,
            "last_id": shown[-1]["id"] if shown else None,
        }
    )


def answered(content: dict[str, Any]) -> Response:
    """Any answer that is not a message."""
    return JSONResponse(content, headers=_request_id())


def message_headers(script: Script, *, used_up: bool = False) -> dict[str, str]:
    """Headers of a message, with what is left of the limits."""
    resets = (datetime.now(UTC) + timedelta(seconds=script.retry_after)).isoformat()
    headers = _request_id()
    for what, limit, left in (
        ("requests", 60, 59), ("input-tokens", 60_000, 59_000), ("output-tokens", 12_000, 11_800)
    ):  # fmt: skip
        start = f"anthropic-ratelimit-{what}"
        headers |= {
            f"{start}-limit": str(limit),
            f"{start}-remaining": str(0 if used_up else left),
            f"{start}-reset": resets,
        }
    return headers


def _request_id() -> dict[str, str]:
    return {"request-id": f"req_sim_{uuid.uuid4().hex}"}


def refusal(error: RefusedError) -> Response:
    """The answer to what was not let in."""
    return JSONResponse(error_body(error.kind, error.message), error.status, headers=_request_id())


def error_body(kind: str, message: str) -> dict[str, Any]:
    """An error as it is written everywhere."""
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": f"req_sim_{uuid.uuid4().hex}"}


def call_of(params: dict[str, Any], custom_id: str = "") -> Call:
    """What a message or an entry of a batch asks for."""
    blocks = params.get("system") or []
    blocks = [{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks
    marks = [block["cache_control"] for block in blocks if block.get("cache_control")]
    last = params["messages"][-1]["content"]
    return Call(
        kind=ProviderKind.ANTHROPIC,
        model=params["model"],
        system="".join(block["text"] for block in blocks),
        user=last if isinstance(last, str) else "".join(block.get("text", "") for block in last),
        max_tokens=params["max_tokens"],
        cache_for=marks[0].get("ttl", "5m") if marks else "",
        batch=bool(custom_id),
        custom_id=custom_id,
    )


def message_of(answer: Answer, model: str, tier: str = "standard") -> dict[str, Any]:
    """A reply."""
    return {
        "id": f"msg_sim_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": answer.text}] if answer.text else [],
        "stop_reason": _STOPS[answer.stop],
        "stop_sequence": None,
        "usage": _usage(answer.usage, tier),
    }


def _usage(usage: Usage, tier: str) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens + usage.cache_write_1h_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "service_tier": tier,
    }


def model_of(model: SimulatedModel) -> dict[str, Any]:
    """A model as the list shows it."""
    return {
        "id": model.id,
        "type": "model",
        "display_name": model.name,
        "created_at": model.created_at.isoformat(),
        "deprecated_at": None if model.lifecycle == "active" else model.created_at.isoformat(),
        "lifecycle": model.lifecycle,
        "retires_at": model.retires_at.isoformat() if model.retires_at else None,
        "line": None,
        "capabilities": _CAPABILITIES,
        "max_input_tokens": 1_000_000,
        "max_tokens": 64_000,
    }
