"""Whether voters could tell who wrote a text: pairs in which a text says so, and what raters answered when asked.

Both are read beside the result, with and without these votes. Nothing here tells which text a pair was flagged for.
"""

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.checks import leak_words, recognition_words, without_words
from app.domain.intervals import live, too_early
from app.domain.tally import Tally
from app.domain.terms import BallotState, Choice, Outcome, PairKind, VoterKind
from app.models import Ballot, BatchCheckpoint, Checkpoint, EvalBatch, Pair, Recognition, Verdict, Voter
from app.queries.quality import Excluded, excluded_of
from app.queries.results import SIMULATED, Cell, PairTally, cell, pair_tallies, pool

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
    batch_id: uuid.UUID,
    counts: Mapping[uuid.UUID, Tally] | None = None,
    *,
    excluded: Excluded | None = None,
    answers: Mapping[uuid.UUID, Answers] | None = None,
    flags: Mapping[uuid.UUID, bool | None] | None = None,
) -> Blindness:
    """What is known of the blindness of an eval batch so far.

    Votes of those whom the rule of the plan leaves out are in no number; give ``excluded`` where it is known already.
    What is counted anew holds the votes of everybody: ``counts`` by pair, see ``results_page``, and ``answers`` by
    voter; ``flags`` by pair are those of the texts, looked at again.
    """
    batch = session.get_one(EvalBatch, batch_id)
    out = excluded_of(session, batch) if excluded is None else excluded
    if answers is None:
        given = answers_of(session, batch_id, out.reasons)
    else:
        given = sum((said for voter_id, said in answers.items() if voter_id not in out.reasons), Answers())
    found: dict[tuple[uuid.UUID, uuid.UUID], list[PairTally]] = defaultdict(list)
    flag_of: dict[uuid.UUID, bool | None] = {}
    for pair, tally in pair_tallies(session, batch_id, PairKind.MAIN, VoterKind.RATER, counts):
        kept = replace(tally, tally=tally.tally - out.counts.get(pair.id, _NOTHING))
        found[pair.first_id, pair.second_id].append(kept)
        if pair.settled is None:
            flag_of[pair.id] = pair.self_identifies if flags is None else flags.get(pair.id)
    flagged = {pair_id for pair_id, flag in flag_of.items() if flag}
    unchecked = sum(flag is None for flag in flag_of.values())
    names = _members(session, batch_id)
    place = {id_: position for position, id_ in enumerate(names)}
    matchups = []
    without_flagged: list[str] = []
    without_yes: list[str] = []
    label = _label(session, batch_id)
    these_pairs = "this pair" if len(flagged) == 1 else "these pairs"
    these_votes = "this vote" if given.yes_votes == 1 else "these votes"
    for (first, second), pairs in sorted(found.items(), key=lambda item: [place.get(id_, 0) for id_ in item[0]]):
        two = (names[first], names[second])
        clean = [pair for pair in pairs if pair.pair_id not in flagged]
        unnoticed = [replace(pair, tally=pair.tally - given.yes.get(pair.pair_id, _NOTHING)) for pair in pairs]
        one = Apart(
            *two,
            whole=cell("all votes", pairs),
            unflagged=cell("without pairs that name an author", clean) if flagged else None,
            unrecognised=cell("without votes that recognised one", unnoticed) if given.yes_votes else None,
        )
        matchups.append(one)
        if one.unflagged:
            without_flagged.append(label + _finding(these_pairs, *two, clean, one.whole))
        if one.unrecognised:
            without_yes.append(label + _finding(these_votes, *two, unnoticed, one.whole))
    return Blindness(
        shown=len(flag_of),
        flagged=len(flagged),
        unchecked=unchecked,
        asked=batch.ask_recognised,
        answered=given.answered,
        yes=given.yes_votes,
        flagged_sentence=leak_words(len(flagged), len(flag_of), unchecked),
        flagged_findings=tuple(without_flagged),
        recognised_sentence=recognition_words(given.yes_votes, given.answered, asked=batch.ask_recognised),
        recognised_findings=tuple(without_yes),
        matchups=tuple(matchups),
    )


def answers_of(session: Session, batch_id: uuid.UUID, left_out: Collection[uuid.UUID] = ()) -> Answers:
    """The answers on votes that count; ``left_out`` are voters whose votes do not. Grows with pairs, not with votes."""
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
            yes[pair_id] += votes_of(outcome, choice, votes)
    return Answers(answered, dict(yes))


def votes_of(outcome: Outcome, choice: Choice, votes: int = 1) -> Tally:
    """So many votes of one kind from the side of ``second``."""
    return Tally(
        wins=votes * (outcome is Outcome.SECOND),
        losses=votes * (outcome is Outcome.FIRST),
        ties=votes * (outcome is Outcome.TIE),
        both_bad=votes * (choice is Choice.BOTH_BAD),
    )


def _finding(what: str, first: str, second: str, pairs: list[PairTally], whole: Cell) -> str:
    tally, summary = pool(pairs)
    shown = None if summary is None or too_early(summary) else live(summary)
    return without_words(what, second, first, tally, summary, shown, whole.standing)


def _members(session: Session, batch_id: uuid.UUID) -> dict[uuid.UUID, str]:
    """Names of the checkpoints, the baseline first."""
    query = (
        select(Checkpoint.id, Checkpoint.name)
        .join(BatchCheckpoint, BatchCheckpoint.checkpoint_id == Checkpoint.id)
        .where(BatchCheckpoint.eval_batch_id == batch_id)
        .order_by(BatchCheckpoint.position)
    )
    return dict(session.execute(query).all())


def _label(session: Session, batch_id: uuid.UUID) -> str:
    """Before sentences that votes of simulated raters went into."""
    query = (
        select(Ballot.id)
        .join(Voter, Voter.id == Ballot.voter_id)
        .join(Pair, Pair.id == Ballot.pair_id)
        .where(Ballot.eval_batch_id == batch_id, Voter.simulated, Ballot.state == BallotState.VOTED)
        .where(Pair.kind == PairKind.MAIN, Ballot.is_repeat.is_(False))
    )
    return SIMULATED if session.scalar(query.limit(1)) is not None else ""
