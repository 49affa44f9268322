import re
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.domain.terms import (
    BaseModelSource,
    BaseModelState,
    BatchState,
    CheckpointKind,
    Design,
    JobKind,
    JobState,
    Queue,
    Reveal,
    RunKind,
)
from app.models import BaseModel, BatchCheckpoint, Checkpoint, Dataset, EvalBatch, Job, Run, Suite
from tests.factories import NOW, Study
from tests.fixtures import on_sqlite

MANY = 1000


def models(session: Session, _: Study) -> None:
    session.add_all(
        BaseModel(name=f"row-{n:04}", source=BaseModelSource.LOCAL, state=BaseModelState.FAILED, created_at=NOW)
        for n in range(MANY)
    )


def datasets(session: Session, _: Study) -> None:
    session.add_all(
        Dataset(name=f"row-{n:04}", version=1, path="", sha256=f"{n}", rows=1, validation_path="",
                validation_sha256="", validation_rows=1, source="", created_at=NOW)
        for n in range(MANY)
    )  # fmt: skip


def suites(session: Session, _: Study) -> None:
    session.add_all(
        Suite(name=f"row-{n:04}", version=1, title=f"row-{n:04}", description="", sha256="", source="", created_at=NOW)
        for n in range(MANY)
    )


def runs(session: Session, study: Study) -> None:
    run = session.get_one(Run, study.adapters[0].run_id)
    session.add_all(
        Run(name=f"row-{n:04}", kind=RunKind.SFT, recipe_name="r", recipe={}, dataset_id=run.dataset_id,
            base_model_id=run.base_model_id, created_at=NOW)
        for n in range(MANY)
    )  # fmt: skip


def checkpoints(session: Session, study: Study) -> None:
    session.add_all(
        Checkpoint(name=f"row-{n:04}", kind=CheckpointKind.ADAPTER, base_model_id=study.base.id, fingerprint=f"{n}",
                   created_at=NOW)
        for n in range(MANY)
    )  # fmt: skip


def batches(session: Session, study: Study) -> None:
    made = [
        EvalBatch(name=f"row-{n:04}", suite_id=study.suite.id, design=Design.STAR, baseline_id=study.batch.baseline_id,
                  sampling={}, seed=1, replicates=1, votes_per_pair=1, allow_repeats=False, exclusion={},
                  reveal=Reveal.NEVER, state=BatchState.OPEN, planned_pairs=1, planned_responses=2, created_at=NOW,
                  closed_at=None)
        for n in range(MANY)
    ]  # fmt: skip
    session.add_all(made)
    session.flush()

    session.add_all(
        BatchCheckpoint(eval_batch_id=batch.id, checkpoint_id=batch.baseline_id, position=0, fingerprint="")
        for batch in made
    )


def jobs(session: Session, study: Study) -> None:
    session.add_all(
        Job(kind=JobKind.TRAIN, queue=Queue.GPU, subject_id=study.base.id, title=f"row-{n:04}", state=JobState.DONE,
            created_at=NOW)
        for n in range(MANY)
    )  # fmt: skip


LISTS: dict[str, Callable[[Session, Study], None]] = {
    one.__name__: one for one in (models, datasets, suites, runs, checkpoints, batches, jobs)
}


def shown(page: str) -> list[str]:
    return sorted(set(re.findall(r">\s*(?:<[^>]+>)?\s*(row-\d{4})(?: v1)?\s*<", page)))


@pytest.mark.parametrize("name", LISTS)
def test_a_thousand_rows_are_read_page_by_page_and_found_by_name(
    app: FastAPI, admin: TestClient, study: Study, name: str
) -> None:
    before = admin.get(f"/{name}").text
    assert 'role="search"' not in before
    assert "page 1 of" not in before
    with app.state.database.session_scope() as session:
        LISTS[name](session, study)
    first = admin.get(f"/{name}").text
    assert 1 <= len(shown(first)) <= 50
    assert "page 1 of 21" in first
    seen = [row for page in range(1, 22) for row in shown(admin.get(f"/{name}?page={page}").text)]
    assert len(seen) == len(set(seen)) == MANY
    found = admin.get(f"/{name}?q=ROW-07").text
    assert "1\N{EN DASH}50 of 100" in found
    assert "q=ROW-07&amp;page=2" in found
    assert shown(admin.get(f"/{name}?q=row-0421").text) == ["row-0421"]
    nothing = admin.get(f"/{name}?q=nothing like that")
    assert (nothing.status_code, "is called like that" in nothing.text) == (200, True)


@on_sqlite
@pytest.mark.parametrize(
    ("name", "fragment"), [("runs", "list"), ("batches", "list"), ("models", "list"), ("jobs", "table")]
)
def test_a_fragment_that_refetches_itself_stays_on_its_page(
    app: FastAPI, admin: TestClient, study: Study, name: str, fragment: str
) -> None:
    with app.state.database.session_scope() as session:
        LISTS[name](session, study)
    page = admin.get(f"/{name}?q=row&page=3").text
    address = f"/{name}/{fragment}?q=row&amp;page=3"
    assert f'hx-get="{address}"' in page
    again = admin.get(address.replace("&amp;", "&")).text
    assert shown(again) == shown(page)
    assert len(shown(again)) == 50


@on_sqlite
def test_home_and_the_launch_form_bear_a_thousand(app: FastAPI, admin: TestClient, study: Study) -> None:
    with app.state.database.session_scope() as session:
        for fill in LISTS.values():
            fill(session, study)
    assert admin.get("/").status_code == 200
    assert admin.get("/batches/launch").status_code == 200
