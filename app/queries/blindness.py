"""Whether voters could tell who wrote a text: pairs in which a text says so, and what raters answered when asked.

Both are read beside the result, with and without these votes. Nothing here tells which text a pair was flagged for.
"""

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.checks import leak_words, recognition_words, without_words
from app.domain.tally import Tally
from app.domain.terms import BallotState, PairKind, VoterKind
from app.models import Ballot, EvalBatch, Pair, Recognition, Verdict
from app.queries.cells import SIMULATED, Cell, live_of
from app.queries.pair_tallies import PairTally, cell, pairs_of_matchups, pool
from app.queries.results import ResultsPage

_NOTHING = Tally(0, 0, 0)


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
    stored = _shown(session, page.batch.id)
    flag_of = stored if flags is None else {pair_id: flags.get(pair_id) for pair_id in stored}
    flagged = {pair_id for pair_id, flag in flag_of.items() if flag}
    unchecked = sum(flag is None for flag in flag_of.values())
    label = SIMULATED if page.batch.simulated_votes else ""
    these_pairs = "this pair" if len(flagged) == 1 else "these pairs"
    these_votes = "this vote" if given.yes_votes == 1 else "these votes"
    matchups = []
    without_flagged: list[str] = []
    without_yes: list[str] = []
    of_each = pairs_of_matchups(session, page) if flagged or given.yes_votes else ((),) * len(page.matchups)
    for matchup, pairs in zip(page.matchups, of_each, strict=True):
        two = (matchup.first, matchup.second)
        whole, unflagged, unrecognised = replace(matchup.whole, label="all votes"), None, None
        if flagged:
            left = [pair for pair in pairs if pair.pair_id not in flagged]
            unflagged = cell("without pairs that name an author", left)
            without_flagged.append(label + _finding(these_pairs, *two, left, whole))
        if given.yes_votes:
            left = [replace(pair, tally=pair.tally - given.yes.get(pair.pair_id, _NOTHING)) for pair in pairs]
            unrecognised = cell("without votes that recognised one", left)
            without_yes.append(label + _finding(these_votes, *two, left, whole))
        matchups.append(Apart(*two, whole, unflagged, unrecognised))
    asked = session.get_one(EvalBatch, page.batch.id).ask_recognised
    return Blindness(
        shown=len(stored),
        flagged=len(flagged),
        unchecked=unchecked,
        asked=asked,
        answered=given.answered,
        yes=given.yes_votes,
        flagged_sentence=leak_words(len(flagged), len(stored), unchecked),
        flagged_findings=tuple(without_flagged),
        recognised_sentence=recognition_words(given.yes_votes, given.answered, asked=asked),
        recognised_findings=tuple(without_yes),
        matchups=tuple(matchups),
    )


def _shown(session: Session, batch_id: uuid.UUID) -> dict[uuid.UUID, bool | None]:
    """Whether a text says who wrote it, for each pair that voters are shown."""
    query = select(Pair.id, Pair.self_identifies).where(
        Pair.eval_batch_id == batch_id, Pair.kind == PairKind.MAIN, Pair.settled.is_(None)
    )
    return dict(session.execute(query).all())


def answers_of(session: Session, batch_id: uuid.UUID, left_out: Collection[uuid.UUID] = ()) -> Answers:
    """The answers on votes that count; ``left_out`` are voters whose votes do not. Grows with pairs, not with votes."""
    if session.scalar(select(Recognition.verdict_id).limit(1)) is None:
        return Answers()  # mostly nobody was asked; SQLite would look for an answer to every ballot of the batch
    query = (
        select(Ballot.pair_id, Recognition.recognised, Verdict.outcome, Verdict.choice, func.count())
        .join(Verdict, Verdict.ballot_id == Ballot.id)
        .join(Recognition, Recognition.verdict_id == Verdict.id)
        .join(Pair, Pair.id == Ballot.pair_id)
        .where(Ballot.eval_batch_id == batch_id, Ballot.voter_kind == VoterKind.RATER, Pair.kind == PairKind.MAIN)
        .where(Ballot.state == BallotState.VOTED, Ballot.is_repeat.is_(False))
        .group_by(Ballot.pair_id, Recognition.recognised, Verdict.outcome, Verdict.choice)
    )
    if left_out:
        query = query.where(Ballot.voter_id.not_in(list(left_out)))
    answered = 0
    yes: dict[uuid.UUID, Tally] = defaultdict(lambda: _NOTHING)
    for pair_id, recognised, outcome, choice, votes in session.execute(query):
        answered += votes
        if recognised:
            yes[pair_id] += Tally.of(outcome, votes, choice=choice)
    return Answers(answered, dict(yes))


def _finding(what: str, first: str, second: str, pairs: Sequence[PairTally], whole: Cell) -> str:
    tally, summary = pool(pairs)
    return without_words(what, second, first, tally, summary, live_of(summary), whole.standing)
