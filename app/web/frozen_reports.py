"""The finished report of a closed eval batch, as a page and as files to keep."""

import uuid

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.queries.frozen_report import FrozenReport, frozen_report
from app.web.deps import AdminDep, ReadDep, SettingsDep
from app.web.downloads import attachment
from app.web.render import render
from app.web.report_document import document_of
from app.web.report_files import html_of, json_of, markdown_of

router = APIRouter()


@router.get("/batches/{batch_id}/report")
def report_page(request: Request, _: AdminDep, session: ReadDep, batch_id: uuid.UUID) -> Response:
    """The report with its downloads."""
    found = frozen_report(session, batch_id)
    return render(request, "report/page.html", document=document_of(found), batch_id=batch_id)


@router.get("/batches/{batch_id}/report.html")
def report_html(_: AdminDep, session: ReadDep, settings: SettingsDep, batch_id: uuid.UUID) -> Response:
    """One HTML file that stands alone."""
    found = frozen_report(session, batch_id, settings.secret_key())
    return _file(html_of(found), found, "html", "text/html")


@router.get("/batches/{batch_id}/report.md")
def report_markdown(_: AdminDep, session: ReadDep, settings: SettingsDep, batch_id: uuid.UUID) -> Response:
    """The same as Markdown."""
    found = frozen_report(session, batch_id, settings.secret_key())
    return _file(markdown_of(found), found, "md", "text/markdown")


@router.get("/batches/{batch_id}/report.json")
def report_json(_: AdminDep, session: ReadDep, batch_id: uuid.UUID) -> Response:
    """Its numbers, byte for byte what the report's hash is of."""
    found = frozen_report(session, batch_id)
    return _file(json_of(found), found, "json", "application/json")


def _file(content: str, report: FrozenReport, ending: str, media_type: str) -> Response:
    headers = attachment(f"{report.file_name}.{ending}")
    return Response(content, media_type=f"{media_type}; charset=utf-8", headers=headers)
