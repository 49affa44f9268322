"""What a judge would cost on an eval batch, before it is asked: expected, and at worst."""

from dataclasses import dataclass
from datetime import datetime
from math import ceil

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from app.domain.judging import judge_prompt
from app.domain.terms import CallState, PairKind
from app.models import Ballot, EvalBatch, Judge, JudgeCall, Judging, Pair, Prompt, Response
from app.providers.calls import Parameters, Usage
from app.providers.prices import price, price_table, worst_case
from app.queries.suites import messages_of
from app.services.judge_calls import BYTES_PER_TOKEN

_LIKELY_BYTES_PER_TOKEN = 4.0
_LIKELY_REPLY = 250
"""Tokens of a reply by a judge that has not replied yet: about 180 words of reasoning."""
_CODE = "0" * 32


@dataclass(frozen=True)
class Projection:
    """Money in millionths of a dollar; ``None``: the model has no price in the table."""

    pairs: int
    calls: int
    """At most: in the cheap mode, ties need no second order."""
    expected: int | None
    worst: int | None
    table: str


def project(session: Session, batch: EvalBatch, judge: Judge, *, in_batches: bool = False, now: datetime) -> Projection:
    """The cost of what is missing: pairs formed so far that this judge has not seen."""
    first, second = aliased(Response), aliased(Response)
    seen = select(Ballot.id).where(Ballot.pair_id == Pair.id, Ballot.voter_id == judge.voter_id)
    rows = session.execute(
        select(Prompt.messages, func.length(first.text) + func.length(second.text))
        .select_from(Pair)
        .join(Prompt, Prompt.id == Pair.prompt_id)
        .join(first, first.id == Pair.first_response_id)
        .join(second, second.id == Pair.second_response_id)
        .where(Pair.eval_batch_id == batch.id, Pair.kind == PairKind.MAIN, Pair.settled.is_(None), ~seen.exists())
    ).all()
    empty = judge_prompt(judge.rubric_text, (), "", "", _CODE)
    around = len((empty.system + empty.user + batch.system_prompt).encode())
    sizes = [
        around + texts + sum(len(turn.content.encode()) for turn in messages_of(messages)) for messages, texts in rows
    ]
    parameters = Parameters(**judge.parameters)
    reply = min(_usual_reply(session, judge), parameters.max_tokens)
    expected = worst = 0
    priced = True
    for size in sizes:
        likely = Usage(input_tokens=ceil(size / _LIKELY_BYTES_PER_TOKEN), output_tokens=reply)
        most = worst_case(ceil(size / BYTES_PER_TOKEN), parameters.max_tokens, batch=in_batches)
        for usage, is_worst in ((likely, False), (most, True)):
            found = price(judge.provider, judge.model, usage, now, batch=in_batches, base_url=judge.base_url)
            if found is None:
                priced = False
            elif is_worst:
                worst += 2 * found.micro_dollars
            else:
                expected += 2 * found.micro_dollars
    return Projection(
        pairs=len(sizes),
        calls=2 * len(sizes),
        expected=expected if priced else None,
        worst=worst if priced else None,
        table=price_table().label,
    )


def _usual_reply(session: Session, judge: Judge) -> int:
    """Tokens of this judge's replies so far, on average."""
    mean = session.scalar(
        select(func.avg(JudgeCall.output_tokens))
        .join(Judging, Judging.id == JudgeCall.judging_id)
        .where(Judging.judge_id == judge.id, JudgeCall.state == CallState.VERDICT)
    )
    return ceil(mean) if mean else _LIKELY_REPLY
