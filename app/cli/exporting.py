"""``arena export``: the pairs and verdicts of a closed eval batch in the formats of other tools."""

import sys
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy.orm import Session

from app.cli.output import console
from app.cli.prepare import prepare
from app.db import session_scope
from app.domain.errors import BadInputError
from app.queries.exports import FORMATS
from app.queries.exports.pairs import exportable
from app.queries.exports.rows import Format
from app.queries.exports.writing import write_folder, write_one
from app.queries.lookup import find_batch

_HELP = f"One of: {', '.join(FORMATS)}."


def export(
    batch: Annotated[str, typer.Argument(help="A closed eval batch.")],
    format_name: Annotated[str, typer.Option("--format", help=_HELP)] = "jsonl",
    out: Annotated[Path | None, typer.Option(help="A file, or a folder where the format has several.")] = None,
) -> None:
    """Write what a closed eval batch holds, for other tools or, as jsonl, for another arena."""
    prepare()
    chosen = FORMATS.get(format_name)
    if chosen is None:
        raise BadInputError(f"There is no format {format_name!r}. Known: {', '.join(FORMATS)}.")
    with session_scope(write=False) as session:
        batch_id = exportable(session, find_batch(session, batch).id).id
        written = _write(session, batch_id, chosen, out)
        reasons = chosen.left_out(session, batch_id) if chosen.left_out else {}
    for path in written:
        _say(f"Written: {path}")
    if reasons:
        _say("Pairs left out: " + ", ".join(f"{count} {reason}" for reason, count in reasons.items()) + ".")


def _write(session: Session, batch_id: UUID, chosen: Format, out: Path | None) -> list[Path]:
    rows = chosen.rows(session, batch_id)
    try:
        if not chosen.file:
            if out is None:
                raise BadInputError("This format has several files. Nothing was written; name a folder with --out.")
            return write_folder(rows, chosen, out)
        if out is None:
            write_one(rows, chosen, sys.stdout)
            return []
        path = out / chosen.file if out.is_dir() else out
        with path.open("w", encoding="utf-8", newline="") as file:
            write_one(rows, chosen, file)
    except OSError as error:
        raise BadInputError(f"{out} cannot be written: {error.strerror}. Nothing else was changed.") from error
    return [path]


def _say(told: str) -> None:
    """On standard error: the rows may be on the other."""
    if console.is_terminal:
        console.print(told, highlight=False, soft_wrap=True, markup=False)
    else:
        typer.echo(told, err=True)
