"""The canary script goes the whole real path: what it finds must be what a voter would have met."""

import asyncio
import contextlib
import random
import re
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain import blinding
from app.domain.errors import ConflictError, UnavailableError
from app.domain.terms import Choice, Order, VoterKind
from app.models import Account, Ballot, EvalBatch, SignIn, Verdict, Voter
from app.queries import ballots
from app.queries.controls import Canaries, canaries_of
from app.queries.report import report
from app.queries.results import results_page
from app.services import assignment, canaries, eval_batches, voting
from app.web.canaries import run_canaries
from tests.factories import NOW, RULES, Study, client_for, make_rater, make_study
from tests.fixtures import on_sqlite


@pytest.fixture
def study(app: FastAPI, tmp_path: Path) -> Study:
    with app.state.database.session_scope() as session:
        return make_study(session, tmp_path, prompts=12, canary_pairs=3, gold_pairs=1, ask_recognised=True)


def found(app: FastAPI, study: Study) -> Canaries:
    with app.state.database.session_scope(write=False) as session:
        return canaries_of(session, session.get_one(EvalBatch, study.batch.id))


def run(app: FastAPI, study: Study) -> Canaries:
    assert asyncio.run(run_canaries(app, study.batch.id)) == ""
    return found(app, study)


def test_the_script_votes_in_both_orders_and_every_vote_arrives(app: FastAPI, study: Study) -> None:
    told = run(app, study)
    assert (told.pairs, told.right, told.wrong, told.suspect, told.sentence) == (3, 6, 0, False, "")
    [once] = told.runs
    assert (once.right, once.wrong, once.wanted, once.complete, once.note) == (6, 0, 6, True, "")
    with app.state.database.session_scope(write=False) as session:
        orders = session.execute(
            select(Ballot.pair_id, Ballot.order).where(Ballot.voter_kind == VoterKind.SCRIPT)
        ).all()
        sides = set(session.scalars(select(Verdict.choice).join(Ballot).where(Ballot.voter_kind == VoterKind.SCRIPT)))
        assert session.scalar(select(func.count(SignIn.id))) == 0
        [account] = session.scalars(select(Account).join(Voter).where(Voter.kind == VoterKind.SCRIPT))
    assert len(set(orders)) == 6
    assert sides == {Choice.A, Choice.B}
    assert account.disabled_at is not None


@on_sqlite
def test_each_run_is_another_voter_and_only_open_batches_with_canaries_wait(
    app: FastAPI, study: Study, tmp_path: Path
) -> None:
    def waiting() -> list[object]:
        with app.state.database.session_scope(write=False) as session:
            return list(canaries.waiting(session))

    assert waiting() == [study.batch.id]
    run(app, study)
    assert waiting() == []
    told = run(app, study)
    assert (len(told.runs), told.right) == (2, 12)
    with app.state.database.session_scope() as session:
        eval_batches.close(session, session.get_one(EvalBatch, study.batch.id), now=NOW)
    with pytest.raises(ConflictError, match="is closed"):
        asyncio.run(run_canaries(app, study.batch.id))


def inverted_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def swapped(order: Order, first: str, second: str) -> tuple[str, str]:
        return blinding.sides(blinding.opposite(order), first, second)

    monkeypatch.setattr(ballots, "sides", swapped)


def inverted_when_cast(monkeypatch: pytest.MonkeyPatch) -> None:
    real = blinding.outcome
    monkeypatch.setattr(blinding, "outcome", lambda choice, order: real(choice, blinding.opposite(order)))


def always_first_as_a(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the votes still arrive right: each order has to be tried."""
    monkeypatch.setattr(ballots, "sides", lambda _order, first, second: (first, second))


@pytest.mark.parametrize(
    ("sabotage", "wrong"), [(inverted_on_the_page, 6), (inverted_when_cast, 6), (always_first_as_a, 3)]
)
def test_an_order_that_is_mixed_up_anywhere_stops_the_results(
    app: FastAPI,
    study: Study,
    monkeypatch: pytest.MonkeyPatch,
    sabotage: Callable[[pytest.MonkeyPatch], None],
    wrong: int,
) -> None:
    admin = client_for(app)
    with app.state.database.session_scope() as session:
        rater = make_rater(session)
        ballot = assignment.issue(
            session,
            study.batch.id,
            rater,
            rules=RULES,
            now=NOW,
            rng=random.Random(1),  # noqa: S311
        )
        assert ballot is not None
        voting.cast(session, ballot.id, rater, Choice.A, rules=RULES, now=NOW)
    with monkeypatch.context() as patched:
        sabotage(patched)
        told = run(app, study)
    assert (told.right, told.wrong, told.suspect) == (6 - wrong, wrong, True)
    for address in (f"/results/{study.batch.id}", f"/results/{study.batch.id}/live"):
        page = admin.get(address).text
        assert f"Mapping suspect: {wrong} of 6 votes" in page
        assert "win rate" not in page
        assert "<svg" not in page.split("<main", 1)[-1]
        assert "brie-v1/epoch-2 against" not in page
    more = admin.get(f"/results/{study.batch.id}/more").text
    assert 'id="results-more"' in more
    assert not re.sub(r"<[^>]*>", "", more).strip()
    assert "Mapping suspect" in admin.get("/").text
    with app.state.database.session_scope(write=False) as session:
        said = report(session, study.batch.id)
        assert results_page(session, study.batch.id).batch.votes <= 1
    assert (said["mapping_suspect"], said["matchups"]) == (True, [])
    assert said["canaries"]["wrong"] == wrong


@on_sqlite
def test_a_page_on_which_the_script_cannot_vote_is_told(
    app: FastAPI, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(ballots, "sides", lambda _order, first, _second: (first, first))
        note = asyncio.run(run_canaries(app, study.batch.id))
    assert note == "The phrase of the winner stands in 0 of 2 texts on the page"
    told = found(app, study)
    assert (told.suspect, told.runs[0].complete, told.runs[0].note) == (False, False, note)
    page = client_for(app).get(f"/results/{study.batch.id}").text
    assert "The canary script did not finish: 0 of its 6 votes arrived" in page
    assert note in page
    assert run(app, study).runs[0].complete


@on_sqlite
def test_a_server_that_answers_with_an_error_is_told(
    app: FastAPI, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no page today")

    with monkeypatch.context() as patched:
        patched.setattr(ballots, "sides", broken)
        assert asyncio.run(run_canaries(app, study.batch.id)) == "The voting page answered 500"
    assert found(app, study).runs[0].note == "The voting page answered 500"


@on_sqlite
def test_the_results_tell_that_the_mapping_holds(app: FastAPI, study: Study) -> None:
    admin = client_for(app)
    assert "has not voted yet" in admin.get(f"/results/{study.batch.id}").text
    run(app, study)
    page = re.sub(r"\s+", " ", admin.get(f"/results/{study.batch.id}").text)
    assert "The mapping holds: all 6 votes of a script" in page


async def until(app: FastAPI, done: Callable[[], bool]) -> None:
    """Look again at each live hint. In a thread: a session that waits for a lock must not hold up who has it."""
    with app.state.live.subscribe() as hints:
        async with asyncio.timeout(30):
            while not await asyncio.to_thread(done):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(hints.get(), 0.5)


@on_sqlite
def test_an_open_application_sends_the_script_by_itself(app: FastAPI, study: Study) -> None:
    """Once at the start for what is there, then for whatever is launched."""

    def complete(name: str) -> bool:
        with app.state.database.session_scope(write=False) as session:
            batch = session.scalars(select(EvalBatch).where(EvalBatch.name == name)).one()
            runs = canaries_of(session, batch).runs
            return bool(runs) and runs[0].complete

    def launch_another() -> None:
        with app.state.database.session_scope() as session:
            plan = eval_batches.LaunchPlan(
                suite="suite", challengers=("brie-v1/epoch-2",), canary_pairs=2, name="later"
            )
            eval_batches.launch(session, plan, secret=RULES.secret, now=NOW)

    async def live() -> None:
        async with app.router.lifespan_context(app):
            await until(app, lambda: complete(study.batch.name))
            await asyncio.to_thread(launch_another)
            await until(app, lambda: complete("later"))

    asyncio.run(live())


@on_sqlite
def test_a_failure_of_the_script_is_tried_again_and_does_not_take_the_pages_with_it(
    app: FastAPI, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    real = canaries.waiting

    def away_once(session: Session) -> Sequence[uuid.UUID]:
        calls.append(session)
        if len(calls) == 1:
            raise UnavailableError("The database is away.")
        return real(session)

    monkeypatch.setattr(canaries, "waiting", away_once)

    async def live() -> None:
        async with app.router.lifespan_context(app):
            await until(app, lambda: found(app, study).right == 6)

    asyncio.run(live())
    assert len(calls) >= 2
