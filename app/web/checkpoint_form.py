"""The form that brings a checkpoint: its files go to the disk as they arrive, once an admin is known to send them.

Elsewhere a form is held by Starlette, in memory and in the system's temporary folder; a checkpoint may be larger
than both, and would be written twice.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool

from app.domain.errors import BadInputError
from app.services.receiving import LARGEST, KeptUpload, Receiver, receiving, require_room
from app.web.deps import AdminDep, SettingsDep

LIMIT = 2 * LARGEST
"""What the server cuts off without a word, for the route that takes ``SentCheckpointDep``: our sentence comes first."""

_LARGEST_FIELD = 10_000
_LARGEST_HEADERS = 10_000
_BROKEN = "The form arrived broken, so nothing was added. Send it again."


@dataclass(frozen=True)
class SentCheckpoint:
    """The text fields by name, without the white space around them, and the files on the disk."""

    fields: dict[str, str]
    kept: KeptUpload


async def sent_checkpoint(request: Request, _: AdminDep, settings: SettingsDep) -> AsyncIterator[SentCheckpoint]:
    """The form as it was sent; what it brought is removed if the route fails.

    Raises:
        TooLargeError: it has more bytes than a checkpoint may have.
        BadInputError: it is no form, or brings no file, too many, or an empty one.
        UnavailableError: the disk is full.
    """
    require_room(int(request.headers.get("content-length") or 0))
    with receiving(settings.artifacts) as receiver:
        form = _Form(receiver, request.headers.get("content-type", ""))
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            require_room(size)
            await run_in_threadpool(form.write, chunk)
        form.require_whole()
        yield SentCheckpoint(form.fields, receiver.kept())


SentCheckpointDep = Annotated[SentCheckpoint, Depends(sent_checkpoint, scope="function")]


@dataclass
class _Part:
    """One field or file of the form. ``text`` is not used for a file."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    header: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    name: str = ""
    is_file: bool = False
    text: bytearray = field(default_factory=bytearray)


class _Form:
    """Hears the parts of a form in the order in which they arrive."""

    def __init__(self, receiver: Receiver, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise BadInputError(_BROKEN)
        self.fields: dict[str, str] = {}
        self._receiver = receiver
        self._part = _Part()
        self._parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._finish,
            },
        )
        self._whole = False

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the request."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise BadInputError(_BROKEN) from error

    def require_whole(self) -> None:
        """Refuse a form that was broken off.

        Raises:
            BadInputError: its last line never came.
        """
        if not self._whole:
            raise BadInputError(_BROKEN)

    def _finish(self) -> None:
        self._whole = True

    def _begin(self) -> None:
        self._part = _Part()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        _grow(self._part.header, data[start:end], _LARGEST_HEADERS)

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        _grow(self._part.value, data[start:end], _LARGEST_HEADERS)

    def _header_end(self) -> None:
        self._part.headers[bytes(self._part.header).lower()] = bytes(self._part.value)
        self._part.header.clear()
        self._part.value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._part.headers.get(b"content-disposition"))
        self._part.name = options.get(b"name", b"").decode(errors="replace")
        file_name = options.get(b"filename", b"").decode(errors="replace")
        self._part.is_file = b"filename" in options
        if file_name:  # browsers send an empty file without a name where none was chosen
            self._receiver.begin(file_name)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part.is_file:
            self._receiver.write(data[start:end])
        else:
            _grow(self._part.text, data[start:end], _LARGEST_FIELD)

    def _end(self) -> None:
        if self._part.is_file:
            self._receiver.end()
        else:
            self.fields[self._part.name] = self._part.text.decode(errors="replace").strip()


def _grow(text: bytearray, more: bytes, longest: int) -> None:
    text.extend(more)
    if len(text) > longest:
        raise BadInputError("A field of the form is too long, so nothing was added. Make it shorter.")
