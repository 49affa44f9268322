"""Votes counted by matchup and prompt, in one question to the database.

What the results are made from: as many rows come back as there are cells, however many pairs and verdicts.
"""

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session

from app.domain.pairing import settled_outcome
from app.domain.tally import PromptCounts, Tally
from app.domain.terms import Outcome, PairKind, Settled, VoterKind
from app.models import EvalBatch, Pair, Prompt
from app.models import Tally as StoredTally
from app.models.types import as_stored

_BY_SECOND = (Outcome.SECOND, Outcome.FIRST, Outcome.TIE)
_COLUMNS = 4
_FEW = 2_000
"""Pairs that are asked for by their ids; of more, all of the eval batch are read."""

_VOTES = (StoredTally.second, StoredTally.first, StoredTally.tie, StoredTally.both_bad)
"""In the order of ``PromptCounts``: from the side of ``second``."""


@dataclass(frozen=True, eq=False)
class MatchupCounts:
    """What was counted where two checkpoints meet; all arrays have one entry a prompt, in the order of the suite."""

    first_id: uuid.UUID
    second_id: uuid.UUID
    prompts: NDArray[np.intp]
    """Which of the suite's prompts, counted from 0: what two matchups share."""
    domains: NDArray[np.object_]
    categories: NDArray[np.object_]
    votes: PromptCounts
    """Without those that the rule leaves out."""
    left_out: PromptCounts
    settled: PromptCounts
    """Pairs decided by their texts alone."""


def prompt_counts(
    session: Session,
    batch: EvalBatch,
    left_out: Mapping[uuid.UUID, Tally],
    counted_anew: Mapping[uuid.UUID, Tally] | None = None,
) -> list[MatchupCounts]:
    """The votes of people on main pairs, matchup by matchup.

    Args:
        session: reads only.
        batch: whose pairs.
        left_out: by pair, votes that do not count.
        counted_anew: by pair, votes to be taken instead of the stored tallies.
    """
    prompts = session.execute(
        select(as_stored(Prompt.id), Prompt.domain, Prompt.category)
        .where(Prompt.suite_id == batch.suite_id)
        .order_by(Prompt.position)
    ).all()
    place = {one[0]: row for row, one in enumerate(prompts)}
    domains = np.array([one.domain for one in prompts], dtype=object)
    categories = np.array([one.category for one in prompts], dtype=object)
    excluded = _of_pairs(session, batch.id, left_out, place)
    anew = None if counted_anew is None else _of_pairs(session, batch.id, counted_anew, place)
    nothing = np.zeros((len(prompts), _COLUMNS), dtype=np.int64)
    made = []
    for key, found in groupby(session.execute(_by_prompt(batch.id)), key=lambda row: (row[0], row[1])):
        rows = [tuple(row) for row in found]
        there = np.array(sorted(place[row[2]] for row in rows))
        table = np.zeros((len(prompts), _COLUMNS + len(_BY_SECOND)), dtype=np.int64)
        table[[place[row[2]] for row in rows]] = [row[3:] for row in rows]
        votes = table[:, :_COLUMNS] if anew is None else anew.get(key, nothing)
        left = excluded.get(key, nothing)
        settled = np.column_stack((table[:, _COLUMNS:], np.zeros_like(table[:, 0])))
        first_id, second_id = (uuid.UUID(str(one)) for one in key)
        counts = (PromptCounts(*kind[there].T) for kind in (votes - left, left, settled))
        made.append(MatchupCounts(first_id, second_id, there, domains[there], categories[there], *counts))
    return made


def without(
    session: Session, batch: EvalBatch, counted: Sequence[MatchupCounts], tallies: Mapping[uuid.UUID, Tally]
) -> list[PromptCounts]:
    """The votes of each matchup less these, which are given by pair. Grows with ``tallies``, not with pairs."""
    by_position = select(as_stored(Prompt.id)).where(Prompt.suite_id == batch.suite_id).order_by(Prompt.position)
    place = {one: row for row, one in enumerate(session.scalars(by_position))} if tallies else {}
    found = _of_pairs(session, batch.id, tallies, place)
    taken = {(uuid.UUID(str(first)), uuid.UUID(str(second))): sums for (first, second), sums in found.items()}
    left = []
    for one in counted:
        sums = taken.get((one.first_id, one.second_id))
        left.append(one.votes if sums is None else one.votes - PromptCounts(*sums[one.prompts].T))
    return left


def _by_prompt(batch_id: uuid.UUID) -> Any:
    by = (as_stored(Pair.first_id), as_stored(Pair.second_id), as_stored(Pair.prompt_id))
    return (
        select(*by, *(func.coalesce(func.sum(one), 0) for one in _VOTES), *(_settled(one) for one in _BY_SECOND))
        .select_from(Pair)
        .join(
            StoredTally,
            (StoredTally.pair_id == Pair.id) & (StoredTally.voter_kind == VoterKind.RATER),
            isouter=True,
        )
        .where(Pair.eval_batch_id == batch_id, Pair.kind == PairKind.MAIN)
        .group_by(Pair.first_id, Pair.second_id, Pair.prompt_id)
        .order_by(Pair.first_id, Pair.second_id)
    )


def _settled(outcome: Outcome) -> ColumnElement[int]:
    """How many pairs the texts alone gave this outcome."""
    those = [one for one in Settled if settled_outcome(one) is outcome]
    return func.sum(case((Pair.settled.in_(those), 1), else_=0))


def _of_pairs(
    session: Session, batch_id: uuid.UUID, tallies: Mapping[uuid.UUID, Tally], place: Mapping[Any, int]
) -> dict[tuple[Any, Any], NDArray[np.int64]]:
    """Tallies by pair as one array of shape (prompts, 4) for each matchup."""
    if not tallies:
        return {}
    keys = (as_stored(Pair.first_id), as_stored(Pair.second_id), as_stored(Pair.prompt_id))
    query = select(Pair.id, *keys).where(Pair.eval_batch_id == batch_id, Pair.kind == PairKind.MAIN)
    if len(tallies) <= _FEW:
        query = query.where(Pair.id.in_(tallies))
    sums: dict[tuple[Any, Any], NDArray[np.int64]] = defaultdict(
        lambda: np.zeros((len(place), _COLUMNS), dtype=np.int64)
    )
    for pair_id, first, second, prompt in session.execute(query):
        if tally := tallies.get(pair_id):
            sums[first, second][place[prompt]] += (tally.wins, tally.losses, tally.ties, tally.both_bad)
    return sums
