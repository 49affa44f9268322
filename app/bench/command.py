"""``arena bench vote | judge | stats | calibration``: whether votes, money and numbers hold, and how fast."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
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
    database_url: Annotated[
        str, typer.Option(help="A Postgres server that may get a database of the bench; else one is started.")
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Vote with many raters on an arena of its own; exit 1 if a vote was lost, doubled or miscounted."""
    # The whole application stays out of every other command's start.
    from app.bench.told import row, sentence  # noqa: PLC0415
    from app.bench.vote import cores, measure  # noqa: PLC0415

    if votes < raters:
        raise BadInputError(f"Nothing was measured: {votes} votes do not go round {raters} raters.")
    found = []
    for kind in (Databases.SQLITE, Databases.POSTGRES):
        if database in (kind, Databases.BOTH):
            with _place(kind, database_url) as (home, url):
                found.append(measure(home, url, raters=raters, votes=votes))
    if as_json:
        print_json({"cores": cores(), "runs": [one.as_json() for one in found]})
    else:
        print_rows([row(one) for one in found], as_json=False, empty="")
        for one in found:
            console.print(sentence(one), highlight=False, soft_wrap=True)
    if not all(one.holds for one in found):
        raise typer.Exit(1)


@bench.command("judge")
def bench_judge(
    pairs: Annotated[int, typer.Option(help="Pairs that two judges see in both orders.", min=10, max=100_000)] = 500,
    faults: Annotated[float, typer.Option(help="Share of calls that something befalls.", min=0, max=0.5)] = 0.1,
    timeout: Annotated[float, typer.Option(help="Seconds that a reply is waited for.", min=1)] = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Let two simulated judges judge with faults and a kill -9; exit 1 if one is lost or paid for twice."""
    from app.bench.judge import measure_judges  # noqa: PLC0415
    from app.bench.told import judges_sentence  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="arena-bench-") as folder:
        found = measure_judges(Path(folder), pairs=pairs, faults=faults, timeout_seconds=timeout)
    if as_json:
        print_json(found.as_json())
    else:
        console.print(judges_sentence(found), highlight=False, soft_wrap=True)
    if not found.holds:
        raise typer.Exit(1)


@bench.command("stats")
def bench_stats(
    verdicts: Annotated[int, typer.Option(help="Verdicts of people in all.", min=100, max=10_000_000)] = 1_000_000,
    checkpoints: Annotated[int, typer.Option(help="One baseline and its challengers.", min=2, max=100)] = 20,
    prompts: Annotated[int, typer.Option(help="Prompts that all of them answer.", min=10, max=5_000)] = 500,
    database: Annotated[Databases, typer.Option(help="sqlite, postgres or both.")] = Databases.SQLITE,
    database_url: Annotated[
        str, typer.Option(help="A Postgres server that may get a database of the bench; else one is started.")
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Read the results of many verdicts; exit 1 if tallies, votes and snapshot tell different numbers."""
    from app.bench.stats import measure_stats  # noqa: PLC0415
    from app.bench.strengths import measure_strengths  # noqa: PLC0415
    from app.bench.told import stats_row, stats_sentence, strengths_sentence  # noqa: PLC0415
    from app.bench.vote import cores  # noqa: PLC0415

    found = []
    for kind in (Databases.SQLITE, Databases.POSTGRES):
        if database in (kind, Databases.BOTH):
            with _place(kind, database_url) as (home, url):
                found.append(measure_stats(home, url, checkpoints=checkpoints, prompts=prompts, verdicts=verdicts))
    fitted = measure_strengths(checkpoints=checkpoints, prompts=prompts, verdicts=verdicts)
    if as_json:
        runs = [one.as_json() for one in found]
        print_json({"cores": cores(), "load": os.getloadavg(), "runs": runs, "bradley_terry": fitted.as_json()})
    else:
        print_rows([row for one in found for row in stats_row(one)], as_json=False, empty="")
        for one in found:
            console.print(stats_sentence(one), highlight=False, soft_wrap=True)
        console.print(strengths_sentence(fitted), highlight=False, soft_wrap=True)
    if not all(one.holds for one in found) or not fitted.holds:
        raise typer.Exit(1)


@bench.command("calibration")
def bench_calibration(
    studies: Annotated[int, typer.Option(help="Simulated studies, each an eval batch.", min=1, max=100_000)] = 400,
    processes: Annotated[int, typer.Option(help="Processes at the same time; 0: one a core.", min=0, max=256)] = 0,
    seed: Annotated[int, typer.Option(help="Other studies, or the same again.", min=0)] = 1,
    as_json: JsonFlag = False,
) -> None:
    """Vote and judge studies with a known truth; exit 1 if intervals miss it more often than they may."""
    from app.bench.calibration import measure_calibration  # noqa: PLC0415
    from app.bench.told import calibration_sentence  # noqa: PLC0415
    from app.bench.vote import cores  # noqa: PLC0415

    found = measure_calibration(studies, seed=seed, processes=processes or cores())
    if as_json:
        print_json(found.as_json())
    else:
        console.print(calibration_sentence(found), highlight=False, soft_wrap=True)
    if not found.holds:
        raise typer.Exit(1)


@contextmanager
def _place(kind: Databases, server_url: str) -> Iterator[tuple[Path, str]]:
    """A folder, and on Postgres a database, for one run."""
    from app.bench.postgres import database_on  # noqa: PLC0415

    database = database_on(server_url) if kind is Databases.POSTGRES else nullcontext("")
    with tempfile.TemporaryDirectory(prefix="arena-bench-") as folder, database as url:
        yield Path(folder), url
