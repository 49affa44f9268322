"""``arena sample write | numbers``: how ``data/sample_study/`` was made from eval batches, and what is in it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.output import JsonFlag, console, print_json
from app.cli.prepare import prepare
from app.config import DATA
from app.db import session_scope
from app.queries.lookup import find_batch
from app.queries.sample_study import sample_files, sample_numbers
from app.services.files import read_bytes, rows
from app.services.sample_study import MANIFEST, RESPONSES, read_manifest

sample = typer.Typer(help="The sample study that ships with the arena.", no_args_is_help=True)


@sample.command("write")
def sample_write(
    batches: Annotated[list[str], typer.Argument(help="Finished eval batches with the same checkpoints.")],
    command: Annotated[list[str] | None, typer.Option(help="A command that made them; may be given often.")] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = DATA / "sample_study",
) -> None:
    """Write eval batches of this arena as a sample study: a manifest and the responses."""
    prepare()
    with session_scope(write=False) as session:
        found = [find_batch(session, batch) for batch in batches]
        manifest, responses = sample_files(session, found, commands=command or [], now=datetime.now(UTC))
    out.mkdir(parents=True, exist_ok=True)
    (out / RESPONSES).write_text(responses, encoding="utf-8")
    (out / MANIFEST).write_text(manifest, encoding="utf-8")
    console.print(f"{responses.count(chr(10))} responses in {out}", highlight=False)


@sample.command("numbers")
def sample_numbers_command(
    folder: Annotated[Path, typer.Argument(help="Folder of a sample study.")] = DATA / "sample_study",
    as_json: JsonFlag = False,
) -> None:
    """Show what each checkpoint of a sample study learned and how long it writes: the table of its card."""
    manifest = read_manifest(folder)
    numbers = sample_numbers(manifest, [row for _, row in rows(read_bytes(folder / RESPONSES), RESPONSES)])
    if as_json:
        print_json(numbers)
        return
    for line in card_table(numbers):
        typer.echo(line)


def card_table(numbers: Sequence[dict[str, Any]]) -> list[str]:
    """Rows with the same keys as lines of a Markdown table."""
    cells = ([*numbers[0]], ["---"] * len(numbers[0]), *([*row.values()] for row in numbers))
    return [f"| {' | '.join('' if cell is None else str(cell).replace('_', ' ') for cell in line)} |" for line in cells]
