"""``arena sample write``: the command that makes ``data/sample_study/`` from eval batches of this arena."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import console
from app.cli.prepare import prepare
from app.config import DATA
from app.db import session_scope
from app.queries.lookup import find_batch
from app.queries.sample_study import sample_files
from app.services.sample_study import MANIFEST, RESPONSES

sample = typer.Typer(help="The sample study that ships with the arena.", no_args_is_help=True)


@sample.callback()
def _group() -> None:
    """The sample study that ships with the arena."""


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
