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

_LARGEST_CHECKPOINT = 4_000_000_000
"""Bytes of a request that brings a checkpoint: rank 256 on every layer of a 7B model in 16-bit numbers is 1.3 GB."""

CHECKPOINT_LIMIT = 2 * _LARGEST_CHECKPOINT
"""The same, for the route that takes ``CheckpointFormDep``."""

_MOST_FIELDS = 10_000
_LARGEST_FIELD = 1_000_000
_MOST_CHECKPOINT_FILES = 100
"""More than are taken, so that our sentence comes first."""


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


async def sent_checkpoint(request: Request, _: AdminDep) -> AsyncIterator[FormData]:
    """A form that brings a checkpoint; its files lie on the disk while it is read.

    Raises:
        TooLargeError: it has more bytes than a checkpoint may have.
    """
    if int(request.headers.get("content-length") or 0) > _LARGEST_CHECKPOINT:
        raise TooLargeError(
            f"A checkpoint may have {_LARGEST_CHECKPOINT // 1_000_000_000} GB. Nothing was stored. An adapter is far "
            "smaller: leave the base model and the optimizer's state out."
        )
    async with request.form(max_files=_MOST_CHECKPOINT_FILES, max_fields=10, max_part_size=_LARGEST_FIELD) as form:
        yield form


CheckpointFormDep = Annotated[FormData, Depends(sent_checkpoint, scope="function")]


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
