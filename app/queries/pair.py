"""One pair with its authors and its votes, once its eval batch has closed. The blind side may not import this."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from app.domain.blinding import sides
from app.domain.errors import NotFoundError
from app.domain.leaks import leaks
from app.domain.tally import Tally
from app.domain.terms import CallState, Choice, Confidence, Domain, FinishReason, Outcome, Settled, VoterKind
from app.models import Ballot, EvalBatch, JudgeCall, Pair, Prompt, Response, Verdict, Voter
from app.models import Tally as StoredTally
from app.queries.checkpoints import CheckpointPage, checkpoint_page
from app.queries.leaks import names_of
from app.queries.pair_filters import PairFilter, PairOutcome, conditions, order_of, outcome_of, pairs_with
from app.queries.pair_tallies import of_second
from app.queries.pairs import PAGE, preferred
from app.queries.quality import excluded_of
from app.queries.reveal import PairsBatch, Reading, batch_of
from app.queries.suites import Message, messages_of


@dataclass(frozen=True)
class Author:
    """A response in full with who wrote it, and everything that would be needed to write it again."""

    checkpoint: CheckpointPage
    text: str
    fingerprint: str
    seed: int
    token_count: int
    cut: bool
    """Whether the limit of new tokens ended it."""
    engine: str
    created_at: datetime
    leaks: tuple[str, ...]
    """The words by which the text says who wrote it."""

    @property
    def name(self) -> str:
        """The checkpoint's name."""
        return self.checkpoint.checkpoint.name

    @property
    def words(self) -> int:
        """How many words it has."""
        return len(self.text.split())

    @property
    def empty(self) -> bool:
        """Whether there is nothing to read."""
        return not self.text.strip()


@dataclass(frozen=True)
class VoteRow:
    """One verdict on the pair; ``shown_as_a`` and ``preferred`` are names of checkpoints."""

    voter: str
    kind: VoterKind
    simulated: bool
    shown_as_a: str
    choice: Choice
    preferred: str
    """Empty for a tie."""
    reason: str
    seconds: float
    cast_at: datetime
    retracted: bool
    surplus: bool
    repeat: bool
    confidence: Confidence | None
    """How sure a judge says it is."""
    excluded: bool
    """Cast by a rater whom the rule of the plan leaves out of the results; a vote on the pair all the same."""

    @property
    def counted(self) -> bool:
        """Whether it is one of the n votes on the pair."""
        return not (self.retracted or self.surplus or self.repeat)


@dataclass(frozen=True)
class Neighbours:
    """Where a pair stands among those that were asked for. Place 0: it is none of them."""

    place: int = 0
    of: int = 0
    previous: uuid.UUID | None = None
    following: uuid.UUID | None = None

    @property
    def page(self) -> int:
        """The page of the list on which it stands."""
        return max(0, self.place - 1) // PAGE + 1


@dataclass(frozen=True)
class PairView:
    """One pair. ``second`` is the challenger, or the later of two, and its votes are the wins."""

    id: uuid.UUID
    key: str
    category: str
    domain: Domain
    replicate: int
    prompt: tuple[Message, ...]
    outcome: PairOutcome
    preferred: str
    settled: Settled | None
    flagged: bool | None
    """Whether a text says who wrote it; ``None``: formed before texts were looked at, so it counts as not flagged."""
    votes: Tally
    second: Author
    first: Author
    cast: tuple[VoteRow, ...]
    """Every verdict, those outside of n among them."""
    neighbours: Neighbours

    @property
    def simulated(self) -> bool:
        """Whether a vote of people that counts is nobody's."""
        return any(vote.simulated and vote.counted for vote in self.by_people)

    @property
    def by_people(self) -> tuple[VoteRow, ...]:
        """The verdicts that judges did not cast."""
        return tuple(vote for vote in self.cast if vote.kind is not VoterKind.JUDGE)

    @property
    def by_judges(self) -> tuple[tuple[VoteRow, ...], ...]:
        """The verdicts of each judge, one for each order."""
        found: dict[str, list[VoteRow]] = {}
        for vote in self.cast:
            if vote.kind is VoterKind.JUDGE:
                found.setdefault(vote.voter, []).append(vote)
        return tuple(tuple(found[name]) for name in sorted(found))


@dataclass(frozen=True)
class PairPage:
    """One pair of an eval batch, come to by this filter; ``pair`` is nothing while it may not be read."""

    batch: PairsBatch
    wanted: PairFilter
    pair: PairView | None


def pair_page(session: Session, batch_id: uuid.UUID, pair_id: uuid.UUID, wanted: PairFilter) -> PairPage:
    """One pair, and its neighbours among those that were asked for.

    Raises:
        NotFoundError: no eval batch has this id, or it may be read and has no such pair.
    """
    stored, batch = batch_of(session, batch_id)
    if batch.reading is not Reading.OPEN:
        return PairPage(batch, wanted, None)
    columns = (Pair, Prompt, StoredTally, outcome_of(stored))
    row = session.execute(pairs_with(stored, *columns).where(Pair.id == pair_id)).first()
    if row is None:
        raise NotFoundError("There is no such pair in this eval batch. Its list of pairs shows what exists.")
    pair, prompt, counted, outcome = row
    system = (Message("system", stored.system_prompt),) if stored.system_prompt else ()
    names = names_of(session, batch_id)
    first = _author(session, pair.first_id, pair.first_response_id, names)
    second = _author(session, pair.second_id, pair.second_response_id, names)
    tally = of_second(counted)
    return PairPage(
        batch,
        wanted,
        PairView(
            id=pair.id,
            key=prompt.key,
            category=prompt.category,
            domain=prompt.domain,
            replicate=pair.replicate,
            prompt=(*system, *messages_of(prompt.messages)),
            outcome=PairOutcome(outcome),
            preferred=preferred(tally, first.name, second.name),
            settled=pair.settled,
            flagged=pair.self_identifies,
            votes=tally,
            second=second,
            first=first,
            cast=_cast(session, stored, pair_id, first.name, second.name),
            neighbours=_neighbours(session, stored, batch, pair_id, wanted),
        ),
    )


def _author(session: Session, checkpoint_id: uuid.UUID, response_id: uuid.UUID, names: tuple[str, ...]) -> Author:
    """The response as this checkpoint's: a twin with the same fingerprint may have written it."""
    response = session.get_one(Response, response_id)
    return Author(
        checkpoint=checkpoint_page(session, checkpoint_id),
        text=response.text,
        fingerprint=response.fingerprint,
        seed=response.seed,
        token_count=response.token_count,
        cut=response.finish_reason is FinishReason.LENGTH,
        engine=response.engine,
        created_at=response.created_at,
        leaks=leaks(response.text, names),
    )


def _cast(session: Session, batch: EvalBatch, pair_id: uuid.UUID, first: str, second: str) -> tuple[VoteRow, ...]:
    """Every verdict on the pair in the order in which they were cast, those outside of n among them."""
    excluded = excluded_of(session, batch).reasons
    query = (
        select(Verdict, Ballot, Voter, JudgeCall.confidence)
        .join(Ballot, Ballot.id == Verdict.ballot_id)
        .join(JudgeCall, and_(JudgeCall.ballot_id == Ballot.id, JudgeCall.state == CallState.VERDICT), isouter=True)
        .join(Voter, Voter.id == Ballot.voter_id)
        .where(Ballot.pair_id == pair_id)
        .order_by(Verdict.cast_at, Verdict.id)
    )
    names = {Outcome.FIRST: first, Outcome.SECOND: second, Outcome.TIE: ""}
    return tuple(
        VoteRow(
            voter=voter.name,
            kind=voter.kind,
            simulated=voter.simulated,
            shown_as_a=sides(ballot.order, first, second)[0],
            choice=verdict.choice,
            preferred=names[verdict.outcome],
            reason=verdict.reason,
            seconds=verdict.seconds,
            cast_at=verdict.cast_at,
            retracted=verdict.retracted_at is not None,
            surplus=verdict.surplus,
            repeat=ballot.is_repeat,
            confidence=confidence,
            excluded=voter.id in excluded,
        )
        for verdict, ballot, voter, confidence in session.execute(query)
    )


def _neighbours(
    session: Session, stored: EvalBatch, batch: PairsBatch, pair_id: uuid.UUID, wanted: PairFilter
) -> Neighbours:
    order = order_of(wanted.sort, [member.id for member in (batch.baseline, *batch.challengers)])
    places = (
        pairs_with(
            stored,
            Pair.id,
            func.row_number().over(order_by=order).label("place"),
            func.count().over().label("of"),
            func.lag(Pair.id, type_=Pair.id.type).over(order_by=order).label("previous"),
            func.lead(Pair.id, type_=Pair.id.type).over(order_by=order).label("following"),
        )
        .where(*conditions(session, stored, wanted))
        .subquery()
    )
    row = session.execute(
        select(places.c.place, places.c.of, places.c.previous, places.c.following).where(places.c.id == pair_id)
    ).first()
    return Neighbours(*row) if row else Neighbours()
