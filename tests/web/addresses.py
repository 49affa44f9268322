"""Every address of the application, read from its routes."""

import re
from collections.abc import Mapping

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

FOR_PROGRAMS = ("/api/", "/metrics", "/readyz")
"""No pages: who may ask them, and what they say, is tested in test_api.py, test_metrics.py and test_ready.py."""


def addresses(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path pattern of every route that browsers ask, mounts of files left out."""
    found = [
        (method, route.path)
        for route in iter_route_contexts(app.routes)
        for method in sorted(getattr(route, "methods", None) or ())
        if method != "HEAD" and not route.path.startswith(FOR_PROGRAMS)
    ]
    assert ("GET", "/vote/{batch_id}") in found, "the routes are kept in another way now: read them again"
    return found


def filled(path: str, values: Mapping[str, object]) -> str:
    """The path with a value for each of its parameters."""
    return re.sub(r"\{(\w+)\}", lambda match: str(values[match[1]]), path)
