"""What an admin starts, stops and tries again from the pages."""

import json
import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.config import DATA
from app.domain.power import chance, prompts_needed, smallest
from app.domain.terms import BatchState, JobKind, JobState, ProviderKind, Reveal
from app.models import BaseModel, EvalBatch, Job, Run
from app.services import runs
from app.services.shipped import import_shipped
from app.web.launch_form import PlanForm
from tests.domain.test_training_memory import SMOLLM2
from tests.factories import (
    NOW,
    RULES,
    Study,
    import_control_pairs,
    make_base,
    make_dataset,
    make_run,
    make_suite,
    prompt_row,
)
from tests.fixtures import on_sqlite
from tests.judged import OPUS, a_judge

CHECKS = {
    "gold_pairs": "2", "repeat_pairs": "1", "placebo_pairs": "3", "canary_pairs": "2", "ask_recognised": "true",
    "rater_limit": "20", "vote_limit": "",
}  # fmt: skip
RULE = {"gold_min": "0.7", "gold_votes": "3", "agreement_min": "", "fast_max": "0.5", "side_max": "0.9"}
PLAN = {"suite": "suite", "baseline": "base", "challengers": "brie-v1/epoch-2"}


def newest_batch(app: FastAPI) -> EvalBatch:
    with app.state.database.session_scope(write=False) as session:
        return session.scalars(select(EvalBatch).order_by(EvalBatch.created_at.desc())).first()


def state_of(app: FastAPI, job_id: object) -> JobState:
    with app.state.database.session_scope(write=False) as session:
        return session.get_one(Job, job_id).state


def test_the_form_launches_what_was_filled_in(app: FastAPI, admin: TestClient, study: Study) -> None:
    more = {
        "name": " my batch ", "replicates": "2", "votes_per_pair": "3", "seed": "7", "allow_repeats": "true",
        "temperature": "0.9", "top_p": "0.8", "max_new_tokens": "64",
    }  # fmt: skip
    answer = admin.post("/batches", data=PLAN | more)
    batch = newest_batch(app)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/batches/{batch.id}")
    assert (batch.name, batch.replicates, batch.votes_per_pair, batch.seed) == ("my batch", 2, 3, 7)
    assert batch.allow_repeats is True
    assert (batch.sampling["temperature"], batch.sampling["top_p"], batch.sampling["max_new_tokens"]) == (0.9, 0.8, 64)
    assert (batch.planned_pairs, batch.state) == (8, BatchState.OPEN)
    assert state_of(app, batch.job_id) is JobState.QUEUED
    assert "my batch" in admin.get("/batches").text


@on_sqlite
def test_a_form_with_the_defaults_alone_is_enough(app: FastAPI, admin: TestClient, study: Study) -> None:
    assert admin.post("/batches", data=PLAN).status_code == 303
    batch = newest_batch(app)
    assert (batch.votes_per_pair, batch.replicates, batch.allow_repeats) == (1, 1, False)


def test_the_form_launches_with_every_check(app: FastAPI, admin: TestClient, study: Study) -> None:
    with app.state.database.session_scope() as session:
        import_control_pairs(session)
    page = admin.get("/batches/launch").text
    assert all(f'name="{name}"' in page for name in CHECKS)
    answer = admin.post("/batches", data=PLAN | CHECKS | {"reveal": "never"})
    batch = newest_batch(app)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/batches/{batch.id}")
    assert (batch.gold_pairs, batch.repeat_pairs, batch.placebo_pairs, batch.canary_pairs) == (2, 1, 3, 2)
    assert (batch.ask_recognised, batch.rater_limit, batch.vote_limit) == (True, 20, None)
    assert batch.reveal is Reveal.NEVER
    told = admin.get(f"/batches/{batch.id}").text
    for words in ("2 pairs, by a script", "3 pairs of the baseline with itself", "2, in both orders", "at most 20"):
        assert words in told


@on_sqlite
def test_the_form_launches_with_a_rule_for_leaving_raters_out(app: FastAPI, admin: TestClient, study: Study) -> None:
    with app.state.database.session_scope() as session:
        import_control_pairs(session)
    assert admin.post("/batches", data=PLAN | CHECKS | RULE).status_code == 303
    batch = newest_batch(app)
    assert batch.exclusion == {
        "gold_min": 0.7, "gold_votes": 3, "fast_max": 0.5, "fast_votes": 10, "side_max": 0.9, "side_votes": 12,
    }  # fmt: skip
    told = admin.get(f"/batches/{batch.id}").text
    assert "less than 70% of their votes on gold pairs (from 3 on)" in told
    refused = admin.post("/batches", data=PLAN | RULE)
    assert (refused.status_code, "shows a rater none" in refused.text) == (422, True)


@on_sqlite
def test_every_field_of_the_launch_form_is_one_that_is_understood(admin: TestClient, study: Study) -> None:
    form = re.search(r'<form[^>]*action="/batches".*?</form>', admin.get("/batches/launch").text, re.DOTALL)
    assert form is not None
    names = set(re.findall(r'<(?:input|select|textarea)[^>]*\sname="(\w+)"', form[0]))
    assert {"suite", "challengers"} <= names
    assert names <= {
        *PLAN, "name", "replicates", "votes_per_pair", "seed", "allow_repeats", "temperature", "top_p",
        "max_new_tokens", "reveal", *CHECKS, *RULE, *PlanForm.model_fields,
    }  # fmt: skip


@on_sqlite
@pytest.mark.parametrize(
    ("changed", "status", "reason"),
    [
        ({"suite": "absent"}, 404, "There is no suite"),
        ({"challengers": "absent"}, 404, "There is no checkpoint"),
        ({"challengers": "tiny"}, 422, "is the baseline"),
        ({"name": "suite-1"}, 409, "already"),
        ({"replicates": "0"}, 422, "replicates"),
        ({"temperature": "9"}, 422, "temperature"),
        ({"gold_pairs": "30"}, 422, "gold pairs were asked for"),
        ({"placebo_pairs": "2", "temperature": "0"}, 422, "at temperature 0"),
    ],
    ids=str,
)
def test_a_refused_plan_says_why(
    app: FastAPI, admin: TestClient, study: Study, changed: dict[str, str], status: int, reason: str
) -> None:
    answer = admin.post("/batches", data=PLAN | changed)
    assert (answer.status_code, reason in answer.text) == (status, True)
    assert newest_batch(app).id == study.batch.id


def plain(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page).replace("\N{NARROW NO-BREAK SPACE}", "").split())


@on_sqlite
def test_the_plan_says_what_it_asks_for_before_anything_is_frozen(
    app: FastAPI, admin: TestClient, study: Study
) -> None:
    asked = PLAN | {"replicates": 3, "votes_per_pair": 2, "seconds_per_vote": 45}
    told = plain(admin.get("/batches/plan", params=asked).text)
    assert "4 prompts, 12 pairs, 24 responses, 24 votes. At 45 seconds each, voting takes people about 18 min" in told
    assert "different people" in told
    assert "A true win rate of 60% on the 2 in-domain prompts would be missed almost always." in told
    assert newest_batch(app).id == study.batch.id


@on_sqlite
def test_the_plan_says_what_it_can_find_out(app: FastAPI, admin: TestClient, study: Study, tmp_path: Path) -> None:
    with app.state.database.session_scope() as session:
        make_suite(session, tmp_path, 60, name="sixty")
    page = admin.get("/batches/plan", params=PLAN | {"suite": "sixty"}).text
    told = plain(page)
    rate, there = smallest(60, 1), f"{chance(60, 1, 0.6):.0%}"
    assert (
        f"The 60 prompts tell a true win rate of {rate:.0%} or more, or as far below, from 50%, 4 times in 5." in told
    )
    assert "60% on the 30 out-of-domain prompts would be missed 19 times in 20" in told
    assert f"60% {there} {prompts_needed(0.6)} {prompts_needed(0.6)}" in told
    assert page.count('<path class="line') == 3
    more = plain(admin.get("/batches/plan", params=PLAN | {"suite": "sixty", "votes_per_pair": 3}).text)
    assert f"tell a true win rate of {smallest(60, 3):.0%}" in more
    assert "with 3 votes on each prompt" in more


@on_sqlite
def test_a_suite_of_one_domain_has_one_curve(app: FastAPI, admin: TestClient, study: Study, tmp_path: Path) -> None:
    rows = [prompt_row(number, domain="in_domain") for number in range(6)]
    with app.state.database.session_scope() as session:
        make_suite(session, tmp_path, rows, name="inside")
    page = admin.get("/batches/plan", params=PLAN | {"suite": "inside"}).text
    assert (page.count('<path class="line'), page.count("too few to tell any")) == (1, 1)


@on_sqlite
def test_ticked_judges_have_their_cost_before_a_response_is_there(
    app: FastAPI, admin: TestClient, study: Study
) -> None:
    with app.state.database.session_scope() as session:
        dear = a_judge(session, "opus", OPUS).id
        local = a_judge(session, "local", "llama3", provider=ProviderKind.OPENAI_COMPATIBLE, base_url="http://l/v1").id
    form = admin.get("/batches/launch").text
    assert all(f'name="judges" value="{one}"' in form for one in (dear, local))
    told = plain(admin.get("/batches/plan", params=PLAN | {"judges": [dear, local], "in_batches": "true"}).text)
    assert re.search(r"opus: about \$0\.\d+, at worst \$0\.\d+ , for at most 8 calls on 4 pairs in batches", told)
    assert "local: at most 8 calls on 4 pairs. No price in the table" in told
    assert "genai-prices" in told
    assert "as long as those that these checkpoints wrote so far" in told
    assert "Choose a suite and a challenger" in admin.get("/batches/plan", params={"suite": "suite"}).text
    unknown = admin.get("/batches/plan", params=PLAN | {"judges": [str(study.batch.id)]})
    assert (unknown.status_code, "no such judge" in unknown.text) == (404, True)


@on_sqlite
def test_without_scripts_the_form_comes_back_as_it_was_filled_in_with_its_plan(
    app: FastAPI, admin: TestClient, study: Study
) -> None:
    first = admin.get("/batches/launch").text
    assert "4 prompts, 4 pairs" in plain(first)
    assert 'formmethod="get" formaction="/batches/launch"' in first
    asked = PLAN | CHECKS | RULE | {"replicates": "2", "name": "mine", "seed": "7", "allow_repeats": "true"}
    asked |= {"gold_pairs": "0", "canary_pairs": "0", "gold_min": "", "gold_votes": "", "reveal": "never"}
    page = admin.get("/batches/launch", params=asked)
    assert page.status_code == 200, plain(page.text)
    filled = dict(re.findall(r'name="(\w+)"[^>]*?\svalue="([^"]*)"', page.text))
    wanted = {"replicates": "2", "name": "mine", "seed": "7", "placebo_pairs": "3", "side_max": "0.9", "gold_min": ""}
    assert {name: filled[name] for name in wanted} == wanted
    assert re.search(r'name="allow_repeats" value="true" checked', page.text)
    assert re.search(r'value="never" selected', page.text)
    assert "4 prompts, 8 pairs" in plain(page.text)


@on_sqlite
@pytest.mark.parametrize(
    ("changed", "status", "reason"),
    [
        ({"challengers": "absent"}, 404, "There is no checkpoint"),
        ({"challengers": "tiny"}, 422, "is the baseline"),
        ({"replicates": "0"}, 422, "replicates must lie between 1 and 100, not 0"),
        ({"replicates": "2", "temperature": "0"}, 422, "at temperature 0 every replicate"),
        ({"seconds_per_vote": "0"}, 422, "A vote takes between 1 and 3600 seconds, not 0"),
        ({"placebo_pairs": "9"}, 422, "9 placebo pairs need as many prompts"),
        ({"gold_min": "0.7"}, 422, "shows a rater none"),
    ],
    ids=str,
)
def test_what_a_launch_would_refuse_the_plan_refuses_too(
    app: FastAPI, admin: TestClient, study: Study, changed: dict[str, str], status: int, reason: str
) -> None:
    for path in ("/batches/plan", "/batches/launch"):
        answer = admin.get(path, params=PLAN | changed)
        assert (answer.status_code, reason in answer.text) == (status, True), path
    assert "Suite" in answer.text, "the form is still there"
    if "seconds_per_vote" not in changed:
        assert admin.post("/batches", data=PLAN | changed).status_code == status
    assert newest_batch(app).id == study.batch.id


def test_closing_is_for_good(app: FastAPI, admin: TestClient, study: Study) -> None:
    assert admin.post(f"/batches/{study.batch.id}/close").status_code == 303
    assert newest_batch(app).state is BatchState.CLOSED
    assert admin.post(f"/batches/{study.batch.id}/close").status_code == 409


def test_a_generation_can_be_stopped_and_tried_again(app: FastAPI, admin: TestClient, study: Study) -> None:
    admin.post("/batches", data=PLAN)
    batch = newest_batch(app)
    assert admin.post(f"/jobs/{batch.job_id}/cancel").status_code == 303
    assert state_of(app, batch.job_id) is JobState.CANCELLED
    assert admin.post(f"/jobs/{batch.job_id}/cancel").status_code == 409
    assert admin.post(f"/batches/{batch.id}/retry").status_code == 303
    assert state_of(app, batch.job_id) is JobState.QUEUED
    assert admin.post(f"/jobs/{batch.job_id}/retry").status_code == 409


def test_a_run_of_a_shipped_recipe_waits_for_its_base_model(app: FastAPI, admin: TestClient, tmp_path: Path) -> None:
    with app.state.database.session_scope() as session:
        import_shipped(session, data=DATA, artifacts=tmp_path, base_model="smollm2-135m", secret=RULES.secret, now=NOW)
    answer = admin.post("/runs", data={"recipe": "brie-v1"})
    with app.state.database.session_scope(write=False) as session:
        run = session.scalars(select(Run)).one()
        fetch = session.scalars(select(Job).where(Job.kind == JobKind.FETCH_BASE_MODEL)).one()
        assert session.get_one(Job, run.job_id).waits_for_id == fetch.id
    assert answer.headers["Location"] == f"/runs/{run.id}"
    assert "Get base model smollm2-135m" in admin.get("/jobs").text
    assert admin.post(f"/runs/{run.id}/cancel").status_code == 303
    assert admin.post(f"/runs/{run.id}/cancel").status_code == 409
    assert admin.post(f"/runs/{run.id}/retry").status_code == 303
    assert state_of(app, run.job_id) is JobState.QUEUED


@on_sqlite
def test_the_form_and_the_run_say_how_much_memory_it_takes(app: FastAPI, admin: TestClient, tmp_path: Path) -> None:
    with app.state.database.session_scope() as session:
        base = make_base(session, tmp_path, name="smollm2-135m")
        run = make_run(session, tmp_path, base="smollm2-135m", done=False)
    for page in ("/runs", f"/runs/{run.id}"):
        assert "with rows of max_length" not in admin.get(page).text
    config = Path(base.folder) / "config.json"
    config.write_text(json.dumps(SMOLLM2), encoding="utf-8")
    assert re.search(r"About \d\.\d GB on the \w+ with rows of max_length = 1,024 tokens", admin.get("/runs").text)
    assert "with rows of max_length = 1,024 tokens" in admin.get(f"/runs/{run.id}").text
    config.write_text(json.dumps({**SMOLLM2, "num_hidden_layers": 10_000}), encoding="utf-8")
    assert "The base model alone takes more than that" in admin.get("/runs").text
    assert 'class="notice notice-wait"><p>About ' in admin.get(f"/runs/{run.id}").text


@on_sqlite
def test_the_form_mixes_datasets_and_the_run_names_them_all(app: FastAPI, admin: TestClient, tmp_path: Path) -> None:
    with app.state.database.session_scope() as session:
        make_base(session, tmp_path, name="smollm2-135m")
        make_run(session, tmp_path, base="smollm2-135m")
    assert "Or mix several datasets" not in admin.get("/runs").text
    with app.state.database.session_scope() as session:
        notes = make_dataset(session, tmp_path, "notes")
    assert admin.get("/runs").text.count('name="mixed"') == 2
    form = {"recipe": "brie-v1", "mixed": ["lessons", "notes"], "weight": ["2", " 0.5 "]}
    answer = admin.post("/runs", data=form)
    assert answer.status_code == 303
    page = admin.get(answer.headers["Location"]).text
    assert "lessons v1 x2</a>" in page
    assert f'<a href="/datasets/{notes.id}">notes v1 x0.5</a>' in page
    assert notes.sha256[:12] in page
    assert answer.headers["Location"] in admin.get(f"/datasets/{notes.id}").text
    with app.state.database.session_scope(write=False) as session:
        run = session.scalars(select(Run).order_by(Run.created_at.desc(), Run.name.desc())).first()
        assert run.recipe["mix"] == {"lessons@1": 2.0, "notes@1": 0.5}
    assert admin.post("/runs", data={**form, "weight": ["much", ""]}).status_code == 422
    one = admin.post("/runs", data={**form, "weight": ["", "1"]})
    assert "notes v1</a>" in admin.get(one.headers["Location"]).text


@on_sqlite
def test_a_run_that_is_done_is_not_tried_again(app: FastAPI, admin: TestClient, tmp_path: Path) -> None:
    with app.state.database.session_scope() as session:
        make_base(session, tmp_path)
        run_id = make_run(session, tmp_path).id
    assert admin.post(f"/runs/{run_id}/retry").status_code == 409


@on_sqlite
def test_a_run_shows_what_it_learns_of_its_first_rows(app: FastAPI, admin: TestClient, tmp_path: Path) -> None:
    with app.state.database.session_scope() as session:
        make_base(session, tmp_path)
        run = make_run(session, tmp_path)
    assert "What it learns" not in admin.get(f"/runs/{run.id}").text
    with app.state.database.session_scope() as session:
        runs.show(session.get_one(Run, run.id), [(7, [("<b>asked</b>\n", False), ("said & done", True)], "notes@2")])
    page = admin.get(f"/runs/{run.id}").text
    assert "The first 1 row as the model sees it" in page
    assert '&lt;b&gt;asked&lt;/b&gt;\n<mark class="learned">said &amp; done</mark>' in page
    assert "Line 7 of notes v2<" in page


@on_sqlite
def test_a_base_model_is_asked_for_once(app: FastAPI, admin: TestClient) -> None:
    for _ in range(2):
        assert admin.post("/models", data={"wanted": " owner/model "}).status_code == 303
    with app.state.database.session_scope(write=False) as session:
        assert session.scalars(select(BaseModel.name)).all() == ["owner--model"]
        assert len(session.scalars(select(Job)).all()) == 1


def test_a_closed_batch_is_run_again_with_one_button(app: FastAPI, admin: TestClient, study: Study) -> None:
    page = f"/batches/{study.batch.id}"
    assert f'action="{page}/rerun"' not in admin.get(page).text
    admin.post(f"{page}/close")
    assert f'action="{page}/rerun"' in admin.get(page).text
    answer = admin.post(f"{page}/rerun")
    batch = newest_batch(app)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/batches/{batch.id}")
    assert (batch.name, batch.seed) == (f"{study.batch.name}, seeds 2", 2)


@on_sqlite
def test_the_sample_study_cannot_be_run_again(app: FastAPI, admin: TestClient) -> None:
    with app.state.database.session_scope() as session:
        import_shipped(
            session, data=DATA, artifacts=app.state.settings.artifacts, base_model="", secret=RULES.secret, now=NOW
        )
        batch_id = session.scalars(select(EvalBatch.id)).first()
    page = f"/batches/{batch_id}"
    admin.post(f"{page}/close")
    assert "/rerun" not in admin.get(page).text
    answer = admin.post(f"{page}/rerun")
    assert answer.status_code == 409
    assert "only responses are here, no weights" in answer.text
