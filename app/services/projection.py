"""What a judge would cost on an eval batch, before it is asked: expected, and at worst."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.orm import Session, aliased

from app.domain.judging import judge_prompt
from app.domain.terms import BallotState, CallState, JudgingState, Outcome, PairKind, SwapMode
from app.models import Ballot, EvalBatch, Judge, JudgeCall, Judging, Pair, Prompt, Response, Verdict
from app.providers.calls import Parameters, Usage
from app.providers.prices import price, price_table, worst_case
from app.queries.suites import messages_of
from app.services.judge_ballots import torn
from app.services.judge_calls import BYTES_PER_TOKEN

_LIKELY_BYTES_PER_TOKEN = 4.0
_LIKELY_REPLY = 250
"""Tokens of a reply by a judge that has not replied yet: about 180 words of reasoning."""
_CODE = "0" * 32
_STEP = 128
"""Bytes to which a request is rounded up: many are then as long, and a price is looked up once for them."""


@dataclass(frozen=True)
class Projection:
    """Money in millionths of a dollar; ``None``: the model has no price in the table."""

    pairs: int
    calls: int
    """At most: in the cheap mode, ties need no second order."""
    expected: int | None
    worst: int | None
    table: str


def project(
    session: Session,
    batch: EvalBatch,
    judge: Judge,
    *,
    mode: SwapMode = SwapMode.BOTH,
    after: Judging | None = None,
    in_batches: bool = False,
    now: datetime,
) -> Projection:
    """The cost of what is missing: pairs formed so far that this judge has not seen, in one order or both.

    ``after``: of the pairs that are new to it, only those on which this other judge was torn, once that one is done.
    """
    first, second = aliased(Response), aliased(Response)
    missing = _missing(judge, mode)
    wanted = missing > 0
    if after is not None and after.state is JudgingState.DONE:
        hard = torn(batch.id, session.get_one(Judge, after.judge_id).voter_id)
        wanted = and_(wanted, or_(Pair.id.in_(hard), missing == 1))
    rows = session.execute(
        select(Prompt.messages, func.length(first.text) + func.length(second.text), missing)
        .select_from(Pair)
        .join(Prompt, Prompt.id == Pair.prompt_id)
        .join(first, first.id == Pair.first_response_id)
        .join(second, second.id == Pair.second_response_id)
        .where(Pair.eval_batch_id == batch.id, Pair.kind == PairKind.MAIN, Pair.settled.is_(None), wanted)
    ).all()
    empty = judge_prompt(judge.rubric_text, (), "", "", _CODE)
    around = len((empty.system + empty.user + batch.system_prompt).encode())
    sizes: Counter[int] = Counter()
    for messages, texts, calls in rows:
        size = around + texts + sum(len(turn.content.encode()) for turn in messages_of(messages))
        sizes[ceil(size / _STEP) * _STEP] += calls
    parameters = Parameters(**judge.parameters)
    reply = min(_usual_reply(session, judge), parameters.max_tokens)
    expected: int | None = 0
    worst: int | None = 0
    for size, calls in sizes.items():
        likely = Usage(input_tokens=ceil(size / _LIKELY_BYTES_PER_TOKEN), output_tokens=reply)
        most = worst_case(ceil(size / BYTES_PER_TOKEN), parameters.max_tokens, batch=in_batches)
        found = [
            price(judge.provider, judge.model, usage, now, batch=in_batches, base_url=judge.base_url)
            for usage in (likely, most)
        ]
        if expected is None or worst is None or found[0] is None or found[1] is None:
            expected = worst = None
            break
        expected += calls * found[0].micro_dollars
        worst += calls * found[1].micro_dollars
    return Projection(pairs=len(rows), calls=sizes.total(), expected=expected, worst=worst, table=price_table().label)


def _missing(judge: Judge, mode: SwapMode) -> ColumnElement[int]:
    """How many calls a pair still takes at most: 2 where the judge has not seen it, 0 where all was said."""
    mine = (Ballot.pair_id == Pair.id, Ballot.voter_id == judge.voter_id)
    shown = select(func.count(Ballot.id)).where(*mine).correlate(Pair).scalar_subquery()
    opened = (
        select(func.count(Ballot.id)).where(*mine, Ballot.state == BallotState.OPEN).correlate(Pair).scalar_subquery()
    )
    if mode is SwapMode.BOTH:
        return case((shown == 0, 2), else_=opened)
    ended = (
        select(Ballot.id)
        .join(Verdict, Verdict.ballot_id == Ballot.id, isouter=True)
        .where(*mine, or_(Verdict.outcome == Outcome.TIE, Ballot.state == BallotState.UNPARSED))
        .correlate(Pair)
    )
    return case((shown == 0, 2), (and_(shown == 1, ~ended.exists()), opened + 1), else_=opened)


def _usual_reply(session: Session, judge: Judge) -> int:
    """Tokens of this judge's replies so far, on average."""
    mean = session.scalar(
        select(func.avg(JudgeCall.output_tokens))
        .join(Judging, Judging.id == JudgeCall.judging_id)
        .where(Judging.judge_id == judge.id, JudgeCall.state == CallState.VERDICT)
    )
    return ceil(mean) if mean else _LIKELY_REPLY
