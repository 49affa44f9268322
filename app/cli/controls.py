"""``arena canaries | controls``: run the canary script again, and bring gold pairs of your own."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import JsonFlag, console, print_json, print_rows
from app.cli.prepare import prepare
from app.db import session_scope
from app.domain.names import CANARY, GOLD
from app.main import create_app
from app.queries.batches import control_pairs
from app.queries.controls import CanaryRun, canaries_of
from app.queries.lookup import find_batch
from app.services.controls import import_controls
from app.web.canaries import run_canaries

controls = typer.Typer(help="Control pairs: two texts of which one is known to be better.", no_args_is_help=True)


@controls.command("list")
def controls_list(as_json: JsonFlag = False) -> None:
    """Say how many control pairs a launch can draw from."""
    prepare()
    with session_scope(write=False) as session:
        rows = [{"name": name, "pairs": control_pairs(session, name)} for name in (GOLD, CANARY)]
    print_rows(rows, as_json=as_json, empty="")


@controls.command("import")
def controls_import(path: Annotated[Path, typer.Argument(help="A .jsonl file; see data/controls/README.md.")]) -> None:
    """Import gold pairs of your own: the next version, which later launches draw from."""
    prepare()
    with session_scope() as session:
        suite = import_controls(session, path, now=datetime.now(UTC))
        pairs = control_pairs(session, GOLD)
    console.print(f"Gold pairs, version {suite.version}: {pairs} pairs.", highlight=False)


def canaries(batch: str, as_json: JsonFlag = False) -> None:
    """Let a new script vote on the canary pairs of a batch through the real pages; exit code 1 on an inversion."""
    settings = prepare()
    with session_scope(write=False) as session:
        batch_id = find_batch(session, batch).id
    app = create_app(settings)
    try:
        note = asyncio.run(run_canaries(app, batch_id))
    finally:
        app.state.database.engine.dispose()
    with session_scope(write=False) as session:
        found = canaries_of(session, find_batch(session, batch))
    rows = [_row(run) for run in found.runs]
    if as_json:
        print_json({"batch": batch, "mapping_suspect": found.suspect, "right": found.right, "wrong": found.wrong,
                    "runs": rows})  # fmt: skip
    else:
        print_rows(rows, as_json=False, empty="")
        held = f"The mapping holds: {found.right} votes of the canary script arrived on the text that it chose."
        console.print(found.sentence or note or held, highlight=False, soft_wrap=True)
    if found.suspect or note:
        raise typer.Exit(1)


def _row(run: CanaryRun) -> dict[str, object]:
    return {
        "at": run.at.isoformat(timespec="seconds"),
        "version": run.version,
        "right": run.right,
        "wrong": run.wrong,
        "of": run.wanted,
        "note": run.note,
    }
