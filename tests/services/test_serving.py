"""Eval batches whose responses a server writes: the plan, and the look at the server before it is frozen."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.config import Settings
from app.db import Database
from app.domain.errors import BadInputError, ConflictError, UnavailableError
from app.domain.serving import Serving
from app.domain.terms import Queue
from app.models import EvalBatch, Job
from app.queries.seals import plan_seal
from app.queries.verification import verify
from app.services import responses
from app.services.eval_batches import LaunchPlan, launch
from app.services.launching import look_at_server
from app.services.reruns import rerun
from tests.factories import NOW, RULES, make_adapter, make_base, make_suite, write_responses
from tests.fakes.model_server import FakeModelServer, model_server
from tests.fixtures import on_sqlite

URL = "http://gpu:8000/v1"
V1, V2 = "brie-v1/epoch-2", "brie-v2/epoch-2"
AS = {"base": "SmolLM2", V1: "brie"}


@pytest.fixture
def shelf(session: Session, tmp_path: Path) -> Session:
    make_suite(session, tmp_path)
    make_base(session, tmp_path)
    for name in ("brie-v1", "brie-v2"):
        make_adapter(session, tmp_path, name=name)
    return session


def plan(**changed: Any) -> LaunchPlan:
    return LaunchPlan(**{"suite": "suite", "challengers": (V1,), "server": URL, "served_as": AS} | changed)


def launched(session: Session, **changed: Any) -> EvalBatch:
    return launch(session, plan(**changed), secret=RULES.secret, now=NOW)


def names(batch: EvalBatch) -> list[str]:
    serving = Serving.of(batch.served)
    assert serving is not None
    return list(serving.models.values())


def test_the_server_is_a_part_of_the_sealed_plan_and_waits_for_no_gpu(shelf: Session) -> None:
    batch = launched(shelf)
    assert names(batch) == ["SmolLM2", "brie"]
    assert shelf.get_one(Job, batch.job_id).queue is Queue.IO
    assert batch.seal == plan_seal(shelf, batch, RULES.secret)
    write_responses(shelf, batch)
    assert verify(shelf, RULES.secret, batch.id).holds
    assert batch.served is not None
    batch.served = {**batch.served, "url": "http://elsewhere/v1"}
    assert batch.seal != plan_seal(shelf, batch, RULES.secret)
    assert not verify(shelf, RULES.secret, batch.id).holds
    assert shelf.get_one(Job, launched(shelf, server="", served_as={}).job_id).queue is Queue.GPU


@on_sqlite
def test_a_checkpoint_without_a_name_there_is_called_as_here(shelf: Session) -> None:
    assert names(launched(shelf, served_as={})) == ["tiny", V1]


@on_sqlite
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"served_as": {V2: "brie"}}, f"{V2} takes no part"),
        ({"served_as": {"base": "one", V1: "one"}}, "two checkpoints are both one"),
        ({"server": "gpu"}, "no address of a server"),
        ({"server": ""}, "and no server"),
    ],
)
def test_what_no_server_could_be_asked_is_not_launched(shelf: Session, changed: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        launched(shelf, **changed)


def test_no_text_of_a_server_is_taken_for_one_of_this_arena_or_of_another_name(shelf: Session) -> None:
    here = launched(shelf, server="", served_as={})
    write_responses(shelf, here)
    served = launched(shelf)
    assert responses.stored(shelf, responses.plan_of(shelf, served)) == {}
    write_responses(shelf, served)
    again = launched(shelf)
    assert len(responses.stored(shelf, responses.plan_of(shelf, again))) == again.planned_responses
    elsewhere = launched(shelf, served_as={**AS, V1: "brie-2"})
    found = responses.stored(shelf, responses.plan_of(shelf, elsewhere))
    assert len(found) == elsewhere.planned_responses // 2
    assert {(one.base_hash, one.template_hash) for one in found.values()} == {("", "")}


def test_a_rerun_asks_the_same_server_for_the_same_names(shelf: Session) -> None:
    first = launched(shelf)
    write_responses(shelf, first)
    second = rerun(shelf, first, secret=RULES.secret, now=NOW)
    assert second.served == first.served


@pytest.fixture
def stored_shelf(database: Database, tmp_path: Path) -> Database:
    with database.session_scope() as session:
        make_suite(session, tmp_path)
        make_base(session, tmp_path)
        make_adapter(session, tmp_path, name="brie-v1")
    return database


def look(database: Database, fake: FakeModelServer, **changed: Any) -> None:
    with model_server(fake):
        look_at_server(database, plan(server=fake.url, **changed), Settings(generation_api_key="secret"))


def test_a_server_that_has_everything_passes_and_is_given_the_key(stored_shelf: Database) -> None:
    fake = FakeModelServer({"SmolLM2": "", "brie": "SmolLM2"})
    look(stored_shelf, fake)
    assert fake.keys == {"Bearer secret"}
    assert fake.bodies == []
    look(stored_shelf, FakeModelServer({"SmolLM2:latest": "", "brie:latest": ""}, tells_parents=False))


@on_sqlite
@pytest.mark.parametrize(
    ("models", "words"),
    [
        ({"SmolLM2": ""}, "has no model brie, so nothing was asked of it. It has: SmolLM2"),
        ({}, "has no model SmolLM2 and none called brie.* It has: none"),
        ({"SmolLM2": "", "brie": "", "other": "SmolLM2"}, "model brie is no adapter, and the plan asks it for an ad"),
        ({"SmolLM2": "x", "brie": "SmolLM2"}, "model SmolLM2 is an adapter, and the plan asks it for the bare base"),
        ({f"m{number}": "" for number in range(15)}, "m11 and 3 more"),
    ],
)
def test_a_server_that_has_something_else_is_refused(
    stored_shelf: Database, models: dict[str, str], words: str
) -> None:
    with pytest.raises(ConflictError, match=words):
        look(stored_shelf, FakeModelServer(models))


@on_sqlite
def test_a_server_that_stays_away_is_one_sentence(stored_shelf: Database) -> None:
    with model_server(FakeModelServer({})) as gone:
        pass
    with pytest.raises(UnavailableError, match=r"Nothing was launched: the server at 127.*cannot be reached.*Launch"):
        look_at_server(stored_shelf, plan(server=gone.url), Settings())


@on_sqlite
def test_without_a_server_nobody_is_asked(stored_shelf: Database) -> None:
    look_at_server(stored_shelf, plan(server="", served_as={}), Settings())
