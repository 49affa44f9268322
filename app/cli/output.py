"""How commands print: tables on a terminal, JSON on request, one sentence for every error."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.table import Table

from app.domain.errors import BadInputError

# Piped output has no width to fit: a name folded over two lines could not be searched for.
console = Console() if sys.stdout.isatty() else Console(width=240)
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def print_json(value: object) -> None:
    """JSON on standard output."""
    sys.stdout.write(json_text(value))


def json_text(value: object) -> str:
    """JSON for people and programs, with a line feed at its end; times in ISO form, ids as text."""

    def plain(item: object) -> object:
        return item.isoformat() if isinstance(item, datetime) else str(item)

    return json.dumps(value, default=plain, ensure_ascii=False, indent=2) + "\n"


def print_rows(rows: Iterable[Mapping[str, Any]], *, as_json: bool, empty: str) -> None:
    """Rows as a table (columns from the first row) or as a JSON list; ``empty`` says what to do when none."""
    listed = list(rows)
    if as_json:
        print_json(listed)
    elif not listed:
        console.print(empty)
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in listed[0]:
            table.add_column(column.replace("_", " "), overflow="fold")
        for row in listed:
            table.add_row(*("" if value is None else str(value) for value in row.values()))
        console.print(table)


@contextmanager
def quiet(wanted: bool = True) -> Iterator[None]:
    """No words on standard output, where only JSON is expected there."""
    before, console.quiet = console.quiet, wanted or console.quiet
    try:
        yield
    finally:
        console.quiet = before


def progress_bar(*columns: ProgressColumn, shown: bool = True) -> Progress:
    """A bar with what is done of how much, and further columns; none where nobody looks at a terminal."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"), *columns,
        console=console, disable=not (shown and console.is_terminal),
    )  # fmt: skip


def save(path: Path, content: str) -> None:
    """Write a file as UTF-8 with line feeds on every system, and say where it is.

    Raises:
        BadInputError: it cannot be written.
    """
    try:
        path.write_text(content, encoding="utf-8", newline="\n")
    except OSError as error:
        raise BadInputError(f"{path} cannot be written: {error.strerror}. Nothing else was changed.") from error
    console.print(f"Written: {path}", highlight=False, soft_wrap=True, markup=False)
