"""Which pairs of an eval batch a reader asks for, in which order, and what the votes on each of them say.

Everything is computed in the database, and what people say from tallies, never from verdicts, so that a list reads one
page of rows however many there are.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select
from sqlalchemy.orm import Session, aliased

from app.domain.terms import Domain, PairKind, VoterKind
from app.models import EvalBatch, Pair, Prompt, Response, Tally
from app.queries.pair_judges import PairJudges, judged_as, judged_by
from app.queries.pair_search import says

First, Second = aliased(Response), aliased(Response)
"""The two responses of a pair."""

for_first, for_second, ties = (func.coalesce(count, 0) for count in (Tally.first, Tally.second, Tally.tie))
votes = for_first + for_second + ties

disagree = and_(votes > 0, for_first != votes, for_second != votes, ties != votes)
"""At least two people, and not the same outcome from all."""

flagged = Pair.self_identifies.is_(True)
"""A text says who wrote it."""

# The variance of the votes as 1, ½ and 0, which is largest where each side has half of them. Whole numbers divided
# once: the same mixture has the same value however many voted.
_score = 2 * for_second + ties
_spread = func.coalesce(1.0 * (votes * (2 * _score - ties) - _score * _score) / func.nullif(votes * votes, 0), -1.0)


class PairOutcome(StrEnum):
    """What people's votes on a pair say together, by the side that most of them prefer."""

    CHALLENGER = "challenger"
    BASELINE = "baseline"
    TIE = "tie"  # every vote is a tie
    SPLIT = "split"  # as many votes for the one as for the other
    NO_VOTE = "no_vote"
    SETTLED = "settled"
    DISAGREE = "disagree"  # only to ask for: some voters disagree, whoever most of them prefer


class PairSort(StrEnum):
    """Which pairs come first."""

    PROMPT = "prompt"
    LENGTH = "length"
    DISAGREEMENT = "disagreement"


class PairLength(StrEnum):
    """Pairs by how much longer one text is than the other, in characters."""

    ALIKE = "alike"  # the longer one by a fifth at most
    TWICE = "twice"  # at least twice as long as the other


@dataclass(frozen=True)
class PairFilter:
    """What a reader asks for; as it stands here, all pairs in the order of their prompts."""

    category: str = ""
    domain: Domain | None = None
    outcome: PairOutcome | None = None
    challenger: uuid.UUID | None = None
    against: uuid.UUID | None = None
    """What the challenger meets, where checkpoints also meet each other."""
    text: str = ""
    """Words of which each stands in the prompt, in a response or in a voter's reason; see ``pair_search``."""
    flagged: bool = False
    """Only pairs in which a text says who wrote it."""
    length: PairLength | None = None
    judge: uuid.UUID | None = None
    """Only pairs on which this judge gave a verdict; what ``judges`` asks is then asked of this one."""
    judges: PairJudges | None = None
    sort: PairSort = PairSort.PROMPT

    @property
    def narrows(self) -> bool:
        """Whether it leaves anything out."""
        return self != PairFilter(sort=self.sort)


def outcome_of(batch: EvalBatch) -> ColumnElement[str]:
    """The ``PairOutcome`` of each pair. Between two challengers, a challenger is preferred whoever wins."""
    by_first = case((Pair.first_id == batch.baseline_id, PairOutcome.BASELINE), else_=PairOutcome.CHALLENGER)
    return case(
        (Pair.settled.is_not(None), PairOutcome.SETTLED),
        (votes == 0, PairOutcome.NO_VOTE),
        (for_second > for_first, PairOutcome.CHALLENGER),
        (for_first > for_second, by_first),
        (for_first > 0, PairOutcome.SPLIT),
        else_=PairOutcome.TIE,
    )


def tallied(batch: EvalBatch, *columns: Any) -> Select[*tuple[Any, ...]]:
    """These columns for every pair of the batch, with its tally at hand."""
    tally = and_(Tally.pair_id == Pair.id, Tally.voter_kind == VoterKind.RATER)
    return (
        select(*columns)
        .select_from(Pair)
        .join(Tally, tally, isouter=True)
        .where(Pair.eval_batch_id == batch.id, Pair.kind == PairKind.MAIN)
    )


def pairs_with(batch: EvalBatch, *columns: Any) -> Select[*tuple[Any, ...]]:
    """The same with its prompt and its responses at hand as well."""
    return (
        tallied(batch, *columns)
        .join(Prompt, Prompt.id == Pair.prompt_id)
        .join(First, First.id == Pair.first_response_id)
        .join(Second, Second.id == Pair.second_response_id)
    )


def conditions(session: Session, batch: EvalBatch, wanted: PairFilter) -> list[ColumnElement[bool]]:
    """What a pair must be to be shown."""
    found: list[ColumnElement[bool]] = []
    if wanted.category:
        found.append(Prompt.category == wanted.category)
    if wanted.domain is not None:
        found.append(Prompt.domain == wanted.domain)
    if wanted.outcome is PairOutcome.DISAGREE:
        found.append(disagree)
    elif wanted.outcome is not None:
        found.append(outcome_of(batch) == wanted.outcome)
    found += [
        or_(Pair.first_id == one, Pair.second_id == one)
        for one in (wanted.challenger, wanted.against)
        if one is not None
    ]
    if wanted.flagged:
        found.append(flagged)
    if wanted.length is not None:
        found.append(_gap(wanted.length))
    if wanted.judge is not None:
        found.append(judged_by(batch, wanted.judge))
    if wanted.judges is not None:
        found.append(judged_as(batch, wanted.judges, wanted.judge))
    return [*found, *says(session, wanted.text, First.text, Second.text)]


def _gap(wanted: PairLength) -> ColumnElement[bool]:
    """Whether the two texts differ that much in length. Whole numbers, so that a border falls the same everywhere."""
    first, second = func.length(First.text), func.length(Second.text)
    if wanted is PairLength.ALIKE:
        return and_(5 * first <= 6 * second, 5 * second <= 6 * first)
    return or_(first >= 2 * second, second >= 2 * first)


def order_of(sort: PairSort, members: Sequence[uuid.UUID]) -> list[ColumnElement[Any]]:
    """The order of the pairs; ``members`` are the checkpoints of the batch in theirs."""
    place = {member: position for position, member in enumerate(members)}
    by_prompt: list[Any] = [Prompt.position, Pair.replicate]
    by_prompt += [case(place, value=side) for side in (Pair.second_id, Pair.first_id)] + [Pair.id]
    match sort:
        case PairSort.PROMPT:
            return by_prompt
        case PairSort.LENGTH:
            return [func.abs(func.length(First.text) - func.length(Second.text)).desc(), *by_prompt]
        case PairSort.DISAGREEMENT:
            return [_spread.desc(), votes.desc(), *by_prompt]
