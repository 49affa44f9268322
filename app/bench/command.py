"""``arena bench vote``: how many raters one server takes, and whether it ever loses a vote."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import JsonFlag, console, print_json, print_rows
from app.domain.errors import BadInputError

bench = typer.Typer(help="Measure this machine.", no_args_is_help=True)


class Databases(StrEnum):
    """Which databases are measured."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"
    BOTH = "both"


@bench.callback()
def _group() -> None:
    """Measure this machine."""


@bench.command("vote")
def bench_vote(
    raters: Annotated[int, typer.Option(help="People voting at the same time.", min=1, max=1000)] = 64,
    votes: Annotated[int, typer.Option(help="Votes in all; 2000 is a quick look.", min=1, max=1_000_000)] = 20_000,
    database: Annotated[Databases, typer.Option(help="sqlite, postgres or both.")] = Databases.SQLITE,
    database_url: Annotated[str, typer.Option(help="A Postgres server that may get a database of the bench.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Vote with many raters on an arena of its own; exit 1 if a vote was lost, doubled or miscounted."""
    # The whole application stays out of every other command's start.
    from app.bench.told import row, sentence  # noqa: PLC0415
    from app.bench.vote import cores, measure  # noqa: PLC0415

    if votes < raters:
        raise BadInputError(f"Nothing was measured: {votes} votes do not go round {raters} raters.")
    if database is not Databases.SQLITE and not database_url:
        raise BadInputError(
            "Nothing was measured: give --database-url postgresql://USER:PASSWORD@HOST/NAME. The bench makes a "
            "database of its own on that server and removes it afterwards."
        )
    found = []
    for kind in (Databases.SQLITE, Databases.POSTGRES):
        if database in (kind, Databases.BOTH):
            with _place(database_url if kind is Databases.POSTGRES else "") as (home, url):
                found.append(measure(home, url, raters=raters, votes=votes))
    if as_json:
        print_json({"cores": cores(), "runs": [one.as_json() for one in found]})
    else:
        print_rows([row(one) for one in found], as_json=False, empty="")
        for one in found:
            console.print(sentence(one), highlight=False, soft_wrap=True)
    if not all(one.holds for one in found):
        raise typer.Exit(1)


@contextmanager
def _place(server_url: str) -> Iterator[tuple[Path, str]]:
    """A folder, and on Postgres a database, for one run."""
    from app.bench.arena import drop_postgres, make_postgres  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="arena-bench-") as folder:
        url = make_postgres(server_url) if server_url else ""
        try:
            yield Path(folder), url
        finally:
            if url:
                drop_postgres(server_url, url)
