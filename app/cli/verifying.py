"""``arena verify``: whether every published number follows from the raw ballots and verdicts."""

from dataclasses import asdict
from typing import Annotated

import typer

from app.cli.output import JsonFlag, console, print_json, print_rows
from app.cli.prepare import prepare
from app.db import session_scope
from app.queries.lookup import find_batch
from app.queries.verification import Verification
from app.queries.verification import verify as verify_rows

_OLDER = "Rows older than the seals are checked as far as what they carry goes."


def verify(
    batch: Annotated[str, typer.Argument(help="One eval batch only.")] = "",
    every: Annotated[bool, typer.Option("--every", help="List all mismatches, not only the first.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Recompute seals, outcomes, tallies and every published number; exit 1 at a mismatch."""
    settings = prepare()
    secret = settings.secret_key()
    with session_scope(write=False) as session:
        wanted = find_batch(session, batch).id if batch else None
    with session_scope(write=False) as session:
        found = verify_rows(session, secret, wanted)
    told = [one.sentence for one in (found.mismatches if every else found.mismatches[:1])]
    if as_json:
        print_json({"holds": found.holds, **asdict(found.checked), "mismatches": found.total, "told": told})
    elif found.holds:
        print_rows([_row(found)], as_json=False, empty="")
        console.print("Everything recomputed is what is stored and published.", highlight=False)
        if found.checked.older:
            console.print(_OLDER, highlight=False)
    else:
        for sentence in told:
            console.print(sentence, highlight=False, soft_wrap=True, markup=False)
        if found.total > len(told):
            more = "see them with --every" if not every else "these are too many to list"
            console.print(f"{found.total} mismatches in all; {more}.", highlight=False)
    if not found.holds:
        raise typer.Exit(1)


def _row(found: Verification) -> dict[str, object]:
    return {name.replace("older", "older than seals"): count for name, count in asdict(found.checked).items()}
