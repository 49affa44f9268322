"""Verifying judges: each verdict says what the stored reply says, and nothing else came of a call.

A reply that was imported follows no schema of ours. Its words stand in the verdict as well, under the verdict's seal.
"""

import uuid
from collections import Counter, defaultdict

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.judging import Judged, read_reply
from app.domain.terms import BallotState, CallState, ProviderKind, StopReason, UnparsedReason, VoterKind
from app.models import Ballot, EvalBatch, Judge, JudgeCall, Verdict
from app.queries.judged import Replies
from app.queries.verification_findings import Findings, streamed


def verify_judges(session: Session, batch: EvalBatch, findings: Findings) -> dict[uuid.UUID, Replies]:
    """Read every stored reply again, and compare it with the verdict of its ballot; counts the calls by judge."""
    query = (
        select(Ballot, Verdict, JudgeCall, Judge.provider)
        .join(Judge, Judge.voter_id == Ballot.voter_id, isouter=True)
        .join(JudgeCall, JudgeCall.ballot_id == Ballot.id, isouter=True)
        .join(Verdict, Verdict.ballot_id == Ballot.id, isouter=True)
        .where(Ballot.eval_batch_id == batch.id, Ballot.voter_kind == VoterKind.JUDGE)
        .order_by(Ballot.id, JudgeCall.attempt)
    )
    replies: dict[uuid.UUID, Replies] = defaultdict(Counter)
    last, said = None, 0
    for row in streamed(session, query):
        ballot, verdict, call = row.Ballot, row.Verdict, row.JudgeCall
        if last is not None and last.id != ballot.id:
            _ended(batch, last, said, findings)
            said = 0
        last = ballot
        if call is None:
            continue
        said += call.state is CallState.VERDICT
        if row.provider is ProviderKind.IMPORTED:
            _imported(batch, call, verdict, findings)
            replies[ballot.voter_id][call.state, call.unparsed] += 1
            continue
        _call(batch, call, verdict, findings)
        replies[ballot.voter_id][_became(call)] += 1
    if last is not None:
        _ended(batch, last, said, findings)
    return dict(replies)


def _became(call: JudgeCall) -> tuple[CallState, UnparsedReason | None]:
    """What became of a call; where there is a reply, by what it says."""
    if call.state not in (CallState.VERDICT, CallState.UNPARSED):
        return call.state, None
    found = read_reply(call.reply, call.stop or StopReason.OTHER)
    if isinstance(found, Judged):
        return CallState.VERDICT, None
    return CallState.UNPARSED, found.reason


def _call(batch: EvalBatch, call: JudgeCall, verdict: Verdict | None, findings: Findings) -> None:
    if call.state not in (CallState.VERDICT, CallState.UNPARSED):
        return
    name = f"Call {call.attempt} for ballot {call.ballot_id} of {batch.name}"
    found = read_reply(call.reply, call.stop or StopReason.OTHER)
    if call.state is CallState.UNPARSED:
        findings.equal(name, "the reason why its reply has no choice,", getattr(found, "reason", None), call.unparsed)
        return
    if not isinstance(found, Judged) or verdict is None:
        findings.differs(name, "a reply with a choice, and the verdict cast from it", "another story")
        return
    findings.equal(name, "the choice of its reply in the verdict,", found.choice, verdict.choice)
    findings.equal(name, "the reasoning of its reply in the verdict,", found.reasoning, verdict.reason)
    findings.equal(name, "the confidence of its reply,", found.confidence, call.confidence)


def _imported(batch: EvalBatch, call: JudgeCall, verdict: Verdict | None, findings: Findings) -> None:
    name = f"Call {call.attempt} for ballot {call.ballot_id} of {batch.name}"
    findings.equal(name, "a choice in it, as there is a verdict:", verdict is not None, call.state is CallState.VERDICT)
    if verdict is not None:
        findings.equal(name, "its words in the verdict,", call.reply, verdict.reason)


def _ended(batch: EvalBatch, ballot: Ballot, said: int, findings: Findings) -> None:
    """A judge's vote comes from exactly one reply."""
    name = f"Ballot {ballot.id} of {batch.name}"
    findings.equal(name, "replies with a choice,", int(ballot.state is BallotState.VOTED), said)
