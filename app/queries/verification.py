"""Verification: seals, outcomes, tallies and every published number, made anew from raw ballots and verdicts.

What cannot be seen: that the last ballots of a voter, or an eval batch whole, were deleted with all that counts
them; that an answer about recognition, or what a server told of itself, was deleted with its seal; anything about
rows older than the seals that lies outside theirs.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.domain.errors import BadInputError
from app.domain.tally import Tally
from app.domain.terms import PairKind, VoterKind
from app.models import (
    Ballot,
    BatchCheckpoint,
    Checkpoint,
    EvalBatch,
    Pair,
    Prompt,
    Recognition,
    Response,
    Verdict,
    Voter,
)
from app.models import Tally as StoredTally
from app.queries.judged import Heard
from app.queries.report import report
from app.queries.verification_findings import Checked, Findings, Mismatch
from app.queries.verification_judges import verify_judges
from app.queries.verification_pairs import PairFacts, verify_pairs, verify_plan, verify_prompts
from app.queries.verification_tallies import Recount, verify_tallies
from app.queries.verification_votes import verify_votes

_POINTERS: tuple[tuple[str, InstrumentedAttribute[uuid.UUID], InstrumentedAttribute[uuid.UUID]], ...] = (
    ("Member", BatchCheckpoint.eval_batch_id, EvalBatch.id),
    ("Member", BatchCheckpoint.checkpoint_id, Checkpoint.id),
    ("Pair", Pair.eval_batch_id, EvalBatch.id),
    ("Pair", Pair.prompt_id, Prompt.id),
    ("Pair", Pair.first_response_id, Response.id),
    ("Pair", Pair.second_response_id, Response.id),
    ("Tally", StoredTally.pair_id, Pair.id),
    ("Ballot", Ballot.pair_id, Pair.id),
    ("Ballot", Ballot.eval_batch_id, EvalBatch.id),
    ("Ballot", Ballot.voter_id, Voter.id),
    ("Verdict", Verdict.ballot_id, Ballot.id),
    ("Recognition", Recognition.verdict_id, Verdict.id),
)
"""What points to what. Databases hold this too, unless somebody went behind their back."""

_MANY = 2
"""Seals of which none fits make another key likely; a single one does not."""


@dataclass(frozen=True)
class Verification:
    """How much was checked, how many mismatches there are, and the first of them in the order they were met."""

    checked: Checked
    total: int
    mismatches: tuple[Mismatch, ...]

    @property
    def holds(self) -> bool:
        """Whether everything is as it has to be."""
        return not self.total


def verify(session: Session, secret: bytes, batch_id: uuid.UUID | None = None) -> Verification:
    """Check one eval batch or all. Give a session that has read nothing yet: all is read as of one moment."""
    if session.get_bind().dialect.name == "postgresql" and not session.in_transaction():
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    found = Findings()
    sealed_since = session.scalar(select(func.min(EvalBatch.created_at)).where(EvalBatch.seal.is_not(None)))
    _orphans(session, found)
    wanted = select(EvalBatch).order_by(EvalBatch.created_at, EvalBatch.id)
    for batch in session.scalars(wanted if batch_id is None else wanted.where(EvalBatch.id == batch_id)).all():
        of_batch = Findings()
        must = sealed_since is not None and batch.created_at > sealed_since
        try:
            _batch(session, batch, secret, of_batch, must=must)
        except (
            LookupError,
            ValueError,
            TypeError,
            BadInputError,
        ) as error:  # a value that no enum, number or text of ours can be
            of_batch.differs(f"A row of {batch.name}", "values that the arena writes", f"another one ({error})")
        if of_batch.bad_seals >= _MANY and not of_batch.checked.seals:
            of_batch.other_key(batch.name, of_batch.bad_seals)
        found.add(of_batch)
    return Verification(found.checked, found.total, tuple(found.mismatches))


def _batch(session: Session, batch: EvalBatch, secret: bytes, findings: Findings, *, must: bool) -> None:
    findings.checked.batches += 1
    verify_plan(session, batch, secret, findings, must=must)
    verify_prompts(session, batch, findings)
    pairs = verify_pairs(session, batch, secret, findings)
    recount = verify_votes(session, batch, secret, findings)
    replies = verify_judges(session, batch, findings)
    verify_tallies(session, batch, pairs, recount, findings)
    judgeable = {id_: one for id_, one in pairs.items() if one.kind is PairKind.MAIN and not one.is_settled}
    told = Heard(recount.judged, replies, {id_: one.longer_by for id_, one in judgeable.items()})
    _report(session, batch, pairs, recount, told, findings)


def _orphans(session: Session, findings: Findings) -> None:
    """Rows that point to nothing."""
    for name, pointer, target in _POINTERS:
        lost = session.scalar(select(pointer).where(~select(target).where(target == pointer).exists()).limit(1))
        if lost is not None:
            findings.differs(f"{name} with {pointer.key} {lost}", f"the {target.class_.__tablename__} it names", "none")


def _report(
    session: Session,
    batch: EvalBatch,
    pairs: dict[uuid.UUID, PairFacts],
    recount: Recount,
    told: Heard,
    findings: Findings,
) -> None:
    """Every number of the report, from the votes counted anew and the replies of judges read again."""
    counts = {
        pair_id: Tally(wins=one["second"], losses=one["first"], ties=one["tie"], both_bad=one["both_bad"])
        for (pair_id, kind), one in recount.tallies.items()
        if kind is VoterKind.RATER
    }
    row = f"Report of {batch.name}"
    flags = {pair_id: one.flagged for pair_id, one in pairs.items()}
    published = report(session, batch.id)
    again = report(session, batch.id, counts=counts, answers=recount.answers, flags=flags, told=told)
    settled = sum(one.is_settled for one in pairs.values() if one.kind is PairKind.MAIN)
    again["batch"] |= {
        "pairs": sum(one.kind is PairKind.MAIN for one in pairs.values()),
        "settled_pairs": settled,
        "votes": recount.votes,
        "simulated_votes": recount.simulated_votes,
        "votes_wanted": (batch.planned_pairs - settled) * batch.votes_per_pair,
    }
    there = dict(_leaves(published))
    wanted = dict(_leaves(again))
    for what in dict.fromkeys((*wanted, *there)):
        findings.number(row, f"{what} =", wanted.get(what), there.get(what))


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every single value of a report with the way to it."""
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in inner:
            yield from _leaves(part, f"{name}.{key}" if name else str(key))
    else:
        yield name, value
