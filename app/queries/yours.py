"""What a rater chose, with who wrote what, once their eval batch has closed. The blind side may not import this."""

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, aliased

from app.domain.blinding import sides
from app.domain.errors import NotFoundError
from app.domain.terms import BallotState, BatchState, Choice, Outcome, PairKind, Reveal
from app.models import Ballot, Checkpoint, EvalBatch, Pair, Prompt, Response, Verdict
from app.queries.paging import Wanted, Window
from app.queries.reveal import Reading
from app.queries.suites import Message, messages_of

PAGE = 10
"""Votes on one page: each has two whole texts."""


@dataclass(frozen=True)
class Shown:
    """One text as it was shown, with the checkpoint that wrote it."""

    side: str
    text: str
    author: str
    """Empty while another eval batch still asks about the same text."""
    chosen: bool


@dataclass(frozen=True)
class OwnVote:
    """One vote of this rater that stands."""

    number: int
    prompt: tuple[Message, ...]
    sides: tuple[Shown, Shown]
    choice: Choice
    reason: str
    kind: PairKind
    repeat: bool
    late: bool
    told: bool
    """Whether the authors are named."""


@dataclass(frozen=True)
class Preferred:
    """How many votes went to one checkpoint."""

    name: str
    votes: int


@dataclass(frozen=True)
class OwnVotes:
    """One page of the votes, and all of them in one sentence: ``counted`` is without checks and without late ones."""

    counted: int
    preferred: tuple[Preferred, ...]
    ties: int
    untold: int
    """Votes among ``counted`` on texts that another eval batch still asks about; not in ``preferred`` or ``ties``."""
    checks: int
    window: Window
    rows: tuple[OwnVote, ...]


@dataclass(frozen=True)
class YoursPage:
    """A rater's own votes; ``votes`` is nothing while nobody is told who wrote what."""

    batch_id: uuid.UUID
    reading: Reading
    votes: OwnVotes | None


def yours_page(session: Session, batch_id: uuid.UUID, voter_id: uuid.UUID, page: int = 1) -> YoursPage:
    """The votes of one rater in one eval batch, in the order in which they were shown.

    Raises:
        NotFoundError: no such eval batch.
    """
    batch = session.get(EvalBatch, batch_id)
    if batch is None:
        raise NotFoundError("There is nothing to read at this address. Ask for a new link.")
    if batch.reveal is not Reveal.AT_CLOSE:
        return YoursPage(batch_id, Reading.NEVER, None)
    if batch.state is not BatchState.CLOSED:
        return YoursPage(batch_id, Reading.NOT_YET, None)
    cast = _cast(session, batch_id, voter_id)
    window = Window.over(Wanted(page=page), len(cast), len(cast), PAGE)
    elsewhere = _asked_elsewhere(session, batch_id)
    names = dict(session.execute(select(Checkpoint.id, Checkpoint.name)).all())
    return YoursPage(batch_id, Reading.OPEN, _own(session, cast, window, elsewhere, names))


_Cast = tuple[Ballot, Verdict, Pair]
_Texts = tuple[tuple[Message, ...], str, str]
"""The prompt, and the texts of first and second."""


def _own(
    session: Session, cast: list[_Cast], window: Window, elsewhere: set[uuid.UUID], names: dict[uuid.UUID, str]
) -> OwnVotes:
    counted = [one for one in cast if one[2].kind is PairKind.MAIN and not one[0].is_repeat and not one[1].surplus]
    told = [(verdict, pair) for _, verdict, pair in counted if not _is_asked(pair, elsewhere)]
    preferred: Counter[str] = Counter()
    for verdict, pair in told:
        if verdict.outcome is not Outcome.TIE:
            preferred[names[pair.first_id if verdict.outcome is Outcome.FIRST else pair.second_id]] += 1
    shown = cast[window.before : window.last]
    said = _texts(session, shown)
    return OwnVotes(
        counted=len(counted),
        preferred=tuple(Preferred(name, votes) for name, votes in preferred.most_common()),
        ties=len(told) - preferred.total(),
        untold=len(counted) - len(told),
        checks=sum(pair.kind is not PairKind.MAIN or ballot.is_repeat for ballot, _, pair in cast),
        window=window,
        rows=tuple(
            _row(number, one, said[one[2].id], elsewhere, names) for number, one in enumerate(shown, window.before + 1)
        ),
    )


def _cast(session: Session, batch_id: uuid.UUID, voter_id: uuid.UUID) -> list[_Cast]:
    """Votes that stand, without their texts."""
    query = (
        select(Ballot, Verdict, Pair)
        .join(Verdict, Verdict.ballot_id == Ballot.id)
        .join(Pair, Pair.id == Ballot.pair_id)
        .where(Ballot.eval_batch_id == batch_id, Ballot.voter_id == voter_id)
        .where(Ballot.state.in_((BallotState.VOTED, BallotState.EXPIRED)), Verdict.retracted_at.is_(None))
        .order_by(Verdict.cast_at, Verdict.id)
    )
    return [(ballot, verdict, pair) for ballot, verdict, pair in session.execute(query)]


def _texts(session: Session, cast: Sequence[_Cast]) -> dict[uuid.UUID, _Texts]:
    """What was asked and said in these pairs, in one query."""
    first, second = aliased(Response), aliased(Response)
    query = (
        select(Pair.id, EvalBatch.system_prompt, Prompt.messages, first.text, second.text)
        .join(EvalBatch, EvalBatch.id == Pair.eval_batch_id)
        .join(Prompt, Prompt.id == Pair.prompt_id)
        .join(first, first.id == Pair.first_response_id)
        .join(second, second.id == Pair.second_response_id)
        .where(Pair.id.in_([pair.id for _, _, pair in cast]))
    )
    return {
        id_: ((*((Message("system", system),) if system else ()), *messages_of(messages)), one, other)
        for id_, system, messages, one, other in session.execute(query)
    }


def _row(number: int, cast: _Cast, said: _Texts, elsewhere: set[uuid.UUID], names: dict[uuid.UUID, str]) -> OwnVote:
    ballot, verdict, pair = cast
    prompt, *first_and_second = said
    told = not _is_asked(pair, elsewhere)
    texts = sides(ballot.order, *first_and_second)
    authors = sides(ballot.order, names[pair.first_id], names[pair.second_id]) if told else ("", "")
    a, b = (
        Shown(choice.upper(), text, author, verdict.choice is choice)
        for choice, text, author in zip((Choice.A, Choice.B), texts, authors, strict=True)
    )
    return OwnVote(
        number=number,
        prompt=prompt,
        sides=(a, b),
        choice=verdict.choice,
        reason=verdict.reason,
        kind=pair.kind,
        repeat=ballot.is_repeat,
        late=verdict.surplus,
        told=told,
    )


def _is_asked(pair: Pair, elsewhere: set[uuid.UUID]) -> bool:
    return bool({pair.first_response_id, pair.second_response_id} & elsewhere)


def _asked_elsewhere(session: Session, batch_id: uuid.UUID) -> set[uuid.UUID]:
    """Responses are reused: those that stand on ballots of an open eval batch at this moment keep their authors."""
    here, there = aliased(Pair), aliased(Pair)
    texts = (here.first_response_id, here.second_response_id)
    found: set[uuid.UUID] = set()
    for text in texts:
        query = (
            select(text)
            .join(there, or_(there.first_response_id == text, there.second_response_id == text))
            .join(EvalBatch, EvalBatch.id == there.eval_batch_id)
            .where(here.eval_batch_id == batch_id, EvalBatch.id != batch_id, EvalBatch.state == BatchState.OPEN)
            .group_by(text)
            .having(func.count() > 0)
        )
        found |= set(session.scalars(query))
    return found
