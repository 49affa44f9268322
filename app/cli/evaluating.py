"""``arena launch | batches | status | report``: from checkpoints to an answer."""

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.address import last_known
from app.cli.exclusion import EXCLUSION_HELP, exclusion_of
from app.cli.follow import follow
from app.cli.library import DetachFlag, NameOption
from app.cli.output import JsonFlag, console, print_json, print_rows
from app.cli.prepare import prepare
from app.cli.report_files import write_report
from app.config import get_settings
from app.db import get_database, session_scope
from app.domain.sampling import Sampling
from app.domain.serving import read_names
from app.domain.terms import Design, Queue, Reveal
from app.models import EvalBatch
from app.queries.batches import BatchRow, batch_rows
from app.queries.jobs import unfinished_jobs, worker_alive
from app.queries.lookup import find_batch
from app.queries.report import report as report_of
from app.services import eval_batches, reruns
from app.services.eval_batches import BASE_WORD, LaunchPlan
from app.services.launching import look_at_server
from app.web.report_files import html_of, markdown_of

batches = typer.Typer(help="Eval batches: the frozen plans of comparisons.", no_args_is_help=True)


def launch(
    suite: Annotated[str, typer.Option(help="Name of a suite, or name@version.")],
    challenger: Annotated[list[str], typer.Option(help="A checkpoint; may be given several times.")],
    baseline: Annotated[str, typer.Option(help="A checkpoint, or the word base.")] = BASE_WORD,
    replicates: Annotated[int, typer.Option(help="Responses per prompt and checkpoint.")] = 1,
    votes: Annotated[int, typer.Option(help="Votes wanted per pair.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of all sampling.")] = 1,
    temperature: Annotated[float, typer.Option()] = Sampling.temperature,
    top_p: Annotated[float, typer.Option()] = Sampling.top_p,
    max_new_tokens: Annotated[int, typer.Option(help="Longest response, in tokens.")] = Sampling.max_new_tokens,
    top_k: Annotated[int, typer.Option(help="Only so many of the likeliest tokens; 0: all.")] = Sampling.top_k,
    repetition_penalty: Annotated[
        float, typer.Option(help="Makes tokens that were there already less likely; 1: not at all.")
    ] = Sampling.repetition_penalty,
    server: Annotated[
        str, typer.Option(help="A server that writes the responses (vLLM, llama.cpp, Ollama): http://HOST:8000/v1.")
    ] = "",
    model: Annotated[
        list[str] | None, typer.Option(help="CHECKPOINT=NAME: what it is called there, base=NAME for the base.")
    ] = None,
    round_robin: Annotated[bool, typer.Option("--round-robin", help="Challengers also meet each other.")] = False,
    allow_repeats: Annotated[bool, typer.Option("--allow-repeats", help="One person may vote on all pairs.")] = False,
    gold: Annotated[int, typer.Option(help="Pairs with a known better text; each rater gets each in both orders.")] = 0,
    repeats: Annotated[int, typer.Option(help="Pairs shown again to each rater, sides exchanged.")] = 0,
    placebo: Annotated[int, typer.Option(help="Pairs of the baseline with itself, at most one a prompt.")] = 0,
    canaries: Annotated[int, typer.Option(help="Pairs that a script votes on, to find a mixed-up order.")] = 4,
    ask_recognised: Annotated[
        bool, typer.Option("--ask-recognised", help="Ask raters whether they recognised a checkpoint.")
    ] = False,
    votes_per_rater: Annotated[int | None, typer.Option(help="Votes by one rater, at most.")] = None,
    most_votes: Annotated[int | None, typer.Option(help="Votes in all, at most.")] = None,
    reveal: Annotated[Reveal, typer.Option(help="When it is told who wrote what.")] = Reveal.AT_CLOSE,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave raters out: " + EXCLUSION_HELP + "; may be given several times.")
    ] = None,
    name: NameOption = "",
    detach: DetachFlag = False,
) -> None:
    """Launch an eval batch and write its responses; voting opens pair by pair."""
    prepare()
    plan = LaunchPlan(
        suite=suite,
        challengers=tuple(challenger),
        baseline=baseline,
        name=name,
        design=Design.ROUND_ROBIN if round_robin else Design.STAR,
        sampling=Sampling(
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            max_new_tokens=max_new_tokens,
            repetition_penalty=repetition_penalty,
        ),
        replicates=replicates,
        votes_per_pair=votes,
        seed=seed,
        allow_repeats=allow_repeats,
        reveal=reveal,
        exclusion=exclusion_of(exclude or []),
        rater_limit=votes_per_rater,
        vote_limit=most_votes,
        gold_pairs=gold,
        repeat_pairs=repeats,
        placebo_pairs=placebo,
        canary_pairs=canaries,
        ask_recognised=ask_recognised,
        server=server,
        served_as=read_names(model or []),
    )
    look_at_server(get_database(), plan, get_settings())
    with session_scope() as session:
        batch = eval_batches.launch(session, plan, secret=get_settings().secret_key(), now=datetime.now(UTC))
    console.print(f"Eval batch {batch.name}: {batch.planned_pairs} pairs planned.", highlight=False)
    if not detach:
        follow(batch.job_id)
        console.print(f"Vote at {last_known(get_settings())}/vote/{batch.id}", soft_wrap=True)


def _shown(row: BatchRow) -> dict[str, object]:
    return {
        "name": row.name,
        "id": str(row.id),
        "suite": row.suite,
        "baseline": row.baseline,
        "challengers": list(row.challengers),
        "state": row.state.value,
        "job": row.job.state.value if row.job else None,
        "pairs": row.pairs,
        "planned_pairs": row.planned_pairs,
        "settled": row.settled,
        "votes": row.votes,
        "simulated_votes": row.simulated_votes,
        "votes_wanted": row.votes_wanted,
        "server": row.server,
    }


def _for_terminal(row: BatchRow) -> dict[str, object]:
    return {
        "name": row.name,
        "suite": row.suite,
        "challengers": ", ".join(row.challengers),
        "state": "generating" if row.generating else row.state.value,
        "pairs": f"{row.pairs}/{row.planned_pairs}",
        "votes": f"{row.votes}/{row.votes_wanted}"
        + (f" ({row.simulated_votes} simulated)" if row.simulated_votes else ""),
    }


@batches.command("list")
def batches_list(as_json: JsonFlag = False) -> None:
    """List eval batches."""
    prepare()
    with session_scope(write=False) as session:
        rows = batch_rows(session)
    print_rows(
        [_shown(row) if as_json else _for_terminal(row) for row in rows],
        as_json=as_json,
        empty="No eval batch yet. Launch one: ./arena launch --suite brie-in-domain --challenger NAME",
    )


@batches.command("close")
def batches_close(batch: str) -> None:
    """End voting on an eval batch for good."""
    prepare()
    with session_scope() as session:
        found = find_batch(session, batch)
        eval_batches.close(session, found, now=datetime.now(UTC))
    console.print(f"{found.name} is closed. See ./arena report {shlex.quote(found.name)}", highlight=False)


@batches.command("rerun")
def batches_rerun(batch: str, detach: DetachFlag = False) -> None:
    """Launch the same plan again with new seeds; the results then compare the two."""
    prepare()
    with session_scope() as session:
        found = find_batch(session, batch)
        again = reruns.rerun(session, found, secret=get_settings().secret_key(), now=datetime.now(UTC))
    console.print(f"Eval batch {again.name}: {again.planned_pairs} pairs planned.", highlight=False)
    if not detach:
        follow(again.job_id)
        console.print(f"Vote at {last_known(get_settings())}/vote/{again.id}", soft_wrap=True)


def status(batch: Annotated[str, typer.Argument(help="One eval batch only.")] = "", as_json: JsonFlag = False) -> None:
    """Show what runs, what waits and whether a worker is there."""
    settings = prepare()
    with session_scope(write=False) as session:
        only = (EvalBatch.id == find_batch(session, batch).id,) if batch else ()
        rows = batch_rows(session, *only)
        jobs = unfinished_jobs(session)
        alive = worker_alive(session, queue=Queue.GPU, now=datetime.now(UTC), stale_seconds=settings.stale_seconds)
    if as_json:
        print_json(
            {
                "worker": alive,
                "jobs": [
                    {
                        "title": job.title,
                        "state": job.state.value,
                        "done": job.done,
                        "total": job.total,
                        "message": job.message,
                        "eta_seconds": job.eta_seconds,
                    }
                    for job in jobs
                ],
                "batches": [_shown(row) for row in rows],
            }
        )
        return
    console.print(f"Worker: {'running' if alive else 'none; start one with ./arena worker or ./arena up'}")
    for job in jobs:
        console.print(f"{job.state.value}: {job.title} ({job.done}/{job.total}) {job.message}", highlight=False)
    print_rows([_for_terminal(row) for row in rows], as_json=False, empty="No eval batch yet.")


def report(
    batch: str,
    html: Annotated[Path | None, typer.Option(help="Write the report of a closed batch as one HTML file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write it as Markdown.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Print what the votes say, with intervals. Exit code 1 when the canaries found an order mixed up."""
    settings = prepare()
    if html or markdown:
        write_report(batch, {html: html_of, markdown: markdown_of}, settings.secret_key())
        return
    with session_scope(write=False) as session:
        found = report_of(session, find_batch(session, batch).id)
    suspect = bool(found["mapping_suspect"])
    if as_json:
        print_json(found)
    elif suspect:
        console.print(found["canaries"]["sentence"], highlight=False, soft_wrap=True)
    else:
        _print_report(found)
    if suspect:
        raise typer.Exit(1)


def _print_report(found: dict[str, Any]) -> None:
    for matchup in found["matchups"]:
        console.print(matchup["sentence"], highlight=False, soft_wrap=True)
        cells = {"all prompts": matchup["raters"]["all"], **matchup["raters"]["domains"]}
        cells |= matchup["raters"]["categories"]
        print_rows([_line(label, cell) for label, cell in cells.items()], as_json=False, empty="No votes yet.")
    if not found["matchups"]:
        console.print("No pairs yet. Responses are written first; voting opens pair by pair.")
    for check in ("placebo", "gold"):
        if found[check]:
            console.print(found[check]["sentence"], highlight=False, soft_wrap=True)


def _line(label: str, cell: dict[str, object]) -> dict[str, object]:
    def span(value: object) -> str:
        return f"{value[0]:.1%} to {value[1]:.1%}" if isinstance(value, list) else "too early"

    rate = cell["win_rate"]
    return {
        "prompts like": label,
        "n": cell["n"],
        "wins": cell["wins"],
        "losses": cell["losses"],
        "ties": cell["ties"],
        "win rate": f"{rate:.1%}" if isinstance(rate, float) else "",
        "live": span(cell["live"]),
        "fixed": span(cell["fixed"]),
    }
