"""Templates: one environment that refuses unknown names, and what every page may use."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from app.config import ROOT
from app.domain.terms import Role
from app.setup.state import SetupState, read_state
from app.web.filters import FILTERS

_STATIC = ROOT / "static"


@dataclass(frozen=True)
class NavItem:
    """A link of the navigation."""

    href: str
    label: str
    current: bool


_PAGES = (
    ("/", "Home"),
    ("/datasets", "Datasets"),
    ("/models", "Base models"),
    ("/runs", "Runs"),
    ("/checkpoints", "Checkpoints"),
    ("/playground", "Playground"),
    ("/suites", "Suites"),
    ("/batches", "Eval batches"),
    ("/raters", "Raters"),
    ("/judges", "Judges"),
    ("/jobs", "Jobs"),
    ("/settings", "Settings"),
)


@lru_cache(maxsize=32)
def style_of(*sheets: str) -> Markup:
    """Style sheets by name as one element, for a file that has to stand alone."""
    rules = "\n".join((_STATIC / f"css/{sheet}.css").read_text(encoding="utf-8") for sheet in sheets)
    return Markup("<style>\n{}</style>").format(Markup(rules))  # noqa: S704 (files of ours)


@lru_cache(maxsize=256)
def asset(path: str) -> str:
    """Address of a static file, with a piece of its hash so that browsers may keep it for ever."""
    digest = hashlib.sha256((_STATIC / path).read_bytes()).hexdigest()[:10]
    return f"/static/{path}?v={digest}"


def make_environment() -> Environment:
    """The template environment: autoescape on, unknown names are errors."""
    environment = Environment(
        loader=FileSystemLoader(ROOT / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    environment.globals["asset"] = asset
    return environment


_environment = make_environment()


def write(template: str, **context: Any) -> str:
    """A text that is no answer to a request, such as a file to keep."""
    return _environment.get_template(template).render(**context)


def setup_state(request: Request) -> SetupState:
    """How far the installation of the training extra is."""
    return read_state(request.app.state.settings.home)


def render(request: Request, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """A page or fragment as a response."""
    path = request.url.path
    viewer = getattr(request.state, "viewer", None)
    pages = _PAGES if viewer is not None and viewer.role is Role.ADMIN else ()
    html = _environment.get_template(template).render(
        viewer=viewer,
        nav=tuple(
            NavItem(href, label, current=path == href or (href != "/" and path.startswith(f"{href}/")))
            for href, label in pages
        ),
        setup=setup_state(request),
        request_path=path,
        now=datetime.now(UTC),
        **context,
    )
    return HTMLResponse(html, status_code=status, headers={"Cache-Control": "no-store"})
