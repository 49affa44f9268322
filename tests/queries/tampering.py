"""Edits behind the back of the arena, each with what a verification must say of it."""

import uuid
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

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
from tests.factories import NOW, sha256


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


@change("what was odd about the server", "Eval batch study: expected a seal that fits what its server told of itself")
def _(c: Connection) -> None:
    [batch] = rows(c, EvalBatch)
    put(c, EvalBatch, batch, server_told=batch.server_told | {"warnings": []})


@change("what a server told, without its seal", "Eval batch study: expected a seal over what its server told of itself")
def _(c: Connection) -> None:
    [batch] = rows(c, EvalBatch)
    put(c, EvalBatch, batch, server_told={"software": "", "warnings": []}, server_seal=None)


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
    "exclusion": {"fast_max": 0.5}, "votes_per_pair": 3, "reveal": Reveal.NEVER, "seed": 2, "rater_limit": 5,
    "replicates": 2, "ask_recognised": False, "gold_pairs": 0, "repeat_pairs": 0, "system_prompt": "Be brief.",
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


@change(
    "a text that names its author called one that does not", "expected a flag, as a text says who wrote it, found none"
)
def _(c: Connection) -> None:
    put(c, Pair, rows(c, Pair, Pair.self_identifies)[0], self_identifies=False)


@change("a flag without a reason", "Pair {pair} of study: expected no flag, as no text says who wrote it, found one")
def _(c: Connection) -> dict[str, Any]:
    pair = rows(c, Pair, Pair.self_identifies.is_(False), Pair.kind == PairKind.MAIN)[0]
    put(c, Pair, pair, self_identifies=True)
    return {"pair": pair.id}


@change("a flag taken away", "expected a seal that fits who wrote which text to which prompt")
def _(c: Connection) -> None:
    put(c, Pair, rows(c, Pair, Pair.self_identifies)[0], self_identifies=None)


@change("a flag that is published", "Report of study: expected leaks.flagged_pairs = 1, found 0")
def _(c: Connection) -> None:
    put(c, Pair, rows(c, Pair, Pair.self_identifies)[0], self_identifies=False)


@change("a tally that is told without flagged pairs", "expected leaks.matchups.0.without_flagged.")
def _(c: Connection) -> None:
    decisive = select(Verdict.ballot_id).where(Verdict.outcome != Outcome.TIE)
    unflagged = select(Pair.id).where(Pair.self_identifies.is_(False))
    ballot, verdict = voted(c, None, Ballot.pair_id.in_(unflagged), Ballot.id.in_(decisive))
    recount(c, ballot, **{verdict.outcome.value: -1, Outcome.TIE.value: 1})


@change("seals of two ballots exchanged", "Ballot {ballot} of study: expected a seal")
def _(c: Connection) -> dict[str, Any]:
    one, other = sorted(rows(c, Ballot)[:2], key=lambda row: (str(row.pair_id), str(row.id)))
    put(c, Ballot, one, seal=other.seal)
    put(c, Ballot, other, seal=one.seal)
    return {"ballot": one.id}


@change("a choice that nobody can make", "A row of study: expected values that the arena writes")
def _(c: Connection) -> None:
    c.exec_driver_sql("UPDATE verdict SET choice = 'best'")
