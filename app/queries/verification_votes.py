"""Verifying votes: ballots, verdicts, and what was said or taken back afterwards."""

import uuid
from collections import defaultdict
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from app.domain.blinding import outcome
from app.domain.position import outcome_of
from app.domain.terms import BallotState, BatchState, Order, VoterKind
from app.models import Ballot, EvalBatch, Pair, Recognition, Response, Verdict, Voter
from app.queries.seals import ballot_seal_of, recognition_seal, retraction_seal, verdict_seal
from app.queries.verification_findings import Findings, streamed
from app.queries.verification_tallies import LIVE, Recount, count


@dataclass
class _Voter:
    """Ballots of one voter: those with a number, those from before there were numbers."""

    unnumbered: int = 0
    numbered: int = 0
    highest: int = -1


@dataclass
class _AtPair:
    """What is known of the pair that streams by."""

    id: uuid.UUID | None = None
    slots: set[tuple[VoterKind, int]] = field(default_factory=set)
    showings: dict[tuple[uuid.UUID, Order], dict[int, BallotState]] = field(default_factory=lambda: defaultdict(dict))


def verify_votes(session: Session, batch: EvalBatch, secret: bytes, findings: Findings) -> Recount:
    """Check every ballot of a batch with its verdict, and count them."""
    first, second = aliased(Response), aliased(Response)
    query = (
        select(
            Ballot, Verdict, Recognition, Pair.seal.label("pair_seal"), Pair.eval_batch_id.label("pair_batch"),
            Pair.kind.label("pair_kind"), first.text.label("first_text"), second.text.label("second_text"), Voter.kind,
            Voter.simulated,
        )
        .join(Pair, Pair.id == Ballot.pair_id)
        .join(first, first.id == Pair.first_response_id)
        .join(second, second.id == Pair.second_response_id)
        .join(Voter, Voter.id == Ballot.voter_id)
        .join(Verdict, Verdict.ballot_id == Ballot.id, isouter=True)
        .join(Recognition, Recognition.verdict_id == Verdict.id, isouter=True)
        .where(Ballot.eval_batch_id == batch.id)
        .order_by(Ballot.pair_id, Ballot.id)
    )  # fmt: skip
    recount, at, voters = Recount(), _AtPair(), defaultdict[uuid.UUID, _Voter](_Voter)
    for row in streamed(session, query):
        ballot: Ballot = row.Ballot
        findings.checked.ballots += 1
        if at.id != ballot.pair_id:
            _showings(batch, at, findings)
            at = _AtPair(ballot.pair_id)
        name = f"Ballot {ballot.id} of {batch.name}"
        findings.equal(name, "the eval batch of its pair,", row.pair_batch, ballot.eval_batch_id)
        findings.equal(name, "the kind of its voter,", row.kind, ballot.voter_kind)
        findings.checked.older += ballot.number is None
        if ballot.number is None and batch.seal is not None:
            findings.differs(name, "a number, as its eval batch was launched with seals", "none")
        made = ballot_seal_of(
            ballot, secret, pair=row.pair_seal, texts=(row.first_text, row.second_text), simulated=row.simulated
        )
        findings.seal(name, made, ballot.seal, covers="who sees which texts in which order")
        _slot(name, ballot, at, findings)
        _state(name, batch, ballot, row.Verdict, findings)
        if row.Verdict is not None:
            _verdict(name, ballot, row.Verdict, row.Recognition, secret, findings)
        count(recount, ballot, row)
        voter = voters[ballot.voter_id]
        voter.unnumbered += ballot.number is None
        voter.numbered += ballot.number is not None
        voter.highest = max(voter.highest, -1 if ballot.number is None else ballot.number)
    _showings(batch, at, findings)
    for voter_id, voter in voters.items():
        there, wanted = voter.highest + 1 if voter.numbered else voter.unnumbered, voter.unnumbered + voter.numbered
        if there != wanted:  # the database has each number once
            name = f"Ballots of voter {voter_id} in {batch.name}"
            findings.differs(name, f"{there} of them, as the last is number {voter.highest}", wanted)
    return recount


def _slot(name: str, ballot: Ballot, at: _AtPair, findings: Findings) -> None:
    """A slot of a pair is held by one live ballot."""
    at.showings[ballot.voter_id, ballot.order][ballot.showing] = ballot.state
    if ballot.state not in LIVE or ballot.is_repeat or ballot.voter_kind is not VoterKind.RATER:
        return
    held = (ballot.voter_kind, ballot.slot)
    if held in at.slots:
        findings.differs(name, f"slot {ballot.slot} of its pair for itself", "another ballot in it")
    at.slots.add(held)


def _showings(batch: EvalBatch, at: _AtPair, findings: Findings) -> None:
    """A vote taken back is followed by the next showing; a vote that stands is the last one.

    Elsewhere somebody may vote on a pair again without taking the first vote back.
    """
    for (voter_id, _), states in at.showings.items():
        last = max(states)
        name = f"Pair {at.id} of {batch.name} as voter {voter_id} was shown it"
        findings.equal(name, "showings without a gap,", list(range(last + 1)), sorted(states))
        for showing, state in states.items():
            if state in LIVE and showing != last and batch.imported_from is None:
                findings.differs(name, f"showing {showing} to have ended before the next", state.value)
            if state is BallotState.RETRACTED and showing == last:
                findings.differs(name, "to be shown again after the vote was taken back", "no later showing")


def _state(name: str, batch: EvalBatch, ballot: Ballot, verdict: Verdict | None, findings: Findings) -> None:
    """State and verdict tell the same story."""
    is_judge = ballot.voter_kind is VoterKind.JUDGE
    of_judges = (*LIVE, BallotState.UNPARSED)
    if ballot.state is BallotState.OPEN and batch.state is BatchState.CLOSED and not is_judge:
        findings.differs(name, "no open ballot after voting closed", "state open")
    if ballot.state not in of_judges if is_judge else ballot.state is BallotState.UNPARSED:
        findings.differs(name, f"a state that ballots of a {ballot.voter_kind.value} have", ballot.state.value)
    if verdict is None:
        told = "none"
    elif verdict.retracted_at is not None:
        told = "one taken back"
    else:
        told = "a late one" if verdict.surplus else "one that stands"
    fits = {
        BallotState.OPEN: ("none",),
        BallotState.SKIPPED: ("none",),
        BallotState.EXPIRED: ("none", "a late one"),
        BallotState.VOTED: ("one that stands",),
        BallotState.RETRACTED: ("one taken back",),
        BallotState.UNPARSED: ("none",),
    }[ballot.state]
    if told not in fits:
        findings.differs(f"Verdict of {name}", f"{' or '.join(fits)} for the state {ballot.state.value}", told)


def _verdict(
    name: str, ballot: Ballot, verdict: Verdict, recognition: Recognition | None, secret: bytes, findings: Findings
) -> None:
    """Outcome, seal, and what came after it."""
    findings.checked.verdicts += 1
    row = f"Verdict {verdict.id} on {name}"
    findings.equal(row, "the outcome of its choice and order,", outcome(verdict.choice, ballot.order), verdict.outcome)
    if verdict.score is not None:
        findings.equal(row, "the outcome of its score,", outcome_of(verdict.score), verdict.outcome)
    findings.seal(row, verdict_seal(ballot, verdict, secret), verdict.seal, covers="its ballot and what was said")
    if verdict.retracted_at is None:
        findings.equal(row, "for a vote that stands, as seal of a retraction", None, verdict.retraction_seal)
    elif verdict.retraction_seal is not None or ballot.number is not None:
        made = retraction_seal(verdict, secret)
        findings.seal(f"Retraction of {row}", made, verdict.retraction_seal, covers="when the vote was taken back")
    if recognition is not None:
        made = recognition_seal(verdict, recognition, secret)
        findings.seal(f"Recognition on {row}", made, recognition.seal, covers="what was answered")
