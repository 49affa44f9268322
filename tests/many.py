"""Rows by the thousand, for lists: written straight into the tables, since nobody trains a thousand runs in a test.

They take turns in being done, failed, on their way; the first of each kind is the newest.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import uuid4, uuid5

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.terms import (
    BallotState,
    BaseModelSource,
    BaseModelState,
    BatchState,
    CheckpointKind,
    Design,
    JobKind,
    JobState,
    Order,
    Queue,
    Reveal,
    Role,
    RunKind,
    VoterKind,
)
from app.models import (
    Account,
    Ballot,
    BaseModel,
    BatchCheckpoint,
    Checkpoint,
    Dataset,
    EvalBatch,
    Job,
    Pair,
    Run,
    Seat,
    Suite,
    Voter,
)
from tests.factories import NOW, Study

STATES = (JobState.DONE, JobState.DONE, JobState.FAILED, JobState.RUNNING, JobState.QUEUED, JobState.CANCELLED)
ERROR = "The loss became infinite at step 15. No checkpoint was saved. Train again with a lower learning_rate."

T = TypeVar("T")


def turn(of: Sequence[T], n: int) -> T:
    return of[n % len(of)]


def when(n: int) -> datetime:
    return NOW - timedelta(minutes=7 * n)


def models(session: Session, _: Study, count: int) -> None:
    session.add_all(
        BaseModel(name=f"row-{n:04}", source=BaseModelSource.LOCAL, location=f"models/row-{n:04}", created_at=when(n),
                  state=turn((BaseModelState.READY, BaseModelState.FAILED), n), parameters=134_515_008,
                  error=turn(("", "There is no config.json in this folder. Name a folder that holds a model."), n))
        for n in range(count)
    )  # fmt: skip


def datasets(session: Session, _: Study, count: int) -> None:
    session.add_all(
        Dataset(name=f"row-{n:04}", version=1, path="", sha256=f"{n}", rows=n, validation_path="",
                validation_sha256="", validation_rows=1, source="", created_at=when(n))
        for n in range(count)
    )  # fmt: skip


def suites(session: Session, _: Study, count: int) -> None:
    session.add_all(
        Suite(name=f"row-{n:04}", version=1, title=f"row-{n:04}", description=turn(("", "What nobody asked yet."), n),
              sha256="", source="", created_at=when(n))
        for n in range(count)
    )  # fmt: skip


def runs(session: Session, study: Study, count: int) -> None:
    run = session.get_one(Run, study.adapters[0].run_id)
    made = [_job(study, n, f"Train row-{n:04}", JobKind.TRAIN) for n in range(count)]
    session.add_all(made)
    session.flush()
    session.add_all(
        Run(name=f"row-{n:04}", kind=RunKind.SFT, recipe_name="brie-v2", recipe={}, dataset_id=run.dataset_id,
            base_model_id=run.base_model_id, job_id=job.id, created_at=when(n))
        for n, job in enumerate(made)
    )  # fmt: skip


def checkpoints(session: Session, study: Study, count: int) -> None:
    session.add_all(
        Checkpoint(name=f"row-{n:04}", kind=CheckpointKind.ADAPTER, base_model_id=study.base.id, fingerprint=f"{n}",
                   is_last=n % 3 == 0, validation_loss=2.4 + n / 1000, created_at=when(n))
        for n in range(count)
    )  # fmt: skip


def batches(session: Session, study: Study, count: int) -> None:
    made = [
        EvalBatch(name=f"row-{n:04}", suite_id=study.suite.id, design=Design.STAR, baseline_id=study.batch.baseline_id,
                  sampling={}, seed=1, replicates=1, votes_per_pair=1, allow_repeats=False, exclusion={},
                  reveal=Reveal.NEVER, state=turn((BatchState.OPEN, BatchState.CLOSED), n), planned_pairs=57,
                  planned_responses=114, created_at=when(n), closed_at=None)
        for n in range(count)
    ]  # fmt: skip
    session.add_all(made)
    session.flush()
    session.add_all(
        BatchCheckpoint(eval_batch_id=batch.id, checkpoint_id=member, position=position, fingerprint="")
        for batch in made
        for position, member in enumerate((batch.baseline_id, study.adapters[0].id))
    )


def jobs(session: Session, study: Study, count: int) -> None:
    session.add_all(_job(study, n, f"row-{n:04}", JobKind.GENERATE) for n in range(count))


def _job(study: Study, n: int, title: str, kind: JobKind) -> Job:
    state = turn(STATES, n)
    return Job(
        kind=kind, queue=Queue.GPU, subject_id=uuid5(study.base.id, title), title=title, state=state, done=n % 114,
        total=114, error=ERROR if state is JobState.FAILED else "", attempt=1, created_at=when(n), started_at=when(n),
        finished_at=when(n) if state not in (JobState.RUNNING, JobState.QUEUED) else None,
    )  # fmt: skip


def accounts(session: Session, _: Study, count: int) -> list[Account]:
    """People who may sign in, every seventh of them disabled."""
    voters = [Voter(id=uuid4(), kind=VoterKind.RATER, name=f"row-{n:04}", created_at=when(n)) for n in range(count)]
    session.add_all(voters)
    session.flush()
    made = [
        Account(name=voter.name, role=Role.RATER, voter_id=voter.id, created_at=voter.created_at,
                disabled_at=NOW if n % 7 == 3 else None)
        for n, voter in enumerate(voters)
    ]  # fmt: skip
    session.add_all(made)
    session.flush()
    return made


def seats(session: Session, study: Study, count: int) -> None:
    """Raters of the study's eval batch: some have votes, some a seat that was taken back."""
    pair = session.scalars(select(Pair).where(Pair.eval_batch_id == study.batch.id).limit(1)).one()
    for n, account in enumerate(accounts(session, study, count)):
        session.add(
            Seat(eval_batch_id=study.batch.id, voter_id=account.voter_id, invite_id=None, title="Two texts",
                 joined_at=when(n), revoked_at=NOW if n % 11 == 5 else None)
        )  # fmt: skip
        session.add_all(
            Ballot(pair_id=pair.id, eval_batch_id=study.batch.id, voter_id=account.voter_id, number=showing,
                   voter_kind=VoterKind.RATER, slot=n * 10 + showing, order=Order.FIRST_IS_A, showing=showing,
                   state=BallotState.SKIPPED if showing % 3 == 2 else BallotState.VOTED, issued_at=when(n),
                   expires_at=when(n), closed_at=when(n), seal="")
            for showing in range(n % 5)
        )  # fmt: skip
    session.flush()


LISTS: dict[str, Callable[[Session, Study, int], None]] = {
    one.__name__: one for one in (models, datasets, suites, runs, checkpoints, batches, jobs)
}
