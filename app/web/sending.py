"""Sending a checkpoint piece by piece, as the script of the form does. Without it the form itself is sent."""

import uuid
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request

from app.domain.errors import BadInputError
from app.services.intake import add_intake
from app.services.receiving import KeptUpload
from app.services.sending import LARGEST_PIECE, Sending, add_piece, begin_sending, find_sending, taking
from app.web.deps import AdminDep, NowDep, SettingsDep, WriteDep

router = APIRouter(prefix="/checkpoints/sending")


def begun(sending_id: uuid.UUID, account: AdminDep, settings: SettingsDep) -> Sending:
    """The upload that the address names, if it is this person's."""
    return find_sending(sending_id, artifacts=settings.artifacts, account_id=account.id)


async def sent_piece(request: Request, _: AdminDep) -> bytes:
    """The body as it came."""
    return await request.body()


def taken(sending_id: uuid.UUID, account: AdminDep, settings: SettingsDep) -> Iterator[KeptUpload]:
    """All of the upload. It is read through before a transaction begins, and let go when that has ended."""
    with taking(begun(sending_id, account, settings)) as kept:
        yield kept


@router.post("", status_code=201)
def begin(
    account: AdminDep, settings: SettingsDep, name: Annotated[list[str], Form()], size: Annotated[list[int], Form()]
) -> dict[str, Any]:
    """Announce files by their names and sizes in bytes."""
    if len(name) != len(size):
        raise BadInputError("Each file needs a name and a size. Nothing was added.")
    files = list(zip(name, size, strict=True))
    return _told(begin_sending(files, artifacts=settings.artifacts, account_id=account.id))


@router.get("/{sending_id}")
def progress(sending: Annotated[Sending, Depends(begun)]) -> dict[str, Any]:
    """How much of it is here."""
    return _told(sending)


@router.post("/{sending_id}/taken")
def take(
    sending_id: uuid.UUID, kept: Annotated[KeptUpload, Depends(taken, scope="function")], account: AdminDep,
    session: WriteDep, now: NowDep,
    name: Annotated[str, Form()] = "", base: Annotated[str, Form()] = "",
) -> dict[str, str]:  # fmt: skip
    """Queue the check of what was sent. Where that cannot be, what was sent stays for another try."""
    intake = add_intake(
        session, kept, now=now, name=name.strip(), base=base.strip(), account_id=account.id, intake_id=sending_id
    )
    return {"address": f"/checkpoints/uploads/{intake.id}"}


# The limit is above what a piece may have, so that our sentence comes first.
@router.post("/{sending_id}", max_body_size=2 * LARGEST_PIECE)
def add(
    sending: Annotated[Sending, Depends(begun)], piece: Annotated[bytes, Depends(sent_piece)],
    file: Annotated[int, Query()], at: Annotated[int, Query()],
) -> dict[str, Any]:  # fmt: skip
    """The next piece of one file, which is counted from 0."""
    add_piece(sending, file, at, piece)
    return _told(sending)


def _told(sending: Sending) -> dict[str, Any]:
    return {"id": str(sending.id), "received": sending.received}
