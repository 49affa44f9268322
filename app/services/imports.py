"""Importing comparisons that were made elsewhere: gathered, planned, and stored some thousand rows at a time.

Each portion is one transaction of the caller's. Broken off and given again, an import goes on behind the last portion;
given again when it is complete, it changes nothing.
"""

import hashlib
import uuid
import zlib
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from gzip import GzipFile
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError
from app.domain.imports.formats import read
from app.domain.imports.items import Log
from app.domain.imports.tables import Source
from app.domain.terms import BatchState, Domain
from app.models import EvalBatch, Pair
from app.services import import_plan
from app.services.events import announce
from app.services.import_gather import Gathered
from app.services.import_plan import ImportPlan

_GZIP = b"\x1f\x8b"


def gather(name: str, paths: Iterable[Path], log: Log, domain: Domain = Domain.OUT_OF_DOMAIN) -> Gathered:
    """Read files of one format; the same content given twice is read once.

    ``domain``: where prompts lie of which the files do not tell it.

    Raises:
        BadInputError: a file cannot be read, is not of the format, or nothing in them can be taken.
    """
    seen, sources = set[str](), list[Source]()
    with ExitStack() as stack:
        for path in paths:
            try:
                file: Any = stack.enter_context(path.open("rb"))
                if file.peek(len(_GZIP))[: len(_GZIP)] == _GZIP:
                    file = stack.enter_context(GzipFile(fileobj=file))
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
            except (EOFError, OSError, zlib.error) as error:  # the first and the last for a broken archive
                why = getattr(error, "strerror", None) or error
                raise BadInputError(f"{path} cannot be read to its end ({why}). Nothing was imported.") from error
            if digest in seen:
                log.note(path.name, 0, "the same content was given twice; it was read once")
                continue
            seen.add(digest)
            sources.append(Source("/".join(path.absolute().parts[-2:]), file))
        if not sources:
            raise BadInputError("Nothing was imported: no file was given.")
        return Gathered(name, log, domain).take(read(name, sources, log))


@dataclass(frozen=True)
class Begun:
    """An import whose eval batch is there."""

    batch_id: uuid.UUID
    complete: bool
    """All of it was there before; nothing is left to do."""
    stored: int
    """Pairs that are stored with all that was said of them."""


def begin(session: Session, gathered: Gathered, planned: ImportPlan, *, secret: bytes, now: datetime) -> Begun:
    """Make the eval batch, or find it again. Nobody votes in it; it closes at the end.

    Raises:
        ConflictError: the name is taken by something else.
    """
    batch = import_plan.begin(session, gathered, planned, secret=secret, now=now)
    stored = session.scalar(select(func.count(Pair.id)).where(Pair.eval_batch_id == batch.id)) or 0
    return Begun(batch.id, batch.state is BatchState.CLOSED, stored)


def finish(session: Session, batch_id: uuid.UUID, *, now: datetime) -> None:
    """Close it: everything is there."""
    batch = session.get_one(EvalBatch, batch_id)
    if batch.state is BatchState.CLOSED:
        return
    batch.state, batch.closed_at = BatchState.CLOSED, now
    announce(session, "pairs", batch.id, now=now)
    announce(session, "verdicts", batch.id, now=now)
    session.flush()
