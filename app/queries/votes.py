"""Every vote of people that stands, one by one. Where they are many, pages read a snapshot instead."""

import uuid
from array import array
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import String, select, type_coerce
from sqlalchemy.orm import Session

from app.domain.tally import TIE
from app.domain.terms import BallotState, Outcome, PairKind, VoterKind
from app.models import Ballot, Pair, Verdict

_VALUES = {Outcome.SECOND.value: 1.0, Outcome.FIRST.value: 0.0, Outcome.TIE.value: TIE}
_ROWS = 50_000

Key = tuple[uuid.UUID, uuid.UUID]
Ints = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Votes:
    """Votes on main pairs in the order in which they were cast; arrays of shape (N,), numbers count from 0."""

    matchups: tuple[Key, ...]
    """First and second of each matchup."""
    voters: tuple[uuid.UUID, ...]
    matchup: Ints
    pair: Ints
    prompt: Ints
    replicate: Ints
    voter: Ints
    y: NDArray[np.float64]
    """From the side of ``second``: 1, 0, or one half for a tie."""

    def __getitem__(self, which: NDArray[np.bool_]) -> "Votes":
        """Some of the votes: ``which`` has shape (N,)."""
        return replace(
            self,
            matchup=self.matchup[which],
            pair=self.pair[which],
            prompt=self.prompt[which],
            replicate=self.replicate[which],
            voter=self.voter[which],
            y=self.y[which],
        )


def votes_of(session: Session, batch_id: uuid.UUID, left_out: Collection[uuid.UUID] = ()) -> Votes:
    """The votes of an eval batch. ``left_out``: voters whose votes do not count."""
    first, second, prompt, pair, voter, outcome = (
        type_coerce(column, String)  # an id as the database gives it: a million UUIDs would take longer than all else
        for column in (Pair.first_id, Pair.second_id, Pair.prompt_id, Pair.id, Ballot.voter_id, Verdict.outcome)
    )
    query = (
        select(first, second, prompt, pair, voter, outcome, Pair.replicate)
        .select_from(Ballot)
        .join(Verdict, Ballot.id == Verdict.ballot_id)
        .join(Pair, Pair.id == Ballot.pair_id)
        .where(Ballot.eval_batch_id == batch_id, Ballot.voter_kind == VoterKind.RATER, Pair.kind == PairKind.MAIN)
        .where(Ballot.state == BallotState.VOTED, Ballot.is_repeat.is_(False))
        .order_by(Verdict.cast_at, Verdict.id)
        .execution_options(yield_per=_ROWS)
    )
    if left_out:
        query = query.where(Ballot.voter_id.not_in(list(left_out)))
    matchups, pairs, prompts, voters = (_Numbers() for _ in range(4))
    replicates, values = array("q"), array("d")
    for one, other, about, shown, who, said, replicate in session.execute(query):
        matchups.add((one, other))
        pairs.add(shown)
        prompts.add(about)
        voters.add(who)
        replicates.append(replicate)
        values.append(_VALUES[said])
    return Votes(
        matchups=tuple((uuid.UUID(str(one)), uuid.UUID(str(other))) for one, other in matchups.names),
        voters=tuple(uuid.UUID(str(who)) for who in voters.names),
        matchup=matchups.array,
        pair=pairs.array,
        prompt=prompts.array,
        replicate=np.array(replicates, dtype=np.intp),
        voter=voters.array,
        y=np.array(values, dtype=np.float64),
    )


class _Numbers:
    """Names by number, in the order in which they first came."""

    def __init__(self) -> None:
        self.names: dict[Any, int] = {}
        self._found = array("q")

    def add(self, name: Any) -> None:
        self._found.append(self.names.setdefault(name, len(self.names)))

    @property
    def array(self) -> Ints:
        return np.array(self._found, dtype=np.intp)
