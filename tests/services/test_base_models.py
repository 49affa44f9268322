from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError, ConflictError
from app.domain.terms import BaseModelSource, BaseModelState, CheckpointKind, JobKind, JobState
from app.models import BaseModel, Checkpoint, Job
from app.services.base_models import Fetched, add_base_model, fetch_base_model, mark_failed, mark_ready
from tests.factories import NOW, finish_job, make_base, sha256
from tests.fixtures import on_sqlite

FETCHED = Fetched("smollm2-135m", "/weights", "main", sha256("w"), sha256("t"), sha256("c"), 135_000_000)


def jobs_for(session: Session, model: BaseModel) -> list[Job]:
    query = select(Job).where(Job.subject_id == model.id, Job.kind == JobKind.FETCH_BASE_MODEL)
    return list(session.scalars(query.order_by(Job.created_at)))


def test_a_base_model_waits_for_its_job_and_is_then_a_checkpoint(session: Session) -> None:
    model = add_base_model(session, "smollm2-135m", now=NOW)
    assert (model.state, model.source, model.location) == (BaseModelState.WAITING, BaseModelSource.BUILT_IN, "")
    assert [job.state for job in jobs_for(session, model)] == [JobState.QUEUED]
    mark_ready(session, model, FETCHED, now=NOW)
    assert (model.state, model.weights_hash, model.ready_at) == (BaseModelState.READY, FETCHED.weights_hash, NOW)
    base = session.scalars(select(Checkpoint)).one()
    assert (base.kind, base.name, base.base_model_id) == (CheckpointKind.BASE, "smollm2-135m", model.id)


def test_asking_twice_asks_once(session: Session) -> None:
    first, second = (add_base_model(session, "smollm2-135m", now=NOW) for _ in range(2))
    assert first is second
    assert len(jobs_for(session, first)) == 1


@on_sqlite
def test_ready_twice_is_one_checkpoint_whose_fingerprint_stays(session: Session) -> None:
    model = add_base_model(session, "smollm2-135m", now=NOW)
    mark_ready(session, model, FETCHED, now=NOW)
    before = session.scalars(select(Checkpoint.fingerprint)).one()
    mark_ready(session, model, FETCHED, now=NOW)
    assert session.scalars(select(Checkpoint.fingerprint)).one() == before


@on_sqlite
def test_a_ready_model_is_returned_and_a_failed_one_is_tried_again(session: Session, tmp_path: Path) -> None:
    ready = make_base(session, tmp_path)
    assert add_base_model(session, ready.location, name="tiny", now=NOW) is ready
    assert ready.state is BaseModelState.READY
    mark_failed(ready, "The disk is full.")
    assert add_base_model(session, ready.location, name="tiny", now=NOW) is ready
    assert (ready.state, ready.error) == (BaseModelState.WAITING, "")
    assert [job.state for job in jobs_for(session, ready)].count(JobState.QUEUED) == 1


@on_sqlite
def test_a_ready_model_whose_folder_is_gone_is_brought_again(session: Session, tmp_path: Path) -> None:
    ready = make_base(session, tmp_path)
    ready.folder = str(tmp_path / "gone")
    add_base_model(session, ready.location, name="tiny", now=NOW)
    assert ready.state is BaseModelState.WAITING


@on_sqlite
def test_other_weights_in_the_same_folder_are_refused(session: Session) -> None:
    model = add_base_model(session, "smollm2-135m", now=NOW)
    mark_ready(session, model, FETCHED, now=NOW)
    with pytest.raises(ConflictError, match="Add it under a new name"):
        mark_ready(session, model, replace(FETCHED, weights_hash=sha256("changed")), now=NOW)


@on_sqlite
def test_either_name_of_the_built_in_model_is_the_same_model(session: Session) -> None:
    model = add_base_model(session, "smollm2-135m", now=NOW)
    mark_ready(session, model, replace(FETCHED, name="smollm2-135m-q4", folder="."), now=NOW)
    assert add_base_model(session, "smollm2-135m", now=NOW) is model
    assert session.scalars(select(Checkpoint.name)).one() == "smollm2-135m-q4"


@on_sqlite
@pytest.mark.parametrize(
    ("wanted", "source", "name"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", BaseModelSource.HUB, "qwen--qwen2.5-0.5b-instruct"),
        ("smollm2-135m", BaseModelSource.BUILT_IN, "smollm2-135m"),
        ("{folder}/My-Base", BaseModelSource.LOCAL, "my-base"),
    ],
)
def test_where_a_base_model_comes_from(
    session: Session, tmp_path: Path, wanted: str, source: BaseModelSource, name: str
) -> None:
    (tmp_path / "My-Base").mkdir()
    model = add_base_model(session, wanted.format(folder=tmp_path), now=NOW)
    assert (model.source, model.name) == (source, name)


@on_sqlite
@pytest.mark.parametrize(
    "wanted", ["", "nothing", "a/b/c", "/no/such/folder", "./absent", "owner/", "~nobody-here/x", "x" * 999]
)
def test_what_is_none_of_the_three_is_refused(session: Session, wanted: str) -> None:
    with pytest.raises(BadInputError):
        add_base_model(session, wanted, now=NOW)
    assert session.scalar(select(func.count(BaseModel.id))) == 0


@on_sqlite
def test_a_name_stands_for_one_location(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    with pytest.raises(ConflictError, match="give --name"):
        add_base_model(session, "owner/other", name="tiny", now=NOW)


@on_sqlite
def test_a_finished_fetch_makes_room_for_another(session: Session, tmp_path: Path) -> None:
    model = add_base_model(session, "smollm2-135m", now=NOW)
    first = fetch_base_model(session, model, now=NOW)
    finish_job(session, first, JobState.FAILED)
    assert fetch_base_model(session, model, now=NOW) is not first
