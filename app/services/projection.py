"""What a judge would cost on an eval batch, before it is asked: expected, and at worst."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from math import ceil
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, and_, case, cast, func, or_, select
from sqlalchemy.orm import Session, aliased

from app.domain.judging import ShownTurn, judge_prompt
from app.domain.terms import BallotState, CallState, JudgingState, Outcome, PairKind, SwapMode
from app.models import Ballot, EvalBatch, Judge, JudgeCall, Judging, Pair, Prompt, Response, Verdict
from app.providers.calls import Parameters, Usage
from app.providers.prices import price, price_table, worst_case
from app.queries.suites import messages_of
from app.services.judge_ballots import torn
from app.services.judge_calls import BYTES_PER_TOKEN

LIKELY_BYTES_PER_TOKEN = 4.0
_LIKELY_REPLY = 250
"""Tokens of a reply by a judge that has not replied yet: about 180 words of reasoning."""
_CODE = "0" * 32
_STEP = 128
"""Bytes to which a request is rounded up: many are then as long, and a price is looked up once for them."""

Sizes = Counter[int]
"""How many calls have a request of so many bytes."""


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
        select(Prompt.messages, bytes_of(session, first.text) + bytes_of(session, second.text), missing)
        .select_from(Pair)
        .join(Prompt, Prompt.id == Pair.prompt_id)
        .join(first, first.id == Pair.first_response_id)
        .join(second, second.id == Pair.second_response_id)
        .where(Pair.eval_batch_id == batch.id, Pair.kind == PairKind.MAIN, Pair.settled.is_(None), wanted)
    ).all()
    sizes: Sizes = Counter()
    for messages, texts, calls in rows:
        sizes[rounded(texts + request_bytes(judge, messages, batch.system_prompt))] += calls
    return priced(session, judge, sizes, sizes, pairs=len(rows), in_batches=in_batches, now=now)


def priced(
    session: Session, judge: Judge, likely: Sizes, most: Sizes, *, pairs: int, in_batches: bool, now: datetime
) -> Projection:
    """The price of so many calls by the size of their requests: as it is likely, and at most."""
    parameters = Parameters(**judge.parameters)
    reply = min(_usual_reply(session, judge), parameters.max_tokens)

    def cost(sizes: Sizes, usage: Callable[[int], Usage]) -> int | None:
        total = 0
        for size, calls in sizes.items():
            found = price(judge.provider, judge.model, usage(size), now, batch=in_batches, base_url=judge.base_url)
            if found is None:
                return None
            total += calls * found.micro_dollars
        return total

    return Projection(
        pairs=pairs,
        calls=most.total(),
        expected=cost(
            likely, lambda size: Usage(input_tokens=ceil(size / LIKELY_BYTES_PER_TOKEN), output_tokens=reply)
        ),
        worst=cost(
            most, lambda size: worst_case(ceil(size / BYTES_PER_TOKEN), parameters.max_tokens, batch=in_batches)
        ),
        table=price_table().label,
    )


def rounded(size: int) -> int:
    """A size in bytes, rounded up so that many are alike."""
    return ceil(size / _STEP) * _STEP


def request_bytes(judge: Judge, messages: list[Any], system_prompt: str = "") -> int:
    """Bytes of a request about a prompt, without the two texts."""
    empty, turn = _around(judge.rubric_text)
    around = empty + (turn + len(system_prompt.encode()) if system_prompt else 0)
    return around + sum(turn + len(one.content.encode()) for one in messages_of(messages))


@lru_cache(maxsize=32)
def _around(rubric: str) -> tuple[int, int]:
    """Bytes of a request with no turn, and of what stands around a turn."""

    def size(turns: tuple[ShownTurn, ...]) -> int:
        prompt = judge_prompt(rubric, turns, "", "", _CODE)
        return len((prompt.system + prompt.user).encode())

    return size(()), size((ShownTurn("assistant", ""),)) - size(())


def bytes_of(session: Session, text: Any) -> ColumnElement[int]:
    """The length of a text in bytes: other scripts than Latin have two to four for a character."""
    if session.get_bind().dialect.name == "postgresql":
        return func.octet_length(text)
    return func.length(cast(text, LargeBinary))


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
