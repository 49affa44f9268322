"""Suites: import, download, and editing into a new version."""

import uuid

from fastapi import APIRouter, Request
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse, Response

from app.domain.errors import NotFoundError
from app.models import Suite
from app.queries.suites import suite_file, suite_page, suites_page
from app.services.suites import add_suite, edit_suite
from app.web.deps import AdminDep, NowDep, ReadDep, WriteDep
from app.web.render import render
from app.web.uploads import LIMIT, FormDep, file_of, text_of

router = APIRouter()

NEW_ROWS = 3
"""Empty prompts at the end of the editor."""


@router.get("/suites")
def suites(request: Request, _: AdminDep, session: ReadDep) -> Response:
    """All suites, and the form to import one."""
    return render(request, "suites/page.html", page=suites_page(session))


@router.post("/suites", max_body_size=LIMIT)
def import_suite(form: FormDep, session: WriteDep, now: NowDep) -> Response:
    """Import a suite file; a changed one becomes the next version."""
    suite = add_suite(session, file_of(form, "file"), now=now, name=text_of(form, "name"))
    return RedirectResponse(f"/suites/{suite.id}", status_code=303)


@router.get("/suites/{suite_id}")
def suite(request: Request, _: AdminDep, session: ReadDep, suite_id: uuid.UUID) -> Response:
    """One suite with its prompts."""
    return render(request, "suites/one.html", page=suite_page(session, suite_id))


@router.get("/suites/{suite_id}/file")
def suite_download(_: AdminDep, session: ReadDep, suite_id: uuid.UUID) -> Response:
    """The suite as a file that can be imported again."""
    name, content = suite_file(session, suite_id)
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(content, media_type="application/jsonl; charset=utf-8", headers=headers)


@router.get("/suites/{suite_id}/edit")
def suite_editor(request: Request, _: AdminDep, session: ReadDep, suite_id: uuid.UUID) -> Response:
    """The form that makes the next version."""
    return render(request, "suites/edit.html", page=suite_page(session, suite_id), new_rows=NEW_ROWS)


@router.post("/suites/{suite_id}/edit", max_body_size=LIMIT)
def save_suite(form: FormDep, session: WriteDep, now: NowDep, suite_id: uuid.UUID) -> Response:
    """Save what was typed as the next version."""
    stored = session.get(Suite, suite_id)
    if stored is None:
        raise NotFoundError("There is no such suite. The list of suites shows what exists.")
    title, description = text_of(form, "title"), text_of(form, "description")
    saved = edit_suite(session, stored, _prompts(form), title=title, description=description, now=now)
    return RedirectResponse(f"/suites/{saved.id}", status_code=303)


def _prompts(form: FormData) -> list[dict[str, object]]:
    """The prompts of the form as rows of a file; deleted ones and those left empty are not among them."""
    rows: list[dict[str, object]] = []
    for number in form.getlist("prompt"):
        key, category, domain = (text_of(form, f"{field}-{number}") for field in ("key", "category", "domain"))
        turns = [str(turn).strip().replace("\r\n", "\n") for turn in form.getlist(f"turn-{number}")]
        if form.get(f"delete-{number}") or not any((key, category, *turns)):
            continue
        row: dict[str, object] = {"key": key, "category": category, "domain": domain}
        if len(turns) > 1:
            roles = form.getlist(f"role-{number}")
            row["messages"] = [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False)]
        else:
            row["prompt"] = "".join(turns)
        rows.append(row)
    return rows
