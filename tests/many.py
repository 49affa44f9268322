"""Rows by the thousand, for lists: written straight into the tables, since nobody trains a thousand runs in a test."""

from collections.abc import Callable

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


def models(session: Session, _: Study, count: int) -> None:
    session.add_all(
        BaseModel(name=f"row-{n:04}", source=BaseModelSource.LOCAL, state=BaseModelState.FAILED, created_at=NOW)
        for n in range(count)
    )


def datasets(session: Session, _: Study, count: int) -> None:
    session.add_all(
        Dataset(name=f"row-{n:04}", version=1, path="", sha256=f"{n}", rows=1, validation_path="",
                validation_sha256="", validation_rows=1, source="", created_at=NOW)
        for n in range(count)
    )  # fmt: skip


def suites(session: Session, _: Study, count: int) -> None:
    session.add_all(
        Suite(name=f"row-{n:04}", version=1, title=f"row-{n:04}", description="", sha256="", source="", created_at=NOW)
        for n in range(count)
    )


def runs(session: Session, study: Study, count: int) -> None:
    run = session.get_one(Run, study.adapters[0].run_id)
    session.add_all(
        Run(name=f"row-{n:04}", kind=RunKind.SFT, recipe_name="r", recipe={}, dataset_id=run.dataset_id,
            base_model_id=run.base_model_id, created_at=NOW)
        for n in range(count)
    )  # fmt: skip


def checkpoints(session: Session, study: Study, count: int) -> None:
    session.add_all(
        Checkpoint(name=f"row-{n:04}", kind=CheckpointKind.ADAPTER, base_model_id=study.base.id, fingerprint=f"{n}",
                   created_at=NOW)
        for n in range(count)
    )  # fmt: skip


def batches(session: Session, study: Study, count: int) -> None:
    made = [
        EvalBatch(name=f"row-{n:04}", suite_id=study.suite.id, design=Design.STAR, baseline_id=study.batch.baseline_id,
                  sampling={}, seed=1, replicates=1, votes_per_pair=1, allow_repeats=False, exclusion={},
                  reveal=Reveal.NEVER, state=BatchState.OPEN, planned_pairs=1, planned_responses=2, created_at=NOW,
                  closed_at=None)
        for n in range(count)
    ]  # fmt: skip
    session.add_all(made)
    session.flush()

    session.add_all(
        BatchCheckpoint(eval_batch_id=batch.id, checkpoint_id=batch.baseline_id, position=0, fingerprint="")
        for batch in made
    )


def jobs(session: Session, study: Study, count: int) -> None:
    session.add_all(
        Job(kind=JobKind.TRAIN, queue=Queue.GPU, subject_id=study.base.id, title=f"row-{n:04}", state=JobState.DONE,
            created_at=NOW)
        for n in range(count)
    )  # fmt: skip


LISTS: dict[str, Callable[[Session, Study, int], None]] = {
    one.__name__: one for one in (models, datasets, suites, runs, checkpoints, batches, jobs)
}
