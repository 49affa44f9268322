"""Several raters, and several tabs of one, at the same moment: real transactions in real threads."""

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select, text

from app.db import Database
from app.domain.terms import BallotState, Choice, Outcome
from app.models import Ballot, EvalBatch, Tally, Verdict, Voter
from app.services import assignment, eval_batches, voting
from tests.factories import NOW, RULES, make_rater, make_study
from tests.fixtures import on_postgres

TOGETHER = 6


@pytest.fixture
def batch_id(database: Database, tmp_path: Path) -> uuid.UUID:
    with database.session_scope() as session:
        return make_study(session, tmp_path, prompts=3, votes_per_pair=2).batch.id


def raters(database: Database, count: int) -> list[Voter]:
    with database.session_scope() as session:
        return [make_rater(session, f"rater {number}") for number in range(count)]


def issue(database: Database, batch_id: uuid.UUID, voter: Voter, seed: int) -> Ballot | None:
    with database.session_scope() as session:
        rng = random.Random(seed)  # noqa: S311
        return assignment.issue(session, batch_id, voter, rules=RULES, now=NOW, rng=rng)


def at_once(actions: list[Callable[[], object]]) -> list[object]:
    """Run every action in a thread of its own, all of them let go together."""
    gate = threading.Barrier(len(actions))

    def run(action: Callable[[], object]) -> object:
        gate.wait(timeout=30)
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return [future.result(timeout=60) for future in [pool.submit(run, action) for action in actions]]


def test_raters_who_ask_together_never_share_a_slot(database: Database, batch_id: uuid.UUID) -> None:
    voters = raters(database, TOGETHER)
    ballots = at_once([lambda v=v, n=n: issue(database, batch_id, v, n) for n, v in enumerate(voters)])
    assert len({(ballot.pair_id, ballot.slot) for ballot in ballots}) == TOGETHER == 3 * 2
    per_pair = Counter((ballot.pair_id, ballot.order) for ballot in ballots)
    assert set(per_pair.values()) == {1}, "each pair is shown once in either order"


def test_two_tabs_show_the_same_ballot(database: Database, batch_id: uuid.UUID) -> None:
    voter = raters(database, 1)[0]
    ballots = at_once([lambda n=n: issue(database, batch_id, voter, n) for n in range(TOGETHER)])
    assert len({ballot.id for ballot in ballots}) == 1


def test_a_double_click_is_one_verdict(database: Database, batch_id: uuid.UUID) -> None:
    voter = raters(database, 1)[0]
    ballot = issue(database, batch_id, voter, 1)

    def cast() -> uuid.UUID:
        with database.session_scope() as session:
            return voting.cast(session, ballot.id, voter, Choice.TIE, rules=RULES, now=NOW).id

    assert len(set(at_once([cast] * TOGETHER))) == 1
    with database.session_scope(write=False) as session:
        assert session.scalars(select(Verdict.choice)).all() == [Choice.TIE]
        assert sum(session.scalars(select(Tally.tie))) == 1


def meet_at_the_row(database: Database, first: Callable, second: Callable[[], object]) -> None:
    """Let ``second`` begin while ``first`` has written and not committed, and commit once it waits."""
    with ThreadPoolExecutor(1) as pool:
        with database.session_scope() as session:
            first(session)
            session.flush()
            waiting = pool.submit(second)
            wait_for_a_lock(database, waiting)
        waiting.result(timeout=30)


def wait_for_a_lock(database: Database, other: Future) -> None:
    waiters = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with database.engine.connect() as connection:
            if connection.scalar(waiters):
                return
        if other.done():
            other.result()
            pytest.fail("the second transaction did not wait for the first")
    pytest.fail("the second transaction never got as far as the lock")


@on_postgres
def test_a_vote_that_is_being_stored_survives_the_end_of_voting(database: Database, batch_id: uuid.UUID) -> None:
    voter = raters(database, 1)[0]
    ballot = issue(database, batch_id, voter, 1)

    def close() -> None:
        with database.session_scope() as session:
            eval_batches.close(session, session.get_one(EvalBatch, batch_id), now=NOW)

    meet_at_the_row(database, lambda s: voting.cast(s, ballot.id, voter, Choice.A, rules=RULES, now=NOW), close)
    check_that_it_counts(database, ballot.id)


@on_postgres
def test_a_vote_that_is_being_stored_survives_an_undo_in_another_tab(database: Database, batch_id: uuid.UUID) -> None:
    voter = raters(database, 1)[0]
    earlier = issue(database, batch_id, voter, 1)
    with database.session_scope() as session:
        voting.cast(session, earlier.id, voter, Choice.TIE, rules=RULES, now=NOW)
    ballot = issue(database, batch_id, voter, 2)

    def undo() -> None:
        with database.session_scope() as session:
            voting.undo(session, earlier.id, voter, rules=RULES, now=NOW)

    meet_at_the_row(database, lambda s: voting.cast(s, ballot.id, voter, Choice.A, rules=RULES, now=NOW), undo)
    check_that_it_counts(database, ballot.id)


def check_that_it_counts(database: Database, ballot_id: uuid.UUID) -> None:
    with database.session_scope(write=False) as session:
        ballot = session.get_one(Ballot, ballot_id)
        verdict = session.scalars(select(Verdict).where(Verdict.ballot_id == ballot_id)).one()
        tally = session.scalars(select(Tally).where(Tally.pair_id == ballot.pair_id)).one()
        assert (ballot.state, verdict.surplus) == (BallotState.VOTED, False)
        assert (tally.first, tally.second) == (
            int(verdict.outcome is Outcome.FIRST), int(verdict.outcome is Outcome.SECOND),
        )  # fmt: skip
