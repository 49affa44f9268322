"""Forms that bring files or have as many fields as they like. Nothing of them is read before it is known who sends."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import FormData, UploadFile

from app.domain.errors import BadInputError, TooLargeError
from app.services.files import NamedFile
from app.web.deps import AdminDep

_LARGEST = 64_000_000
"""Bytes of a request that brings a file: some hundred thousand rows."""

LIMIT = 20 * _LARGEST
"""What the server cuts off without a word, for routes that take ``FormDep``: it must let our sentence come first."""

_MOST_FIELDS = 10_000
_LARGEST_FIELD = 1_000_000


async def sent_form(request: Request, _: AdminDep) -> AsyncIterator[FormData]:
    """The whole form, once it is an admin's. What FastAPI reads by itself is read before anybody is asked.

    Raises:
        TooLargeError: it has more bytes than a file may have.
    """
    if int(request.headers.get("content-length") or 0) > _LARGEST:
        raise TooLargeError(
            f"A file may have {_LARGEST // 1_000_000} MB. Nothing was stored. Divide it, or import it with ./arena "
            "on the machine of the arena."
        )
    async with request.form(max_fields=_MOST_FIELDS, max_part_size=_LARGEST_FIELD) as form:
        yield form


FormDep = Annotated[FormData, Depends(sent_form, scope="function")]


def text_of(form: FormData, field: str) -> str:
    """A text field without the white space around it; empty if it is not there."""
    value = form.get(field, "")
    return value.strip() if isinstance(value, str) else ""


def file_of(form: FormData, field: str) -> NamedFile:
    """A file of the form.

    Raises:
        BadInputError: none was chosen, or it is empty.
    """
    upload = form.get(field)
    if not isinstance(upload, UploadFile) or not upload.filename:
        raise BadInputError("No file was chosen, so nothing was imported.")
    return NamedFile(upload.filename, upload.file.read())


def optional_file_of(form: FormData, field: str) -> NamedFile | None:
    """The same where a file may be left out: browsers then send an empty one without a name."""
    upload = form.get(field)
    return file_of(form, field) if isinstance(upload, UploadFile) and upload.filename else None
