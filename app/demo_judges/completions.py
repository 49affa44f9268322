"""Chat completions and the list of models as vLLM, Ollama or llama.cpp have them. No key is needed."""

import uuid
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from app.demo_judges.lost import Drop, Gate, Gated, Hang
from app.demo_judges.script import UNPAID, Fault
from app.demo_judges.simulation import Answer, Call, OutOfCreditError, Simulation
from app.domain.terms import ProviderKind, StopReason

_STOPS = {StopReason.END: "stop", StopReason.LENGTH: "length", StopReason.REFUSAL: "content_filter"}
_REFUSED = {
    Fault.RATE_LIMITED: (429, "Rate limit reached (simulated)"),
    Fault.OVERLOADED: (503, "The server is overloaded (simulated)"),
    Fault.SERVER_FAULT: (500, "Internal server error (simulated)"),
}


class Completions:
    """The endpoints over one simulation."""

    def __init__(self, simulation: Simulation, gate: Gate) -> None:
        self.simulation, self.gate = simulation, gate

    def router(self) -> APIRouter:
        """All routes below ``/v1`` that are not Anthropic's."""
        router = APIRouter(prefix="/v1")
        router.add_api_route("/chat/completions", self._complete, methods=["POST"], response_model=None)
        return router

    def list_models(self) -> Response:
        """The models that can be asked."""
        offered = [model for model in self.simulation.script.models if model.lifecycle != "retired"]
        return JSONResponse(
            {"object": "list", "data": [{"id": one.id, "object": "model", "owned_by": "simulated"} for one in offered]}
        )

    def _complete(self, body: dict[str, Any]) -> Response:
        script = self.simulation.script
        model = str(body.get("model"))
        if model not in {one.id for one in script.models if one.lifecycle != "retired"}:
            return _refused(404, f"The model {model!r} does not exist")
        wanted = (body.get("response_format") or {}).get("type", "text")
        if wanted != "text" and not script.structured:
            return _refused(400, f"response_format of type {wanted} is not supported")
        roles = {message["role"]: message["content"] for message in body["messages"]}
        call = Call(
            kind=ProviderKind.OPENAI_COMPATIBLE,
            model=model,
            system=roles.get("system", ""),
            user=roles["user"],
            max_tokens=int(body.get("max_tokens") or 4096),
        )
        try:
            answer = self.simulation.answer(call)
        except OutOfCreditError:
            return _refused(429, "You exceeded your current quota (simulated)", code="insufficient_quota")
        return self._sent(answer, model)

    def _sent(self, answer: Answer, model: str) -> Response:
        if answer.fault in UNPAID:
            status, words = _REFUSED[answer.fault]
            pause = {"retry-after": str(self.simulation.script.retry_after)}
            return _refused(status, words, headers=pause if answer.fault is Fault.RATE_LIMITED else None)
        if answer.fault is Fault.HANG:
            return Hang()
        reply = JSONResponse(_completion(answer, model), headers={"x-request-id": f"sim-{uuid.uuid4().hex}"})
        if answer.fault is Fault.DROP:
            return Drop(reply.body, media_type="application/json")
        if answer.fault is Fault.BROKEN_BODY:
            return Response(reply.body[: len(reply.body) // 2], media_type="application/json")
        return Gated(reply, self.gate)


def _completion(answer: Answer, model: str) -> dict[str, Any]:
    usage = answer.usage
    return {
        "id": f"chatcmpl-sim-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": answer.text or None},
                "finish_reason": _STOPS[answer.stop],
            }
        ],
        "usage": {
            "prompt_tokens": usage.all_input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.all_input_tokens + usage.output_tokens,
        },
    }


def _refused(status: int, words: str, *, code: str | None = None, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": {"message": words, "type": "error", "code": code}}, status, headers=headers)
