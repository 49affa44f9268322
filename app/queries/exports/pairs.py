"""What every export is made from: the pairs of a closed eval batch with their texts and verdicts, as they stream by.

A fixed order: by prompt, replicate and the checkpoints of the plan; verdicts in the order in which they were cast. Only
verdicts that stand and enter n are told: none that was taken back, came late, or answered a repeat.
"""

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from app.domain.blinding import sides
from app.domain.errors import ConflictError, ForbiddenError
from app.domain.terms import BallotState, BatchState, Choice, Domain, Order, Outcome, PairKind, Settled, VoterKind
from app.models import Ballot, BatchCheckpoint, Checkpoint, EvalBatch, Pair, Prompt, Response, Verdict, Voter
from app.queries.quality import excluded_of
from app.queries.reveal import Reading, batch_of
from app.queries.verification_findings import streamed

_CHUNK = 200
"""Pairs whose verdicts are in memory at the same time."""


@dataclass(frozen=True)
class Side:
    """One text of a pair under the name of the checkpoint that wrote it."""

    checkpoint: str
    fingerprint: str
    text: str


@dataclass(frozen=True)
class ToldVerdict:
    """One verdict that stands."""

    voter: str
    kind: VoterKind
    simulated: bool
    order: Order
    order_known: bool
    """``False``: imported from a file that does not say which text stood first."""
    choice: Choice
    outcome: Outcome
    score: float | None
    """A weight in [0, 1] from the side of ``second``, where one was imported."""
    reason: str
    cast_at: datetime
    excluded: bool
    """By a rater whom the rule of the plan leaves out of the results."""


@dataclass(frozen=True)
class ToldPair:
    """One pair; ``second`` is the challenger, or the later of two. ``messages`` begin with the system prompt if any."""

    id: uuid.UUID
    prompt: str
    """Key of the prompt in its suite."""
    number: int
    """Place of the prompt in its suite, from 1."""
    category: str
    domain: Domain
    replicate: int
    messages: tuple[dict[str, Any], ...]
    first: Side
    second: Side
    settled: Settled | None
    flagged: bool | None
    verdicts: tuple[ToldVerdict, ...]

    def counts(self, kind: VoterKind) -> Counter[Outcome]:
        """Outcomes by this kind of voter, without those whom the rule leaves out."""
        return Counter(one.outcome for one in self.verdicts if one.kind is kind and not one.excluded)

    def most(self, kind: VoterKind) -> Outcome | None:
        """What most of them prefer: a tie where it is as many for each, ``None`` without votes."""
        counts = self.counts(kind)
        if not counts:
            return None
        if counts[Outcome.FIRST] == counts[Outcome.SECOND]:
            return Outcome.TIE
        return Outcome.FIRST if counts[Outcome.FIRST] > counts[Outcome.SECOND] else Outcome.SECOND

    def shown(self, verdict: ToldVerdict) -> tuple[Side, Side]:
        """What stood as A and what as B."""
        return sides(verdict.order, self.first, self.second)


def exportable(session: Session, batch_id: uuid.UUID) -> EvalBatch:
    """The eval batch, if its texts may leave the arena beside the names of who wrote them.

    Raises:
        NotFoundError: no eval batch has this id.
        ConflictError: somebody may still vote.
        ForbiddenError: it was launched with the rule that nobody is told who wrote what.
    """
    stored, batch = batch_of(session, batch_id)
    if stored.state is BatchState.IMPORTING:
        raise ConflictError(
            f"{batch.name} is still being imported, so not all of it is here. Nothing was written. Give the same "
            "`arena import` again; it goes on where it stopped."
        )
    if batch.reading is Reading.NOT_YET:
        raise ConflictError(
            f"Voting on {batch.name} is still open, and an export says who wrote what. Nothing was written. Close "
            "voting first."
        )
    if batch.reading is Reading.NEVER:
        raise ForbiddenError(
            f"{batch.name} was launched with the rule that nobody is told who wrote which text, so it has no export. "
            "What the votes say stands in its report."
        )
    return stored


def told_pairs(session: Session, batch_id: uuid.UUID) -> Iterator[ToldPair]:
    """Every main pair of a closed eval batch, settled ones among them.

    Raises:
        NotFoundError, ConflictError, ForbiddenError: see ``exportable``.
    """
    batch = exportable(session, batch_id)
    excluded = excluded_of(session, batch).reasons
    system = ({"role": "system", "content": batch.system_prompt},) if batch.system_prompt else ()
    names = _members(session, batch_id)
    stream = _rows(session, batch_id)
    while rows := list(islice(stream, _CHUNK)):
        verdicts = _verdicts(session, [row.id for row in rows], excluded)
        for row in rows:
            yield ToldPair(
                id=row.id,
                prompt=row.key,
                number=row.position + 1,
                category=row.category,
                domain=row.domain,
                replicate=row.replicate,
                messages=(*system, *row.messages),
                first=Side(*names[row.first_id], row.first_text),
                second=Side(*names[row.second_id], row.second_text),
                settled=row.settled,
                flagged=row.self_identifies,
                verdicts=tuple(verdicts[row.id]),
            )


def _rows(session: Session, batch_id: uuid.UUID) -> Iterator[Any]:
    first, second = aliased(Response), aliased(Response)
    first_member, second_member = aliased(BatchCheckpoint), aliased(BatchCheckpoint)
    return streamed(
        session,
        select(
            Pair.id, Pair.replicate, Pair.first_id, Pair.second_id, Pair.settled, Pair.self_identifies,
            Prompt.key, Prompt.position, Prompt.category, Prompt.domain, Prompt.messages,
            first.text.label("first_text"), second.text.label("second_text"),
        )
        .join(Prompt, Prompt.id == Pair.prompt_id)
        .join(first, first.id == Pair.first_response_id)
        .join(second, second.id == Pair.second_response_id)
        .join(first_member, _is_member(first_member, Pair.first_id))
        .join(second_member, _is_member(second_member, Pair.second_id))
        .where(Pair.eval_batch_id == batch_id, Pair.kind == PairKind.MAIN)
        .order_by(Prompt.position, Pair.replicate, first_member.position, second_member.position),
    )  # fmt: skip


def _is_member(member: Any, checkpoint_id: Any) -> Any:
    return (member.eval_batch_id == Pair.eval_batch_id) & (member.checkpoint_id == checkpoint_id)


def _members(session: Session, batch_id: uuid.UUID) -> dict[uuid.UUID, tuple[str, str]]:
    """Name, and fingerprint at launch, of each checkpoint that takes part."""
    query = (
        select(BatchCheckpoint.checkpoint_id, Checkpoint.name, BatchCheckpoint.fingerprint)
        .join(Checkpoint, Checkpoint.id == BatchCheckpoint.checkpoint_id)
        .where(BatchCheckpoint.eval_batch_id == batch_id)
    )
    return {id_: (name, fingerprint) for id_, name, fingerprint in session.execute(query)}


def _verdicts(session: Session, pairs: Sequence[uuid.UUID], excluded: Any) -> defaultdict[uuid.UUID, list[ToldVerdict]]:
    """The standing verdicts on these pairs."""
    query = (
        select(
            Ballot.pair_id, Ballot.order, Ballot.order_known, Voter.id, Voter.name, Voter.kind, Voter.simulated,
            Verdict.choice, Verdict.outcome, Verdict.score, Verdict.reason, Verdict.cast_at,
        )
        .join(Verdict, Verdict.ballot_id == Ballot.id)
        .join(Voter, Voter.id == Ballot.voter_id)
        .where(Ballot.pair_id.in_(pairs), Ballot.state == BallotState.VOTED, Ballot.is_repeat.is_(False))
        .where(Verdict.retracted_at.is_(None), Verdict.surplus.is_(False))
        .order_by(Verdict.cast_at, Verdict.id)
    )  # fmt: skip
    found: defaultdict[uuid.UUID, list[ToldVerdict]] = defaultdict(list)
    for row in session.execute(query):
        found[row.pair_id].append(
            ToldVerdict(
                voter=row.name,
                kind=row.kind,
                simulated=row.simulated,
                order=row.order,
                order_known=row.order_known,
                choice=row.choice,
                outcome=row.outcome,
                score=row.score,
                reason=row.reason,
                cast_at=row.cast_at,
                excluded=row.id in excluded,
            )
        )
    return found
