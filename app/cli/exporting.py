"""``arena export``: a closed eval batch as a file that other programs read."""

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from app.cli.prepare import prepare
from app.db import session_scope
from app.domain.errors import BadInputError
from app.models import EvalBatch
from app.queries.exports.own import own_lines
from app.queries.lookup import find_batch

EXPORTS: dict[str, Callable[[Session, EvalBatch], Iterator[str]]] = {
    "jsonl": own_lines,
}
"""What writes a format, by its name: the lines of the file."""


def export(
    batch: Annotated[str, typer.Argument(help="A closed eval batch.")],
    format_name: Annotated[str, typer.Option("--format", help=f"One of: {', '.join(EXPORTS)}.")] = "jsonl",
    out: Annotated[Path | None, typer.Option(help="Write into this file instead of standard output.")] = None,
) -> None:
    """Write a closed eval batch with who wrote what and all that was said of it."""
    if format_name not in EXPORTS:
        raise BadInputError(f"There is no export {format_name!r}. Known are {', '.join(EXPORTS)}.")
    prepare()
    with session_scope(write=False) as session:
        lines = EXPORTS[format_name](session, find_batch(session, batch))
        first = next(lines, "")
        try:
            with nullcontext(sys.stdout) if out is None else out.open("w", encoding="utf-8", newline="") as file:
                file.write(first)
                file.writelines(lines)
        except OSError as error:
            raise BadInputError(f"{out} cannot be written ({error.strerror}).") from error
