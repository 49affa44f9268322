"""Calls to a judge's model: a row for each before it is sent, then what came back and what follows from it."""

import secrets
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from math import ceil
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.judging import Judged, judge_prompt, read_reply
from app.domain.terms import BallotState, CallState
from app.models import Ballot, Judge, JudgeCall, Judging, Voter
from app.providers.calls import JudgeRequest, Parameters, Reply
from app.providers.errors import BadRequestError, ProviderError
from app.providers.prices import price, worst_case
from app.queries.ballots import blind_ballot
from app.services.assignment import Rules
from app.services.judging import spent
from app.services.slots import release
from app.services.voting import cast

MOST_UNPARSED = 2
"""Replies without a legal choice after which a ballot gets no verdict: the first, and one new try."""
MOST_FAULTS = 8
"""Calls for one ballot without a reply, since the start, after which the judge stops, to be resumed when it is over."""
NOT_TOLD = "not told"
"""Stands for the provider's id of a batch from before it is handed in until the provider has told it."""
BYTES_PER_TOKEN = 2.5
"""Rather too few: what a call is held to cost at most must not be too low. English has about four."""


@dataclass(frozen=True)
class Prepared:
    """A call whose row is stored, ready to be sent."""

    call_id: uuid.UUID
    ballot_id: uuid.UUID
    request: JudgeRequest


def prepare(
    session: Session, judging: Judging, ballot: Ballot, body: Callable[[JudgeRequest], dict[str, Any]], *, now: datetime
) -> Prepared | None:
    """Store the row of a call, or return ``None`` where it could take the spending over the cap.

    ``body`` says what the provider will send: ``Provider.body``, or ``BatchProvider.batch_body``.
    """
    judge = session.get_one(Judge, judging.judge_id)
    shown = blind_ballot(session, ballot.id)
    request = JudgeRequest(
        model=judge.model,
        prompt=judge_prompt(judge.rubric_text, shown.prompt, shown.text_a, shown.text_b, secrets.token_hex(16)),
        parameters=Parameters(**judge.parameters),
    )
    worst = worst_micro_dollars(judge, request, in_batch=judging.in_batches, now=now)
    cap = judging.cap_micro_dollars
    if cap is not None and spent(session, judging).at_most + (worst or 0) > cap:
        return None
    tried = session.scalar(select(func.count(JudgeCall.id)).where(JudgeCall.ballot_id == ballot.id)) or 0
    call = JudgeCall(
        judging_id=judging.id, ballot_id=ballot.id, attempt=tried + 1, state=CallState.SENT, request=body(request),
        worst_micro_dollars=worst, sent_at=now, provider_batch=NOT_TOLD if judging.in_batches else "",
    )  # fmt: skip
    session.add(call)
    session.flush()
    return Prepared(call.id, ballot.id, request)


def worst_micro_dollars(judge: Judge, request: JudgeRequest, *, in_batch: bool, now: datetime) -> int | None:
    """What a call can cost at most, by a count of tokens that is rather too high; ``None``: it has no price."""
    size = len((request.prompt.system + request.prompt.user).encode())
    usage = worst_case(ceil(size / BYTES_PER_TOKEN), request.parameters.max_tokens, batch=in_batch)
    found = price(judge.provider, judge.model, usage, now, batch=in_batch, base_url=judge.base_url)
    return None if found is None else found.micro_dollars


def settle(
    session: Session,
    judging: Judging,
    call_id: uuid.UUID,
    outcome: Reply | ProviderError,
    *,
    rules: Rules,
    now: datetime,
    shared: bool = False,
) -> JudgeCall:
    """Store what came back and, where it holds a legal choice, cast the verdict, in one transaction.

    A call that has ended already stays as it is: a batch may tell its results twice. ``shared``: the outcome is that of
    a whole batch, so no ballot is given up for it.
    """
    call = session.get_one(JudgeCall, call_id, with_for_update=True, populate_existing=True)
    if call.state is not CallState.SENT:
        return call
    call.ended_at = now
    if isinstance(outcome, ProviderError):
        _failed(session, call, outcome, shared=shared, now=now)
    else:
        _replied(session, judging, call, outcome, rules=rules, now=now)
    session.flush()
    return call


def _replied(session: Session, judging: Judging, call: JudgeCall, reply: Reply, *, rules: Rules, now: datetime) -> None:
    judge = session.get_one(Judge, judging.judge_id)
    call.raw, call.reply, call.stop = _storable(reply.raw), _storable(reply.text), reply.stop
    call.answered_as, call.request_id, call.latency_ms = reply.model[:200], reply.request_id[:200], reply.latency_ms
    for name, tokens in asdict(reply.usage).items():
        setattr(call, name, tokens)
    cost = price(
        judge.provider, judge.model, reply.usage, call.sent_at, batch=bool(call.provider_batch), base_url=judge.base_url
    )
    if cost is not None:
        call.cost_micro_dollars, call.price_table = cost.micro_dollars, cost.table.label
    said = read_reply(call.reply, reply.stop)
    if isinstance(said, Judged):
        call.state, call.confidence = CallState.VERDICT, said.confidence
        voter = session.get_one(Voter, judge.voter_id)
        cast(session, call.ballot_id, voter, said.choice, rules=rules, now=now, reason=said.reasoning)
        return
    call.state, call.unparsed, call.detail = CallState.UNPARSED, said.reason, said.detail
    if _unparsed(session, call) >= MOST_UNPARSED:
        give_up(session, call.ballot_id, now=now)


def _failed(session: Session, call: JudgeCall, error: ProviderError, *, shared: bool, now: datetime) -> None:
    call.state = CallState.UNKNOWN if error.unknown else CallState.FAILED
    call.trouble, call.raw, call.request_id = error.trouble, _storable(error.said.raw), error.said.request_id[:200]
    call.detail = _storable(f"{error.message} {error.detail}".strip())
    judged = select(JudgeCall.id).where(
        JudgeCall.judging_id == call.judging_id, JudgeCall.state.in_((CallState.VERDICT, CallState.UNPARSED))
    )
    if isinstance(error, BadRequestError) and not shared and session.scalar(judged.limit(1)) is not None:
        give_up(session, call.ballot_id, now=now)  # others went through: it is about these texts


def give_up(session: Session, ballot_id: uuid.UUID, *, now: datetime) -> None:
    """End a ballot without a verdict."""
    release(session, session.get_one(Ballot, ballot_id), BallotState.UNPARSED, now=now)


def stops(session: Session, call: JudgeCall, outcome: Reply | ProviderError) -> ProviderError | None:
    """The trouble over which the judge has to stop at once, if this outcome is one."""
    if not isinstance(outcome, ProviderError):
        return None
    if outcome.blocks:
        return outcome
    refused = isinstance(outcome, BadRequestError)
    return outcome if refused and session.get_one(Ballot, call.ballot_id).state is BallotState.OPEN else None


def _unparsed(session: Session, call: JudgeCall) -> int:
    """Replies without a legal choice for the same ballot, this one included."""
    session.flush()
    mine = (JudgeCall.ballot_id == call.ballot_id, JudgeCall.state == CallState.UNPARSED)
    return session.scalar(select(func.count(JudgeCall.id)).where(*mine)) or 0


def _storable(text: str) -> str:
    """A text as both databases take it: no NUL, no half of a character."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
