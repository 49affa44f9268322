"""``arena report --html | --markdown``: the finished report of a closed eval batch as files."""

from collections.abc import Callable, Mapping
from pathlib import Path

import typer

from app.cli.output import console, save
from app.db import session_scope
from app.queries.frozen_report import FrozenReport, frozen_report
from app.queries.lookup import find_batch


def write_report(batch: str, files: Mapping[Path | None, Callable[[FrozenReport], str]], secret: bytes) -> None:
    """Write these files. Exit code 1 when the report could not be verified or an order was found mixed up.

    Raises:
        ConflictError: voting is still open.
        BadInputError: a file cannot be written.
    """
    with session_scope(write=False) as session:
        found = frozen_report(session, find_batch(session, batch).id, secret)
    for path, content in files.items():
        if path is not None:
            save(path, content(found))
    mismatches = found.verified.mismatches if found.verified else ()
    if mismatches:
        console.print(mismatches[0].sentence, highlight=False, soft_wrap=True, markup=False)
    if found.told["mapping_suspect"]:
        console.print(found.told["canaries"]["sentence"], highlight=False, soft_wrap=True)
    if found.told["mapping_suspect"] or mismatches:
        raise typer.Exit(1)
