import random
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import String, cast, insert, select, text
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.orm import Session

from app.domain.terms import BallotState, BatchState, Choice, Role, VoterKind
from app.models import Account, Ballot, EvalBatch, Event, Pair, Prompt, Suite, Table, Voter
from app.models.types import TextEnum, UtcDateTime
from app.services import assignment, voting
from tests.factories import NOW, RULES, make_base, make_rater, make_study
from tests.fixtures import on_sqlite


def test_enums_are_stored_by_value(session: Session, tmp_path: Path) -> None:
    make_study(session, tmp_path)
    for query, value in (
        ("SELECT DISTINCT domain FROM prompt ORDER BY domain", ["in_domain", "out_of_domain"]),
        ("SELECT state FROM eval_batch", ["open"]),
        ("SELECT DISTINCT kind FROM checkpoint ORDER BY kind", ["adapter", "base"]),
        ("SELECT DISTINCT finish_reason FROM response", ["stop"]),
    ):
        assert session.scalars(text(query)).all() == value


def test_a_stored_word_that_is_no_term_is_refused(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path).batch
    session.execute(text("UPDATE eval_batch SET state = 'halfway'"))
    session.expire(batch)
    with pytest.raises(LookupError):
        _ = batch.state


def test_every_term_fits_its_column() -> None:
    kinds = {
        column.type.impl.enum_class
        for table in Table.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, TextEnum)
    }
    assert {Choice, BallotState, BatchState, Role} < kinds
    assert max(len(term.value) for kind in kinds for term in kind) <= 32


@on_sqlite
def test_a_naive_time_is_refused(session: Session) -> None:
    with pytest.raises(StatementError, match="without a time zone"):
        session.execute(insert(Voter).values(kind=VoterKind.RATER, name="x", created_at=datetime(2026, 1, 1)))  # noqa: DTZ001


def test_a_time_comes_back_as_the_same_moment_in_utc(session: Session) -> None:
    elsewhere = datetime(2026, 7, 1, 1, 30, 0, 123456, tzinfo=timezone(timedelta(hours=9)))
    rater = make_rater(session)
    rater.created_at = elsewhere
    session.flush()
    session.expire(rater)
    assert rater.created_at == elsewhere
    assert rater.created_at.utcoffset() == timedelta(0)


def test_every_time_is_of_the_type_that_refuses_naive_ones() -> None:
    times = {
        f"{table.name}.{column.name}": type(column.type)
        for table in Table.metadata.sorted_tables
        for column in table.columns
        if column.name.endswith("_at")
    }
    assert len(times) > 20
    assert set(times.values()) == {UtcDateTime}
    assert all(
        column.name.endswith("_at")
        for table in Table.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, UtcDateTime)
    )


def test_ids_are_random_and_not_of_a_time(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path)
    ids = [*session.scalars(select(Prompt.id)), *session.scalars(select(Pair.id)), study.batch.id]
    assert {id_.version for id_ in ids} == {4}


@pytest.fixture
def ballot(session: Session, tmp_path: Path) -> Ballot:
    batch = make_study(session, tmp_path).batch
    rng = random.Random(1)  # noqa: S311
    return assignment.issue(session, batch.id, make_rater(session), rules=RULES, now=NOW, rng=rng)


def copy_of(ballot: Ballot, **changed: object) -> Ballot:
    values = {column.key: getattr(ballot, column.key) for column in Ballot.__table__.columns if column.key != "id"}
    return Ballot(**values | changed)


def test_the_database_itself_forbids_a_slot_taken_twice(session: Session, ballot: Ballot) -> None:
    session.add(copy_of(ballot, voter_id=make_rater(session, "other").id))
    with pytest.raises(IntegrityError, match="slot"):
        session.flush()


def test_the_database_itself_forbids_a_second_open_ballot(session: Session, ballot: Ballot) -> None:
    other = next(pair for pair in session.scalars(select(Pair.id)) if pair != ballot.pair_id)
    session.add(copy_of(ballot, pair_id=other))
    with pytest.raises(IntegrityError):
        session.flush()


def test_a_ballot_that_ended_frees_its_slot(session: Session, ballot: Ballot) -> None:
    ballot.state = BallotState.SKIPPED
    session.flush()
    session.add(copy_of(ballot, voter_id=make_rater(session, "other").id, state=BallotState.OPEN))
    session.flush()


def test_the_database_itself_forbids_two_verdicts_on_a_ballot(session: Session, ballot: Ballot) -> None:
    voter = session.get_one(Voter, ballot.voter_id)
    verdict = voting.cast(session, ballot.id, voter, Choice.A, rules=RULES, now=NOW)
    values = {c.key: getattr(verdict, c.key) for c in type(verdict).__table__.columns if c.key != "id"}
    session.add(type(verdict)(**values))
    with pytest.raises(IntegrityError):
        session.flush()


def test_rows_that_others_point_to_cannot_go(session: Session, tmp_path: Path) -> None:
    make_study(session, tmp_path)
    session.delete(session.scalars(select(Suite)).one())
    with pytest.raises(IntegrityError):
        session.flush()


def test_an_event_is_a_topic_and_an_id() -> None:
    assert {column.name for column in Event.__table__.columns} == {"id", "topic", "subject_id", "created_at"}


def test_accounts_vote_as_a_voter_of_their_own(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    rater = make_rater(session)
    for name in ("one", "two"):
        session.add(Account(name=name, role=Role.RATER, voter_id=rater.id, created_at=NOW))
    with pytest.raises(IntegrityError):
        session.flush()


def test_json_comes_back_as_it_was(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path).batch
    sampling = dict(batch.sampling)
    session.expire(batch)
    assert batch.sampling == sampling
    assert session.scalar(select(cast(EvalBatch.state, String))) == BatchState.OPEN.value
