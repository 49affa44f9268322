"""``arena judge``: ask judges about an eval batch, within a cap; the same command again goes on where it stopped."""

import contextlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.cli.follow import JobEndedError, follow
from app.cli.library import DetachFlag
from app.cli.output import JsonFlag, print_json, print_rows, quiet
from app.cli.paying import YesFlag, agree
from app.cli.prepare import prepare
from app.db import session_scope
from app.domain.errors import ConflictError, NotFoundError
from app.domain.terms import CallState, JobState, SwapMode
from app.models import EvalBatch, Job, Judge, Judging, Voter
from app.providers.prices import MICRO, in_words
from app.queries.judging import JudgingView, judging_views
from app.queries.lookup import find_batch
from app.services import judging
from app.services.judges import find_judge
from app.services.projection import Projection, project


def judge(
    batch: str,
    judges: Annotated[list[str], typer.Option("--judge", help="A judge; may be given several times.")],
    cheap: Annotated[
        bool, typer.Option("--cheap", help="The other order only where the first was no tie: fewer calls.")
    ] = False,
    torn_after: Annotated[
        str, typer.Option(metavar="JUDGE", help="The others see only pairs on which this judge was torn.")
    ] = "",
    in_batches: Annotated[
        bool, typer.Option("--in-batches", help="By the provider's batches: half the price, within a day.")
    ] = False,
    cap: Annotated[
        str, typer.Option(metavar="DOLLARS", help="The most that each judge may spend in all; else the worst case.")
    ] = "",
    yes: YesFlag = False,
    detach: DetachFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Ask judges about the pairs of an eval batch. Only what is missing is asked for, now and when given again."""
    prepare()
    limit, mode = _micro_dollars(cap), SwapMode.DECISIVE if cheap else SwapMode.BOTH
    with session_scope(write=False) as session:
        found = find_batch(session, batch)
        asked = _in_turn(session, judges, torn_after)
        plans = [_plan(session, found, one, torn_after, mode, limit, in_batches=in_batches) for one in asked]
    with quiet(as_json):
        for plan in plans:
            agree(plan.words, plan.projection.worst, plan.projection.table, expected=plan.projection.expected,
                  yes=yes, free=plan.simulated)  # fmt: skip
    begun: dict[str, Judging] = {}
    with session_scope() as session:
        for plan in plans:
            begun[plan.name] = _begin(session, found, plan, torn_after, mode, in_batches=in_batches)
    troubles = [] if detach else _follow(list(begun.values()), as_json=as_json)
    with session_scope(write=False) as session:
        views = judging_views(session, Judging.id.in_([one.id for one in begun.values()]))
    if as_json:
        print_json({"batch": found.name, "judges": [_row(view) for view in views]})
    else:
        print_rows([_line(view) for view in views], as_json=False, empty="")
    if troubles:
        raise JobEndedError(" ".join(troubles))


@dataclass(frozen=True)
class _Plan:
    """One judge that is to be asked."""

    judge_id: uuid.UUID
    name: str
    simulated: bool
    projection: Projection
    cap: int | None
    words: str


def _micro_dollars(text: str) -> int | None:
    if not text:
        return None
    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal(0)
    if not amount.is_finite() or int(amount * MICRO) <= 0:
        raise typer.BadParameter(f"{text!r} is no sum of dollars; write it like 2.50.", param_hint="--cap")
    return int(amount * MICRO)


def _in_turn(session: Session, names: list[str], torn_after: str) -> list[Judge]:
    """The judges that are named, each once; the one that the others go by comes first."""
    found = {one.id: one for one in (find_judge(session, name) for name in names)}
    first = find_judge(session, torn_after).id if torn_after else None
    return sorted(found.values(), key=lambda one: one.id != first)


def _judging_of(session: Session, batch: EvalBatch, judge_id: uuid.UUID) -> Judging | None:
    return session.scalar(select(Judging).where(Judging.eval_batch_id == batch.id, Judging.judge_id == judge_id))


def _plan(
    session: Session,
    batch: EvalBatch,
    one: Judge,
    torn_after: str,
    mode: SwapMode,
    limit: int | None,
    *,
    in_batches: bool,
) -> _Plan:
    voter = session.get_one(Voter, one.voter_id)
    before = _judging_of(session, batch, one.id)
    earlier = find_judge(session, torn_after) if torn_after else None
    after = _judging_of(session, batch, earlier.id) if earlier and earlier.id != one.id else None
    if before is not None:  # what it has begun stays as it was begun
        mode, after = before.mode, session.get(Judging, before.after_id) if before.after_id else None
    found = project(session, batch, one, mode=mode, after=after, in_batches=in_batches, now=datetime.now(UTC))
    cap = limit
    if found.worst is not None and limit is None:
        job = session.get(Job, batch.job_id) if batch.job_id else None
        if job is not None and job.state in (JobState.QUEUED, JobState.RUNNING):
            raise ConflictError(
                f"The responses of {batch.name} are still being written, so nobody can say what judging them costs at "
                "most. Nothing was started; wait until they are there, or give --cap."
            )
        cap = max((judging.spent(session, before).at_most if before else 0) + found.worst, 1)
    most = "at most " if mode is SwapMode.DECISIVE or after else ""
    words = f"{voter.name} on {batch.name}: {found.pairs} pairs, {most}{found.calls} calls"
    if limit is not None:
        words += f", capped at {in_words(limit)} in all"
    return _Plan(one.id, voter.name, voter.simulated, found, cap, words)


def _begin(
    session: Session, batch: EvalBatch, plan: _Plan, torn_after: str, mode: SwapMode,
    *, in_batches: bool,
) -> Judging:  # fmt: skip
    after = None
    if torn_after:
        earlier = find_judge(session, torn_after)
        if earlier.id != plan.judge_id:
            after = _judging_of(session, batch, earlier.id)
            if after is None:
                raise NotFoundError(
                    f"{torn_after} was not asked about {batch.name} yet. Nothing was started; name it with --judge too."
                )
    return judging.ask(
        session, session.get_one(EvalBatch, batch.id), session.get_one(Judge, plan.judge_id), mode=mode, after=after,
        in_batches=in_batches, cap=plan.cap, projected=plan.projection.expected, now=datetime.now(UTC),
    )  # fmt: skip


def _follow(begun: list[Judging], *, as_json: bool) -> list[str]:
    """Wait for all of them; returns why some stopped. Who stops one at the terminal stops them all."""
    troubles = []
    for one in begun:
        try:
            with quiet(as_json):
                follow(one.job_id, shown=not as_json)
        except JobEndedError as error:
            troubles.append(error.message)
            with session_scope() as session:
                if one.job_id and session.get_one(Job, one.job_id).state is JobState.CANCELLED:
                    for other in begun:
                        with contextlib.suppress(ConflictError):  # it has ended already
                            judging.stop(session, session.get_one(Judging, other.id), now=datetime.now(UTC))
    return troubles


def _row(view: JudgingView) -> dict[str, object]:
    spend = view.calls.spend
    return {
        "judge": view.judge,
        "model": view.model,
        "simulated": view.simulated,
        "state": view.state.value,
        "trouble": view.trouble.value if view.trouble else None,
        "message": view.message,
        "verdicts": view.verdicts,
        "unparsed": view.without,
        "open": view.waiting,
        "pairs": view.pairs,
        "calls": view.calls.sent,
        "unknown_calls": view.calls.states[CallState.UNKNOWN],
        "spent_micro_dollars": spend.known if view.priced else None,
        "unknown_micro_dollars": spend.unknown if view.priced else None,
        "cap_micro_dollars": view.cap,
        "projected_micro_dollars": view.projected,
    }


def _line(view: JudgingView) -> dict[str, object]:
    spend = view.calls.spend
    unknown = view.calls.states[CallState.UNKNOWN]
    return {
        "judge": view.judge + (" (simulated)" if view.simulated else ""),
        "state": view.state.value,
        "verdicts": view.verdicts,
        "unparsed": view.without,
        "spent": in_words(spend.known) if view.priced else "no price",
        "cap": in_words(view.cap) if view.cap is not None else "none",
        "unknown": f"{unknown} calls, at most {in_words(spend.unknown)}" if unknown else "none",
    }
