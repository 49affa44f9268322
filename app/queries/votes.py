"""Every vote of people that stands, one by one. Where they are many, pages read a snapshot instead."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.position import VALUES
from app.domain.terms import BallotState, PairKind, VoterKind
from app.models import Ballot, Pair, Verdict
from app.models.types import as_stored

_Y = {outcome.value: y for outcome, y in VALUES.items()}
_ROWS = 50_000
_OTHER = -1
"""In place of a pair that is no main pair."""

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
    pairs = _Pairs.of(session, batch_id)
    pair, voter, outcome = map(as_stored, (Ballot.pair_id, Ballot.voter_id, Verdict.outcome))
    query = (
        select(pair, voter, outcome)
        .join(Verdict, Ballot.id == Verdict.ballot_id)
        .where(Ballot.eval_batch_id == batch_id, Ballot.voter_kind == VoterKind.RATER)
        .where(Ballot.state == BallotState.VOTED, Ballot.is_repeat.is_(False))
        .order_by(Verdict.cast_at, Verdict.id)
    )
    if left_out:
        query = query.where(Ballot.voter_id.not_in(list(left_out)))
    voters: dict[Any, int] = {}
    parts: list[tuple[Ints, Ints, NDArray[np.float64]]] = []
    # Three columns a vote, whole columns at a time and past the ORM: what is known by pair is asked once a pair.
    with session.connection().execute(query.execution_options(yield_per=_ROWS)) as rows:
        for part in rows.partitions():
            shown, who, said = zip(*part, strict=True)
            parts.append(
                (
                    np.array([pairs.place.get(one, _OTHER) for one in shown], dtype=np.intp),
                    np.array([voters.setdefault(one, len(voters)) for one in who], dtype=np.intp),
                    np.array([_Y[one] for one in said], dtype=np.float64),
                )
            )
    empty = (np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp), np.zeros(0))
    places, cast_by, y = (np.concatenate(column) for column in zip(empty, *parts, strict=True))
    main = places != _OTHER
    place = places[main]
    matchup, matchups = _numbered(pairs.matchup[place])
    voter_numbers, kept = _numbered(cast_by[main])
    names = list(voters)
    return Votes(
        matchups=tuple(pairs.matchups[number] for number in matchups),
        voters=tuple(uuid.UUID(str(names[number])) for number in kept),
        matchup=matchup,
        pair=_numbered(place)[0],
        prompt=_numbered(pairs.prompt[place])[0],
        replicate=pairs.replicate[place],
        voter=voter_numbers,
        y=y[main],
    )


@dataclass(frozen=True, eq=False)
class _Pairs:
    """The main pairs of an eval batch; arrays have one entry a pair."""

    place: dict[Any, int]
    """By id, as the database gives it."""
    matchups: tuple[Key, ...]
    matchup: Ints
    prompt: Ints
    replicate: Ints

    @classmethod
    def of(cls, session: Session, batch_id: uuid.UUID) -> "_Pairs":
        columns = (*map(as_stored, (Pair.id, Pair.first_id, Pair.second_id, Pair.prompt_id)), Pair.replicate)
        query = select(*columns).where(Pair.eval_batch_id == batch_id, Pair.kind == PairKind.MAIN)
        rows = session.execute(query).all()
        matchups: dict[tuple[Any, Any], int] = {}
        prompts: dict[Any, int] = {}
        return cls(
            place={row[0]: place for place, row in enumerate(rows)},
            matchup=np.array([matchups.setdefault((row[1], row[2]), len(matchups)) for row in rows], dtype=np.intp),
            prompt=np.array([prompts.setdefault(row[3], len(prompts)) for row in rows], dtype=np.intp),
            replicate=np.array([row[4] for row in rows], dtype=np.intp),
            matchups=tuple((uuid.UUID(str(one)), uuid.UUID(str(other))) for one, other in matchups),
        )


def _numbered(found: Ints) -> tuple[Ints, list[int]]:
    """Numbers given anew in the order in which they first come, shape (N,), and which ones these were."""
    first = np.full(int(found.max(initial=-1)) + 1, found.size)
    first[found[::-1]] = np.arange(found.size)[::-1]
    there = np.argsort(first, kind="stable")[: np.count_nonzero(first < found.size)]
    anew = np.zeros(first.size, dtype=np.intp)
    anew[there] = np.arange(there.size)
    return anew[found], there.tolist()
