"""``arena study brie``: the whole comparison as one command, from training to the report.

Each stage is looked for by its name before it is begun, so the same command again goes on where it was broken off, and
brings the report up to date when votes have come in.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import select
from sqlalchemy.orm import Session

from app import jobs
from app.cli.address import last_known
from app.cli.follow import follow
from app.cli.judging import judge
from app.cli.output import console, json_text, save
from app.cli.paying import YesFlag
from app.cli.prepare import prepare
from app.cli.report_files import write_report
from app.config import DATA, Settings
from app.db import session_scope
from app.domain.errors import BadInputError
from app.domain.names import check_name
from app.domain.recipes import find_recipe
from app.domain.sampling import Sampling
from app.domain.terms import BatchState, JobState, ProviderKind
from app.models import EvalBatch, Job, Judge, Run, Voter
from app.queries.report import report as report_of
from app.queries.runs import RunPage, run_page
from app.services import eval_batches
from app.services.eval_batches import LaunchPlan
from app.services.runs import launch_run
from app.web.report_files import html_of, markdown_of

study = typer.Typer(help="Whole studies as one command.", no_args_is_help=True)

SUITES = ("brie-in-domain", "brie-out-of-domain", "brie-comprehensive")
_CHECKPOINTS = 2
"""The first and the last of the run: the origin once evaluated the one and meant the other."""


@study.callback()
def _group() -> None:
    """Whole studies as one command."""


@study.command("brie")
def study_brie(
    name: Annotated[str, typer.Option(help="What the run, the eval batches and the folder are called.")] = "brie-study",
    recipe: Annotated[str, typer.Option(help="A recipe that saves a checkpoint after each epoch.")] = "brie-v2",
    base: Annotated[str, typer.Option(help="Another base model than the recipe's.")] = "",
    suites: Annotated[
        list[str] | None, typer.Option("--suite", help="Suites; the three shipped ones by default.")
    ] = None,
    replicates: Annotated[int, typer.Option(help="Responses per prompt and checkpoint.", min=1)] = 3,
    max_new_tokens: Annotated[int, typer.Option(help="Longest response, in tokens.", min=1)] = 320,
    votes: Annotated[int, typer.Option(help="Votes wanted per pair.", min=1)] = 1,
    judges: Annotated[bool, typer.Option(help="Ask all judges that are configured.")] = True,
    cap: Annotated[str, typer.Option(metavar="DOLLARS", help="The most that each judge may spend on a suite.")] = "",
    yes: YesFlag = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the report; var/studies/NAME by default.")] = None,
) -> None:
    """Train two epochs, compare the first and the last checkpoint with the base on every suite, judge, and report."""
    settings = prepare()
    check_name(name, "study")
    _train(name, recipe, base)
    with session_scope(write=False) as session:
        page = run_page(session, _run_of(session, name).id)
    batches = [
        _compare(settings, f"{name}-{suite}", suite, page, replicates, max_new_tokens, votes)
        for suite in suites or SUITES
    ]
    asked = _judges() if judges else []
    for batch in batches:
        if asked:
            console.print(f"Judges on {batch}: {', '.join(asked)}", highlight=False)
            judge(batch, asked, cap=cap, yes=yes)
    if judges and not asked:
        console.print("No judge is configured, so none was asked: ./arena judges add, then this command again.")
    _report(settings, out or settings.home / "studies" / name, page, batches)


def _run_of(session: Session, name: str) -> Run:
    return session.scalars(select(Run).where(Run.name == name)).one()


def _train(name: str, recipe: str, base: str) -> None:
    with session_scope() as session:
        run = session.scalar(select(Run).where(Run.name == name))
        if run is None:
            found = find_recipe(DATA / "recipes", recipe)
            run = launch_run(session, found, now=datetime.now(UTC), base=base, name=name)
        job_id = _going_on(session, run.job_id)
    console.print(f"Run {name}", highlight=False)
    follow(job_id)


def _going_on(session: Session, job_id: Any) -> Any:
    """The job, put back in line where it was broken off."""
    job = session.get(Job, job_id) if job_id else None
    if job is not None and job.state in (JobState.FAILED, JobState.CANCELLED):
        jobs.retry(session, job.id, now=datetime.now(UTC))
    return job_id


def _compare(
    settings: Settings, name: str, suite: str, page: RunPage, replicates: int, max_new_tokens: int, votes: int
) -> str:
    """Launch an eval batch, or find it again, and wait until its responses are there."""
    saved = sorted(page.checkpoints, key=lambda one: one.step or 0)
    if len(saved) < _CHECKPOINTS:
        raise BadInputError(
            f"The run {page.run.name} saved {len(saved)} checkpoints, and a study compares its first with its last. "
            "Nothing was launched. Take a recipe with save_strategy = epoch and two epochs, and another --name."
        )
    with session_scope() as session:
        batch = session.scalar(select(EvalBatch).where(EvalBatch.name == name))
        if batch is None:
            plan = LaunchPlan(
                suite=suite, challengers=(saved[0].name, saved[-1].name), name=name, replicates=replicates,
                votes_per_pair=votes, sampling=Sampling(max_new_tokens=max_new_tokens), allow_repeats=True,
            )  # fmt: skip
            batch = eval_batches.launch(session, plan, secret=settings.secret_key(), now=datetime.now(UTC))
        job_id = _going_on(session, batch.job_id)
    console.print(f"Eval batch {name}: {batch.planned_pairs} pairs planned.", highlight=False)
    follow(job_id)
    console.print(f"Vote at {last_known(settings)}/vote/{batch.id}", soft_wrap=True)
    return name


def _judges() -> list[str]:
    """All that can be asked, but for simulated ones: what they say would be about nothing."""
    with session_scope(write=False) as session:
        query = (
            select(Voter.name)
            .join(Judge, Judge.voter_id == Voter.id)
            .where(Judge.retired_at.is_(None), Judge.provider != ProviderKind.IMPORTED, Voter.simulated.is_(False))
            .order_by(Voter.name)
        )
        return list(session.scalars(query))


def _report(settings: Settings, folder: Path, page: RunPage, batches: Sequence[str]) -> None:
    """One text for the study, and of each eval batch the report as JSON, once it is closed also as it is published."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(f"{folder} cannot be made: {error.strerror}. Everything else is stored.") from error
    told = {}
    for name in batches:
        with session_scope(write=False) as session:
            batch = session.scalars(select(EvalBatch).where(EvalBatch.name == name)).one()
            told[name] = report_of(session, batch.id)
            closed = batch.state is BatchState.CLOSED
        save(folder / f"{name}.json", json_text(told[name]))
        if closed:
            write_report(
                name, {folder / f"{name}.html": html_of, folder / f"{name}.md": markdown_of}, settings.secret_key()
            )
    text = in_words(page, told)
    save(folder / "study.md", text)
    console.print(text, highlight=False, soft_wrap=True, markup=False)


def in_words(page: RunPage, told: dict[str, dict[str, Any]]) -> str:
    """The study as Markdown: what training did, and of each suite the sentences of its report."""
    lines = [f"# {page.run.name}", "", page.sentence, ""]
    lines += [f"- {note}" for note in page.notes]
    lines += ["", "| step | validation loss | perplexity |", "| ---: | ---: | ---: |"]
    lines += [f"| {one.step} | {one.loss:.3f} | {math.exp(one.loss):.1f} |" for one in page.validation]
    for name, report in told.items():
        lines += ["", f"## {name}", ""]
        if report["mapping_suspect"]:
            lines.append(report["canaries"]["sentence"])
            continue
        said = [one["sentence"] for one in report["matchups"]]
        said += [one["sentence"] for one in report["contrasts"]]
        lines += [f"- {sentence}" for sentence in said] or ["No votes yet."]
    return "\n".join(lines) + "\n"
