"""Packages: a checkpoint in the form of another program, to be asked for and downloaded."""

import uuid
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from app.domain.errors import NotFoundError
from app.domain.terms import NumberFormat, PackageKind
from app.models import Checkpoint
from app.queries.packages import package_folder, packages_of
from app.services.packages import ask_for_package, find_package
from app.services.removal import delete_package
from app.web.deps import AdminDep, NowDep, ReadDep, SettingsDep, WriteDep
from app.web.downloads import attachment
from app.web.model_card import card_for_package
from app.web.render import render
from app.web.zipped import zipped

router = APIRouter()

Choice = Literal["adapter", "merged-float32", "merged-bfloat16", "merged-float16", "gguf"]
"""Kind, and of a merged model its number format, as one field of the form."""


@router.get("/checkpoints/{checkpoint_id}/packages")
def packages(request: Request, _: AdminDep, session: ReadDep, checkpoint_id: uuid.UUID) -> Response:
    """The part of a checkpoint's page that lists its packages."""
    return render(request, "checkpoints/_packages.html", packages=packages_of(session, checkpoint_id))


@router.post("/checkpoints/{checkpoint_id}/packages")
def ask(
    _: AdminDep, session: WriteDep, now: NowDep, checkpoint_id: uuid.UUID,
    package: Annotated[Choice, Form()] = "adapter",
) -> Response:  # fmt: skip
    """Let a worker make one."""
    checkpoint = session.get(Checkpoint, checkpoint_id)
    if checkpoint is None:
        raise NotFoundError("There is no such checkpoint. The list of checkpoints shows what exists.")
    kind, _dash, form = package.partition("-")
    number_format = NumberFormat(form or NumberFormat.FLOAT32)
    card = card_for_package(session, checkpoint, PackageKind(kind), number_format)
    ask_for_package(session, checkpoint, PackageKind(kind), card=card, now=now, number_format=number_format)
    return RedirectResponse(f"/checkpoints/{checkpoint_id}#elsewhere", status_code=303)


@router.get("/packages/{package_id}/download")
def download(_: AdminDep, session: ReadDep, package_id: uuid.UUID) -> Response:
    """All files of a package as a zip."""
    folder, name = package_folder(session, package_id)
    return StreamingResponse(zipped(folder, name), media_type="application/zip", headers=attachment(f"{name}.zip"))


@router.post("/packages/{package_id}/delete")
def delete(_: AdminDep, session: WriteDep, now: NowDep, settings: SettingsDep, package_id: uuid.UUID) -> Response:
    """Make room; the checkpoint stays."""
    package = find_package(session, package_id)
    delete_package(session, package, artifacts=settings.artifacts, now=now)
    return RedirectResponse(f"/checkpoints/{package.checkpoint_id}#elsewhere", status_code=303)
