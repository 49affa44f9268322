"""Eval batches whose responses a server writes, on the pages and in the report."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.domain.serving import ServerTold
from app.models import EvalBatch
from app.services.eval_batches import close
from app.services.serving import note_told
from tests.factories import NOW, RULES, Study, write_responses
from tests.fakes.model_server import FakeModelServer, model_server
from tests.fixtures import on_sqlite

PLAN = {"suite": "suite", "baseline": "base", "challengers": "brie-v1/epoch-2"}
ODD = "To each of 3 probe prompts, tiny and brie-v1/epoch-2 gave the same text word for word"


@pytest.fixture
def fake() -> Iterator[FakeModelServer]:
    with model_server(FakeModelServer({"SmolLM2": "", "brie-v1/epoch-2": "SmolLM2"})) as running:
        yield running


def form(fake: FakeModelServer, **changed: str) -> dict[str, str]:
    return PLAN | {"server": fake.url, "served_as": "base = SmolLM2\r\n\r\n"} | changed


def newest(app: FastAPI) -> EvalBatch:
    with app.state.database.session_scope(write=False) as session:
        return session.scalars(select(EvalBatch).order_by(EvalBatch.created_at.desc())).first()


@pytest.fixture
def served(app: FastAPI, admin: TestClient, study: Study, fake: FakeModelServer) -> EvalBatch:
    """Launched from the form, written and closed; its server looked odd."""
    assert admin.post("/batches", data=form(fake)).status_code == 303
    batch = newest(app)
    with app.state.database.session_scope() as session:
        stored = session.get_one(EvalBatch, batch.id)
        write_responses(session, stored)
        close(session, stored, now=NOW)
        note_told(stored, ServerTold("vllm 0.10.1", (ODD,)), RULES.secret)
    return batch


def test_the_form_launches_with_a_server_and_offers_it_again(
    admin: TestClient, served: EvalBatch, fake: FakeModelServer
) -> None:
    assert served.served is not None
    assert served.served["url"] == fake.url
    assert list(served.served["models"].values()) == ["SmolLM2", "brie-v1/epoch-2"]
    page = admin.get("/batches/launch").text
    assert f'<option value="{fake.url}">' in page


def test_pages_say_that_the_weights_are_not_verified(
    admin: TestClient, served: EvalBatch, fake: FakeModelServer
) -> None:
    place = fake.url.removeprefix("http://").removesuffix("/v1")
    for address in (f"/batches/{served.id}", f"/results/{served.id}"):
        page = admin.get(address).text
        assert f"written by the server at {place}. Its weights are not verified" in page
        assert ODD in page
    assert "vllm 0.10.1" in admin.get(f"/batches/{served.id}").text


def test_the_report_names_the_server_and_what_it_calls_each_checkpoint(
    admin: TestClient, served: EvalBatch, fake: FakeModelServer
) -> None:
    page = admin.get(f"/batches/{served.id}/report").text
    assert f"the server at {fake.url} (vllm 0.10.1)" in page
    assert "not verified: what the server calls SmolLM2" in page
    assert ODD in page


def test_an_eval_batch_of_this_arena_says_nothing_of_servers(admin: TestClient, study: Study) -> None:
    for address in (f"/batches/{study.batch.id}", f"/results/{study.batch.id}"):
        assert "not verified" not in admin.get(address).text


@on_sqlite
@pytest.mark.parametrize(
    ("changed", "status", "reason"),
    [
        ({"served_as": ""}, 409, "has no model tiny"),
        ({"served_as": "base"}, 422, "does not say what a checkpoint is called"),
        ({"served_as": "absent=x"}, 422, "absent takes no part"),
        ({"server": "gpu"}, 422, "no address of a server"),
        ({"server": "http://me:secret@gpu/v1"}, 422, "ARENA_GENERATION_API_KEY"),
    ],
)
def test_a_server_that_cannot_do_it_launches_nothing(
    app: FastAPI,
    admin: TestClient,
    study: Study,
    fake: FakeModelServer,
    changed: dict[str, str],
    status: int,
    reason: str,
) -> None:
    answer = admin.post("/batches", data=form(fake, **changed))
    assert (answer.status_code, reason in answer.text) == (status, True)
    assert newest(app).id == study.batch.id
    assert fake.bodies == []
