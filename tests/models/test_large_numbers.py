"""Figures of large models and long downloads: everything counted in bytes or parameters passes 2**31."""

from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy.orm import Session

from app.domain.terms import BaseModelSource, BaseModelState, JobKind, JobState, Queue
from app.models import BaseModel, Job

NOW = datetime(2026, 1, 31, tzinfo=UTC)
LARGE = 70 * 10**9


def test_a_large_model_and_its_download_are_stored_to_the_last_digit(session: Session) -> None:
    model = BaseModel(
        name="large",
        source=BaseModelSource.HUB,
        state=BaseModelState.READY,
        parameters=LARGE + 1,
        created_at=NOW,
        ready_at=NOW,
    )
    job = Job(
        kind=JobKind.FETCH_BASE_MODEL,
        queue=Queue.IO,
        subject_id=uuid4(),
        title="Get it",
        state=JobState.RUNNING,
        done=LARGE + 2,
        total=LARGE + 3,
        created_at=NOW,
    )
    session.add_all([model, job])
    session.flush()
    session.expire_all()
    assert (model.parameters, job.done, job.total) == (LARGE + 1, LARGE + 2, LARGE + 3)
