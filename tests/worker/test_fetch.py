"""The job that brings a base model, from a folder of this machine."""

import uuid
from pathlib import Path

import pytest
from sqlalchemy import select

from app import jobs
from app.db import Database
from app.domain.terms import BaseModelState, CheckpointKind, JobKind
from app.models import BaseModel, Checkpoint, Job
from app.services.base_models import add_base_model
from tests.factories import NOW
from tests.fixtures import on_sqlite
from tests.tiny_arena import Tiny
from training.base import hash_base
from training.errors import BaseModelError, Cancelled
from worker import fetch
from worker.claim import Claim, LostJobError, claim, requeue

pytestmark = on_sqlite


def asked_for(database: Database, folder: Path) -> tuple[uuid.UUID, Claim]:
    with database.session_scope() as session:
        model = add_base_model(session, str(folder), now=NOW, name="tiny")
        job = session.scalars(select(Job).where(Job.kind == JobKind.FETCH_BASE_MODEL)).one()
    taken = claim(job.id, worker="here")
    assert taken is not None
    return model.id, taken


def model_of(database: Database, model_id: uuid.UUID) -> BaseModel:
    with database.session_scope(write=False) as session:
        return session.get_one(BaseModel, model_id)


def test_a_base_model_is_known_by_its_hashes_and_can_answer(database: Database, tiny: Tiny) -> None:
    model_id, taken = asked_for(database, tiny.base)
    fetch.run(taken, lambda: False)
    model = model_of(database, model_id)
    assert (model.state, model.error, model.folder) == (BaseModelState.READY, "", str(tiny.base))
    hashes = hash_base(tiny.base)
    assert (model.weights_hash, model.tokenizer_hash) == (hashes.weights, hashes.tokenizer)
    assert model.parameters > 10_000
    with database.session_scope(write=False) as session:
        bare = session.scalars(select(Checkpoint)).one()
    assert (bare.name, bare.kind, bare.base_model_id) == ("tiny", CheckpointKind.BASE, model_id)


def test_a_folder_without_a_model_fails_with_its_reason(database: Database, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    model_id, taken = asked_for(database, empty)
    with pytest.raises(BaseModelError) as failure:
        fetch.run(taken, lambda: False)
    model = model_of(database, model_id)
    assert (model.state, model.error) == (BaseModelState.FAILED, failure.value.message)
    assert str(empty) in model.error


def test_a_cancelled_fetch_leaves_the_base_model_waiting(database: Database, tiny: Tiny) -> None:
    model_id, taken = asked_for(database, tiny.base)
    with pytest.raises(Cancelled):
        fetch.run(taken, lambda: True)
    assert (model_of(database, model_id).state, model_of(database, model_id).error) == (BaseModelState.WAITING, "")


def test_an_attempt_that_lost_its_job_spoils_nothing(database: Database, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    model_id, taken = asked_for(database, empty)
    with database.session_scope() as session:
        requeue(session, session.get_one(Job, taken.job_id), reason="silence", now=NOW)
    assert claim(taken.job_id, worker="another") is not None
    with pytest.raises(LostJobError):
        fetch.run(taken, lambda: False)
    assert model_of(database, model_id).state is BaseModelState.WAITING


def test_fetching_again_after_a_failure_is_a_new_job(database: Database, tmp_path: Path, tiny: Tiny) -> None:
    place = tmp_path / "place"
    place.mkdir()
    model_id, taken = asked_for(database, place)
    with pytest.raises(BaseModelError) as failure:
        fetch.run(taken, lambda: False)
    with database.session_scope() as session:
        jobs.finish(
            session, session.get_one(Job, taken.job_id), jobs.JobState.FAILED, now=NOW, error=str(failure.value)
        )
    place.rmdir()
    place.symlink_to(tiny.base)
    with database.session_scope() as session:
        jobs.retry(session, taken.job_id, now=NOW)
    again = claim(taken.job_id, worker="here")
    assert again is not None
    fetch.run(again, lambda: False)
    assert (model_of(database, model_id).state, model_of(database, model_id).error) == (BaseModelState.READY, "")
