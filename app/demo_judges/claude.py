"""Anthropic's messages, token counts and models, as the SDK uses them."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from app.demo_judges.forms import (
    NO_CREDIT,
    REFUSED,
    RefusedError,
    answered,
    call_of,
    check,
    error_body,
    let_in,
    message_headers,
    message_of,
    model_of,
    page,
)
from app.demo_judges.lost import Drop, Gate, Gated, Hang
from app.demo_judges.script import UNPAID, Fault
from app.demo_judges.simulation import OutOfCreditError, Simulation


class Claude:
    """The endpoints over one simulation."""

    def __init__(self, simulation: Simulation, gate: Gate) -> None:
        self.simulation, self.gate = simulation, gate

    def router(self) -> APIRouter:
        """All routes but the list of models, whose address belongs to both APIs."""
        router = APIRouter(prefix="/v1")
        routes: tuple[tuple[str, str, Callable[..., Response]], ...] = (
            ("POST", "/messages", self._message),
            ("POST", "/messages/count_tokens", self._count),
            ("GET", "/models/{model_id}", self._show_model),
        )
        for method, path, function in routes:
            router.add_api_route(path, function, methods=[method], response_model=None)
        return router

    def list_models(self, request: Request) -> Response:
        """The models of the asked stages of life."""
        let_in(request, self.simulation.script)
        wanted = request.query_params.getlist("lifecycle[]") or ["active", "deprecated"]
        models = [model for model in self.simulation.script.models if model.lifecycle in wanted]
        newest = sorted(models, key=lambda model: model.created_at, reverse=True)
        return page(request, [model_of(model) for model in newest])

    def _message(self, request: Request, body: dict[str, Any]) -> Response:
        script = self.simulation.script
        let_in(request, script)
        check(body, script)
        try:
            answer = self.simulation.answer(call_of(body))
        except OutOfCreditError as error:
            raise RefusedError(400, NO_CREDIT) from error
        headers = message_headers(script, used_up=answer.fault is Fault.RATE_LIMITED)
        if answer.fault in UNPAID:
            status, kind, message = REFUSED[answer.fault]
            pause = {"retry-after": str(script.retry_after)} if answer.fault is Fault.RATE_LIMITED else {}
            return JSONResponse(error_body(kind, message), status, headers=headers | pause)
        if answer.fault is Fault.HANG:
            return Hang()
        reply = JSONResponse(message_of(answer, body["model"]), headers=headers)
        if answer.fault is Fault.DROP:
            return Drop(reply.body, media_type="application/json", headers=headers)
        if answer.fault is Fault.BROKEN_BODY:
            return Response(reply.body[: len(reply.body) // 2], media_type="application/json", headers=headers)
        return Gated(reply, self.gate)

    def _count(self, request: Request, body: dict[str, Any]) -> Response:
        let_in(request, self.simulation.script)
        whole = {"max_tokens": 1, **body}
        check(whole, self.simulation.script)
        call = call_of(whole)
        return answered({"input_tokens": self.simulation.tokens(call.system) + self.simulation.tokens(call.user)})

    def _show_model(self, request: Request, model_id: str) -> Response:
        let_in(request, self.simulation.script)
        for model in self.simulation.script.models:
            if model.id == model_id:
                return answered(model_of(model))
        raise RefusedError(404, f"model: {model_id}")
