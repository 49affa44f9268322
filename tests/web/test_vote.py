import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from app.domain.terms import BallotState, Choice, JobState, Role
from app.models import Ballot, Job, Tally, Verdict
from app.services import eval_batches
from tests.factories import NOW, Study, client_for, make_account
from tests.fixtures import on_sqlite
from tests.web.ballots import choose, look


def verdicts(app: FastAPI) -> list[tuple[Choice, bool]]:
    with app.state.database.session_scope(write=False) as session:
        found = session.scalars(select(Verdict).order_by(Verdict.cast_at)).all()
        return [(verdict.choice, verdict.retracted_at is not None) for verdict in found]


def second_rater(app: FastAPI, study: Study, name: str = "second") -> TestClient:
    with app.state.database.session_scope() as session:
        account_id = make_account(session, name, Role.RATER, seat_in=study.batch).id
    return client_for(app, account_id)


def test_a_vote_leads_to_the_next_pair_until_there_is_none(app: FastAPI, admin: TestClient, study: Study) -> None:
    seen = set()
    while (ballot := look(admin, study.batch.id)).ballot_id is not None:
        seen.add(frozenset((ballot.text_a, ballot.text_b)))
        answer = choose(admin, study.batch.id, ballot.ballot_id, "tie")
        assert (answer.status_code, answer.headers["Location"]) == (303, f"/vote/{study.batch.id}")
    assert len(seen) == 4
    assert verdicts(app) == [(Choice.TIE, False)] * 4
    assert "That was everything" in admin.get(f"/vote/{study.batch.id}").text


def test_reloading_shows_the_same_ballot(admin: TestClient, study: Study) -> None:
    first = look(admin, study.batch.id)
    assert [look(admin, study.batch.id) for _ in range(3)] == [first] * 3
    assert str(first.ballot_id) in admin.get(f"/vote/{study.batch.id}/ballot").text


@pytest.mark.parametrize("choice", list(Choice))
@on_sqlite
def test_every_choice_is_stored_as_it_was_picked(app: FastAPI, admin: TestClient, study: Study, choice: Choice) -> None:
    choose(admin, study.batch.id, look(admin, study.batch.id).ballot_id, choice.value, reason="because")
    assert verdicts(app) == [(choice, False)]
    with app.state.database.session_scope(write=False) as session:
        assert session.scalars(select(Verdict.reason)).one() == "because"


@on_sqlite
def test_the_page_offers_every_choice_and_no_other(admin: TestClient, study: Study) -> None:
    offered = re.findall(r'name="choice" value="(\w+)"', admin.get(f"/vote/{study.batch.id}").text)
    assert sorted(offered) == sorted([*Choice, "skip"])


def test_the_same_choice_again_is_fine_and_another_is_refused(app: FastAPI, admin: TestClient, study: Study) -> None:
    ballot_id = look(admin, study.batch.id).ballot_id
    assert [choose(admin, study.batch.id, ballot_id, "a").status_code for _ in range(3)] == [303] * 3
    refused = choose(admin, study.batch.id, ballot_id, "b")
    assert (refused.status_code, "stands as you first cast it" in refused.text) == (409, True)
    assert choose(admin, study.batch.id, ballot_id, "skip").status_code == 409
    assert verdicts(app) == [(Choice.A, False)]


def test_the_last_vote_can_be_taken_back(app: FastAPI, admin: TestClient, study: Study) -> None:
    before = look(admin, study.batch.id)
    assert before.undo_id is None
    choose(admin, study.batch.id, before.ballot_id, "a")
    after = look(admin, study.batch.id)
    assert after.undo_id == before.ballot_id
    undone = admin.post(f"/vote/{study.batch.id}/undo", data={"ballot_id": after.undo_id})
    assert (undone.status_code, undone.headers["Location"]) == (303, f"/vote/{study.batch.id}")
    again = look(admin, study.batch.id)
    assert (again.text_a, again.text_b) == (before.text_a, before.text_b)
    assert again.ballot_id not in {before.ballot_id, after.ballot_id}
    choose(admin, study.batch.id, again.ballot_id, "b")
    assert verdicts(app) == [(Choice.A, True), (Choice.B, False)]


@on_sqlite
def test_only_the_own_last_vote_can_be_taken_back(app: FastAPI, admin: TestClient, study: Study) -> None:
    first = look(admin, study.batch.id).ballot_id
    choose(admin, study.batch.id, first, "a")
    choose(admin, study.batch.id, look(admin, study.batch.id).ballot_id, "a")
    address = f"/vote/{study.batch.id}/undo"
    assert admin.post(address, data={"ballot_id": first}).status_code == 409
    stranger = second_rater(app, study)
    for ballot_id in (first, str(uuid.uuid4())):
        assert stranger.post(address, data={"ballot_id": ballot_id}).status_code == 404
    assert verdicts(app) == [(Choice.A, False)] * 2


@on_sqlite
def test_a_skipped_pair_does_not_come_back_and_is_free_for_others(
    app: FastAPI, admin: TestClient, study: Study
) -> None:
    for _ in range(4):
        assert choose(admin, study.batch.id, look(admin, study.batch.id).ballot_id, "skip").status_code == 303
    assert look(admin, study.batch.id).ballot_id is None
    assert look(second_rater(app, study), study.batch.id).ballot_id is not None
    assert verdicts(app) == []


@on_sqlite
@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"choice": "first"}, 422),
        ({"choice": "A"}, 422),
        ({"choice": ""}, 422),
        ({"choice": "x" * 21}, 422),
        ({"ballot_id": "nonsense"}, 422),
        ({"ballot_id": ""}, 422),
        ({"reason": "x" * 4001}, 422),
        ({"ballot_id": str(uuid.uuid4())}, 404),
    ],
    ids=["storage word", "capital", "no choice", "long choice", "no id", "empty id", "long reason", "unknown ballot"],
)
def test_a_vote_that_is_none_stores_nothing(
    app: FastAPI, admin: TestClient, study: Study, changed: dict[str, str], status: int
) -> None:
    form = {"ballot_id": look(admin, study.batch.id).ballot_id, "choice": "a"} | changed
    assert admin.post(f"/vote/{study.batch.id}", data=form).status_code == status
    assert verdicts(app) == []


@on_sqlite
def test_a_ballot_answers_to_its_own_voter_alone(app: FastAPI, admin: TestClient, study: Study) -> None:
    ballot_id = look(admin, study.batch.id).ballot_id
    stranger = second_rater(app, study)
    assert choose(stranger, study.batch.id, ballot_id, "a").status_code == 404
    assert choose(stranger, study.batch.id, ballot_id, "skip").status_code == 404
    assert verdicts(app) == []


@on_sqlite
def test_what_a_browser_sends_beside_ballot_and_choice_is_not_heard(
    app: FastAPI, admin: TestClient, study: Study
) -> None:
    ballot_id = look(admin, study.batch.id).ballot_id
    choose(
        admin, study.batch.id, ballot_id, "a",
        order="second_is_a", outcome="first", pair_id=str(uuid.uuid4()), seconds="1", surplus="true",
    )  # fmt: skip
    with app.state.database.session_scope(write=False) as session:
        ballot = session.get_one(Ballot, uuid.UUID(ballot_id))
        verdict = session.scalars(select(Verdict)).one()
        assert verdict.outcome == ("first" if ballot.order == "first_is_a" else "second")
        assert verdict.surplus is False


@on_sqlite
def test_the_page_waits_while_responses_are_written_and_says_when_voting_is_over(
    app: FastAPI, admin: TestClient, study: Study
) -> None:
    for _ in range(4):
        choose(admin, study.batch.id, look(admin, study.batch.id).ballot_id, "a")
    with app.state.database.session_scope() as session:
        session.get_one(Job, study.batch.job_id).state = JobState.RUNNING
    assert "You are ahead of the machine" in admin.get(f"/vote/{study.batch.id}").text
    with app.state.database.session_scope() as session:
        eval_batches.close(session, session.merge(study.batch), now=NOW)
    assert "Voting is closed" in admin.get(f"/vote/{study.batch.id}").text


@on_sqlite
def test_a_vote_after_the_end_is_refused_in_words(app: FastAPI, admin: TestClient, study: Study) -> None:
    ballot_id = look(admin, study.batch.id).ballot_id
    with app.state.database.session_scope() as session:
        eval_batches.close(session, session.merge(study.batch), now=NOW)
    late = choose(admin, study.batch.id, ballot_id, "a")
    assert (late.status_code, "Voting has closed" in late.text) == (409, True)


@pytest.mark.parametrize("choices", [("a",) * 6, ("a", "b", "a", "b", "a", "b")], ids=["same", "different"])
def test_clicks_that_arrive_together_are_one_verdict(
    app: FastAPI, admin: TestClient, study: Study, choices: tuple[str, ...]
) -> None:
    ballot_id = look(admin, study.batch.id).ballot_id
    gate = threading.Barrier(len(choices))

    def click(choice: str) -> tuple[str, int]:
        gate.wait(timeout=30)
        return choice, choose(admin, study.batch.id, ballot_id, choice).status_code

    with ThreadPoolExecutor(len(choices)) as pool:
        answers = list(pool.map(click, choices))
    stored = verdicts(app)
    assert len(stored) == 1
    assert answers == [(choice, 303 if choice == stored[0][0] else 409) for choice in choices]
    with app.state.database.session_scope(write=False) as session:
        assert session.scalar(select(func.sum(Tally.first + Tally.second + Tally.tie))) == 1
        assert session.scalar(select(func.count(Ballot.id)).where(Ballot.state == BallotState.VOTED)) == 1
