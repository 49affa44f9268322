"""Exports of a closed eval batch as downloads, in the formats of other tools."""

import io
import tempfile
import uuid
from collections.abc import Iterator
from typing import IO

from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from app.domain.errors import NotFoundError
from app.queries.exports import FORMATS
from app.queries.exports.pairs import exportable
from app.queries.exports.rows import Shape
from app.queries.exports.writing import write_archive, write_one
from app.web.deps import AdminDep, ReadDep
from app.web.downloads import attachment

router = APIRouter()

_TYPES = {Shape.LINES: "application/jsonl", Shape.LIST: "application/json", Shape.CSV: "text/csv"}
_PIECE = 1 << 16


@router.get("/batches/{batch_id}/export/{format_name}")
def export(_: AdminDep, session: ReadDep, batch_id: uuid.UUID, format_name: str) -> Response:
    """One file, or an archive where the format has several. It is written to the disk first, never held in memory."""
    chosen = FORMATS.get(format_name)
    if chosen is None:
        raise NotFoundError(f"There is no such format. Known: {', '.join(FORMATS)}.")
    batch = exportable(session, batch_id)
    file = tempfile.TemporaryFile()  # noqa: SIM115 (closed when it has been sent)
    rows = chosen.rows(session, batch_id)
    if chosen.file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        write_one(rows, chosen, text)
        text.detach()
    else:
        write_archive(rows, chosen, file)
    headers = attachment(f"{batch.name}.{chosen.file or format_name + '.zip'}")
    media_type = f"{_TYPES[chosen.shape]}; charset=utf-8" if chosen.file else "application/zip"
    return StreamingResponse(_pieces(file), media_type=media_type, headers=headers)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while piece := file.read(_PIECE):
            yield piece
