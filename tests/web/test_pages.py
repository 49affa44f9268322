import random
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.config import DATA
from app.domain.sampling import Sampling
from app.domain.terms import Choice, PackageKind, Split
from app.models import Checkpoint, Dataset, Package, Run
from app.services import accounts, eval_batches, invites, judging, packages, runs, trials
from app.services.base_models import add_base_model, mark_failed
from app.services.checkpoints import register_adapter
from app.services.eval_batches import LaunchPlan
from app.services.sending import begin_sending
from app.services.shipped import import_shipped
from app.services.trials import Asked
from tests.factories import (
    NOW,
    RULES,
    Study,
    make_rater,
    make_run,
    pairs_of,
    saved_adapter,
    sha256,
    vote_blind,
    write_responses,
)
from tests.fixtures import on_sqlite
from tests.judged import OPUS, a_judge, work
from tests.uploads import stored_intake
from tests.web.addresses import addresses, filled

EVENTS = "/live"


def a_package(session: Session, checkpoint: Checkpoint, artifacts: Path) -> Package:
    """One that can be downloaded."""
    package = packages.ask_for_package(session, checkpoint, PackageKind.ADAPTER, card="# Card", now=NOW)
    folder = artifacts / "packages" / package.id.hex
    folder.mkdir(parents=True)
    packages.packed(session, package, folder=folder, size_bytes=1, off=None, now=NOW)
    return package


def ids_of(app: FastAPI, study: Study) -> dict[str, object]:
    with app.state.database.session_scope() as session:
        admin = accounts.the_admin(session, now=NOW)
        now = datetime.now(UTC)
        judge = a_judge(session)
        work(session, judging.ask(session, session.merge(study.batch), judge, cap=1_000_000, now=NOW), most=3)
        return {
            "name": "general",
            "format_name": "csv",
            "judge_id": judge.id,
            "account_id": admin.id,
            "batch_id": study.batch.id,
            "suite_id": study.suite.id,
            "checkpoint_id": study.adapters[0].id,
            "intake_id": stored_intake(session, checkpoint_id=study.adapters[0].id).id,
            "sending_id": begin_sending([("a.zip", 9)], artifacts=app.state.settings.artifacts, account_id=admin.id).id,
            "package_id": a_package(session, session.merge(study.adapters[0]), app.state.settings.artifacts).id,
            "trial_id": trials.start(
                session, admin, Asked("Why?", (study.adapters[0].id,), Sampling(), seed=1), now=NOW
            ).id,
            "pair_id": pairs_of(session, study.batch)[0].id,
            "run_id": study.adapters[0].run_id,
            "dataset_id": session.scalars(select(Dataset.id)).first(),
            "token": invites.make_invite(session, session.merge(study.batch), by=admin, now=now)[1],
        }


OF_THE_FINISHED = "/batches/[^/]+/(report|export)"
"""Refused while an eval batch is open; they are asked for below, where it has closed."""


def pages(app: FastAPI, study: Study) -> list[str]:
    ids = ids_of(app, study)
    found = [filled(path, ids) for method, path in addresses(app) if method == "GET" and path != EVENTS]
    plan = "?suite=suite&challengers=brie-v1/epoch-2"
    return [path + plan if path == "/batches/plan" else path for path in found]


def test_every_page_and_fragment_renders(app: FastAPI, admin: TestClient, study: Study) -> None:
    for path in pages(app, study):
        answer = admin.get(path)
        if re.search(OF_THE_FINISHED, path):
            assert answer.status_code == 409, path
            continue
        assert answer.status_code == 200, path
        assert "None" not in re.sub(r"<[^>]*>", "", answer.text), f"a value is missing on {path}"


@on_sqlite
def test_every_page_renders_before_anything_is_there(app: FastAPI, admin: TestClient) -> None:
    for method, path in addresses(app):
        if method == "GET" and "{" not in path and path not in {EVENTS, "/batches/plan"}:
            assert admin.get(path).status_code == 200, path


@on_sqlite
def test_every_page_renders_in_the_states_of_failure(
    app: FastAPI, admin: TestClient, study: Study, tmp_path: Path
) -> None:
    with app.state.database.session_scope() as session:
        mark_failed(add_base_model(session, "owner/failed", now=NOW), "The hub does not answer.")
        for number, loss in enumerate((float("inf"), 1.0)):
            run = make_run(session, tmp_path, name=f"odd-{number}", done=False)
            runs.record(session, run, [runs.Metric(Split.VALIDATION, 1, 0.5, loss)], now=NOW)
        runs.cancel_run(session, run, now=NOW)
        session.get_one(Dataset, run.dataset_id).path = str(tmp_path / "gone")
        odd = session.scalars(select(Run.id).where(Run.name.startswith("odd"))).all()
    found = pages(app, study)
    with app.state.database.session_scope() as session:
        eval_batches.close(session, session.merge(study.batch), now=NOW)
    for path in (*found, *(f"/runs/{run_id}" for run_id in odd)):
        assert admin.get(path).status_code == 200, path


@on_sqlite
def test_every_page_renders_with_what_ships(app: FastAPI, admin: TestClient, tmp_path: Path) -> None:
    with app.state.database.session_scope() as session:
        import_shipped(session, data=DATA, artifacts=tmp_path, base_model="smollm2-135m", secret=RULES.secret, now=NOW)
    assert "brie-v1" in admin.get("/runs").text
    assert "brie-comprehensive" in admin.get("/suites").text
    assert "smollm2-135m" in admin.get("/").text


@on_sqlite
def test_names_are_text_and_never_markup(app: FastAPI, admin: TestClient, study: Study) -> None:
    evil = '<script>alert("x")</script>'
    with app.state.database.session_scope() as session:
        session.merge(study.batch).name = evil
        session.merge(study.adapters[0]).name = evil
        session.merge(study.suite).title = evil
        session.get_one(Run, study.adapters[0].run_id).notes = evil
    for path in pages(app, study):
        answer = admin.get(path)
        downloaded = "attachment" in answer.headers.get("content-disposition", "")
        assert downloaded or "<script>alert" not in answer.text, path


@on_sqlite
def test_fragments_are_parts_of_their_pages(app: FastAPI, admin: TestClient, study: Study) -> None:
    ids = ids_of(app, study)
    judge_id, intake_id = ids["judge_id"], ids["intake_id"]
    with app.state.database.session_scope() as session:
        a_judge(session, "not asked yet", OPUS)
    for fragment, page in (
        ("/batches/list", "/batches"),
        ("/runs/list", "/runs"),
        ("/models/list", "/models"),
        ("/jobs/table", "/jobs"),
        ("/home/live", "/"),
        (f"/results/{study.batch.id}/live", f"/results/{study.batch.id}"),
        (f"/results/{study.batch.id}/more", f"/results/{study.batch.id}"),
        (f"/batches/{study.batch.id}/progress", f"/batches/{study.batch.id}"),
        (f"/runs/{study.adapters[0].run_id}/progress", f"/runs/{study.adapters[0].run_id}"),
        (f"/runs/{study.adapters[0].run_id}/preview", f"/runs/{study.adapters[0].run_id}"),
        (f"/raters/{study.batch.id}/list", f"/raters/{study.batch.id}"),
        (f"/batches/{study.batch.id}/judges", f"/batches/{study.batch.id}"),
        (f"/batches/{study.batch.id}/projection", f"/batches/{study.batch.id}"),
        (f"/checkpoints/uploads/{intake_id}/check", f"/checkpoints/uploads/{intake_id}"),
        ("/judges/list", "/judges"),
        (f"/judges/{judge_id}/batches", f"/judges/{judge_id}"),
        (f"/vote/{study.batch.id}/ballot", f"/vote/{study.batch.id}"),
    ):
        part = admin.get(fragment).text
        assert "<html" not in part
        root = re.search(r'id="([\w-]+)"', part)
        assert root is not None, fragment
        assert f'id="{root[1]}"' in admin.get(page).text, f"{page} does not hold what {fragment} replaces"


@on_sqlite
@pytest.mark.parametrize("secret", ["a key for tests", "hunter2", "sk-ant-never", "sk-else-never"])
def test_the_settings_page_shows_no_secret(app: FastAPI, admin: TestClient, secret: str) -> None:
    settings = app.state.settings
    app.state.settings = settings.model_copy(
        update={
            "broker_url": "redis://user:hunter2@host/0",
            "anthropic_api_key": "sk-ant-never",
            "openai_api_key": "sk-else-never",
        }
    )
    page = admin.get("/settings").text
    assert secret not in page
    assert "ARENA_SECRET" in page
    assert "ANTHROPIC_API_KEY" in page
    assert "ARENA_ANTHROPIC" not in page, "each is named as it is set"


def test_a_run_shows_its_win_rate_over_training(app: FastAPI, admin: TestClient, study: Study) -> None:
    run_id = study.adapters[0].run_id
    assert "Win rate over training" not in admin.get(f"/runs/{run_id}").text
    with app.state.database.session_scope() as session:
        run = session.get_one(Run, run_id)
        early = register_adapter(session, run, saved_adapter(sha256("early"), label="epoch-1", step=5), now=NOW)
        plan = LaunchPlan(suite="suite", challengers=(early.name, study.adapters[0].name), allow_repeats=True)
        batch = eval_batches.launch(session, plan, secret=RULES.secret, now=NOW)
        write_responses(session, batch)
        rng = random.Random(1)  # noqa: S311
        vote_blind(session, batch, make_rater(session), lambda _: Choice.A, rng=rng)
    page = admin.get(f"/runs/{run_id}").text
    assert "At step 10 the win rate is" in page
    assert f'href="/results/{batch.id}"' in page
