"""Anthropic's endpoints as the SDK uses them: messages, token counts, models, and batches with their results."""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from app.demo_judges.lost import Drop, Gate, Gated, Hang
from app.demo_judges.script import UNPAID, Fault, SimulatedModel
from app.demo_judges.simulation import Answer, Call, OutOfCreditError, Simulation
from app.domain.terms import ProviderKind, StopReason
from app.providers.calls import Usage

_STOPS = {StopReason.END: "end_turn", StopReason.LENGTH: "max_tokens", StopReason.REFUSAL: "refusal"}
_NO_CREDIT = (
    "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase "
    "credits."
)
_REFUSED = {
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


@dataclass
class _Batch:
    """A batch as it lies here: its calls are done when it ends."""

    id: str
    entries: list[dict[str, Any]]
    created_at: datetime
    polls_left: int
    canceled: bool = False
    results: list[dict[str, Any]] | None = None
    counts: dict[str, int] = field(default_factory=dict)


class Claude:
    """The endpoints over one simulation."""

    def __init__(self, simulation: Simulation, gate: Gate) -> None:
        self.simulation, self.gate = simulation, gate
        self._batches: dict[str, _Batch] = {}

    def router(self) -> APIRouter:
        """All routes below ``/v1``."""
        router = APIRouter(prefix="/v1")
        routes: tuple[tuple[str, str, Callable[..., Response]], ...] = (
            ("POST", "/messages", self._message),
            ("POST", "/messages/count_tokens", self._count),
            ("POST", "/messages/batches", self._create_batch),
            ("GET", "/messages/batches", self._list_batches),
            ("GET", "/messages/batches/{batch_id}", self._show_batch),
            ("POST", "/messages/batches/{batch_id}/cancel", self._cancel_batch),
            ("GET", "/messages/batches/{batch_id}/results", self._results),
            ("GET", "/models/{model_id}", self._show_model),
        )
        for method, path, function in routes:
            router.add_api_route(path, function, methods=[method], response_model=None)
        return router

    def list_models(self, request: Request) -> Response:
        """The models of the asked stages of life; registered beside the list of the other API, at the same address."""
        self._let_in(request)
        wanted = request.query_params.getlist("lifecycle[]") or ["active", "deprecated"]
        models = [model for model in self.simulation.script.models if model.lifecycle in wanted]
        newest = sorted(models, key=lambda model: model.created_at, reverse=True)
        return self._page(request, [_model(model) for model in newest])

    def _message(self, request: Request, body: dict[str, Any]) -> Response:
        self._let_in(request)
        self._check(body)
        try:
            answer = self.simulation.answer(_call(body))
        except OutOfCreditError as error:
            raise RefusedError(400, _NO_CREDIT) from error
        if answer.fault in UNPAID:
            return self._refused(answer.fault)
        if answer.fault is Fault.HANG:
            return Hang()
        reply = JSONResponse(_message(answer, body["model"]), headers=self._headers(remaining=59))
        if answer.fault is Fault.DROP:
            return Drop(reply.body, media_type="application/json", headers=self._headers(remaining=59))
        if answer.fault is Fault.BROKEN_BODY:
            half = reply.body[: len(reply.body) // 2]
            return Response(half, media_type="application/json", headers=self._headers(remaining=59))
        return Gated(reply, self.gate)

    def _count(self, request: Request, body: dict[str, Any]) -> Response:
        self._let_in(request)
        self._check({"max_tokens": 1, **body})
        call = _call({"max_tokens": 1, **body})
        return self._json({"input_tokens": self.simulation.tokens(call.system) + self.simulation.tokens(call.user)})

    def _create_batch(self, request: Request, body: dict[str, Any]) -> Response:
        self._let_in(request)
        entries = body.get("requests") or []
        ids = [entry["custom_id"] for entry in entries]
        if not ids or len(set(ids)) != len(ids):
            raise RefusedError(400, "requests: at least one, each with a custom_id of its own")
        for entry in entries:
            self._check(entry["params"])
        batch = _Batch(
            f"msgbatch_sim_{uuid.uuid4().hex}", entries, datetime.now(UTC), self.simulation.script.batch_polls
        )
        self._batches[batch.id] = batch
        return self._json(self._shown(batch, request))

    def _list_batches(self, request: Request) -> Response:
        self._let_in(request)
        return self._page(request, [self._shown(batch, request) for batch in reversed(self._batches.values())])

    def _show_batch(self, request: Request, batch_id: str) -> Response:
        self._let_in(request)
        batch = self._found(batch_id)
        if batch.polls_left > 0 and not batch.canceled:
            batch.polls_left -= 1
        else:
            self._end(batch)
        return self._json(self._shown(batch, request))

    def _cancel_batch(self, request: Request, batch_id: str) -> Response:
        self._let_in(request)
        batch = self._found(batch_id)
        batch.canceled = batch.results is None
        return self._json(self._shown(batch, request))

    def _results(self, request: Request, batch_id: str) -> Response:
        self._let_in(request)
        batch = self._found(batch_id)
        if batch.results is None:
            raise RefusedError(404, f"Message batch {batch_id} has no results yet.")
        # Another order than that of the requests: whoever relies on it is wrong.
        lines = [json.dumps(result) for result in reversed(batch.results)]
        return Response("\n".join(lines) + "\n", media_type="application/x-jsonl", headers=self._headers())

    def _show_model(self, request: Request, model_id: str) -> Response:
        self._let_in(request)
        for model in self.simulation.script.models:
            if model.id == model_id:
                return self._json(_model(model))
        raise RefusedError(404, f"model: {model_id}")

    def _end(self, batch: _Batch) -> None:
        """Do the work of a batch, once."""
        if batch.results is not None:
            return
        batch.results = [self._result(batch, entry) for entry in batch.entries]
        for result in batch.results:
            kind = result["result"]["type"]
            batch.counts[kind] = batch.counts.get(kind, 0) + 1

    def _result(self, batch: _Batch, entry: dict[str, Any]) -> dict[str, Any]:
        if batch.canceled:
            return {"custom_id": entry["custom_id"], "result": {"type": "canceled"}}
        try:
            answer = self.simulation.answer(_call(entry["params"], entry["custom_id"]))
        except OutOfCreditError:
            failed = _error("invalid_request_error", _NO_CREDIT)
            return {"custom_id": entry["custom_id"], "result": {"type": "errored", "error": failed}}
        if answer.fault in UNPAID:
            _, kind, message = _REFUSED[answer.fault]
            result: dict[str, Any] = {"type": "errored", "error": _error(kind, message)}
        else:
            result = {"type": "succeeded", "message": _message(answer, entry["params"]["model"], "batch")}
        return {"custom_id": entry["custom_id"], "result": result}

    def _shown(self, batch: _Batch, request: Request) -> dict[str, Any]:
        ended = batch.results is not None
        counts = {kind: batch.counts.get(kind, 0) for kind in ("succeeded", "errored", "canceled", "expired")}
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else "canceling" if batch.canceled else "in_progress",
            "request_counts": {"processing": 0 if ended else len(batch.entries), **counts},
            "created_at": batch.created_at.isoformat(),
            "expires_at": (batch.created_at + timedelta(days=1)).isoformat(),
            "ended_at": batch.created_at.isoformat() if ended else None,
            "cancel_initiated_at": batch.created_at.isoformat() if batch.canceled else None,
            "archived_at": None,
            "results_url": f"{request.base_url}v1/messages/batches/{batch.id}/results" if ended else None,
        }

    def _found(self, batch_id: str) -> _Batch:
        if batch_id not in self._batches:
            raise RefusedError(404, f"No message batch {batch_id}.")
        return self._batches[batch_id]

    def _let_in(self, request: Request) -> None:
        key = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        if key != self.simulation.script.key:
            raise RefusedError(401, "invalid x-api-key")
        if "anthropic-version" not in request.headers:
            raise RefusedError(400, "anthropic-version: header is required")

    def _check(self, body: dict[str, Any]) -> None:
        for name in _NEEDED:
            if name not in body:
                raise RefusedError(400, f"{name}: Field required")
        for name in _GONE:
            if name in body:
                raise RefusedError(400, f"{name}: Extra inputs are not permitted")
        stages = {model.id: model.lifecycle for model in self.simulation.script.models}
        if stages.get(body["model"], "retired") == "retired":
            raise RefusedError(404, f"model: {body['model']}")

    def _refused(self, fault: Fault) -> Response:
        status, kind, message = _REFUSED[fault]
        headers = self._headers(remaining=0 if fault is Fault.RATE_LIMITED else 59)
        if fault is Fault.RATE_LIMITED:
            headers["retry-after"] = str(self.simulation.script.retry_after)
        return JSONResponse(_error(kind, message), status, headers=headers)

    def _json(self, content: dict[str, Any]) -> Response:
        return JSONResponse(content, headers=self._headers())

    def _page(self, request: Request, rows: list[dict[str, Any]]) -> Response:
        limit = min(int(request.query_params.get("limit", _DEFAULT_PAGE)), _LARGEST_PAGE)
        after = request.query_params.get("after_id")
        ids = [row["id"] for row in rows]
        start = ids.index(after) + 1 if after in ids else 0
        page = rows[start : start + limit]
        return self._json(
            {
                "data": page,
                "has_more": start + limit < len(rows),
                "first_id": page[0]["id"] if page else None,
                "last_id": page[-1]["id"] if page else None,
            }
        )

    def _headers(self, remaining: int | None = None) -> dict[str, str]:
        headers = {"request-id": f"req_sim_{uuid.uuid4().hex}"}
        if remaining is not None:
            resets = (datetime.now(UTC) + timedelta(seconds=self.simulation.script.retry_after)).isoformat()
            for what, limit in (("requests", 60), ("input-tokens", 60_000), ("output-tokens", 12_000)):
                start = f"anthropic-ratelimit-{what}"
                headers |= {
                    f"{start}-limit": str(limit),
                    f"{start}-remaining": str(limit * remaining // 60),
                    f"{start}-reset": resets,
                }
        return headers


def refusal(error: RefusedError) -> Response:
    """The answer to what was not let in."""
    request_id = f"req_sim_{uuid.uuid4().hex}"
    return JSONResponse(_error(error.kind, error.message), error.status, headers={"request-id": request_id})


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": f"req_sim_{uuid.uuid4().hex}"}


def _call(params: dict[str, Any], custom_id: str = "") -> Call:
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


def _message(answer: Answer, model: str, tier: str = "standard") -> dict[str, Any]:
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


def _model(model: SimulatedModel) -> dict[str, Any]:
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
