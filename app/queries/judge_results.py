"""What judges say in an eval batch, each and all together, and how far they can be believed.

A pair judged in both orders is one observation, the mean of both; half-judged pairs wait. None of it is ever in the n
of people. The blind side may not import this.
"""

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from sqlalchemy.orm import Session

from app.domain.agreement import Agreement, agreement, among
from app.domain.judge_words import (
    SIMULATED_JUDGES,
    agreement_words,
    ceiling_words,
    gap_words,
    judged_words,
    length_words,
    position_words,
    together_words,
    unparsed_words,
)
from app.domain.length import LengthCard, Measured, length_card
from app.domain.marginals import Gap, paired_gap
from app.domain.position import BOTH_WAYS, Places, Swaps, outcome_of
from app.domain.tally import ClusterSums, Summary, Tally, summarise
from app.domain.terms import CallState, Domain, JudgingState, Outcome, SwapMode, UnparsedReason
from app.queries.cells import DOMAIN_WORDS, SIMULATED, Cell, category_words, cell_of, live_of
from app.queries.combined_results import CombinedResult, combined_result
from app.queries.judged import Answers, Asked, Heard, heard, judges_of, observation
from app.queries.pair_tallies import PairTally, pairs_of_matchups
from app.queries.results import ResultsPage

PEOPLE = "people"
"""What most people say of a pair, where judges are compared with them."""


ALL = "all judges"


@dataclass(frozen=True)
class JudgeCells:
    """What one judge, or all together, say in one matchup, whole and by slice."""

    name: str
    simulated: bool
    sentence: str
    whole: Cell
    domains: tuple[Cell, ...]
    categories: tuple[Cell, ...]
    length: LengthCard | None
    """``None`` for all together."""
    length_sentence: str = ""
    gap: Gap | None = None
    """How much more often it prefers the challenger than people do on the same pairs; ``None`` without such a pair."""
    gap_sentence: str = ""
    judge_id: uuid.UUID | None = None
    """``None`` for all together."""


@dataclass(frozen=True)
class JudgedMatchup:
    """One challenger (``second``) against what it meets, as judges see it."""

    first: str
    second: str
    together: JudgeCells
    """One observation for each judge and pair."""
    each: tuple[JudgeCells, ...]
    combined: CombinedResult | None
    """What people prefer, judges helping; ``None`` below two pairs that both have seen."""

    @property
    def rows(self) -> tuple[JudgeCells, ...]:
        """What there is to compare: all together only where there are several."""
        return (self.together, *self.each) if len(self.each) > 1 else self.each


@dataclass(frozen=True)
class JudgeCard:
    """How far one judge can be believed, over all matchups of the eval batch."""

    name: str
    simulated: bool
    mode: SwapMode
    state: JudgingState
    judged: int
    """Pairs that are an observation."""
    waiting: int
    """Pairs of which an order is still to come."""
    lost: int
    """Pairs that will be none, because no reply in one order held a legal choice."""
    places: Places
    swaps: Swaps
    verdicts: int
    unparsed: Mapping[UnparsedReason, int]
    failed: int
    """Calls that brought no reply."""
    unknown: int
    """Calls whose reply was lost."""
    position_sentence: str
    unparsed_sentence: str

    @property
    def unparsed_all(self) -> int:
        """Replies without a legal choice."""
        return sum(self.unparsed.values())

    @property
    def replies(self) -> int:
        """Replies that came, with a legal choice or without."""
        return self.verdicts + self.unparsed_all

    @property
    def unparsed_share(self) -> float | None:
        """The share of replies without a legal choice."""
        return self.unparsed_all / self.replies if self.replies else None


@dataclass(frozen=True)
class Compared:
    """Two voters on the same pairs; ``other`` may be most people."""

    one: str
    other: str
    found: Agreement
    sentence: str


@dataclass(frozen=True)
class JudgeResults:
    """Everything that judges say. Without a judge, all of it is empty."""

    judges: tuple[Asked, ...]
    pairs: int
    """Pairs that can be judged."""
    matchups: tuple[JudgedMatchup, ...]
    cards: tuple[JudgeCard, ...]
    agreements: tuple[Compared, ...]
    """Each two judges, then each judge and people."""
    people: Agreement
    """Two people among each other: the ceiling."""
    people_sentence: str

    @property
    def simulated(self) -> bool:
        """Whether a judge is nobody's model."""
        return any(judge.simulated for judge in self.judges)

    def between(self, one: str, other: str) -> Agreement | None:
        """How far these two agree, whichever is named first."""
        for row in self.agreements:
            if {row.one, row.other} == {one, other}:
                return row.found
        return self.people if one == other == PEOPLE else None


@dataclass(frozen=True)
class _Seen:
    """One pair with the value it has for one judge."""

    pair: PairTally
    y: float


class _Cells(NamedTuple):
    """A sentence, and the cells that it was made from."""

    sentence: str
    whole: Cell
    domains: tuple[Cell, ...]
    categories: tuple[Cell, ...]


def judge_results(session: Session, page: ResultsPage, told: Heard | None = None) -> JudgeResults:
    """What the judges of an eval batch say; ``page`` are its results by people.

    ``told``: answers, replies and lengths that were counted anew, instead of the stored ones.
    """
    judges = judges_of(session, page.batch.id)
    if not judges:
        return JudgeResults((), 0, (), (), (), among(()), "")
    told = told or heard(session, page.batch.id)
    said = {judge.voter_id: told.answers.get(judge.voter_id, {}) for judge in judges}
    values = {
        judge.voter_id: {
            pair_id: y
            for pair_id, answers in said[judge.voter_id].items()
            if (y := observation(answers, judge.mode)) is not None
        }
        for judge in judges
    }
    of_each = pairs_of_matchups(session, page)
    pairs = [pair for of_matchup in of_each for pair in of_matchup if not pair.settled.n]
    people = among((pair.prompt_id, pair.tally) for pair in pairs)
    matchups = (
        _matchup(matchup.first, matchup.second, of_matchup, judges, values, told, simulated=page.batch.simulated_votes)
        for matchup, of_matchup in zip(page.matchups, of_each, strict=True)
    )
    return JudgeResults(
        judges=judges,
        pairs=len(pairs),
        matchups=tuple(matchups),
        cards=tuple(_card(judge, said[judge.voter_id], values[judge.voter_id], told) for judge in judges),
        agreements=tuple(_agreements(judges, values, pairs, simulated=bool(page.batch.simulated_votes))),
        people=people,
        people_sentence=_label(SIMULATED if page.batch.simulated_votes else "", ceiling_words(people)),
    )


def _matchup(
    first: str,
    second: str,
    pairs: Sequence[PairTally],
    judges: Sequence[Asked],
    values: Mapping[uuid.UUID, Mapping[uuid.UUID, float]],
    told: Heard,
    *,
    simulated: int,
) -> JudgedMatchup:
    people = SIMULATED if simulated else ""
    each = tuple(_judge(judge, first, second, pairs, values[judge.voter_id], told, people) for judge in judges)
    everything = [
        _Seen(pair, of_judge[pair.pair_id])
        for of_judge in values.values()
        for pair in pairs
        if pair.pair_id in of_judge
    ]
    some = any(judge.simulated for judge in judges)
    cells = _cells(ALL, everything, pairs, lambda *of: together_words(len(judges), second, first, *of))
    together = JudgeCells(ALL, some, _label(SIMULATED_JUDGES if some else "", cells.sentence), *cells[1:], None)
    label = SIMULATED_JUDGES if some else people
    combined = combined_result(second, first, pairs, list(values.values()), label)
    return JudgedMatchup(first, second, together, each, combined)


def _judge(
    judge: Asked,
    first: str,
    second: str,
    pairs: Sequence[PairTally],
    values: Mapping[uuid.UUID, float],
    told: Heard,
    people: str,
) -> JudgeCells:
    """``people``: how sentences begin that votes of people went into."""
    seen = [_Seen(pair, values[pair.pair_id]) for pair in pairs if pair.pair_id in values]
    measured = [
        Measured(str(one.pair.prompt_id), told.longer_by[one.pair.pair_id], one.y)
        for one in seen
        if one.pair.pair_id in told.longer_by
    ]
    differences = [told.longer_by[pair.pair_id] for pair in pairs if pair.pair_id in told.longer_by]
    length = length_card(measured, differences)
    label = SIMULATED_JUDGES if judge.simulated else ""
    cells = _cells(judge.name, seen, pairs, lambda *of: judged_words(judge.name, second, first, *of))
    words = length_words(judge.name, second, length)
    gap = _gap(seen)
    leans = (label or people) + gap_words(judge.name, second, gap) if gap else ""
    told_by_judge = label + cells.sentence
    return JudgeCells(
        judge.name, judge.simulated, told_by_judge, *cells[1:], length, label + words, gap, leans, judge.judge_id
    )


def _gap(seen: Iterable[_Seen]) -> Gap | None:
    """The judge against people, on the pairs that both have seen."""
    both = [one for one in seen if one.pair.tally.n]
    return paired_gap(
        [str(one.pair.prompt_id) for one in both],
        [one.y for one in both],
        [one.pair.tally.score / one.pair.tally.n for one in both],
    )


def _cells(
    name: str,
    seen: Sequence[_Seen],
    pairs: Sequence[PairTally],
    words: Callable[..., str],
) -> _Cells:
    """The sentence and the cells of what was seen; slices are those that the pairs have."""
    present = [domain for domain in Domain if any(pair.domain is domain for pair in pairs)]
    categories = dict.fromkeys(pair.category for pair in pairs)
    tally, summary = _pool(seen)
    return _Cells(
        words(tally, summary, live_of(summary)),
        _cell(name, seen),
        tuple(_cell(DOMAIN_WORDS[one], [see for see in seen if see.pair.domain is one]) for one in present),
        tuple(_cell(category_words(one), [see for see in seen if see.pair.category == one]) for one in categories),
    )


def _pool(seen: Iterable[_Seen]) -> tuple[Tally, Summary | None]:
    by_prompt: dict[uuid.UUID, list[float]] = defaultdict(list)
    outcomes = []
    for one in seen:
        by_prompt[one.pair.prompt_id].append(one.y)
        outcomes.append(outcome_of(one.y))
    counts = (outcomes.count(outcome) for outcome in (Outcome.SECOND, Outcome.FIRST, Outcome.TIE))
    return Tally(*counts), summarise(ClusterSums.from_observations(list(by_prompt.values())))


def _cell(label: str, seen: Sequence[_Seen]) -> Cell:
    """One slice: its win rate is the mean of what the pairs are worth, a win is more than one half."""
    return cell_of(label, *_pool(seen))


def _card(judge: Asked, said: Mapping[uuid.UUID, Answers], values: Mapping[uuid.UUID, float], told: Heard) -> JudgeCard:
    choices = [
        [answer.choice for answer in answers.values() if answer is not None and answer.choice is not None]
        for answers in said.values()
    ]
    swaps = Swaps.count((one[0], one[1]) for one in choices if len(one) == BOTH_WAYS)
    # Half of a pair that is judged in both orders would count its better text, and not only the place.
    whole = [one for one in choices if len(one) == BOTH_WAYS or judge.mode is not SwapMode.BOTH]
    places = Places.count(choice for one in whole for choice in one)
    lost = sum(None in answers.values() for pair_id, answers in said.items() if pair_id not in values)
    replies: Mapping[tuple[CallState, UnparsedReason | None], int] = told.replies.get(judge.voter_id, {})
    unparsed = {reason: replies.get((CallState.UNPARSED, reason), 0) for reason in UnparsedReason}
    verdicts = replies.get((CallState.VERDICT, None), 0)
    bad = sum(unparsed.values())
    label = SIMULATED_JUDGES if judge.simulated else ""
    return JudgeCard(
        name=judge.name,
        simulated=judge.simulated,
        mode=judge.mode,
        state=judge.state,
        judged=len(values),
        waiting=len(said) - len(values) - lost,
        lost=lost,
        places=places,
        swaps=swaps,
        verdicts=verdicts,
        unparsed=unparsed,
        failed=replies.get((CallState.FAILED, None), 0),
        unknown=replies.get((CallState.UNKNOWN, None), 0),
        position_sentence=label + position_words(judge.name, swaps, places),
        unparsed_sentence=label + unparsed_words(judge.name, verdicts + bad, bad, lost),
    )


def _agreements(
    judges: Sequence[Asked],
    values: Mapping[uuid.UUID, Mapping[uuid.UUID, float]],
    pairs: Sequence[PairTally],
    *,
    simulated: bool,
) -> Iterable[Compared]:
    """Each two judges, then each judge and what most people say of a pair."""
    prompts = {pair.pair_id: pair.prompt_id for pair in pairs}
    people = {pair.pair_id: outcome_of(pair.tally.score / pair.tally.n) for pair in pairs if pair.tally.n}
    outcomes = {voter: {pair_id: outcome_of(y) for pair_id, y in of.items()} for voter, of in values.items()}
    for one, other in combinations(judges, 2):
        label = SIMULATED_JUDGES if one.simulated or other.simulated else ""
        yield _compared(label, one.name, other.name, outcomes[one.voter_id], outcomes[other.voter_id], prompts)
    for judge in judges:
        label = SIMULATED_JUDGES if judge.simulated else SIMULATED if simulated else ""
        yield _compared(label, judge.name, PEOPLE, outcomes[judge.voter_id], people, prompts)


def _compared(
    label: str,
    one: str,
    other: str,
    by_one: Mapping[uuid.UUID, Outcome],
    by_other: Mapping[uuid.UUID, Outcome],
    prompts: Mapping[uuid.UUID, uuid.UUID],
) -> Compared:
    both = [pair_id for pair_id in prompts if pair_id in by_one and pair_id in by_other]
    found = agreement((prompts[pair_id], by_one[pair_id], by_other[pair_id]) for pair_id in both)
    return Compared(one, other, found, label + agreement_words(one, other, found))


def _label(label: str, sentence: str) -> str:
    return label + sentence if sentence else ""
