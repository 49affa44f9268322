"""The playground in a browser without JavaScript: ask, reload, stop."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.domain.terms import CheckpointKind, JobState, Role
from app.models import Checkpoint, Job, Trial
from app.services import trials
from tests.factories import Study, client_for, finish_job, make_account
from tests.fixtures import on_sqlite

pytestmark = on_sqlite


def bare(app: FastAPI) -> Checkpoint:
    with app.state.database.session_scope(write=False) as session:
        found: Checkpoint = session.scalars(select(Checkpoint).where(Checkpoint.kind == CheckpointKind.BASE)).one()
        return found


def asked(app: FastAPI, admin: TestClient, study: Study, **fields: object) -> str:
    """The address of a new trial."""
    form = {"prompt": "What is <brie>?", "checkpoints": [str(bare(app).id), str(study.adapters[0].id)]} | fields
    answer = admin.post("/playground", data=form, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def the_trial(app: FastAPI) -> Trial:
    with app.state.database.session_scope(write=False) as session:
        found: Trial = session.scalars(select(Trial)).one()
        return found


def said(app: FastAPI, *texts: str, state: JobState | None = None) -> None:
    """As the worker writes it down."""
    with app.state.database.session_scope() as session:
        trial = session.scalars(select(Trial)).one()
        ended = "stop" if state is JobState.DONE else ""
        trials.write(trial, [{"text": text, "tokens": 4, "finish_reason": ended} for text in texts])
        if state is not None:
            finish_job(session, session.get_one(Job, trial.job_id), state)


def test_a_prompt_is_asked_and_the_texts_stand_side_by_side(app: FastAPI, admin: TestClient, study: Study) -> None:
    assert "nothing here counts as a verdict" in admin.get("/playground").text
    page = asked(app, admin, study, temperature="0.3", seed="17")
    assert the_trial(app).sampling["seed"] == 17
    said(app, "A *soft* cheese <script>alert(1)</script>", "Brie")
    text = admin.get(page).text
    assert text.index("tiny</a></h3>") < text.index("brie-v1/epoch-2</a></h3>")
    assert "<em>soft</em>" in text
    assert "<script>alert" not in text
    assert "What is &lt;brie&gt;?</textarea>" in text
    assert (f'hx-get="{page}/texts"' in text, f'action="{page}/stop"' in text) == (True, True)
    said(app, "A soft cheese", "Brie", state=JobState.DONE)
    fragment = admin.get(f"{page}/texts").text
    assert ("hx-get" in fragment, "/stop" in fragment) == (False, False)
    assert 'value="17"' in admin.get(page).text
    assert 'value="0.3"' in admin.get(page).text


def test_it_can_be_stopped_and_keeps_what_was_said(app: FastAPI, admin: TestClient, study: Study) -> None:
    page = asked(app, admin, study)
    said(app, "A soft", "Br")
    assert admin.post(f"{page}/stop").headers["location"] == page
    text = admin.get(page).text
    assert ("stopped" in text, "A soft" in text) == (True, True)
    with app.state.database.session_scope(write=False) as session:
        assert session.get_one(Job, the_trial(app).job_id).state is JobState.CANCELLED
    assert admin.post(f"{page}/stop").status_code == 303, "a second press finds it stopped"


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"prompt": " "}, 422, "A prompt has 1 to"),
        ({"checkpoints": []}, 422, "Choose 1 to 5"),
        ({"checkpoints": ["x"]}, 422, "checkpoints"),
        ({"temperature": "9"}, 422, "temperature must lie between"),
        ({"temperature": "nan"}, 422, "temperature must lie between"),
        ({"seed": "-1"}, 422, "seed"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_said(
    app: FastAPI, admin: TestClient, study: Study, fields: dict[str, object], status: int, words: str
) -> None:
    form = {"prompt": "x", "checkpoints": [str(study.adapters[0].id)]} | fields
    answer = admin.post("/playground", data=form)
    assert (answer.status_code, words in answer.text) == (status, True)


def test_a_trial_is_its_own_admins(app: FastAPI, admin: TestClient, study: Study) -> None:
    page = asked(app, admin, study)
    with app.state.database.session_scope() as session:
        account_id = make_account(session, "another", Role.ADMIN).id
    other = client_for(app, account_id)
    assert other.get("/playground").status_code == 200
    for method, path in (("GET", page), ("GET", f"{page}/texts"), ("POST", f"{page}/stop")):
        assert other.request(method, path).status_code == 404


def test_raters_hear_nothing_of_it(app: FastAPI, admin: TestClient, study: Study) -> None:
    page = asked(app, admin, study)
    said(app, "A very peculiar text", "Brie", state=JobState.DONE)
    with app.state.database.session_scope() as session:
        account_id = make_account(session, "a rater", Role.RATER, seat_in=study.batch).id
    rater = client_for(app, account_id)
    for path in ("/", "/account", f"/vote/{study.batch.id}", f"/vote/{study.batch.id}/yours"):
        text = rater.get(path).text
        assert not [word for word in ("playground", "Playground", "peculiar") if word in text], path
    for path in ("/playground", page, f"{page}/texts"):
        assert rater.get(path).status_code == 403


def test_a_checkpoint_leads_here_with_itself_chosen(app: FastAPI, admin: TestClient, study: Study) -> None:
    adapter = study.adapters[0]
    address = f"/playground?checkpoint={adapter.id}"
    assert address in admin.get(f"/checkpoints/{adapter.id}").text
    assert f'value="{adapter.id}" checked' in admin.get(address).text
    assert f'value="{bare(app).id}" checked' not in admin.get(address).text


def test_without_a_base_model_the_page_says_what_is_missing(app: FastAPI, admin: TestClient) -> None:
    assert "Nobody to ask yet" in admin.get("/playground").text
