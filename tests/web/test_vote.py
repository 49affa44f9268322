import html
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from app.domain.terms import BallotState, Choice, JobState, PairKind, ReasonTag, Role
from app.models import Ballot, Job, Recognition, Tally, Verdict
from app.services import eval_batches
from tests.factories import NOW, Study, client_for, make_account, make_study, pairs_of
from tests.fixtures import on_sqlite
from tests.web.ballots import choose, look, seated


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
    page, again = admin.get(f"/vote/{study.batch.id}").text, admin.get(f"/vote/{study.batch.id}/ballot").text
    assert '<h1 tabindex="-1" autofocus>You are ahead of the machine' in page
    assert '<h1 tabindex="-1">You are ahead of the machine' in again  # it comes whenever something has changed
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


def test_reason_and_tags_are_kept_with_the_vote(app: FastAPI, admin: TestClient, study: Study) -> None:
    ballot_id = look(admin, study.batch.id).ballot_id
    form = {"ballot_id": ballot_id, "choice": "b", "reason": " two\r\nlines ", "tags": ["clear", "deep", "clear"]}
    assert admin.post(f"/vote/{study.batch.id}", data=form).status_code == 303
    with app.state.database.session_scope(write=False) as session:
        verdict = session.scalars(select(Verdict)).one()
        assert (verdict.reason, verdict.tags) == ("two\nlines", ["clear", "deep"])


@on_sqlite
def test_every_tag_is_offered_once(admin: TestClient, study: Study) -> None:
    offered = re.findall(r'name="tags" value="(\w+)"', admin.get(f"/vote/{study.batch.id}").text)
    assert sorted(offered) == sorted(ReasonTag)


@on_sqlite
def test_why_a_pair_was_skipped_is_kept(app: FastAPI, admin: TestClient, study: Study) -> None:
    choose(admin, study.batch.id, look(admin, study.batch.id).ballot_id, "skip", reason="I know too little of this.")
    with app.state.database.session_scope(write=False) as session:
        assert session.scalars(select(Ballot.skip_reason).where(Ballot.state == BallotState.SKIPPED)).one() == (
            "I know too little of this."
        )


@on_sqlite
def test_a_reason_that_is_too_long_is_given_back_whole(app: FastAPI, admin: TestClient, study: Study) -> None:
    ballot_id = look(admin, study.batch.id).ballot_id
    reason = "<b>why</b> " * 400
    form = {"ballot_id": ballot_id, "choice": "a", "reason": reason, "tags": ["style"]}
    refused = admin.post(f"/vote/{study.batch.id}", data=form)
    assert refused.status_code == 422
    assert "the reason has 4399 characters, and at most 4000 are kept" in refused.text
    assert html.escape(reason.strip()) in refused.text
    assert 'value="style" checked' in refused.text
    assert f'value="{ballot_id}"' in refused.text
    assert verdicts(app) == []
    assert choose(admin, study.batch.id, ballot_id, "a", reason=reason[:4000]).status_code == 303


@on_sqlite
def test_what_was_said_to_a_vote_taken_back_stands_in_the_form_again(admin: TestClient, study: Study) -> None:
    first = look(admin, study.batch.id).ballot_id
    form = {"ballot_id": first, "choice": "a", "reason": "Because of the end.", "tags": ["original"]}
    admin.post(f"/vote/{study.batch.id}", data=form)
    after = admin.get(f"/vote/{study.batch.id}").text
    assert "Because of the end." not in after
    admin.post(f"/vote/{study.batch.id}/undo", data={"ballot_id": first})
    again = admin.get(f"/vote/{study.batch.id}").text
    assert ">Because of the end.</textarea>" in again
    assert 'value="original" checked' in again


@on_sqlite
def test_a_refusal_shows_the_ballot_that_is_next(app: FastAPI, admin: TestClient, study: Study) -> None:
    first = look(admin, study.batch.id).ballot_id
    choose(admin, study.batch.id, first, "a")
    following = look(admin, study.batch.id).ballot_id
    refused = choose(admin, study.batch.id, first, "b", reason="typed in the other tab")
    assert refused.status_code == 409
    assert 'role="alert"' in refused.text
    assert f'value="{following}"' in refused.text
    assert "typed in the other tab" not in refused.text, "a reason belongs to its own pair"
    programs = admin.post(
        f"/vote/{study.batch.id}",
        data={"ballot_id": first, "choice": "b"},
        headers={"Accept": "application/json"},
    )
    assert (programs.status_code, "stands as you first cast it" in programs.json()["error"]) == (409, True)


@on_sqlite
def test_how_long_a_vote_can_be_taken_back_is_said_and_true(app: FastAPI, admin: TestClient, study: Study) -> None:
    first = look(admin, study.batch.id).ballot_id
    choose(admin, study.batch.id, first, "a")
    assert "possible for about 2 min" in admin.get(f"/vote/{study.batch.id}").text
    with app.state.database.session_scope() as session:
        verdict = session.scalars(select(Verdict)).one()
        verdict.cast_at -= timedelta(seconds=121)
    page = admin.get(f"/vote/{study.batch.id}").text
    assert "/undo" not in page
    late = admin.post(f"/vote/{study.batch.id}/undo", data={"ballot_id": first})
    assert (late.status_code, "It stands." in late.text) == (409, True)
    assert verdicts(app) == [(Choice.A, False)]


def place(client: TestClient, batch_id: object) -> str:
    found = re.search(r'class="vote-place">([^<]+)<', client.get(f"/vote/{batch_id}").text)
    return found[1] if found else ""


def test_skipped_pairs_count_as_done(admin: TestClient, study: Study) -> None:
    assert place(admin, study.batch.id) == "1 of 4"
    choose(admin, study.batch.id, look(admin, study.batch.id).ballot_id, "skip")
    assert place(admin, study.batch.id) == "2 of 4"
    for _ in range(3):
        choose(admin, study.batch.id, look(admin, study.batch.id).ballot_id, "a")
    assert place(admin, study.batch.id) == "4 done"
    assert "You have voted on 3 pairs and skipped 1, in under a minute of reading." in words(admin, study.batch.id)


def words(client: TestClient, batch_id: object) -> str:
    return re.sub(r"\s+", " ", client.get(f"/vote/{batch_id}").text)


def test_what_others_have_taken_is_not_counted_as_ones_own(app: FastAPI, admin: TestClient, study: Study) -> None:
    other = seated(app, "other", study.batch)
    for _ in range(2):
        choose(other, study.batch.id, look(other, study.batch.id).ballot_id, "a")
    assert place(admin, study.batch.id) == "1 of 2"


def checked_study(app: FastAPI, folder: Path, **plan: Any) -> Study:
    """Twelve main pairs, of which two are shown again, and two gold pairs that everybody gets in both orders."""
    with app.state.database.session_scope() as session:
        study = make_study(session, folder, prompts=14, repeat_pairs=2, votes_per_pair=3, **plan)
        study.batch.gold_pairs = 2
        gold = pairs_of(session, study.batch)[:2]
        for pair in gold:
            pair.kind = PairKind.GOLD
    return study


def test_the_total_holds_with_checks_among_the_pairs_and_no_step_of_it_tells_them(app: FastAPI, tmp_path: Path) -> None:
    study = checked_study(app, tmp_path)
    client = seated(app, "somebody", study.batch)
    places = []
    while (ballot := look(client, study.batch.id)).ballot_id is not None:
        places.append(place(client, study.batch.id))
        choose(client, study.batch.id, ballot.ballot_id, "a")
    done = len(places)
    assert places == [f"{number} of 18" for number in range(1, done + 1)]
    assert done >= 14, "at most the two orders of the gold pairs and the repeats find nothing to stand between"
    assert place(client, study.batch.id) == f"{done} done"
    with app.state.database.session_scope(write=False) as session:
        assert session.scalar(select(func.count(Ballot.id)).where(Ballot.is_repeat)) == 2


def test_who_has_given_all_votes_is_told_so(app: FastAPI, tmp_path: Path) -> None:
    study = checked_study(app, tmp_path, rater_limit=5)
    client = seated(app, "somebody", study.batch)
    choose(client, study.batch.id, look(client, study.batch.id).ballot_id, "skip")
    assert place(client, study.batch.id) == "2 of 6"
    for number in range(2, 7):
        assert place(client, study.batch.id) == f"{number} of 6"
        choose(client, study.batch.id, look(client, study.batch.id).ballot_id, "a")
    assert "You have given all the votes you were asked for" in words(client, study.batch.id)
    last = look(client, study.batch.id).undo_id
    client.post(f"/vote/{study.batch.id}/undo", data={"ballot_id": last})
    assert place(client, study.batch.id) == "6 of 6"


def test_a_batch_that_has_all_its_votes_says_so(app: FastAPI, admin: TestClient, tmp_path: Path) -> None:
    with app.state.database.session_scope() as session:
        study = make_study(session, tmp_path, vote_limit=3)
    other = seated(app, "other", study.batch)
    choose(other, study.batch.id, look(other, study.batch.id).ballot_id, "a")
    assert place(admin, study.batch.id) == "1 of 2"
    for _ in range(2):
        choose(admin, study.batch.id, look(admin, study.batch.id).ballot_id, "a")
    told = words(admin, study.batch.id)
    assert "This comparison has all the votes it needs" in told
    assert "Yours are among them" in told
    third = seated(app, "third", study.batch)
    assert "Nothing more is asked of anybody." in words(third, study.batch.id)


def answers(app: FastAPI) -> list[bool]:
    with app.state.database.session_scope(write=False) as session:
        return list(session.scalars(select(Recognition.recognised).order_by(Recognition.answered_at)))


@pytest.fixture
def asking(app: FastAPI, tmp_path: Path) -> Study:
    """An eval batch that asks after each vote if somebody was recognised."""
    with app.state.database.session_scope() as session:
        return make_study(session, tmp_path, ask_recognised=True)


QUESTION = "did you think you recognised who wrote one of the texts?"


def test_after_a_vote_the_question_is_there_until_it_is_answered(
    app: FastAPI, admin: TestClient, asking: Study
) -> None:
    address = f"/vote/{asking.batch.id}"
    assert QUESTION not in admin.get(address).text
    first = look(admin, asking.batch.id).ballot_id
    choose(admin, asking.batch.id, first, "a")
    assert QUESTION in admin.get(address).text
    said = admin.post(f"{address}/recognised", data={"ballot_id": first, "answer": "yes"})
    assert (said.status_code, said.headers["Location"]) == (303, address)
    assert QUESTION not in admin.get(address).text
    assert admin.post(f"{address}/recognised", data={"ballot_id": first, "answer": "yes"}).status_code == 303
    other = admin.post(f"{address}/recognised", data={"ballot_id": first, "answer": "no"})
    assert (other.status_code, "the first answer stands" in other.text) == (409, True)
    assert answers(app) == [True]


def test_the_question_is_about_the_last_vote_alone_and_holds_nobody_up(
    app: FastAPI, admin: TestClient, asking: Study
) -> None:
    address = f"/vote/{asking.batch.id}"
    ids = []
    for _ in range(2):
        ids.append(look(admin, asking.batch.id).ballot_id)
        choose(admin, asking.batch.id, ids[-1], "a")
    page = admin.get(address).text
    asked = re.search(r'/recognised".*?name="ballot_id" value="([^"]+)"', page, re.DOTALL)
    assert asked is not None
    assert asked[1] == ids[-1]
    choose(admin, asking.batch.id, look(admin, asking.batch.id).ballot_id, "skip")
    assert QUESTION not in admin.get(address).text
    admin.post(f"{address}/undo", data={"ballot_id": ids[-1]})
    assert QUESTION not in admin.get(address).text
    assert answers(app) == []


@on_sqlite
def test_the_question_stands_at_the_end_too_and_not_after_closing(
    app: FastAPI, admin: TestClient, asking: Study
) -> None:
    address = f"/vote/{asking.batch.id}"
    for _ in range(4):
        last = look(admin, asking.batch.id).ballot_id
        choose(admin, asking.batch.id, last, "tie")
    assert QUESTION in admin.get(address).text
    with app.state.database.session_scope() as session:
        eval_batches.close(session, session.merge(asking.batch), now=NOW)
    assert QUESTION not in admin.get(address).text
    late = admin.post(f"{address}/recognised", data={"ballot_id": last, "answer": "yes"})
    assert (late.status_code, "Voting has closed." in late.text) == (409, True)
    assert answers(app) == []


@on_sqlite
@pytest.mark.parametrize("form", [{"answer": "perhaps"}, {"answer": ""}, {"ballot_id": "nonsense"}])
def test_an_answer_that_is_none_is_refused(
    app: FastAPI, admin: TestClient, asking: Study, form: dict[str, str]
) -> None:
    first = look(admin, asking.batch.id).ballot_id
    choose(admin, asking.batch.id, first, "a")
    sent = {"ballot_id": first, "answer": "yes"} | form
    assert admin.post(f"/vote/{asking.batch.id}/recognised", data=sent).status_code == 422
    stranger = seated(app, "stranger", asking.batch)
    own = {"ballot_id": first, "answer": "yes"}
    assert stranger.post(f"/vote/{asking.batch.id}/recognised", data=own).status_code == 404
    assert answers(app) == []


@on_sqlite
def test_instructions_of_the_batch_stand_before_the_prompt(app: FastAPI, admin: TestClient, tmp_path: Path) -> None:
    with app.state.database.session_scope() as session:
        study = make_study(session, tmp_path, system_prompt="Answer as a cheesemonger would.")
    page = words(admin, study.batch.id)
    roles = re.findall(r'<p class="turn-role">(\w+)</p>', page)
    assert roles == ["Instructions", "Person"]
    assert page.index("Answer as a cheesemonger would.") < page.index("Question number")
