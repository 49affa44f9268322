"""Judging: asking a judge about an eval batch, going on where it stopped, and what that has cost."""

import uuid
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app import jobs
from app.domain.errors import BadInputError, ConflictError
from app.domain.terms import (
    BatchState,
    CallState,
    JobKind,
    JobState,
    JudgingState,
    SwapMode,
    Trouble,
)
from app.models import EvalBatch, Job, Judge, JudgeCall, Judging, Voter
from app.providers.prices import in_words, price, price_table, worst_case
from app.queries.judging import Calls, Spend, calls_of
from app.services.events import announce


class CapReachedError(ConflictError):
    """The next call could take the spending over the cap."""

    trouble = Trouble.CAP_REACHED


def ask(
    session: Session,
    batch: EvalBatch,
    judge: Judge,
    *,
    mode: SwapMode = SwapMode.BOTH,
    after: Judging | None = None,
    in_batches: bool = False,
    cap: int | None = None,
    projected: int | None = None,
    now: datetime,
) -> Judging:
    """Ask a judge about the pairs of an eval batch, or go on where it stopped; only what is missing is asked for.

    ``cap`` and ``projected`` are millionths of a dollar. The mode of a judge that has begun stays.

    Raises:
        ConflictError: the judge is retired, or at work on this batch, or that is still being imported.
        BadInputError: the cap is not positive, or cannot hold; or ``after`` is of another eval batch.
    """
    if judge.retired_at is not None:
        raise ConflictError("This judge is retired: it takes no new work. Add one with a model that is offered.")
    if batch.state is BatchState.IMPORTING:
        raise ConflictError(f"{batch.name} is still being imported. Ask judges about it when all of it is here.")
    if batch.imported_from is not None and not batch.imported_from["texts"]:
        raise ConflictError(
            f"{batch.name} was imported without its texts, so there is nothing that a judge could read."
        )
    if cap is not None and cap <= 0:
        raise BadInputError("The most that may be spent is more than nothing. Nothing was started.")
    if cap is not None:
        least = worst_case(1, 1, batch=in_batches)
        if price(judge.provider, judge.model, least, now, batch=in_batches, base_url=judge.base_url) is None:
            raise BadInputError(
                f"{judge.model} has no price in {price_table().label}, so no cap can hold. Nothing was started; leave "
                "the cap out."
            )
    if after is not None and after.eval_batch_id != batch.id:
        raise BadInputError("The judge to go by has judged another eval batch. Nothing was started.")
    judging = session.scalar(
        select(Judging).where(Judging.eval_batch_id == batch.id, Judging.judge_id == judge.id).with_for_update()
    )
    if judging is None:
        judging = Judging(
            eval_batch_id=batch.id, judge_id=judge.id, mode=mode, after_id=after.id if after else None, created_at=now
        )
        session.add(judging)
    elif judging.state is JudgingState.RUNNING and _unfinished(session, judging.job_id) is not None:
        raise ConflictError("This judge is at work on this eval batch already. Stop it first, or wait for it.")
    judging.in_batches, judging.cap_micro_dollars, judging.projected_micro_dollars = in_batches, cap, projected
    judging.state, judging.trouble, judging.message, judging.ended_at = JudgingState.RUNNING, None, "", None
    session.flush()
    name = session.get_one(Voter, judge.voter_id).name
    first = _unfinished(session, after.job_id if after else None) or _unfinished(session, batch.job_id)
    judging.job_id = jobs.enqueue(
        session, JobKind.JUDGE, judging.id, title=f"{name} judges {batch.name}", now=now, after=first
    ).id
    announce(session, "verdicts", batch.id, now=now)
    session.flush()
    return judging


def begin(judging: Judging) -> None:
    """Say that it runs again: its job may have been put back in line, or tried again by hand."""
    judging.state, judging.trouble, judging.message, judging.ended_at = JudgingState.RUNNING, None, "", None


def end(
    session: Session,
    judging: Judging,
    state: JudgingState,
    *,
    trouble: Trouble | None = None,
    message: str = "",
    now: datetime,
) -> None:
    """Say that a judge is done or why it stopped."""
    judging.state, judging.trouble, judging.message, judging.ended_at = state, trouble, message, now
    announce(session, "verdicts", judging.eval_batch_id, now=now)
    session.flush()


def stop(session: Session, judging: Judging, *, now: datetime) -> None:
    """Ask a judge to stop. It waits for the calls that are under way, which are paid for; what was said is kept.

    Raises:
        ConflictError: it is not at work.
    """
    job = _unfinished(session, judging.job_id)
    if job is None:
        raise ConflictError("This judge is not at work on this eval batch. Nothing was changed.")
    if jobs.request_cancel(session, job.id, now=now).state is JobState.CANCELLED:
        words = "Somebody stopped it before it began. Nothing was asked and nothing was paid."
        end(session, judging, JudgingState.STOPPED, message=words, now=now)


def spent(session: Session, judging: Judging) -> Spend:
    """What this judging has cost so far, and may have cost: what pages show is what is held against the cap."""
    return calls_of(session, Judging.id, Judging.id == judging.id).get(judging.id, Calls()).spend


def cap_reached(session: Session, judging: Judging) -> CapReachedError:
    """What to say when the next call could cost more than is left."""
    now, cap = spent(session, judging), judging.cap_micro_dollars or 0
    unknown = f" and up to {in_words(now.unknown)} for calls whose replies were lost" if now.unknown else ""
    return CapReachedError(
        f"The cap of {in_words(cap)} is reached: {in_words(now.known)} were spent{unknown}, and the next call "
        "could take it over. All verdicts so far are kept. Raise the cap to go on; only what is missing is asked for."
    )


def never_sent(session: Session, calls: Collection[uuid.UUID], *, now: datetime) -> None:
    """Calls of a batch that the provider does not know: they never arrived and cost nothing."""
    session.execute(
        update(JudgeCall)
        .where(JudgeCall.id.in_(calls), JudgeCall.state == CallState.SENT)
        .values(
            state=CallState.FAILED, trouble=Trouble.NO_NETWORK, ended_at=now,
            detail="No batch at the provider holds this call, so it never arrived there.",
        )
    )  # fmt: skip


def results_gone(session: Session, judging: Judging, provider_batch: str, *, now: datetime) -> None:
    """Calls of a batch whose results the provider does not have, or not any more: nobody can say what they cost."""
    session.execute(
        update(JudgeCall)
        .where(
            JudgeCall.judging_id == judging.id, JudgeCall.state == CallState.SENT,
            JudgeCall.provider_batch == provider_batch,
        )
        .values(
            state=CallState.UNKNOWN, trouble=Trouble.LOST_REPLY, ended_at=now,
            detail="The provider no longer has the results of this batch. It may have been paid for.",
        )
    )  # fmt: skip


def recover(session: Session, judging: Judging, *, now: datetime) -> int:
    """After a crash: calls that went out one by one and whose replies nobody can fetch any more become unknown."""
    lost = session.execute(
        update(JudgeCall)
        .where(JudgeCall.judging_id == judging.id, JudgeCall.state == CallState.SENT, JudgeCall.provider_batch == "")
        .values(
            state=CallState.UNKNOWN, trouble=Trouble.LOST_REPLY, ended_at=now,
            detail="The arena stopped before the reply came. It may have been paid for.",
        )
        .returning(JudgeCall.id)
    ).all()  # fmt: skip
    return len(lost)


def _unfinished(session: Session, job_id: uuid.UUID | None) -> Job | None:
    job = session.get(Job, job_id) if job_id else None
    return job if job is not None and job.state in (JobState.QUEUED, JobState.RUNNING) else None
