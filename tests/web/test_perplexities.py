"""Perplexity on the pages of a checkpoint and of a dataset."""

import re
import uuid
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.domain.terms import CheckpointKind, JobKind, JobState
from app.models import Checkpoint, Dataset, Job
from app.queries.lookup import find_dataset
from app.services import perplexities
from app.services.datasets import import_dataset
from app.services.perplexities import Measured, MeasuredRow
from tests.factories import NOW, Study, finish_job, write_rows
from tests.fixtures import on_sqlite

ROWS = 12
FORM = {"dataset": "poems@1", "split": "validation"}


@pytest.fixture
def dataset(app: FastAPI, study: Study, tmp_path: Path) -> Dataset:
    rows = [{"prompt": f"q {number}", "completion": f"a {number}"} for number in range(ROWS)]
    train, validation = (write_rows(tmp_path / f"poems.{cut}.jsonl", rows[cut:]) for cut in (0, 1))
    with app.state.database.session_scope() as session:
        import_dataset(
            session, train, validation_path=validation, artifacts=tmp_path / "artifacts", now=NOW, name="poems"
        )
        return find_dataset(session, "poems")


@pytest.fixture
def page(study: Study) -> str:
    return f"/checkpoints/{study.adapters[0].id}"


def newest_job(app: FastAPI) -> Job:
    with app.state.database.session_scope(write=False) as session:
        return session.scalars(select(Job).where(Job.kind == JobKind.PERPLEXITY)).one()


def measure(app: FastAPI, factor: float) -> None:
    """As a worker would: the adapter's loss is so many times its base's."""
    with app.state.database.session_scope() as session:
        job = session.get_one(Job, newest_job(app).id)
        for row in perplexities.to_measure(session, job.id):
            of = 1.0 if row.fingerprint == row.base_fingerprint else factor
            losses = [MeasuredRow(line, 5 + line, (5 + line) * (2 + line / 9) * of) for line in range(ROWS)]
            perplexities.store(session, row.id, Measured(losses, 3, "cpu", "float32"), now=NOW)
        finish_job(session, job)


def plain(text: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", text).replace("\N{NARROW NO-BREAK SPACE}", "").split())


def test_it_is_asked_for_on_the_page_of_a_checkpoint(
    app: FastAPI, admin: TestClient, dataset: Dataset, page: str
) -> None:
    assert "Not measured on any file yet" in admin.get(page).text
    answer = admin.post(f"{page}/perplexity", data=FORM)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{page}#perplexity")
    assert newest_job(app).state is JobState.QUEUED
    assert "poems v1" in admin.get(f"{page}/perplexity").text
    assert admin.post(f"{page}/perplexity", data=FORM).status_code == 303
    assert newest_job(app).title == "Perplexity of 2 checkpoints on the validation file of poems v1"


@pytest.mark.parametrize(
    ("factor", "words"), [(0.8, "Lower than its base"), (1.2, "Higher than its base"), (1.0, "Not told apart")]
)
def test_both_pages_show_it_beside_the_base(
    app: FastAPI, admin: TestClient, dataset: Dataset, study: Study, page: str, factor: float, words: str
) -> None:
    admin.post(f"{page}/perplexity", data=FORM)
    measure(app, factor)
    own, by_dataset = plain(admin.get(page).text), plain(admin.get(f"/datasets/{dataset.id}").text)
    for told in (own, by_dataset):
        assert words in told
        assert "12 rows, 3 longer than 2048 tokens left out · cpu, float32" in told
    assert study.adapters[0].name in by_dataset
    assert "tiny" in by_dataset
    assert "Not measured" not in own


@on_sqlite
def test_a_job_that_failed_says_why(app: FastAPI, admin: TestClient, dataset: Dataset, page: str) -> None:
    admin.post(f"{page}/perplexity", data=FORM)
    with app.state.database.session_scope() as session:
        job = session.get_one(Job, newest_job(app).id)
        finish_job(session, job, JobState.FAILED)
        job.error = "The frozen file is gone."
    assert "The frozen file is gone." in admin.get(page).text


@on_sqlite
def test_what_cannot_be_measured_is_refused(
    app: FastAPI, admin: TestClient, dataset: Dataset, study: Study, page: str
) -> None:
    assert admin.post(f"{page}/perplexity", data=FORM | {"dataset": "absent"}).status_code == 404
    assert admin.post(f"{page}/perplexity", data=FORM | {"split": "both"}).status_code == 422
    assert admin.post(f"/checkpoints/{uuid.uuid4()}/perplexity", data=FORM).status_code == 404
    with app.state.database.session_scope() as session:
        session.get_one(Checkpoint, study.adapters[0].id).kind = CheckpointKind.EXTERNAL
    assert admin.post(f"{page}/perplexity", data=FORM).status_code == 422
    assert "checkpoints-perplexity" not in admin.get(page).text
