"""Anthropic's message batches, as the SDK uses them. The work of a batch is done when it ends, once."""

import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.demo_judges.forms import (
    NO_CREDIT,
    REFUSED,
    RefusedError,
    answered,
    call_of,
    check,
    error_body,
    let_in,
    message_of,
    page,
)
from app.demo_judges.script import UNPAID
from app.demo_judges.simulation import OutOfCreditError, Simulation


@dataclass
class _Batch:
    """A batch as it lies here: its calls are done when it ends."""

    id: str
    entries: list[dict[str, Any]]
    created_at: datetime
    polls: int = 0
    canceled: bool = False
    results: list[dict[str, Any]] | None = None
    counts: dict[str, int] = field(default_factory=dict)


class Batches:
    """The endpoints over one simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self._batches: dict[str, _Batch] = {}
        self._lock = threading.Lock()

    def router(self) -> APIRouter:
        """All routes below ``/v1/messages/batches``."""
        router = APIRouter(prefix="/v1/messages/batches")
        routes: tuple[tuple[str, str, Callable[..., Response]], ...] = (
            ("POST", "", self._create),
            ("GET", "", self._list),
            ("GET", "/{batch_id}", self._show),
            ("POST", "/{batch_id}/cancel", self._cancel),
            ("GET", "/{batch_id}/results", self._results),
        )
        for method, path, function in routes:
            router.add_api_route(path, function, methods=[method], response_model=None)
        return router

    def _create(self, request: Request, body: dict[str, Any]) -> Response:
        let_in(request, self.simulation.script)
        entries = body.get("requests") or []
        ids = [entry["custom_id"] for entry in entries]
        if not ids or len(set(ids)) != len(ids):
            raise RefusedError(400, "requests: at least one, each with a custom_id of its own")
        for entry in entries:
            check(entry["params"], self.simulation.script)
        batch = _Batch(f"msgbatch_sim_{uuid.uuid4().hex}", entries, datetime.now(UTC))
        self._batches[batch.id] = batch
        return answered(self._shown(batch, request))

    def _list(self, request: Request) -> Response:
        let_in(request, self.simulation.script)
        return page(request, [self._shown(batch, request) for batch in reversed(list(self._batches.values()))])

    def _show(self, request: Request, batch_id: str) -> Response:
        let_in(request, self.simulation.script)
        batch = self._found(batch_id)
        with self._lock:
            if batch.polls < self.simulation.script.batch_polls and not batch.canceled:
                batch.polls += 1
            else:
                self._end(batch)
        return answered(self._shown(batch, request))

    def _cancel(self, request: Request, batch_id: str) -> Response:
        let_in(request, self.simulation.script)
        batch = self._found(batch_id)
        batch.canceled = batch.results is None
        return answered(self._shown(batch, request))

    def _results(self, request: Request, batch_id: str) -> Response:
        let_in(request, self.simulation.script)
        batch = self._found(batch_id)
        if batch.results is None:
            raise RefusedError(404, f"Message batch {batch_id} has no results yet.")
        # Another order than that of the requests: whoever relies on it is wrong.
        lines = [json.dumps(result) for result in reversed(batch.results)]
        return Response("\n".join(lines) + "\n", media_type="application/x-jsonl")

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
            answer = self.simulation.answer(call_of(entry["params"], entry["custom_id"]))
        except OutOfCreditError:
            failed = error_body("invalid_request_error", NO_CREDIT)
            return {"custom_id": entry["custom_id"], "result": {"type": "errored", "error": failed}}
        if answer.fault in UNPAID:
            _, kind, message = REFUSED[answer.fault]
            result: dict[str, Any] = {"type": "errored", "error": error_body(kind, message)}
        else:
            result = {"type": "succeeded", "message": message_of(answer, entry["params"]["model"], "batch")}
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
