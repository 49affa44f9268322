"""Every edit behind the back of the arena is found and named."""

import random
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Engine, Row, delete, event, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db import Database
from app.domain.blinding import opposite, outcome
from app.domain.terms import BallotState, Choice, Outcome, PairKind, Reveal, Settled
from app.models import (
    Ballot,
    BatchCheckpoint,
    Checkpoint,
    EvalBatch,
    Pair,
    Prompt,
    Recognition,
    Response,
    Table,
    Tally,
    Verdict,
    Voter,
)
from app.models.types import TextEnum, UtcDateTime
from app.queries.verification import Verification, verify
from tests.factories import NOW, RULES, sha256
from tests.servers import postgres
from tests.story import Story, tell


@dataclass(frozen=True)
class Told:
    """A story in a database, to be changed in transactions that are rolled back."""

    engine: Engine
    story: Story


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("told")
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), folder / "arena.db")
        server, name, url = "", "", f"sqlite:///{folder / 'arena.db'}"
    else:
        server, template = request.getfixturevalue("postgres_template")
        name = f"arena_test_{uuid.uuid4().hex}"
        url = postgres.create_database(server, name, template)
    database = Database.at(url)
    with database.session_scope() as session:
        story = tell(session, folder)
    yield Told(database.engine, story)
    database.engine.dispose()
    if server:
        postgres.drop_database(server, name)


@contextmanager
def behind_the_back(told: Told) -> Iterator[Connection]:
    with told.engine.connect() as connection, connection.begin() as transaction:
        yield connection
        transaction.rollback()


def check(connection: Connection, secret: bytes = RULES.secret) -> Verification:
    with Session(connection, join_transaction_mode="create_savepoint") as session:
        session.connection()
        return verify(session, secret)


def put(connection: Connection, table: type[Table], row: Any, **values: Any) -> None:
    key = next(iter(table.__table__.primary_key))
    keys = [table.__table__.c[one.name] == getattr(row, one.name) for one in table.__table__.primary_key]
    assert key is not None
    assert connection.execute(update(table.__table__).where(*keys).values(**values)).rowcount == 1


def rows(connection: Connection, table: type[Table], *conditions: Any) -> list[Row[Any]]:
    keys = list(table.__table__.primary_key)
    return list(connection.execute(select(table.__table__).where(*conditions).order_by(*keys)))


def voted(connection: Connection, choice: Choice | None = None, *also: Any) -> tuple[Row[Any], Row[Any]]:
    """A ballot with a vote that counts and was not taken back before, and its verdict."""
    main = select(Pair.id).where(Pair.kind == PairKind.MAIN)
    again = select(Ballot.pair_id).where(Ballot.is_repeat | (Ballot.showing > 0))
    found = rows(
        connection, Ballot, Ballot.state == BallotState.VOTED, Ballot.pair_id.in_(main), Ballot.pair_id.not_in(again),
        Ballot.voter_id.not_in(select(Ballot.voter_id).where(Ballot.state == BallotState.OPEN)), *also,
    )  # fmt: skip
    for ballot in found:
        [verdict] = rows(connection, Verdict, Verdict.ballot_id == ballot.id)
        if choice in (None, verdict.choice) and verdict.reason:
            return ballot, verdict
    raise AssertionError(f"the story has no vote {choice}")


def drop_slots(connection: Connection) -> None:
    """The database itself would refuse two votes in one slot."""
    connection.exec_driver_sql("DROP INDEX uq_ballot_live_slot")


def retracted(connection: Connection) -> tuple[Row[Any], Row[Any]]:
    verdict = rows(connection, Verdict, Verdict.retracted_at.is_not(None))[0]
    return rows(connection, Ballot, Ballot.id == verdict.ballot_id)[0], verdict


def unvoted(connection: Connection) -> Row[Any]:
    return rows(connection, Pair, Pair.settled.is_not(None))[0]


def recount(connection: Connection, ballot: Row[Any], **by: int) -> None:
    """Change the counts of a ballot's tally, as a careful forger would."""
    at = (Tally.pair_id == ballot.pair_id) & (Tally.voter_kind == ballot.voter_kind)
    values = {name: Tally.__table__.c[name] + more for name, more in by.items()}
    connection.execute(update(Tally.__table__).where(at).values(**values))


Change = Callable[[Connection], Any]
CHANGES: dict[str, tuple[Change, str]] = {}


def change(name: str, finds: str) -> Callable[[Change], Change]:
    def keep(function: Change) -> Change:
        CHANGES[name] = (function, finds)
        return function

    return keep


@change("choice", "the outcome of its choice and order,")
def _(c: Connection) -> None:
    _, verdict = voted(c, Choice.A)
    put(c, Verdict, verdict, choice=Choice.B)


@change("outcome", "the outcome of its choice and order,")
def _(c: Connection) -> None:
    _, verdict = voted(c, Choice.A)
    put(c, Verdict, verdict, outcome=Outcome.TIE)


@change("choice and outcome", "Verdict {verdict} on Ballot {ballot} of study: expected a seal that fits")
def _(c: Connection) -> dict[str, Any]:
    ballot, verdict = voted(c, Choice.A)
    put(c, Verdict, verdict, choice=Choice.B, outcome=outcome(Choice.B, ballot.order))
    return {"verdict": verdict.id, "ballot": ballot.id}


@change("order", "Ballot {ballot} of study: expected a seal that fits who sees which texts in which order")
def _(c: Connection) -> dict[str, Any]:
    ballot, _ = voted(c)
    put(c, Ballot, ballot, order=opposite(ballot.order))
    return {"ballot": ballot.id}


@change("order, choice and outcome", "Ballot {ballot} of study: expected a seal")
def _(c: Connection) -> dict[str, Any]:
    ballot, verdict = voted(c, Choice.A)
    put(c, Ballot, ballot, order=opposite(ballot.order))
    put(c, Verdict, verdict, outcome=outcome(verdict.choice, opposite(ballot.order)))
    return {"ballot": ballot.id}


@change("ballot, verdict and tally", "Ballot {ballot} of study: expected a seal")
def _(c: Connection) -> dict[str, Any]:
    ballot, verdict = voted(c, Choice.A)
    turned = outcome(verdict.choice, opposite(ballot.order))
    put(c, Ballot, ballot, order=opposite(ballot.order))
    put(c, Verdict, verdict, outcome=turned)
    drawn = {f"drawn_{ballot.order.value}": -1, f"drawn_{opposite(ballot.order).value}": 1}
    recount(c, ballot, **{verdict.outcome.value: -1, turned.value: 1} | drawn)
    return {"ballot": ballot.id}


def _first_of(c: Connection, pair: Row[Any]) -> Row[Any]:
    return rows(c, Response, Response.id == pair.first_response_id)[0]


@change("text of a response", "expected the hash of its text,")
def _(c: Connection) -> None:
    ballot, _ = voted(c)
    [pair] = rows(c, Pair, Pair.id == ballot.pair_id)
    put(c, Response, _first_of(c, pair), text="Something better.")


@change("text of a response with its hash", "expected a seal that fits who wrote which text to which prompt")
def _(c: Connection) -> None:
    ballot, _ = voted(c)
    [pair] = rows(c, Pair, Pair.id == ballot.pair_id)
    put(c, Response, _first_of(c, pair), text="Something better.", text_sha256=sha256("Something better."))


@change("text of an unvoted pair", "a settled state from its texts of")
def _(c: Connection) -> None:
    put(c, Response, _first_of(c, unvoted(c)), text="", text_sha256=sha256(""))


@change("text of an unvoted pair, settled accordingly", "who wrote which text to which prompt")
def _(c: Connection) -> None:
    put(c, Response, _first_of(c, unvoted(c)), text="", text_sha256=sha256(""))
    put(c, Pair, unvoted(c), settled=Settled.EMPTY_FIRST)


@change("prompt", "Prompt key-0 of study: expected the hash of its messages,")
def _(c: Connection) -> None:
    put(c, Prompt, rows(c, Prompt, Prompt.key == "key-0")[0], messages=[{"role": "user", "content": "Why?"}])


@change(
    "slice of a prompt", "Eval batch study: expected a seal that fits its plan, members and the slices of its suite"
)
def _(c: Connection) -> None:
    put(c, Prompt, rows(c, Prompt, Prompt.key == "key-0")[0], category="category_1")


@change("a pair turned around", "expected responses by its two checkpoints,")
def _(c: Connection) -> None:
    pair = unvoted(c)
    put(c, Pair, pair, first_id=pair.second_id, second_id=pair.first_id)


@change("a pair turned around with its responses", "expected two members that meet, in canonical order")
def _(c: Connection) -> None:
    pair = unvoted(c)
    put(c, Pair, pair, first_id=pair.second_id, second_id=pair.first_id,
        first_response_id=pair.second_response_id, second_response_id=pair.first_response_id)  # fmt: skip


@change("responses swapped", "expected responses by its two checkpoints,")
def _(c: Connection) -> None:
    pair = unvoted(c)
    put(c, Pair, pair, first_response_id=pair.second_response_id, second_response_id=pair.first_response_id)


@change("members' names swapped", "Eval batch study: expected a seal")
def _(c: Connection) -> None:
    base, adapter = (rows(c, Checkpoint, Checkpoint.name == name)[0] for name in ("tiny", "brie-v1/epoch-2"))
    put(c, Checkpoint, base, name="for a moment")
    put(c, Checkpoint, adapter, name=base.name)
    put(c, Checkpoint, base, name=adapter.name)


@change("who voted", "Ballot {ballot} of study: expected a seal")
def _(c: Connection) -> dict[str, Any]:
    ballot = rows(c, Ballot, Ballot.number == 1)[0]
    stranger = uuid.uuid4()
    c.execute(insert(Voter.__table__).values(id=stranger, kind="rater", name="x", simulated=False, created_at=NOW))
    put(c, Ballot, ballot, voter_id=stranger)
    return {"ballot": ballot.id}


@change("simulated votes called votes of people", "expected a seal that fits who sees which texts")
def _(c: Connection) -> None:
    c.execute(update(Voter.__table__).where(Voter.simulated).values(simulated=False))


@change("slot", "Ballot {ballot} of study: expected a seal")
def _(c: Connection) -> dict[str, Any]:
    ballot, _ = voted(c)
    put(c, Ballot, ballot, slot=9)
    return {"ballot": ballot.id}


@change("number", "Ballot {ballot} of study: expected a seal")
def _(c: Connection) -> dict[str, Any]:
    ballot, _ = voted(c)
    put(c, Ballot, ballot, number=99)
    return {"ballot": ballot.id}


@change("number taken away", "Ballot {ballot} of study: expected a number")
def _(c: Connection) -> dict[str, Any]:
    ballot, _ = voted(c)
    put(c, Ballot, ballot, number=None)
    return {"ballot": ballot.id}


@change("showing", "Ballot {ballot} of study: expected a seal")
def _(c: Connection) -> dict[str, Any]:
    ballot, _ = voted(c)
    put(c, Ballot, ballot, showing=7)
    return {"ballot": ballot.id}


@change("repeat", "Ballot {ballot} of study: expected a seal")
def _(c: Connection) -> dict[str, Any]:
    ballot, _ = voted(c)
    put(c, Ballot, ballot, is_repeat=True)
    return {"ballot": ballot.id}


for _state in (BallotState.OPEN, BallotState.SKIPPED, BallotState.EXPIRED, BallotState.RETRACTED):

    @change(f"a vote with the state {_state}", f"for the state {_state}, found one that stands")
    def _(c: Connection, state: BallotState = _state) -> None:
        ballot, _ = voted(c)
        put(c, Ballot, ballot, state=state)


@change("skipped ballot with the state voted", "expected one that stands for the state voted, found none")
def _(c: Connection) -> None:
    drop_slots(c)
    put(c, Ballot, rows(c, Ballot, Ballot.state == BallotState.SKIPPED)[0], state=BallotState.VOTED)


@change("a late vote made to count", "expected one that stands for the state voted, found a late one")
def _(c: Connection) -> None:
    drop_slots(c)
    verdict = rows(c, Verdict, Verdict.surplus)[0]
    ballot = rows(c, Ballot, Ballot.id == verdict.ballot_id)[0]
    put(c, Ballot, ballot, state=BallotState.VOTED, closed_at=NOW)
    recount(c, ballot, held=1, **{verdict.outcome.value: 1})


for _name, _value in {
    "seconds": 1.0, "reason": "because", "tags": ["deep"], "surplus": True, "cast_at": NOW,
}.items():  # fmt: skip

    @change(f"verdict.{_name}", "Verdict")
    def _(c: Connection, name: str = _name, value: Any = _value) -> None:
        put(c, Verdict, voted(c)[1], **{name: value})


@change("a vote taken back by somebody else", "Retraction of Verdict {verdict}")
def _(c: Connection) -> dict[str, Any]:
    ballot, verdict = voted(c)
    put(c, Verdict, verdict, retracted_at=NOW)
    put(c, Ballot, ballot, state=BallotState.RETRACTED)
    recount(c, ballot, held=-1, **{verdict.outcome.value: -1})
    return {"verdict": verdict.id}


@change("a retraction removed", "Ballot {ballot} of study: expected one that stands for the state voted")
def _(c: Connection) -> dict[str, Any]:
    drop_slots(c)
    ballot, _ = retracted(c)
    put(c, Ballot, ballot, state=BallotState.VOTED)
    return {"ballot": ballot.id}


@change("a retraction removed with all that tells of it", "showing 0 to have ended before the next, found voted")
def _(c: Connection) -> None:
    drop_slots(c)
    ballot, verdict = retracted(c)
    put(c, Ballot, ballot, state=BallotState.VOTED)
    put(c, Verdict, verdict, retracted_at=None, retraction_seal=None)
    recount(c, ballot, held=1, **{verdict.outcome.value: 1})


@change("seal of a retraction removed", "Retraction of Verdict {verdict}")
def _(c: Connection) -> dict[str, Any]:
    _, verdict = retracted(c)
    put(c, Verdict, verdict, retraction_seal=None)
    return {"verdict": verdict.id}


@change("recognition", "Recognition on Verdict")
def _(c: Connection) -> None:
    said = rows(c, Recognition)[0]
    put(c, Recognition, said, recognised=not said.recognised)


@change("seal of the plan", "Pair")
def _(c: Connection) -> None:
    put(c, EvalBatch, rows(c, EvalBatch)[0], seal=None)


@change("seal of a pair", "expected a seal over who wrote which text to which prompt, found none")
def _(c: Connection) -> None:
    put(c, Pair, unvoted(c), seal=None)


for _table, _row in ((Ballot, "Ballot"), (Verdict, "Verdict"), (Recognition, "Recognition on")):

    @change(f"seal of a {_table.__tablename__}", _row)
    def _(c: Connection, table: type[Table] = _table) -> None:
        put(c, table, rows(c, table)[0], seal="")


@change("all seals at once", "expected a seal over who sees which texts in which order, found none")
def _(c: Connection) -> None:
    for table in (EvalBatch, Pair):
        c.execute(update(table.__table__).values(seal=None))
    c.execute(update(Verdict.__table__).values(seal="", retraction_seal=None))
    for table in (Ballot, Recognition):
        c.execute(update(table.__table__).values(seal=""))


for _column in ("held", "drawn_first_is_a", "drawn_second_is_a", "first", "second", "tie", "both_bad"):

    @change(f"tally.{_column}", f"expected {_column} = ")
    def _(c: Connection, column: str = _column) -> None:
        recount(c, voted(c)[0], **{column: 1})


@change("a verdict deleted", "expected one that stands for the state voted, found none")
def _(c: Connection) -> None:
    _, verdict = voted(c, Choice.TIE)
    c.execute(delete(Recognition.__table__).where(Recognition.verdict_id == verdict.id))
    c.execute(delete(Verdict.__table__).where(Verdict.id == verdict.id))


@change("ballot and verdict deleted, tally adjusted", "Ballots of voter {voter} in study")
def _(c: Connection) -> dict[str, Any]:
    ballot, verdict = voted(c, None, Ballot.number < 3)
    c.execute(delete(Recognition.__table__).where(Recognition.verdict_id == verdict.id))
    c.execute(delete(Verdict.__table__).where(Verdict.id == verdict.id))
    c.execute(delete(Ballot.__table__).where(Ballot.id == ballot.id))
    recount(c, ballot, held=-1, **{verdict.outcome.value: -1, f"drawn_{ballot.order.value}": -1})
    return {"voter": ballot.voter_id}


@change("a settled pair deleted", "Eval batch study: expected 9 main pairs as planned, found 8")
def _(c: Connection) -> None:
    pair = unvoted(c)
    c.execute(delete(Tally.__table__).where(Tally.pair_id == pair.id))
    c.execute(delete(Pair.__table__).where(Pair.id == pair.id))


for _name, _value in {
    "exclusion": {}, "votes_per_pair": 3, "reveal": Reveal.NEVER, "seed": 2, "rater_limit": 5, "replicates": 2,
    "ask_recognised": False, "gold_pairs": 0, "repeat_pairs": 0, "system_prompt": "Be brief.",
}.items():  # fmt: skip

    @change(f"plan: {_name}", "Eval batch study: expected a seal that fits its plan")
    def _(c: Connection, name: str = _name, value: Any = _value) -> None:
        put(c, EvalBatch, rows(c, EvalBatch)[0], **{name: value})


@change("fingerprint of a member", "Eval batch study: expected a seal that fits its plan")
def _(c: Connection) -> None:
    put(c, BatchCheckpoint, rows(c, BatchCheckpoint)[0], fingerprint=sha256("other"))


@change("fingerprint of a checkpoint", "Checkpoint brie-v1/epoch-2 of study: expected the fingerprint of the launch")
def _(c: Connection) -> None:
    put(c, Checkpoint, rows(c, Checkpoint, Checkpoint.name == "brie-v1/epoch-2")[0], fingerprint=sha256("other"))


@change("a verdict copied to another ballot", "Verdict")
def _(c: Connection) -> None:
    drop_slots(c)
    _, verdict = voted(c)
    skipped = rows(c, Ballot, Ballot.state == BallotState.SKIPPED)[0]
    c.execute(insert(Verdict.__table__).values(**verdict._asdict() | {"id": uuid.uuid4(), "ballot_id": skipped.id}))
    put(c, Ballot, skipped, state=BallotState.VOTED)
    recount(c, skipped, held=1, **{verdict.outcome.value: 1})


@change("seals of two ballots exchanged", "Ballot {ballot} of study: expected a seal")
def _(c: Connection) -> dict[str, Any]:
    one, other = sorted(rows(c, Ballot)[:2], key=lambda row: (str(row.pair_id), str(row.id)))
    put(c, Ballot, one, seal=other.seal)
    put(c, Ballot, other, seal=one.seal)
    return {"ballot": one.id}


@change("a choice that nobody can make", "A row of study: expected values that the arena writes")
def _(c: Connection) -> None:
    c.exec_driver_sql("UPDATE verdict SET choice = 'best'")


def test_a_study_in_which_everything_happened_verifies(told: Told) -> None:
    with told.engine.connect() as connection, connection.begin():
        found = check(connection)
        counted = {
            table: connection.scalar(select(func.count()).select_from(table)) for table in (Pair, Ballot, Verdict)
        }
    assert found.mismatches == ()
    assert (found.holds, found.checked.older) == (True, 0)
    assert counted == {Pair: found.checked.pairs, Ballot: found.checked.ballots, Verdict: found.checked.verdicts}
    assert found.checked.seals > sum(counted.values())
    assert found.checked.numbers > 100
    assert min(map(len, (told.story.undone, told.story.late, told.story.skipped))) >= 1


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_behind_the_back_is_found_and_named(told: Told, name: str) -> None:
    edit, finds = CHANGES[name]
    with behind_the_back(told) as connection:
        ids = edit(connection) or {}
        found = check(connection)
    assert not found.holds
    sentences = [one.sentence for one in found.mismatches]
    assert any(finds.format(**ids) in sentence for sentence in sentences), sentences
    assert found.total == len(sentences)


def test_another_key_is_told_from_tampering(told: Told) -> None:
    with behind_the_back(told) as connection:
        [only] = check(connection, b"another").mismatches
        assert only.sentence.startswith("Seals of study: expected some of ")
        assert "ARENA_SECRET, or the secret.key" in only.sentence
        put(connection, Verdict, voted(connection, Choice.A)[1], outcome=Outcome.TIE)
        both = [one.sentence for one in check(connection, b"another").mismatches]
    assert both[0].startswith("Seals of study")
    assert any("the outcome of its choice and order," in sentence for sentence in both)


def test_rows_older_than_the_seals_are_counted_and_checked_otherwise(told: Told) -> None:
    """What an upgrade leaves: no numbers, no seals of plan and pairs, ballots and verdicts sealed the old way."""
    from app.queries import seals  # noqa: PLC0415

    with behind_the_back(told) as connection:
        for table in (EvalBatch, Pair):
            connection.execute(update(table.__table__).values(seal=None))
        connection.execute(delete(Recognition.__table__))
        connection.execute(update(Verdict.__table__).values(retraction_seal=None))
        connection.execute(update(Ballot.__table__).values(number=None))
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            for ballot in session.query(Ballot):
                ballot.seal = seals.ballot_seal(session, ballot, RULES.secret)
                for verdict in session.query(Verdict).where(Verdict.ballot_id == ballot.id):
                    verdict.seal = seals.verdict_seal(ballot, verdict, RULES.secret)
            session.commit()
        found = check(connection)
        assert [one.sentence for one in found.mismatches] == []
        assert found.checked.older == 1 + found.checked.pairs + found.checked.ballots
        drop_slots(connection)
        put(connection, Ballot, retracted(connection)[0], state=BallotState.VOTED)
        assert not check(connection).holds


def test_a_plan_without_a_seal_after_plans_with_one_is_found(told: Told) -> None:
    with behind_the_back(told) as connection:
        [batch] = rows(connection, EvalBatch)
        nothing = {"job_id": None, "planned_pairs": 0, "gold_pairs": 0, "seal": None}
        younger = nothing | {"id": uuid.uuid4(), "name": "younger", "created_at": NOW + timedelta(days=1)}
        connection.execute(insert(EvalBatch.__table__).values(**batch._asdict() | younger))
        for member in rows(connection, BatchCheckpoint):
            copied = member._asdict() | {"id": uuid.uuid4(), "eval_batch_id": younger["id"]}
            connection.execute(insert(BatchCheckpoint.__table__).values(**copied))
        sentences = [one.sentence for one in check(connection).mismatches]
    assert sentences == [
        "Eval batch younger: expected a seal over its plan, members and the slices of its suite, found none."
    ]


def test_the_number_of_queries_does_not_grow_with_the_votes(told: Told) -> None:
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    with behind_the_back(told) as connection:
        event.listen(connection, "before_cursor_execute", note)
        found = check(connection)
    assert found.checked.ballots > 20
    assert len(seen) <= 50


CARRIES_NOTHING_PUBLISHED: dict[type[Table], set[str]] = {
    EvalBatch: {"name", "job_id"},  # a label; where its responses came from
    BatchCheckpoint: {"id"},
    Prompt: set(),
    # How a text was made is provenance: who wrote it and what it says is sealed.
    Response: {"checkpoint_id", "base_hash", "template_hash", "system_sha256", "sampling_sha256", "seed", "twin",
               "sampling", "token_count", "finish_reason", "engine", "created_at"},
    Pair: {"created_at"},
    Tally: set(),
    Voter: {"name", "created_at"},
    Ballot: {"expires_at", "closed_at", "skip_reason"},
    Verdict: {"id"},  # known by its ballot
    Recognition: set(),
}  # fmt: skip

FIELDS = [
    (table, column.name)
    for table, nothing in CARRIES_NOTHING_PUBLISHED.items()
    for column in table.__table__.columns
    if column.name not in nothing
]


def another(column: Column[Any], value: Any, rng: random.Random) -> Any:  # noqa: PLR0911
    """Some other value that this column can hold."""
    if isinstance(column.type, TextEnum):
        kinds: list[StrEnum] = [kind for kind in column.type.impl_instance.enum_class if kind is not value]
        return rng.choice(kinds)
    match value:
        case None:
            if isinstance(column.type, UtcDateTime):
                return NOW
            return {bool: True, int: 3}.get(column.type.python_type, "0" * 64)
        case bool():
            return not value
        case int() | float():
            return value + 1
        case datetime():
            return value + timedelta(seconds=1)
        case uuid.UUID():
            return uuid.uuid4()
        case dict():
            return {**value, "added": 1}
        case list():
            return [*value, "added"]
    return ("0" if value[:1] != "0" else "1") + value[1:]


@pytest.mark.parametrize(("table", "name"), FIELDS, ids=[f"{table.__tablename__}.{name}" for table, name in FIELDS])
def test_any_field_of_any_row_that_is_changed_alone_is_found(told: Told, table: type[Table], name: str) -> None:
    rng = random.Random(f"{table.__tablename__}.{name}")  # noqa: S311
    for _ in range(3):
        with behind_the_back(told) as connection:
            used = select(Ballot.voter_id) if table is Voter else None
            row = rng.choice(rows(connection, table, *([Voter.id.in_(used)] if used is not None else [])))
            value = another(table.__table__.c[name], getattr(row, name), rng)
            try:
                with connection.begin_nested():
                    put(connection, table, row, **{name: value})
            except IntegrityError:
                continue  # the database refuses it
            found = check(connection)
        assert not found.holds, (row, value)
