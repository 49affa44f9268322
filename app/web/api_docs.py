"""The API described: as OpenAPI for programs, and as a page for people, made from the same description."""

import json
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from app.web.render import render

router = APIRouter(prefix="/api")

DESCRIPTION = (
    "Voting from programs, by the rules of the voting page: blind, in an order drawn and stored on the server, one "
    "vote a ballot. Send `Authorization: Bearer arena_…`. "
    'Every error is `{"error": "one sentence"}`; the status says which kind it is, and a program goes by that.'
)
_ID = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Field:
    """One field of a body or of the address."""

    name: str
    kind: str
    text: str
    required: bool


@dataclass(frozen=True)
class Answer:
    """One status and what it means."""

    status: str
    text: str


@dataclass(frozen=True)
class Operation:
    """One thing a program can do."""

    method: str
    path: str
    summary: str
    text: str
    sends: tuple[Field, ...]
    gets: tuple[Field, ...]
    answers: tuple[Answer, ...]
    curl: str


@dataclass(frozen=True)
class DocsPage:
    """The whole API."""

    address: str
    operations: tuple[Operation, ...]


@router.get("/openapi.json")
def openapi(request: Request) -> Response:
    """The description of the API, for programs."""
    return JSONResponse(request.app.openapi())


@router.get("/docs")
def docs(request: Request) -> Response:
    """The same for people."""
    schema = request.app.openapi()
    address = f"{request.url.scheme}://{request.url.netloc}"
    operations = tuple(
        _operation(schema, method.upper(), path, said, address)
        for path, methods in schema["paths"].items()
        for method, said in methods.items()
    )
    return render(request, "api/docs.html", page=DocsPage(address, operations))


def _operation(schema: dict[str, Any], method: str, path: str, said: dict[str, Any], address: str) -> Operation:
    body = _content(said.get("requestBody", {}))
    answer = _content(next(iter(said["responses"].values())))
    parameters = tuple(
        Field(given["name"], _kind(schema, given["schema"]), given.get("description", ""), given["required"])
        for given in said.get("parameters", [])
    )
    return Operation(
        method=method,
        path=path,
        summary=said["summary"],
        text=said["description"],
        sends=(*parameters, *_fields(schema, body)),
        gets=_fields(schema, answer),
        answers=tuple(
            Answer(status, given["description"]) for status, given in sorted(said["responses"].items())
        ),
        curl=_curl(schema, method, path, body, address),
    )  # fmt: skip


def _content(said: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = said.get("content", {}).get("application/json", {}).get("schema", {})
    return next((one for one in found.get("anyOf", ()) if "$ref" in one), found)


def _resolved(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """A part of the schema, wherever it is kept."""
    if "$ref" not in part:
        return part
    found: dict[str, Any] = schema["components"]["schemas"][part["$ref"].rpartition("/")[2]]
    return found


def _fields(schema: dict[str, Any], part: dict[str, Any], start: str = "") -> tuple[Field, ...]:
    """The fields of an object, those of objects in it by path."""
    shape = _resolved(schema, part)
    found: list[Field] = []
    for name, field in shape.get("properties", {}).items():
        inner = _inner(schema, field)
        kind, text = _kind(schema, field), field.get("description", "").replace("`", "")
        found.append(Field(start + name, kind, text, required=name in shape.get("required", ())))
        if inner is not None:
            mark = "[]." if field.get("type") == "array" else "."
            found += _fields(schema, inner, f"{start}{name}{mark}")
    return tuple(found)


def _inner(schema: dict[str, Any], field: dict[str, Any]) -> dict[str, Any] | None:
    for part in (field, field.get("items", {}), *field.get("anyOf", ())):
        if "properties" in (resolved := _resolved(schema, part)):
            return resolved
    return None


def _kind(schema: dict[str, Any], field: dict[str, Any]) -> str:
    """A type in words: ``text``, ``one of a, b, tie, both_bad``, ``list of objects``."""
    if "anyOf" in field:
        return " or ".join(_kind(schema, part) for part in field["anyOf"])
    if "items" in field:
        return f"list of {_kind(schema, field['items'])}"
    shape = _resolved(schema, field)
    if "enum" in shape:
        return "one of " + ", ".join(shape["enum"])
    named = {"string": "text", "integer": "number", "boolean": "true or false", "null": "null"}
    return "id" if shape.get("format") == "uuid" else named.get(shape.get("type", ""), "object")


def _example(schema: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """A body with what is required and what has an example."""
    made: dict[str, Any] = {}
    shape = _resolved(schema, body)
    for name, field in shape.get("properties", {}).items():
        resolved = _resolved(schema, field)
        if "examples" in field:
            made[name] = field["examples"][0]
        elif name in shape.get("required", ()):
            made[name] = resolved["enum"][0] if "enum" in resolved else True
    return made


def _curl(schema: dict[str, Any], method: str, path: str, body: dict[str, Any], address: str) -> str:
    filled = path.replace("{ballot_id}", _ID).replace("{batch_id}", _ID)
    lines = [f"curl {'' if method == 'GET' else f'-X {method} '}{address}{filled}", '-H "Authorization: Bearer $TOKEN"']
    if body:
        lines += ["-H 'Content-Type: application/json'", f"-d '{json.dumps(_example(schema, body))}'"]
    return " \\\n  ".join(lines)
