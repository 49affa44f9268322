"""Rater quality in one eval batch, and who is left out by the rule of its plan.

A fixed number of queries whatever the raters and votes; only votes that came in a few seconds are looked at one by one,
beside the beginnings of their texts. Nothing here tells which checkpoint anybody prefers.
"""

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session, aliased

from app.domain.blinding import sides
from app.domain.quality import (
    FASTEST,
    LONGEST_READING,
    ExclusionRule,
    Marks,
    Sheet,
    is_fast,
    reading_words,
)
from app.domain.tally import Tally
from app.domain.terms import BallotState, Choice, Outcome, PairKind, Side, VoterKind
from app.models import Ballot, EvalBatch, Pair, Prompt, Response, Verdict

_READ = int(LONGEST_READING * 12)
"""Characters of a text that are enough to find the longest reading in it, in words of twelve letters."""

_NOTHING = Tally(0, 0, 0)
_STANDING = Ballot.state == BallotState.VOTED
"""Votes that were not taken back and did not come late."""

_Of = Sequence[ColumnElement[bool]]
"""Whose ballots are looked at."""


@dataclass(frozen=True)
class Excluded:
    """Who is left out by the rule of the plan, and what that takes out of the counts."""

    rule: ExclusionRule
    reasons: Mapping[uuid.UUID, tuple[str, ...]]
    """Why, by voter; only those who are left out."""
    counts: Mapping[uuid.UUID, Tally]
    """Their votes on main pairs, by pair, from the side of ``second``."""

    @property
    def raters(self) -> int:
        """How many raters are left out."""
        return len(self.reasons)

    @property
    def votes(self) -> int:
        """How many votes on main pairs that takes out."""
        return sum(tally.n for tally in self.counts.values())


def excluded_of(session: Session, batch: EvalBatch) -> Excluded:
    """Who is left out by now, with their votes on main pairs. Without a rule nothing is asked of the database."""
    rule = ExclusionRule.parse(batch.exclusion)
    if rule.is_empty:
        return Excluded(rule, {}, {})
    sheets = sheets_of(session, batch, times=rule.fast_max is not None)
    found = {voter_id: rule.reasons(sheet) for voter_id, sheet in sheets.items()}
    reasons = {voter_id: why for voter_id, why in found.items() if why}
    return Excluded(rule, reasons, _votes_of(session, batch, reasons) if reasons else {})


def _votes_of(session: Session, batch: EvalBatch, voters: Collection[uuid.UUID]) -> dict[uuid.UUID, Tally]:
    """What these raters said on each main pair, counted as the tallies are: without repeats, from ``second``."""
    query = (
        select(Ballot.pair_id, Verdict.outcome, Verdict.choice, func.count())
        .join(Verdict, Verdict.ballot_id == Ballot.id)
        .join(Pair, Pair.id == Ballot.pair_id)
        .where(Ballot.eval_batch_id == batch.id, Ballot.voter_id.in_(voters), _STANDING, Ballot.is_repeat.is_(False))
        .where(Pair.kind == PairKind.MAIN)
        .group_by(Ballot.pair_id, Verdict.outcome, Verdict.choice)
    )
    counts: dict[uuid.UUID, Tally] = defaultdict(lambda: _NOTHING)
    for pair_id, outcome, choice, votes in session.execute(query):
        counts[pair_id] += Tally.of(outcome, votes, choice=choice)
    return dict(counts)


def sheets_of(
    session: Session, batch: EvalBatch, voters: Collection[uuid.UUID] | None = None, *, times: bool = True
) -> dict[uuid.UUID, Sheet]:
    """What is known of every rater who voted or skipped, or of these alone.

    ``times``: also how long votes took. That reads the beginnings of texts, and the quick votes one by one.
    """
    of = [Ballot.eval_batch_id == batch.id, Ballot.voter_kind == VoterKind.RATER]
    if voters is not None:
        of.append(Ballot.voter_id.in_(voters))
    sheets: dict[uuid.UUID, Sheet] = defaultdict(Sheet)
    _add_votes(session, of, sheets)
    _add_repeats(session, of, sheets)
    _add_skips(session, of, sheets)
    if times:
        # Those that were imported without a time took as long as nobody knows.
        _add_times(session, of if batch.imported_from is None else [*of, Verdict.seconds > 0], sheets)
    return dict(sheets)


@dataclass
class _Counts:
    """A sheet while it is being counted."""

    votes: int = 0
    gold: dict[Side, Marks] = field(default_factory=lambda: dict.fromkeys(Side, Marks()))
    chosen: dict[Choice, int] = field(default_factory=lambda: dict.fromkeys(Choice, 0))


def _add_votes(session: Session, of: _Of, sheets: dict[uuid.UUID, Sheet]) -> None:
    """Votes, gold and sides, from one count of everything that stands."""
    by = (Ballot.voter_id, Pair.kind, Ballot.order, Ballot.order_known, Verdict.choice, Verdict.outcome)
    query = (
        select(*by, func.count())
        .select_from(Ballot)
        .join(Verdict, Verdict.ballot_id == Ballot.id)
        .join(Pair, Pair.id == Ballot.pair_id)
        .where(*of, _STANDING, Ballot.is_repeat.is_(False))
        .group_by(*by)
    )
    counted: dict[uuid.UUID, _Counts] = defaultdict(_Counts)
    for voter_id, kind, order, order_known, choice, outcome, votes in session.execute(query):
        counts = counted[voter_id]
        if kind is PairKind.GOLD:
            _, better = sides(order, Outcome.FIRST, Outcome.SECOND)
            side = Side.B if better is Outcome.SECOND else Side.A
            counts.gold[side] += _marks(outcome is Outcome.SECOND, outcome is Outcome.TIE, votes)
            continue
        counts.votes += votes if kind is PairKind.MAIN else 0
        if order_known or choice in (Choice.TIE, Choice.BOTH_BAD):  # else nobody knows which side it was
            counts.chosen[choice] += votes
    for voter_id, counts in counted.items():
        sheets[voter_id] = Sheet(
            votes=counts.votes,
            gold_as_a=counts.gold[Side.A],
            gold_as_b=counts.gold[Side.B],
            side_a=counts.chosen[Choice.A],
            side_b=counts.chosen[Choice.B],
            no_side=counts.chosen[Choice.TIE] + counts.chosen[Choice.BOTH_BAD],
            both_bad=counts.chosen[Choice.BOTH_BAD],
        )


def _marks(right: bool, tie: bool, votes: int) -> Marks:  # noqa: FBT001 (what it is about)
    return Marks(ties=votes) if tie else Marks(right=votes) if right else Marks(wrong=votes)


def _add_repeats(session: Session, of: _Of, sheets: dict[uuid.UUID, Sheet]) -> None:
    """What a rater said of a pair, against what the same rater said of it with the sides exchanged."""
    again, said_again = aliased(Ballot), aliased(Verdict)
    by = (Ballot.voter_id, Verdict.outcome, said_again.outcome)
    query = (
        select(*by, func.count())
        .select_from(Ballot)
        .join(Verdict, Verdict.ballot_id == Ballot.id)
        .join(again, (again.pair_id == Ballot.pair_id) & (again.voter_id == Ballot.voter_id))
        .join(said_again, said_again.ballot_id == again.id)
        .where(*of, _STANDING, Ballot.is_repeat.is_(False))
        .where(again.is_repeat.is_(True), again.state == BallotState.VOTED)
        .group_by(*by)
    )
    found: dict[uuid.UUID, Marks] = defaultdict(Marks)
    for voter_id, first, second, pairs in session.execute(query):
        found[voter_id] += _marks(first is second, first is not second and Outcome.TIE in (first, second), pairs)
    for voter_id, agreement in found.items():
        sheets[voter_id] = replace(sheets[voter_id], agreement=agreement)


def _add_skips(session: Session, of: _Of, sheets: dict[uuid.UUID, Sheet]) -> None:
    query = (
        select(Ballot.voter_id, func.count()).where(*of, Ballot.state == BallotState.SKIPPED).group_by(Ballot.voter_id)
    )
    for voter_id, skips in session.execute(query):
        sheets[voter_id] = replace(sheets[voter_id], skips=skips)


def _add_times(session: Session, of: _Of, sheets: dict[uuid.UUID, Sheet]) -> None:
    """Median times in the database; then the votes that may have been too fast, beside what there was to read."""
    ranked = (
        select(
            Ballot.voter_id,
            Verdict.seconds,
            func.row_number().over(partition_by=Ballot.voter_id, order_by=Verdict.seconds).label("place"),
            func.count().over(partition_by=Ballot.voter_id).label("of"),
        )
        .select_from(Ballot)
        .join(Verdict, Verdict.ballot_id == Ballot.id)
        .join(Pair, Pair.id == Ballot.pair_id)
        .where(*_timed(of))
        .subquery()
    )
    in_the_middle = ranked.c.place.in_([(ranked.c.of + 1) // 2, (ranked.c.of + 2) // 2])
    medians = session.execute(
        select(ranked.c.voter_id, func.max(ranked.c.of), func.avg(ranked.c.seconds))
        .where(in_the_middle)
        .group_by(ranked.c.voter_id)
    )
    for voter_id, timed, median in medians:
        sheets[voter_id] = replace(sheets[voter_id], timed=timed, median_seconds=median)
    words = _words_of(session, of)
    fast: dict[uuid.UUID, int] = defaultdict(int)
    for voter_id, pair_id, seconds in session.execute(_quick(of, Ballot.voter_id, Ballot.pair_id, Verdict.seconds)):
        fast[voter_id] += is_fast(seconds, words[pair_id])
    for voter_id, votes in fast.items():
        sheets[voter_id] = replace(sheets[voter_id], fast=votes)


def _timed(of: _Of) -> list[ColumnElement[bool]]:
    """Votes on pairs that were new to the rater: who takes a vote back has read the texts already."""
    new = (Ballot.is_repeat.is_(False), Ballot.showing == 0, Pair.kind == PairKind.MAIN)
    return [*of, _STANDING, *new]


def _quick(of: _Of, *columns: Any) -> Any:
    """Votes that came before the longest reading would be done."""
    return (
        select(*columns)
        .select_from(Ballot)
        .join(Verdict, Verdict.ballot_id == Ballot.id)
        .join(Pair, Pair.id == Ballot.pair_id)
        .where(*_timed(of), Verdict.seconds < LONGEST_READING / FASTEST)
    )


def _words_of(session: Session, of: _Of) -> dict[uuid.UUID, float]:
    """How long prompt and texts are to read, of the pairs with a quick vote; only beginnings leave the database."""
    first, second = aliased(Response), aliased(Response)
    query = (
        select(Pair.id, Prompt.messages, *(func.substr(one.text, 1, _READ) for one in (first, second)))
        .join(Prompt, Prompt.id == Pair.prompt_id)
        .join(first, first.id == Pair.first_response_id)
        .join(second, second.id == Pair.second_response_id)
        .where(Pair.id.in_(_quick(of, Ballot.pair_id)))
    )
    return {
        pair_id: sum(map(reading_words, (*(str(turn["content"]) for turn in messages), one, other)))
        for pair_id, messages, one, other in session.execute(query)
    }
