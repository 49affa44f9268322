"""Every address of the application, read from its routes."""

import re
from collections.abc import Mapping

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts


def addresses(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path pattern of every route, mounts of files left out."""
    found = [
        (method, route.path)
        for route in iter_route_contexts(app.routes)
        for method in sorted(getattr(route, "methods", None) or ())
        if method != "HEAD"
    ]
    assert ("GET", "/vote/{batch_id}") in found, "the routes are kept in another way now: read them again"
    return found


def filled(path: str, values: Mapping[str, object]) -> str:
    """The path with a value for each of its parameters."""
    return re.sub(r"\{(\w+)\}", lambda match: str(values[match[1]]), path)
