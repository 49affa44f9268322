"""``arena bench vote | judge | stats | calibration | train | generate``: what holds, and how fast."""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from app.cli.output import JsonFlag, console, print_json, print_rows
from app.config import ROOT, get_settings
from app.domain.errors import BadInputError

bench = typer.Typer(help="Measure this machine.", no_args_is_help=True)

DATA = ROOT / "data" / "sft" / "brie.train.jsonl"
"""What the training bench trains on, unless it is told otherwise."""

ASKED = ROOT / "data" / "suites" / "brie-comprehensive.jsonl"
"""What the generation bench asks."""


class Databases(StrEnum):
    """Which databases are measured."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"
    BOTH = "both"


DatabaseOption = Annotated[Databases, typer.Option(help="sqlite, postgres or both.")]
DatabaseUrlOption = Annotated[
    str, typer.Option(help="A Postgres server that may get a database of the bench; else one is started.")
]
BaseOption = Annotated[Path | None, typer.Option(help="Folder of the base model; the small built-in one by default.")]
RepeatsOption = Annotated[int, typer.Option(help="How often; medians are told.", min=1, max=99)]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
DtypeOption = Annotated[str, typer.Option(help="auto, float32 or bfloat16.")]


@bench.callback()
def _group() -> None:
    """Measure this machine."""
    signal.signal(signal.SIGTERM, _stop)


def _stop(number: int, _frame: FrameType | None) -> None:
    """Turn the signal into an exception, so that what a bench has started is ended with it."""
    raise SystemExit(128 + number)


@bench.command("vote")
def bench_vote(
    raters: Annotated[int, typer.Option(help="People voting at the same time.", min=1, max=1000)] = 64,
    votes: Annotated[int, typer.Option(help="Votes in all; 2000 is a quick look.", min=1, max=1_000_000)] = 20_000,
    database: DatabaseOption = Databases.SQLITE,
    database_url: DatabaseUrlOption = "",
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
    database: DatabaseOption = Databases.SQLITE,
    database_url: DatabaseUrlOption = "",
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


@bench.command("train")
def bench_train(
    data: Annotated[Path, typer.Option(help="Conversations to train on.", exists=True)] = DATA,
    base: BaseOption = None,
    rows: Annotated[int, typer.Option(help="Conversations that each contestant sees once.", min=8)] = 32,
    repeats: RepeatsOption = 3,
    batch_size: Annotated[int, typer.Option(help="Rows in one pass.", min=1)] = 4,
    max_length: Annotated[int, typer.Option(help="Tokens that a row may have.", min=32)] = 1024,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    shipped: Annotated[bool, typer.Option(help="TRL as it ships, too: bf16, which some CPUs only imitate.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Train the same rows with our loop and with TRL, each in a process of its own; exit 1 if one did not learn."""
    from app.bench.told import train_row, train_sentence  # noqa: PLC0415
    from app.bench.train import TrainTask, measure_training  # noqa: PLC0415

    settings = get_settings()
    task = TrainTask(
        base=base or settings.home / "bench" / "base", data=data, rows=rows, batch_size=batch_size,
        max_length=max_length, device=device, dtype=dtype,
    )  # fmt: skip
    with console.status("Training") as status:
        found = measure_training(task, repeats=repeats, shipped=shipped, say=status.update)
    if as_json:
        print_json({"load": os.getloadavg(), **found.as_json()})
    else:
        print_rows([train_row(one) for one in found.contestants], as_json=False, empty="")
        console.print(train_sentence(found), highlight=False, soft_wrap=True)
    if not found.holds:
        raise typer.Exit(1)


@bench.command("generate")
def bench_generate(
    data: Annotated[
        Path, typer.Option(help="A suite, or conversations whose first turns are asked.", exists=True)
    ] = ASKED,
    base: BaseOption = None,
    prompts: Annotated[int, typer.Option(help="Prompts that base and three adapters answer.", min=1)] = 16,
    replicates: Annotated[int, typer.Option(help="Responses to each.", min=1)] = 2,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens of a response at most.", min=1)] = 128,
    batch_size: Annotated[int, typer.Option(help="Rows at a time of our engine and of mixed batches.", min=4)] = 64,
    repeats: RepeatsOption = 3,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    as_json: JsonFlag = False,
) -> None:
    """Answer the same prompts with our engine, with transformers and with peft's mixed batches."""
    from app.bench.generation import GenerationTask, measure_generation  # noqa: PLC0415
    from app.bench.told import generation_row, generation_sentence  # noqa: PLC0415

    settings = get_settings()
    task = GenerationTask(
        base=base or settings.home / "bench" / "base", data=data, prompts=prompts, replicates=replicates,
        max_new_tokens=max_new_tokens, batch_size=batch_size, device=device, dtype=dtype,
    )  # fmt: skip
    with console.status("Generating") as status:
        found = measure_generation(task, repeats=repeats, llama_cpp=base is None, say=status.update)
    if as_json:
        print_json({"load": os.getloadavg(), **found.as_json()})
    else:
        print_rows([generation_row(one) for one in found.contestants], as_json=False, empty="")
        console.print(generation_sentence(found), highlight=False, soft_wrap=True)
    if not found.holds:
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
