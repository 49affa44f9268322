"""Asking judges about an eval batch, on its page."""

import re
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from app import jobs
from app.domain.terms import JobState, JudgingState, ProviderKind, SwapMode, Trouble
from app.models import EvalBatch, Job, Judging
from app.services import judges, judging
from tests.factories import NOW, Study, make_adapter
from tests.fixtures import on_sqlite
from tests.judged import OPUS, a_judge, reply, work
from tests.web.test_judges import give_key, plain


def judge(app: FastAPI, name: str = "haiku", **more: Any) -> str:
    with app.state.database.session_scope() as session:
        return str(a_judge(session, name, **more).id)


def local(app: FastAPI, name: str = "local") -> str:
    return judge(
        app, name, model="llama3", provider=ProviderKind.OPENAI_COMPATIBLE, base_url="http://127.0.0.1:11434/v1"
    )


def asked(app: FastAPI) -> list[Judging]:
    with app.state.database.session_scope(write=False) as session:
        return list(session.scalars(select(Judging).order_by(Judging.created_at)))


def panel(admin: TestClient, study: Study) -> str:
    return plain(admin.get(f"/batches/{study.batch.id}/judges").text)


def ask(admin: TestClient, study: Study, *picked: str, **form: Any) -> Any:
    return admin.post(f"/batches/{study.batch.id}/judges", data={"judges": list(picked)} | form)


def working(app: FastAPI, most: int = 10_000, answers: Any = lambda *_: reply("A")) -> None:
    """The newest judge gets so many answers, as its worker would."""
    with app.state.database.session_scope() as session:
        row = session.scalars(select(Judging).order_by(Judging.created_at.desc())).first()
        job = session.get_one(Job, row.job_id)
        job.state, job.attempt, job.total = JobState.RUNNING, 1, 8
        work(session, row, answers, most=most)
        job.done = min(most, 8)


def ended(app: FastAPI, state: JudgingState, job: JobState = JobState.DONE, **why: Any) -> None:
    with app.state.database.session_scope() as session:
        row = session.scalars(select(Judging).order_by(Judging.created_at.desc())).first()
        judging.end(session, row, state, now=NOW, **why)
        jobs.finish(session, session.get_one(Job, row.job_id), job, now=NOW)


def test_a_judge_is_asked_stopped_and_resumed(app: FastAPI, admin: TestClient, study: Study) -> None:
    here = f"/batches/{study.batch.id}"
    assert "No judge yet" in admin.get(here).text
    picked = judge(app)
    assert f'value="{picked}" checked' in admin.get(here).text
    assert ask(admin, study, picked, cap="0.50", in_batches="true").status_code == 303
    (row,) = asked(app)
    assert (row.cap_micro_dollars, row.in_batches, row.mode) == (500_000, True, SwapMode.BOTH)
    assert row.projected_micro_dollars
    assert "in batches, at half the price" in panel(admin, study)
    working(app, 3)
    assert "3 verdicts" in panel(admin, study)
    assert "3 of 8" in panel(admin, study)
    assert "haiku judges" in plain(admin.get("/jobs").text)
    assert "haiku judges" in plain(admin.get("/").text)
    assert ask(admin, study, picked).status_code == 409, "it is at work"
    assert admin.post(f"{here}/judges/{row.id}/stop").status_code == 303
    assert "cancelling" in panel(admin, study)
    ended(app, JudgingState.STOPPED, JobState.CANCELLED, message="Somebody stopped it.")
    assert "Somebody stopped it." in panel(admin, study)
    assert admin.post(f"{here}/judges/{row.id}/stop").status_code == 409
    assert admin.post(f"{here}/judges/{row.id}/resume", data={"cap": "$1"}).status_code == 303
    (row,) = asked(app)
    assert (row.cap_micro_dollars, row.in_batches, row.state) == (1_000_000, True, JudgingState.RUNNING)
    working(app)
    ended(app, JudgingState.DONE)
    assert "The judge has said everything that was asked." in panel(admin, study)


@on_sqlite
def test_one_that_is_stopped_before_it_began_is_not_running(app: FastAPI, admin: TestClient, study: Study) -> None:
    ask(admin, study, judge(app))
    (row,) = asked(app)
    admin.post(f"/batches/{study.batch.id}/judges/{row.id}/stop")
    assert "stopped it before it began. Nothing was asked and nothing was paid." in panel(admin, study)
    assert asked(app)[0].state is JudgingState.STOPPED


@on_sqlite
def test_work_whose_job_ended_elsewhere_is_not_running(app: FastAPI, admin: TestClient, study: Study) -> None:
    ask(admin, study, judge(app))
    (row,) = asked(app)
    admin.post(f"/jobs/{row.job_id}/cancel")
    assert "Somebody stopped it. All verdicts so far are kept" in panel(admin, study)
    assert "Resume" in panel(admin, study)
    admin.post(f"/jobs/{row.job_id}/retry")
    assert "Resume" not in panel(admin, study), "tried again on the page Jobs, it is at work"


@on_sqlite
def test_an_empty_cap_is_the_projected_worst_case(app: FastAPI, admin: TestClient, study: Study) -> None:
    cheap, dear = judge(app), judge(app, "opus", model=OPUS)
    query = {"judges": [cheap, dear]}
    plan = admin.get(f"/batches/{study.batch.id}/projection", params=query).text
    offered = re.search(r'id="cap"[^>]* value="(\d+\.\d\d)"', plan)
    assert offered is not None
    assert re.search(r"opus: about \$0\.\d+, at worst \$0\.\d+ ?, for at most 8 calls on 4 pairs", plain(plan))
    assert "genai-prices" in plan
    ask(admin, study, cheap, dear)
    caps = sorted(row.cap_micro_dollars for row in asked(app))
    assert caps[0] * 2 < caps[1] <= float(offered[1]) * 1_000_000 < caps[1] + 10_000
    assert all(row.projected_micro_dollars < row.cap_micro_dollars for row in asked(app))


@on_sqlite
def test_what_is_typed_as_cap_stays_when_the_projection_changes(app: FastAPI, admin: TestClient, study: Study) -> None:
    picked = judge(app, model=OPUS)

    def cap(**query: str) -> str:
        page = admin.get(f"/batches/{study.batch.id}/projection", params={"judges": picked} | query).text
        found = re.search(r'id="cap"[^>]* value="([^"]*)"', page)
        assert found is not None
        return found[1]

    whole = cap()
    assert float(cap(in_batches="true", cap=whole, cap_before=whole)) < float(whole)
    assert cap(in_batches="true", cap="7", cap_before=whole) == "7"


@on_sqlite
@pytest.mark.parametrize("cap", ["0", "-1", "much", "nan", "1e9", "0.50 euros"])
def test_a_cap_that_is_none_starts_nothing(app: FastAPI, admin: TestClient, study: Study, cap: str) -> None:
    assert ask(admin, study, judge(app), cap=cap).status_code == 422
    assert asked(app) == []


@on_sqlite
def test_without_a_price_there_is_no_cap(app: FastAPI, admin: TestClient, study: Study) -> None:
    picked = local(app)
    plan = admin.get(f"/batches/{study.batch.id}/projection", params={"judges": picked}).text
    assert "No price in the table: no cap possible." in plan
    ask(admin, study, picked, cap="5", in_batches="true")
    (row,) = asked(app)
    assert (row.cap_micro_dollars, row.in_batches) == (None, False)
    assert "no price in the table, so no cap" in panel(admin, study)


@on_sqlite
def test_a_strong_judge_sees_only_what_tore_the_cheap_one(app: FastAPI, admin: TestClient, study: Study) -> None:
    ask(admin, study, judge(app))
    working(app, answers=lambda number, _: reply("tie" if number < 2 else "BA"[number % 2]))
    (first,) = asked(app)
    dear = judge(app, "opus", model=OPUS)
    ended(app, JudgingState.DONE)
    assert "only where haiku was torn" in admin.get(f"/batches/{study.batch.id}").text
    query = {"judges": dear, "after": str(first.id)}
    assert "2 calls on 1 pair." in plain(admin.get(f"/batches/{study.batch.id}/projection", params=query).text)
    assert ask(admin, study, dear, after=str(first.id)).status_code == 303
    assert asked(app)[1].after_id == first.id
    assert "only where haiku was torn" in panel(admin, study)


@on_sqlite
def test_what_cannot_be_asked_is_refused(app: FastAPI, admin: TestClient, study: Study) -> None:
    assert ask(admin, study).status_code == 422, "nobody is picked"
    nobody = "00000000-0000-4000-8000-000000000000"
    assert ask(admin, study, nobody).status_code == 404
    picked = judge(app)
    assert ask(admin, study, picked, after=nobody).status_code == 404
    admin.post(f"/judges/{picked}/retire")
    assert "All judges are retired." in plain(admin.get(f"/batches/{study.batch.id}").text)
    assert ask(admin, study, picked).status_code == 409
    for path in (f"/batches/{nobody}/judges", f"/batches/{nobody}/projection"):
        assert admin.get(path).status_code == 404
    assert admin.post(f"/batches/{study.batch.id}/judges/{nobody}/stop").status_code == 404
    assert asked(app) == []


@on_sqlite
def test_without_a_pair_nothing_can_be_projected(app: FastAPI, admin: TestClient, study: Study, tmp_path: Any) -> None:
    from app.services.eval_batches import LaunchPlan, launch  # noqa: PLC0415
    from tests.factories import RULES  # noqa: PLC0415

    with app.state.database.session_scope() as session:
        other = make_adapter(session, tmp_path, name="brie-v9").name
        batch = launch(session, LaunchPlan(suite="suite", challengers=(other,)), secret=RULES.secret, now=NOW)
    picked, here = judge(app), f"/batches/{batch.id}"
    assert "There is no pair to judge yet" in admin.get(here).text
    assert "no pair is there yet" in admin.get(f"{here}/projection", params={"judges": picked}).text
    assert admin.post(f"{here}/judges", data={"judges": picked}).status_code == 422
    assert admin.post(f"{here}/judges", data={"judges": picked, "cap": "2"}).status_code == 303
    page = plain(admin.get(f"{here}/judges").text)
    assert "queued" in page


@on_sqlite
@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        (Trouble.MISSING_KEY, "There is no key for Anthropic, so nothing was sent."),
        (Trouble.EMPTY_BALANCE, "The balance at Anthropic is empty."),
        (Trouble.RETIRED_MODEL, "Anthropic does not offer the model."),
        (Trouble.NO_NETWORK, "Anthropic cannot be reached."),
        (Trouble.CAP_REACHED, "The cap of $0.03 is reached."),
    ],
)
def test_why_a_judge_stopped_is_said_with_the_way_on(
    app: FastAPI, admin: TestClient, study: Study, trouble: Trouble, sentence: str
) -> None:
    ask(admin, study, judge(app, model=OPUS), cap="0.03")
    working(app, 2)
    ended(app, JudgingState.STOPPED, JobState.FAILED, trouble=trouble, message=sentence)
    page = admin.get(f"/batches/{study.batch.id}/judges").text
    assert sentence in plain(page)
    offered = re.search(r'name="cap"[^>]* value="(\d+\.\d\d)"', page)
    assert offered is not None
    assert float(offered[1]) > 0.03, "with this cap it can finish"
    assert sentence in plain(admin.get(f"/judges/{asked(app)[0].judge_id}").text)


@on_sqlite
def test_a_missing_key_is_said_before_anybody_is_asked(app: FastAPI, admin: TestClient, study: Study) -> None:
    judge(app)
    local(app)
    page = plain(admin.get(f"/batches/{study.batch.id}").text)
    assert "There is no key for Anthropic, and these judges need one: haiku." in page
    assert "There is no key for Anthropic" in plain(admin.get("/judges").text)
    give_key(app)
    assert "There is no key" not in admin.get(f"/batches/{study.batch.id}").text
    assert "There is no key" not in admin.get("/judges").text


@on_sqlite
def test_pairs_that_came_later_can_be_asked_for(app: FastAPI, admin: TestClient, study: Study) -> None:
    ask(admin, study, judge(app), mode="decisive")
    working(app, 2)
    ended(app, JudgingState.DONE)
    page = panel(admin, study)
    assert "the other order only where the first was no tie" in page
    assert "pairs came later and were not judged" in page
    assert "everything" not in page
    assert admin.post(f"/batches/{study.batch.id}/judges/{asked(app)[0].id}/resume").status_code == 303
    assert asked(app)[0].mode is SwapMode.DECISIVE


@on_sqlite
def test_a_retired_judge_goes_on_when_it_is_brought_back(app: FastAPI, admin: TestClient, study: Study) -> None:
    picked = judge(app)
    ask(admin, study, picked)
    working(app, 2)
    ended(app, JudgingState.STOPPED, message="Stopped.")
    with app.state.database.session_scope() as session:
        judges.set_retired(judges.find_judge(session, "haiku"), retired=True, now=NOW)
    assert "It is retired: bring it back to go on" in panel(admin, study)
    assert admin.post(f"/batches/{study.batch.id}/judges/{asked(app)[0].id}/resume").status_code == 409


@on_sqlite
def test_the_section_names_no_text_and_no_preference(app: FastAPI, admin: TestClient, study: Study) -> None:
    ask(admin, study, judge(app))
    working(app)
    before = panel(admin, study)
    with app.state.database.session_scope(write=False) as session:
        names = [session.get_one(EvalBatch, study.batch.id).name, *(adapter.name for adapter in study.adapters)]
    assert not [word for word in (*names, "Member", "prefer", "wins", "first", "second") if word in before]
