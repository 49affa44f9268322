"""``arena import``: comparisons that were made elsewhere, to be read, checked and judged like one's own."""

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import ProgressColumn, Task
from rich.text import Text

from app.cli.output import JsonFlag, console, print_json, progress_bar
from app.cli.prepare import prepare
from app.db import get_database
from app.domain.errors import BadInputError
from app.domain.imports.formats import FORMATS
from app.domain.imports.items import Log, Problem
from app.domain.terms import Domain, VoterKind
from app.services import import_plan, imports
from app.services.import_gather import Gathered
from app.services.import_plan import ImportPlan

_SHOWN = 10
"""Problems that are printed."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """How many a second."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


def import_files(
    format_name: Annotated[
        str, typer.Argument(metavar="FORMAT", help="; ".join(f"{one.name}: {one.files}" for one in FORMATS.values()))
    ],
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="The files of one study; .gz is read, too.")],
    name: Annotated[str, typer.Option(help="What the eval batch is called.")],
    baseline: Annotated[str, typer.Option(help="The checkpoint that the others are compared with.")] = "",
    domain: Annotated[
        Domain, typer.Option(help="Where prompts lie of which the files do not tell it.")
    ] = Domain.OUT_OF_DOMAIN,
    problems: Annotated[Path | None, typer.Option(help="Write every problem into this file, one a line.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Import comparisons that were made elsewhere. Given again, it goes on where it stopped, or changes nothing."""
    settings = prepare()
    began = time.monotonic()
    with _told(problems) as log, console.status("Reading the files"):
        gathered = imports.gather(format_name, paths, log, domain)
    planned = import_plan.plan(gathered, name, baseline=baseline)
    with progress_bar(_Rate(), shown=not as_json) as bar:
        task = bar.add_task("verdicts", total=len(gathered.verdicts))
        stored = imports.run(
            get_database(), gathered, planned, secret=settings.secret_key(), clock=lambda: datetime.now(UTC),
            told=lambda verdicts: bar.advance(task, verdicts),
        )  # fmt: skip
    told = _summary(gathered, planned, there=stored.before, seconds=time.monotonic() - began)
    if as_json:
        print_json({**told, "problems": [{**one._asdict()} for one in log.problems]})
        return
    _print(told, log, problems, complete=stored.complete)


def _domain_words(told: dict[str, Any]) -> str:
    number = told["without_domain"]
    usual = Domain(told["counted_as"])
    other = next(one for one in Domain if one is not usual)
    count = "it counts" if number == 1 else "they count"
    return (
        f"The files do not tell the domain of {number:,} {'prompt' if number == 1 else 'prompts'}: {count} as "
        f"{usual.value}. If that is wrong, import again with --domain {other.value} and another --name."
    )


@contextmanager
def _told(path: Path | None) -> Iterator[Log]:
    """A log that writes every problem into a file, where one is wanted."""
    if path is None:
        yield Log()
        return

    def write(problem: Problem) -> None:
        file.write(f"{'taken' if problem.taken else 'refused'}\t{problem}\n")

    try:
        with path.open("w", encoding="utf-8") as file:
            yield Log(sink=write)
    except OSError as error:
        raise BadInputError(f"{path} cannot be written ({error.strerror}). Nothing was imported.") from error


def _summary(gathered: Gathered, planned: ImportPlan, *, there: int, seconds: float) -> dict[str, Any]:
    log, verdicts = gathered.log, gathered.verdicts
    kinds = [voter.kind for voter in gathered.voters]
    return {
        "batch": planned.name,
        "format": gathered.format,
        "rows": log.read,
        "prompts": len(planned.prompts),
        "without_domain": gathered.without_domain,
        "counted_as": gathered.usual.value,
        "checkpoints": len(planned.members),
        "pairs": len(gathered.pairs),
        "verdicts": len(verdicts),
        "taken": len(verdicts) - there,
        "already_there": there,
        "refused": log.refused,
        "noted": log.noted,
        "raters": kinds.count(VoterKind.RATER),
        "judges": kinds.count(VoterKind.JUDGE),
        "seconds": round(seconds, 3),
    }


def _print(told: dict[str, Any], log: Log, problems: Path | None, *, complete: bool) -> None:
    if complete:
        console.print(f"All of it is in {told['batch']} already; nothing was changed.", highlight=False)
    else:
        console.print(
            f"{told['batch']}: {told['taken']:,} verdicts taken, {told['already_there']:,} already there, on "
            f"{told['pairs']:,} pairs of {told['checkpoints']} checkpoints and {told['prompts']:,} prompts, by "
            f"{told['raters']:,} raters and {told['judges']} judges.",
            highlight=False,
        )
    console.print(
        f"{told['rows']:,} rows read, {log.refused:,} refused, {log.noted:,} taken with a note.", highlight=False
    )
    if told["without_domain"]:
        console.print(_domain_words(told), highlight=False, soft_wrap=True)
    told_first = sorted(log.problems, key=lambda one: one.taken)[:_SHOWN]
    for one in told_first:
        console.print(f"{'Taken' if one.taken else 'Refused'}: {one}", highlight=False, markup=False, soft_wrap=True)
    more = log.refused + log.noted - len(told_first)
    if problems is not None:
        console.print(f"All of them are in {problems}.", highlight=False, soft_wrap=True)
    elif more > 0:
        console.print(f"{more:,} more; --problems FILE writes all.", highlight=False)
    console.print(f"See ./arena report {shlex.quote(told['batch'])}", highlight=False)
