"""Perplexities: asking for the loss of checkpoints on a file, and storing what was measured. Never twice the same."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, undefer

from app import jobs
from app.domain.errors import BadInputError, ConflictError
from app.domain.perplexity import PairedLoss, paired_loss
from app.domain.terms import CheckpointKind, JobKind, JobState, Split
from app.models import Checkpoint, Dataset, Job, Perplexity
from app.models.perplexity import PERPLEXITY_KEY
from app.queries.lookup import base_of, find_checkpoint
from app.services.events import announce

LONGEST_ROW = 2048
"""Tokens of a row that is still measured, unless another number is asked for."""
_LENGTHS = (8, 1_048_576)
_BASE_WORD = "base"


@dataclass(frozen=True)
class MeasuredRow:
    """The summed loss in nats of one row over its learned tokens."""

    line: int
    tokens: int
    total: float


@dataclass(frozen=True)
class Measured:
    """What a worker found: the rows by line, how many were too long, and what computed it."""

    rows: Sequence[MeasuredRow]
    skipped: int
    device: str
    dtype: str


@dataclass(frozen=True)
class Asked:
    """Measurements that answer a request, the bases among them, and the jobs that make those that are missing."""

    measurements: tuple[uuid.UUID, ...]
    job_ids: tuple[uuid.UUID, ...]


def checkpoints_of(session: Session, names: Sequence[str]) -> list[Checkpoint]:
    """Checkpoints by name; the word ``base`` is the bare base of the others, or the only one there is.

    Raises:
        NotFoundError: there is no such checkpoint.
        BadInputError: ``base`` alone, and there are several or none.
    """
    found = [find_checkpoint(session, name) for name in names if name != _BASE_WORD]
    if found or _BASE_WORD not in names:
        return found
    bases = session.scalars(select(Checkpoint).where(Checkpoint.kind == CheckpointKind.BASE)).all()
    if len(bases) != 1:
        known = ", ".join(base.name for base in bases) or "none yet; get one with `./arena models add smollm2-135m`"
        raise BadInputError(f"There is not one base model alone, so give its name. Known: {known}.")
    return [bases[0]]


def ask(
    session: Session,
    checkpoints: Iterable[Checkpoint],
    dataset: Dataset,
    *,
    split: Split = Split.VALIDATION,
    max_length: int = LONGEST_ROW,
    now: datetime,
) -> Asked:
    """Ask for the perplexity of these checkpoints and of their bases on one file of a dataset.

    What was measured before, on the same weights and the same content of the file, is not measured again; what an
    earlier job was to measure and did not is asked for anew.

    Raises:
        BadInputError: nothing to measure, a checkpoint without weights here, a length out of range, or no such file.
    """
    low, high = _LENGTHS
    if not low <= max_length <= high:
        raise BadInputError(f"Nothing was measured: the longest row has {low} to {high:,} tokens, not {max_length:,}.")
    rows = dataset.rows if split is Split.TRAIN else dataset.validation_rows
    if not rows:
        raise BadInputError(f"Nothing was measured: {dataset.name} v{dataset.version} has no rows to validate on.")
    by_base: dict[uuid.UUID, list[Checkpoint]] = {}
    for checkpoint in checkpoints:
        if checkpoint.kind not in (CheckpointKind.BASE, CheckpointKind.ADAPTER):
            raise BadInputError(
                f"Nothing was measured: of {checkpoint.name} only texts are here, no weights, so it has no perplexity."
            )
        base = base_of(session, checkpoint)
        by_base.setdefault(base.id, [base]).append(checkpoint)
    if not by_base:
        raise BadInputError("Nothing was measured: name at least one checkpoint.")
    measurements: list[uuid.UUID] = []
    job_ids: list[uuid.UUID] = []
    for members in by_base.values():
        wanted = [_row(session, one, members[0], dataset, split, max_length, now) for one in dict.fromkeys(members)]
        wanted = list(dict.fromkeys(wanted))
        measurements += [row.id for row in wanted]
        job_ids += _enqueue(session, wanted, dataset, split, now)
    announce(session, "jobs", dataset.id, now=now)
    return Asked(tuple(measurements), tuple(job_ids))


def _row(
    session: Session,
    checkpoint: Checkpoint,
    base: Checkpoint,
    dataset: Dataset,
    split: Split,
    max_length: int,
    now: datetime,
) -> Perplexity:
    """The measurement of this content on this content, new or not."""
    key: dict[str, Any] = {
        "fingerprint": checkpoint.fingerprint,
        "base_fingerprint": base.fingerprint,
        "file_sha256": dataset.sha256 if split is Split.TRAIN else dataset.validation_sha256,
        "max_length": max_length,
    }
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.execute(
        insert(Perplexity)
        .values(
            id=uuid.uuid4(), checkpoint_id=checkpoint.id, dataset_id=dataset.id, split=split, created_at=now,
            device="", dtype="", **key,
        )
        .on_conflict_do_nothing(index_elements=list(PERPLEXITY_KEY))
    )  # fmt: skip
    return session.scalars(select(Perplexity).filter_by(**key)).one()


def _enqueue(
    session: Session, wanted: Sequence[Perplexity], dataset: Dataset, split: Split, now: datetime
) -> list[uuid.UUID]:
    """One job for all that nobody measured and nobody is measuring; returns the jobs to wait for."""
    missing = [row for row in wanted if row.measured_at is None]
    known = {row.job_id for row in missing if row.job_id is not None}
    unfinished = (JobState.QUEUED, JobState.RUNNING)
    waiting = list(session.scalars(select(Job.id).where(Job.id.in_(known), Job.state.in_(unfinished))))
    asked = [row for row in missing if row.job_id not in waiting]
    if asked:
        where = "validation" if split is Split.VALIDATION else "training"
        many = f"{len(asked)} checkpoints" if len(asked) > 1 else "a checkpoint"
        title = f"Perplexity of {many} on the {where} file of {dataset.name} v{dataset.version}"
        job = jobs.enqueue(session, JobKind.PERPLEXITY, asked[0].id, title=title, now=now)
        for row in asked:
            row.job_id = job.id
        session.flush()
        waiting.append(job.id)
    return list(dict.fromkeys(waiting))


def to_measure(session: Session, job_id: uuid.UUID) -> list[Perplexity]:
    """What this job has still to measure, bases first: adapters are compared with them."""
    rows = session.scalars(
        select(Perplexity)
        .join(Checkpoint, Checkpoint.id == Perplexity.checkpoint_id)
        .where(Perplexity.job_id == job_id, Perplexity.measured_at.is_(None))
        .order_by(Checkpoint.step.is_not(None), Checkpoint.step, Checkpoint.name)
    ).all()
    return sorted(rows, key=lambda row: row.fingerprint != row.base_fingerprint)


def store(session: Session, measurement_id: uuid.UUID, measured: Measured, *, now: datetime) -> None:
    """Keep a measurement, and how far it lies from that of its base. One whose checkpoint is gone is dropped.

    Raises:
        ConflictError: a loss is no finite number; nothing is stored.
    """
    row = session.get(Perplexity, measurement_id)
    if row is None:
        return
    tokens = sum(one.tokens for one in measured.rows)
    mean = sum(one.total for one in measured.rows) / tokens
    if not abs(mean) < float("inf"):
        checkpoint = session.get_one(Checkpoint, row.checkpoint_id)
        raise ConflictError(
            f"The loss of {checkpoint.name} on this file is no finite number, so it has no perplexity. Its weights may "
            "hold values that are too large; look at its effect gate."
        )
    row.mean_loss, row.tokens, row.rows, row.skipped_rows = mean, tokens, len(measured.rows), measured.skipped
    row.row_losses = [[one.line, one.tokens, one.total] for one in measured.rows]
    row.device, row.dtype, row.measured_at = measured.device, measured.dtype, now
    paired = _paired(session, row)
    if paired is not None:
        row.difference, row.difference_low, row.difference_high = paired.difference, paired.low, paired.high
    session.flush()
    announce(session, "jobs", row.checkpoint_id, now=now)


def _paired(session: Session, row: Perplexity) -> PairedLoss | None:
    """Against the base on the same rows; nothing where another kind of arithmetic measured that one."""
    if row.fingerprint == row.base_fingerprint:
        return None
    base = session.scalar(
        select(Perplexity)
        .where(
            Perplexity.fingerprint == row.base_fingerprint,
            Perplexity.base_fingerprint == row.base_fingerprint,
            Perplexity.file_sha256 == row.file_sha256,
            Perplexity.max_length == row.max_length,
            Perplexity.measured_at.is_not(None),
        )
        .options(undefer(Perplexity.row_losses))
    )
    if base is None or (base.device, base.dtype) != (row.device, row.dtype):
        return None
    of_base = {line: total for line, _, total in base.row_losses or ()}
    rows = [(tokens, of_base[line], total) for line, tokens, total in row.row_losses or () if line in of_base]
    return paired_loss(*zip(*rows, strict=True)) if rows else None
