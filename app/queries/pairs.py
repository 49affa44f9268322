"""Pairs with their authors, once an eval batch has closed. The blind side may not import this."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from app.domain.tally import Tally
from app.domain.terms import BatchState, Domain, FinishReason, Settled
from app.models import EvalBatch, Pair, Prompt
from app.models import Tally as StoredTally
from app.queries.paging import Wanted, Window
from app.queries.pair_filters import (
    First,
    PairFilter,
    PairOutcome,
    Second,
    conditions,
    disagree,
    flagged,
    order_of,
    outcome_of,
    pairs_with,
    tallied,
)
from app.queries.pair_judges import judges_heard
from app.queries.pair_tallies import of_second
from app.queries.reveal import Member, PairsBatch, Reading, batch_of
from app.queries.suites import messages_of

PAGE = 25
"""Pairs on one page of the list."""

_EXCERPT = 220
_PROMPT = 140
_SPACE = " \t\r\n"


@dataclass(frozen=True)
class Excerpt:
    """The beginning of a response of ``length`` characters, under the name of the checkpoint that wrote it.

    ``cut``: the limit of new tokens ended it.
    """

    name: str
    text: str
    length: int
    cut: bool


@dataclass(frozen=True)
class PairRow:
    """One pair in the list. ``second`` is the challenger, or the later of two, and its votes are the wins."""

    id: uuid.UUID
    prompt: str
    category: str
    domain: Domain
    replicate: int
    outcome: PairOutcome
    preferred: str
    """The checkpoint that most votes prefer, if there is one."""
    disagree: bool
    flagged: bool
    """Whether a text says who wrote it."""
    settled: Settled | None
    votes: Tally
    second: Excerpt
    first: Excerpt


@dataclass(frozen=True)
class PairList:
    """One page of the pairs that were asked for; ``counts`` are of all pairs of the batch, by outcome."""

    counts: dict[PairOutcome, int]
    categories: tuple[str, ...]
    flagged: int
    """How many pairs of the batch hold a text that says who wrote it, settled ones among them."""
    judges: tuple[Member, ...]
    """The judges that gave a verdict."""
    window: Window
    rows: tuple[PairRow, ...]
    read_elsewhere: tuple[Member, ...]
    """Open eval batches whose voters meet some of the same texts."""


@dataclass(frozen=True)
class PairsPage:
    """The pairs of an eval batch that were asked for; ``found`` is nothing while they may not be read."""

    batch: PairsBatch
    wanted: PairFilter
    found: PairList | None


def pairs_page(session: Session, batch_id: uuid.UUID, wanted: PairFilter, page: int = 1) -> PairsPage:
    """One page of the pairs that were asked for. A page beyond the last one is the last one.

    Raises:
        NotFoundError: no eval batch has this id.
    """
    stored, batch = batch_of(session, batch_id)
    if batch.reading is not Reading.OPEN:
        return PairsPage(batch, wanted, None)
    counts = _counts(session, stored)
    members = (batch.baseline, *batch.challengers)
    order = order_of(wanted.sort, [member.id for member in members])
    # Ids first: a search that reads every text then reads it once, not to count and again to cut the page.
    ids = session.scalars(
        pairs_with(stored, Pair.id).where(*conditions(session, stored, wanted)).order_by(*order)
    ).all()
    window = Window.over(Wanted(wanted.text, page), len(ids), sum(counts.values()), PAGE)
    of_page = Pair.id.in_(ids[window.before : window.last])
    query = pairs_with(stored, *_columns(stored)).where(of_page).order_by(*order)
    names = {member.id: member.name for member in members}
    return PairsPage(
        batch,
        wanted,
        PairList(
            counts=counts,
            categories=_categories(session, stored),
            flagged=session.scalar(tallied(stored, func.count()).where(flagged)) or 0,
            judges=judges_heard(session, stored),
            window=window,
            rows=tuple(_row(names, *row) for row in session.execute(query)),
            read_elsewhere=_read_elsewhere(session, batch_id),
        ),
    )


def preferred(tally: Tally, first: str, second: str) -> str:
    """Whom most votes prefer, or nobody."""
    if tally.wins == tally.losses:
        return ""
    return second if tally.wins > tally.losses else first


def _columns(batch: EvalBatch) -> list[Any]:
    """What a row of the list needs: of the texts only their beginnings leave the database."""
    columns: list[Any] = [Pair, Prompt, StoredTally, outcome_of(batch), disagree]
    for side in (First, Second):
        beginning = func.substr(func.ltrim(side.text, _SPACE), 1, _EXCERPT + 1)
        columns += [beginning, func.length(side.text), side.finish_reason]
    return columns


def _row(
    names: dict[uuid.UUID, str],
    pair: Pair,
    prompt: Prompt,
    stored: StoredTally | None,
    outcome: str,
    disagree: bool,  # noqa: FBT001 (a column)
    *sides: Any,
) -> PairRow:
    first, second = names[pair.first_id], names[pair.second_id]
    tally = of_second(stored)
    return PairRow(
        id=pair.id,
        prompt=shortened(messages_of(prompt.messages)[-1].content, _PROMPT),
        category=prompt.category,
        domain=prompt.domain,
        replicate=pair.replicate,
        outcome=PairOutcome(outcome),
        preferred=preferred(tally, first, second),
        disagree=bool(disagree),
        flagged=bool(pair.self_identifies),
        settled=pair.settled,
        votes=tally,
        second=_excerpt(second, *sides[3:]),
        first=_excerpt(first, *sides[:3]),
    )


def _excerpt(name: str, text: str, length: int, finish: FinishReason) -> Excerpt:
    return Excerpt(name, shortened(text, _EXCERPT), length, finish is FinishReason.LENGTH)


def shortened(text: str, limit: int) -> str:
    """A text on one line, cut after the last whole word that fits."""
    line = " ".join(text.split())
    if len(line) <= limit and len(text) <= limit:
        return line
    return (line[:limit].rsplit(" ", 1)[0] if " " in line[:limit] else line[:limit]).rstrip(" ,;:.") + "…"


def _counts(session: Session, batch: EvalBatch) -> dict[PairOutcome, int]:
    outcome = outcome_of(batch).label("outcome")
    found = tallied(batch, outcome).subquery()
    query = select(found.c.outcome, func.count()).group_by(found.c.outcome)
    counts = {PairOutcome(value): count for value, count in session.execute(query)}
    return {value: counts.get(value, 0) for value in PairOutcome}


def _categories(session: Session, batch: EvalBatch) -> tuple[str, ...]:
    query = (
        select(Prompt.category)
        .where(Prompt.suite_id == batch.suite_id)
        .group_by(Prompt.category)
        .order_by(func.min(Prompt.position))
    )
    return tuple(session.scalars(query))


def _read_elsewhere(session: Session, batch_id: uuid.UUID) -> tuple[Member, ...]:
    """Responses are reused: a text shown here with its author may stand on somebody's ballot at this moment."""
    sides: Sequence[Any] = (Pair.first_response_id, Pair.second_response_id)
    here = select(sides[0]).where(Pair.eval_batch_id == batch_id)
    here_too = select(sides[1]).where(Pair.eval_batch_id == batch_id)
    query = (
        select(EvalBatch.id, EvalBatch.name)
        .join(Pair, Pair.eval_batch_id == EvalBatch.id)
        .where(EvalBatch.state == BatchState.OPEN, EvalBatch.id != batch_id)
        .where(or_(*(side.in_(read) for side in sides for read in (here, here_too))))
        .distinct()
        .order_by(EvalBatch.name)
    )
    return tuple(Member(id_, name) for id_, name in session.execute(query))
