"""The generation job with a server that writes: everything once, whatever the server or the worker does."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.db import Database, get_database
from app.domain.errors import ConflictError, UnavailableError
from app.domain.sampling import Sampling
from app.domain.terms import FinishReason, JobState
from app.models import EvalBatch, Response
from app.services import eval_batches
from app.services.eval_batches import LaunchPlan
from tests.factories import NOW, RULES, make_adapter, make_base, make_suite
from tests.fakes.model_server import FakeModelServer, Fault, model_server
from tests.fixtures import on_sqlite
from tests.processes import process_settings
from tests.tiny_arena import job_of, pair_count, texts
from training.errors import Cancelled
from worker import generate
from worker.claim import Claim, claim

PROMPTS = 6
PLANNED = 2 * PROMPTS
MODELS = {"SmolLM2": "", "brie": "SmolLM2"}
PROBES = 3 * 2


@pytest.fixture
def database(database_url: str, home: Path) -> Iterator[Database]:
    """As the conftest has it, for a server that is asked again at once."""
    with process_settings(home, database_url=database_url, generation_retry_seconds="0.001"):
        yield get_database()


def launched(database: Database, home: Path, fake: FakeModelServer, **changed: Any) -> EvalBatch:
    with database.session_scope() as session:
        suite = make_suite(session, home, PROMPTS)
        make_base(session, home)
        adapter = make_adapter(session, home)
        plan = LaunchPlan(
            suite=suite.name,
            challengers=(adapter.name,),
            server=fake.url,
            served_as={"base": "SmolLM2", adapter.name: "brie"},
        )
        return eval_batches.launch(session, replace(plan, **changed), secret=RULES.secret, now=NOW)


def never() -> bool:
    return False


def claimed(batch: EvalBatch) -> Claim:
    taken = claim(batch.job_id, worker="here") if batch.job_id else None
    assert taken is not None
    return taken


def told(database: Database, batch: EvalBatch) -> dict[str, Any]:
    with database.session_scope(write=False) as session:
        return session.get_one(EvalBatch, batch.id).server_told or {}


@contextmanager
def serving(**changed: Any) -> Iterator[FakeModelServer]:
    with model_server(FakeModelServer(**{"models": MODELS} | changed)) as fake:
        yield fake


def test_every_response_is_written_once_with_its_seed_and_marked_unverified(database: Database, home: Path) -> None:
    with serving() as fake:
        batch = launched(database, home, fake)
        generate.run(claimed(batch), never)
    assert len(texts(database)) == PLANNED == len(fake.written)
    assert pair_count(database, batch) == PROMPTS
    job = job_of(database, batch)
    assert (job.done, job.total) == (PLANNED, PLANNED)
    with database.session_scope(write=False) as session:
        rows = session.scalars(select(Response)).all()
    assert {row.seed % 2**31 for row in rows} == {body["seed"] for body in fake.written}
    assert all(row.text.endswith(f"with {row.seed % 2**31}.") for row in rows)
    assert {body["model"] for body in fake.written} == {"SmolLM2", "brie"}
    assert {row.finish_reason for row in rows} == {FinishReason.STOP}
    engine = next(row.engine for row in rows if row.text.startswith("brie"))
    assert engine == (
        f"openai {fake.url}, model brie, software vllm 0.10.1, system_fingerprint fp_test, weights not verified"
    )
    assert told(database, batch) == {"software": "vllm 0.10.1", "warnings": []}


def test_a_response_that_the_limit_cut_is_marked(database: Database, home: Path) -> None:
    with serving() as fake:
        generate.run(claimed(launched(database, home, fake, sampling=Sampling(max_new_tokens=2))), never)
    with database.session_scope(write=False) as session:
        rows = session.scalars(select(Response)).all()
    assert {(row.finish_reason, row.token_count) for row in rows} == {(FinishReason.LENGTH, 2)}


def test_faults_on_the_way_change_nothing(database: Database, home: Path) -> None:
    faults = dict(
        zip(range(PROBES, PROBES + 8, 2), (fault for fault in Fault if fault is not Fault.HANGING), strict=True)
    )
    with serving(faults=faults) as fake:
        generate.run(claimed(launched(database, home, fake)), never)
    assert len(texts(database)) == PLANNED
    assert len(fake.written) == PLANNED + len(faults)


def test_a_worker_that_was_stopped_loses_what_is_in_flight_and_nothing_is_asked_for_twice(
    database: Database, home: Path
) -> None:
    with serving(hang_from=PROBES + 5) as fake:
        batch = launched(database, home, fake)
        first = claimed(batch)
        with pytest.raises(Cancelled):
            generate.run(first, lambda: len(texts(database)) == 5)
        kept = texts(database)
        assert len(kept) == 5
        first.give_back(reason="The worker was stopped.", counts=False)
        fake.hang_from = None
        generate.run(claimed(batch), never)
        whole = texts(database)
        assert len(whole) == PLANNED
        assert kept.items() <= whole.items()
        asked = Counter(fake.text(body) for body in fake.written)
        assert asked.keys() == {text for _, text in whole.values()}
        assert {asked[text] for _, text in kept.values()} == {1}
        assert max(asked.values()) <= 2  # what was in flight may have come to the server before or after the stop
        assert pair_count(database, batch) == PROMPTS


def test_one_model_under_both_names_is_noticed(database: Database, home: Path) -> None:
    with serving(one_model_for_all=True) as fake:
        batch = launched(database, home, fake)
        generate.run(claimed(batch), never)
    (warning,) = told(database, batch)["warnings"]
    assert "tiny and brie-v1/epoch-2 gave the same text word for word" in warning
    assert len(texts(database)) == PLANNED


@on_sqlite
def test_a_model_that_is_missing_is_named_before_anything_is_asked(database: Database, home: Path) -> None:
    with serving(models={"SmolLM2": ""}) as fake:
        batch = launched(database, home, fake)
        with pytest.raises(ConflictError, match="has no model brie, so nothing was asked of it"):
            generate.run(claimed(batch), never)
    assert fake.bodies == []
    assert texts(database) == {}


@on_sqlite
def test_a_model_that_another_answers_for_is_refused(database: Database, home: Path) -> None:
    with serving(answers_as="SmolLM2") as fake:
        batch = launched(database, home, fake)
        with pytest.raises(ConflictError, match="asked for brie, it let SmolLM2 answer"):
            generate.run(claimed(batch), never)
    assert texts(database) == {}


@on_sqlite
def test_a_setting_that_the_server_does_not_have_is_named(database: Database, home: Path) -> None:
    with serving(refused=("top_k",)) as fake:
        batch = launched(database, home, fake, sampling=Sampling(top_k=40))
        with pytest.raises(ConflictError, match="takes no top k, and the plan asks for 40"):
            generate.run(claimed(batch), never)


@on_sqlite
def test_a_server_that_goes_away_leaves_what_is_there(database: Database, home: Path) -> None:
    with serving(faults=dict.fromkeys(range(PROBES + 4, 500), Fault.SERVER_FAULT)) as fake:
        batch = launched(database, home, fake)
        with pytest.raises(UnavailableError, match=r"are kept: the server at .* keeps failing \(CUDA error\)"):
            generate.run(claimed(batch), never)
        assert 1 <= len(texts(database)) <= 4
        assert job_of(database, batch).state is JobState.RUNNING
