"""Whether voters could tell who wrote a text: pairs in which a text says so, and what raters answered when asked.

Both are read beside the result, with and without these votes. Nothing here tells which text a pair was flagged for.
"""

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session

from app.domain.checks import leak_words, recognition_words, without_words
from app.domain.tally import PromptCounts, Tally
from app.domain.terms import BallotState, PairKind, VoterKind
from app.models import Ballot, EvalBatch, Pair, Recognition, Verdict
from app.models import Tally as StoredTally
from app.queries.cells import SIMULATED, Cell
from app.queries.pair_tallies import of_second
from app.queries.prompt_counts import without
from app.queries.results import ResultsPage, slice_of

_NOTHING = Tally(0, 0, 0)
_OF_BALLOT = (
    Ballot.pair_id, Ballot.eval_batch_id, Ballot.voter_id, Ballot.voter_kind, Ballot.state, Ballot.is_repeat,
)  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """What raters answered to "did you think you recognised one?", on votes that stand on main pairs.

    ``yes`` are the votes with a yes, by pair and from the side of ``second``.
    """

    answered: int = 0
    yes: Mapping[uuid.UUID, Tally] = field(default_factory=dict)

    def __add__(self, other: "Answers") -> "Answers":
        pairs = self.yes.keys() | other.yes.keys()
        yes = {pair: self.yes.get(pair, _NOTHING) + other.yes.get(pair, _NOTHING) for pair in pairs}
        return Answers(self.answered + other.answered, yes)

    @property
    def yes_votes(self) -> int:
        """How many votes have a yes."""
        return sum(tally.n for tally in self.yes.values())


@dataclass(frozen=True)
class Apart:
    """One matchup (``second`` against ``first``) with all votes, and with some of them left out.

    A cell that leaves nothing out is ``None``.
    """

    first: str
    second: str
    whole: Cell
    unflagged: Cell | None
    """Without the pairs in which a text says who wrote it."""
    unrecognised: Cell | None
    """Without the votes of raters who thought that they recognised somebody."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """What there is to compare, all votes first."""
        return tuple(one for one in (self.whole, self.unflagged, self.unrecognised) if one is not None)


@dataclass(frozen=True)
class Blindness:
    """Could anybody tell? ``flagged`` of the ``shown`` pairs hold a text that says who wrote it."""

    shown: int
    """Pairs that voters are shown: those that the texts alone decide are not."""
    flagged: int
    unchecked: int
    """Shown pairs from before texts were looked at; they count as not flagged."""
    asked: bool
    """Whether raters are asked after each vote if they recognised one."""
    answered: int
    yes: int
    flagged_sentence: str
    flagged_findings: tuple[str, ...]
    """What each matchup says without the flagged pairs; empty where none is flagged."""
    recognised_sentence: str
    recognised_findings: tuple[str, ...]
    """The same without the votes of those who thought that they recognised one."""
    matchups: tuple[Apart, ...]


def blindness(
    session: Session,
    page: ResultsPage,
    *,
    answers: Mapping[uuid.UUID, Answers] | None = None,
    flags: Mapping[uuid.UUID, bool | None] | None = None,
) -> Blindness:
    """What is known of the blindness of the votes that results were made from.

    ``answers`` by voter, of everybody, and ``flags`` by pair are those that were looked at anew, instead of the stored.
    """
    if answers is None:
        given = answers_of(session, page.batch.id, page.excluded.reasons)
    else:
        given = sum((said for voter_id, said in answers.items() if voter_id not in page.excluded.reasons), Answers())
    shown, unchecked, flagged = _flagged(session, page.batch.id, flags)
    if page.counted_anew is not None:
        flagged = {pair_id: page.counted_anew.get(pair_id, _NOTHING) for pair_id in flagged}
    kept = {pair_id: tally - page.excluded.counts.get(pair_id, _NOTHING) for pair_id, tally in flagged.items()}
    batch = session.get_one(EvalBatch, page.batch.id)
    label = SIMULATED if page.batch.simulated_votes else ""
    counted = [matchup.counts for matchup in page.matchups]
    unflagged = _apart(page, "without pairs that name an author", without(session, batch, counted, kept))
    unrecognised = _apart(page, "without votes that recognised one", without(session, batch, counted, given.yes))
    these_pairs = "this pair" if len(flagged) == 1 else "these pairs"
    these_votes = "this vote" if given.yes_votes == 1 else "these votes"
    return Blindness(
        shown=shown,
        flagged=len(flagged),
        unchecked=unchecked,
        asked=batch.ask_recognised,
        answered=given.answered,
        yes=given.yes_votes,
        flagged_sentence=leak_words(len(flagged), shown, unchecked),
        flagged_findings=_findings(label, these_pairs, page, unflagged) if flagged else (),
        recognised_sentence=recognition_words(given.yes_votes, given.answered, asked=batch.ask_recognised),
        recognised_findings=_findings(label, these_votes, page, unrecognised) if given.yes_votes else (),
        matchups=tuple(
            Apart(
                matchup.first,
                matchup.second,
                replace(matchup.whole, label="all votes"),
                one if flagged else None,
                other if given.yes_votes else None,
            )
            for matchup, one, other in zip(page.matchups, unflagged, unrecognised, strict=True)
        ),
    )


def _apart(page: ResultsPage, label: str, left: Sequence[PromptCounts]) -> list[Cell]:
    return [slice_of(label, counts) for _, counts in zip(page.matchups, left, strict=True)]


def _findings(label: str, what: str, page: ResultsPage, cells: Sequence[Cell]) -> tuple[str, ...]:
    return tuple(
        label
        + without_words(
            what,
            matchup.second,
            matchup.first,
            Tally(cell.wins, cell.losses, cell.ties, cell.both_bad),
            cell.summary,
            cell.live,
            matchup.whole.standing,
        )
        for matchup, cell in zip(page.matchups, cells, strict=True)
    )


def _flagged(
    session: Session, batch_id: uuid.UUID, flags: Mapping[uuid.UUID, bool | None] | None
) -> tuple[int, int, dict[uuid.UUID, Tally]]:
    """How many pairs voters are shown, how many of them were never looked at, and the votes on those with a flag."""
    shown = (Pair.eval_batch_id == batch_id, Pair.kind == PairKind.MAIN, Pair.settled.is_(None))
    if flags is not None:
        told = {pair_id: flags.get(pair_id) for pair_id in session.scalars(select(Pair.id).where(*shown))}
        those = [pair_id for pair_id, flag in told.items() if flag]
        unchecked = sum(flag is None for flag in told.values())
        return len(told), unchecked, _votes_on(session, *shown, Pair.id.in_(those)) if those else {}
    named = func.coalesce(func.sum(case((Pair.self_identifies.is_(True), 1), else_=0)), 0)
    pairs, checked, found = session.execute(
        select(func.count(), func.count(Pair.self_identifies), named).where(*shown)
    ).one()
    return pairs, pairs - checked, _votes_on(session, *shown, Pair.self_identifies.is_(True)) if found else {}


def _votes_on(session: Session, *those: ColumnElement[bool]) -> dict[uuid.UUID, Tally]:
    """The votes of people on these pairs, those without any among them."""
    query = (
        select(Pair.id, StoredTally)
        .join(StoredTally, (StoredTally.pair_id == Pair.id) & (StoredTally.voter_kind == VoterKind.RATER), isouter=True)
        .where(*those)
    )
    return {pair_id: of_second(stored) for pair_id, stored in session.execute(query)}


def answers_of(session: Session, batch_id: uuid.UUID, left_out: Collection[uuid.UUID] = ()) -> Answers:
    """The answers on votes that count; ``left_out`` are voters whose votes do not. Grows with answers, not votes."""
    # Read from the answers to their votes: outer joins and the offset keep SQLite from looking for an answer to every
    # ballot of the batch instead, of which mostly none has one.
    given = (
        select(Recognition.recognised, Verdict.outcome, Verdict.choice, *_OF_BALLOT)
        .select_from(Recognition)
        .join(Verdict, Verdict.id == Recognition.verdict_id, isouter=True)
        .join(Ballot, Ballot.id == Verdict.ballot_id, isouter=True)
        .offset(0)
        .subquery()
        .c
    )
    by = (given.pair_id, given.recognised, given.outcome, given.choice)
    query = (
        select(*by, func.count())
        .join(Pair, Pair.id == given.pair_id)
        .where(given.eval_batch_id == batch_id, given.voter_kind == VoterKind.RATER, Pair.kind == PairKind.MAIN)
        .where(given.state == BallotState.VOTED, given.is_repeat.is_(False))
        .group_by(*by)
    )
    if left_out:
        query = query.where(given.voter_id.not_in(list(left_out)))
    answered = 0
    yes: dict[uuid.UUID, Tally] = defaultdict(lambda: _NOTHING)
    for pair_id, recognised, outcome, choice, votes in session.execute(query):
        answered += votes
        if recognised:
            yes[pair_id] += Tally.of(outcome, votes, choice=choice)
    return Answers(answered, dict(yes))
