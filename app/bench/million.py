"""A finished eval batch with as many verdicts as one likes, written straight into the tables.

Statistics are read from it. Nothing is cast, so the seals are empty and ``verify`` would object.
"""

import random
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from app.bench.arena import make_star
from app.config import Settings
from app.db import Database, migrate
from app.domain.blinding import choice_for, outcome
from app.domain.terms import BallotState, Order, Outcome, VoterKind
from app.models import Ballot, EvalBatch, Pair, Tally, Verdict, Voter

_CHUNK = 20_000
_TIES = 0.1


@dataclass(frozen=True)
class Many:
    """Where it is, and what is in it."""

    settings: Settings
    batch_id: uuid.UUID
    pairs: int
    verdicts: int
    per_second: float
    """How many verdicts, each with its ballot, were written in a second since the step before."""


def make_many(
    settings: Settings, *, checkpoints: int, prompts: int, steps: Sequence[int], seed: int = 1
) -> Iterator[Many]:
    """Tables and an eval batch of one baseline and its challengers, on which raters have voted.

    It grows while it is iterated over: ``steps`` are numbers of verdicts, each larger than the one before. Every pair
    has the same number of verdicts or one more as soon as each rater is through. A challenger wins more often the later
    it stands, prompts differ in what is preferred on them, and each rater meets a pair once.
    """
    migrate(settings.database)
    database, rng = Database.at(settings.database), random.Random(seed)  # noqa: S311 (every run reads the same votes)
    now = datetime.now(UTC)
    with database.session_scope() as session:
        batch_id = make_star(session, settings.secret_key(), checkpoints=checkpoints, prompts=prompts, now=now)
        pairs = session.execute(
            select(Pair.id, Pair.second_id, Pair.prompt_id).where(Pair.eval_batch_id == batch_id).order_by(Pair.id)
        ).all()
        each = -(-steps[-1] // len(pairs))
        raters = _raters(session, each, now)
        session.get_one(EvalBatch, batch_id).votes_per_pair = each
    second = {one: place for place, one in enumerate(dict.fromkeys(pair.second_id for pair in pairs))}
    leaning = {one: rng.gauss(0, 0.15) for one in dict.fromkeys(pair.prompt_id for pair in pairs)}
    chances = [
        min(max(0.4 + 0.3 * second[pair.second_id] / len(second) + leaning[pair.prompt_id], 0.05), 0.95)
        for pair in pairs
    ]
    tallies = [dict.fromkeys(("first", "second", "tie"), 0) for _ in pairs]
    made = _votes(rng, [pair.id for pair in pairs], chances, raters, batch_id, tallies, now)
    before = 0
    for verdicts in steps:
        begun, left = time.perf_counter(), verdicts - before
        while left:
            chunk = list(islice(made, min(_CHUNK, left)))
            left -= len(chunk)
            with database.session_scope() as session:
                session.execute(insert(Ballot), [ballot for ballot, _ in chunk])
                session.execute(insert(Verdict), [verdict for _, verdict in chunk])
        with database.session_scope() as session:
            session.execute(
                update(Tally),
                [
                    {"pair_id": pair.id, "voter_kind": VoterKind.RATER, "held": sum(tally.values()), **tally}
                    for pair, tally in zip(pairs, tallies, strict=True)
                ],
            )
        per_second = (verdicts - before) / (time.perf_counter() - begun)
        before = verdicts
        yield Many(settings, batch_id, len(pairs), verdicts, round(per_second))
    database.engine.dispose()


def _raters(session: Session, count: int, now: datetime) -> list[uuid.UUID]:
    voters = [Voter(kind=VoterKind.RATER, name=f"rater {number}", created_at=now) for number in range(count)]
    session.add_all(voters)
    session.flush()
    return [voter.id for voter in voters]


def _votes(
    rng: random.Random, pairs: list[uuid.UUID], chances: list[float], raters: list[uuid.UUID], batch_id: uuid.UUID,
    tallies: list[dict[str, int]], now: datetime,
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:  # fmt: skip
    """Ballots with their verdicts, one rater after the other; each meets the pairs in an order of its own."""
    start, number = now - timedelta(days=30), 0
    for slot, voter_id in enumerate(raters):
        for nth, place in enumerate(rng.sample(range(len(pairs)), len(pairs))):
            order = rng.choice(list(Order))
            choice = choice_for(_wanted(rng, chances[place]), order)
            said = outcome(choice, order)
            tallies[place][said.value] += 1
            number += 1
            when = start + timedelta(seconds=number)
            ballot_id = uuid.UUID(int=rng.getrandbits(128), version=4)
            yield (
                {"id": ballot_id, "pair_id": pairs[place], "eval_batch_id": batch_id, "voter_id": voter_id,
                 "voter_kind": VoterKind.RATER, "number": nth, "slot": slot, "order": order, "showing": 0,
                 "is_repeat": False, "state": BallotState.VOTED, "issued_at": when, "expires_at": when,
                 "closed_at": when, "skip_reason": "", "seal": ""},
                {"id": uuid.UUID(int=rng.getrandbits(128), version=4), "ballot_id": ballot_id, "choice": choice,
                 "outcome": said, "reason": "", "tags": [], "surplus": False, "seconds": 12.0, "cast_at": when,
                 "seal": ""},
            )  # fmt: skip


def _wanted(rng: random.Random, chance: float) -> Outcome:
    if rng.random() < _TIES:
        return Outcome.TIE
    return Outcome.SECOND if rng.random() < chance else Outcome.FIRST
