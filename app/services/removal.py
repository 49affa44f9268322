"""Deleting checkpoints, one by one or all but the best of a run, and uploads; never what a result depends on.

The row goes in the transaction, the folder after its commit: a rollback must not cost any weights.
"""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import delete, event, select, update
from sqlalchemy.orm import Session

from app.domain.errors import ConflictError
from app.domain.terms import CheckpointKind, JobState, Keep
from app.models import BatchCheckpoint, Checkpoint, EvalBatch, Intake, Job, Package, Perplexity, Response, Run
from app.services.events import announce

_FOLDERS = "arena_removed_folders"
_UPLOAD_PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Kept:
    """A checkpoint that stays, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Cleaning:
    """What a clean-up removes (or would), what stays, and how many bytes that frees."""

    removed: tuple[str, ...]
    kept: tuple[Kept, ...]
    freed_bytes: int


def why_not(session: Session, checkpoint: Checkpoint) -> str:
    """Why a checkpoint cannot be deleted, as the end of a sentence; empty where it can."""
    if checkpoint.kind is CheckpointKind.BASE:
        return "it is a bare base model, which adapters are compared with"
    if checkpoint.kind is not CheckpointKind.ADAPTER:
        return "of it only responses are here, and they belong to an eval batch"
    batches = session.scalars(
        select(EvalBatch.name)
        .join(BatchCheckpoint, BatchCheckpoint.eval_batch_id == EvalBatch.id)
        .where(BatchCheckpoint.checkpoint_id == checkpoint.id)
        .order_by(EvalBatch.created_at)
    ).all()
    if batches:
        which = "the eval batch" if len(batches) == 1 else f"{len(batches)} eval batches:"
        return f"it takes part in {which} {', '.join(batches)}"
    if session.scalar(select(Response.id).where(Response.checkpoint_id == checkpoint.id).limit(1)) is not None:
        return "responses that it wrote are kept here"
    return ""


def delete_checkpoint(session: Session, checkpoint: Checkpoint, *, artifacts: Path, now: datetime) -> None:
    """Forget a checkpoint; its folder goes after the commit, if it lies among the arena's own.

    Raises:
        ConflictError: a result depends on it, or its run is still training; says which.
    """
    reason = why_not(session, checkpoint) or _still_trained(session, checkpoint)
    if reason:
        raise ConflictError(f"{checkpoint.name} was not deleted: {reason}.")
    _remove(session, checkpoint, artifacts=artifacts)
    announce(session, "jobs", checkpoint.id, now=now)


def clean_run(
    session: Session, run: Run, *, artifacts: Path, now: datetime, keep: Keep = Keep.BEST, dry_run: bool = False
) -> Cleaning:
    """Delete the checkpoints of a run but those to keep and those that a result depends on.

    Raises:
        ConflictError: it is still training.
    """
    if _unfinished(session, run):
        raise ConflictError(f"Nothing was deleted: {run.name} is still training. Clean up when it has ended.")
    return keep_only(session, run, artifacts=artifacts, now=now, keep=keep, dry_run=dry_run)


def keep_only(
    session: Session, run: Run, *, artifacts: Path, now: datetime, keep: Keep, dry_run: bool = False
) -> Cleaning:
    """The same for a run that is known to have saved its last checkpoint, as its own job does when it is done."""
    checkpoints = session.scalars(select(Checkpoint).where(Checkpoint.run_id == run.id).order_by(Checkpoint.step)).all()
    spared = _spared(checkpoints, keep)
    kept: list[Kept] = []
    removed: list[str] = []
    freed = 0
    for checkpoint in checkpoints:
        reason = why_not(session, checkpoint)
        if checkpoint is spared:
            kept.append(Kept(checkpoint.name, _praise(checkpoint, keep)))
        elif reason:
            kept.append(Kept(checkpoint.name, reason))
        else:
            removed.append(checkpoint.name)
            freed += checkpoint.size_bytes
            if not dry_run:
                _remove(session, checkpoint, artifacts=artifacts)
    if removed and not dry_run:
        announce(session, "run", run.id, now=now)
    return Cleaning(tuple(removed), tuple(kept), freed)


def forget_upload(session: Session, intake: Intake, *, artifacts: Path) -> None:
    """Remove an upload and what is left of its files; the checkpoint that it became stays.

    Raises:
        ConflictError: it is being checked, or waits for it.
    """
    job = session.get(Job, intake.job_id) if intake.job_id else None
    if job is not None and job.state in (JobState.QUEUED, JobState.RUNNING):
        raise ConflictError(f"{intake.name} is still being checked. Nothing was removed; cancel its job first.")
    _remove_later(session, Path(intake.folder), artifacts)
    session.delete(intake)
    session.flush()


def clear_broken_uploads(session: Session, *, artifacts: Path, now: datetime) -> int:
    """Remove what was left of uploads whose receiver was killed: folders without a row, not written to for a day.

    Returns:
        How many there were; they go after the commit.
    """
    stale = (now - _UPLOAD_PATIENCE).timestamp()
    found = [folder for folder in (artifacts / "uploads").glob("*") if _last_written(folder) < stale]
    if not found:
        return 0
    known = {Path(folder).name for folder in session.scalars(select(Intake.folder))}
    left = [folder for folder in found if folder.name not in known]
    for folder in left:
        _remove_later(session, folder, artifacts)
    return len(left)


def _last_written(folder: Path) -> float:
    try:
        return max(entry.lstat().st_mtime for entry in (folder, *folder.glob("*")))
    except FileNotFoundError:  # another worker was faster
        return math.inf


def delete_package(session: Session, package: Package, *, artifacts: Path, now: datetime) -> None:
    """Forget a package and its folder; the checkpoint stays.

    Raises:
        ConflictError: it is being made.
    """
    job = session.get(Job, package.job_id) if package.job_id else None
    if job is not None and job.state in (JobState.QUEUED, JobState.RUNNING):
        raise ConflictError("This package is still being made. Nothing was deleted; cancel its job first.")
    _remove_package(session, package, artifacts)
    announce(session, "jobs", package.id, now=now)
    session.flush()


def _remove_package(session: Session, package: Package, artifacts: Path) -> None:
    if package.folder:
        _remove_later(session, Path(package.folder), artifacts)
    session.delete(package)


def _spared(checkpoints: Sequence[Checkpoint], keep: Keep) -> Checkpoint | None:
    """The last, or the one with the lowest validation loss: the later of two that are equal."""
    measured = [
        (one.validation_loss, -(one.step or 0), index)
        for index, one in enumerate(checkpoints)
        if one.validation_loss is not None
    ]
    if measured and keep is Keep.BEST:
        return checkpoints[min(measured)[2]]
    return checkpoints[-1] if checkpoints else None


def _praise(checkpoint: Checkpoint, keep: Keep) -> str:
    if keep is Keep.LAST:
        return "it is the last"
    if checkpoint.validation_loss is None:
        return "it is the last, and no validation loss was measured"
    return f"its validation loss is the lowest, {checkpoint.validation_loss:.4f} nats per token"


def _still_trained(session: Session, checkpoint: Checkpoint) -> str:
    run = session.get(Run, checkpoint.run_id) if checkpoint.run_id else None
    return f"{run.name} is still training and may go on from it" if run and _unfinished(session, run) else ""


def _unfinished(session: Session, run: Run) -> bool:
    job = session.get(Job, run.job_id) if run.job_id else None
    return job is not None and job.state in (JobState.QUEUED, JobState.RUNNING)


def _remove(session: Session, checkpoint: Checkpoint, *, artifacts: Path) -> None:
    _forget_perplexities(session, checkpoint)
    forget = update(Intake).where(Intake.checkpoint_id == checkpoint.id).values(checkpoint_id=None)
    session.execute(forget)
    for package in session.scalars(select(Package).where(Package.checkpoint_id == checkpoint.id)):
        _remove_package(session, package, artifacts)
    session.flush()
    shared = select(Checkpoint.id).where(Checkpoint.folder == checkpoint.folder, Checkpoint.id != checkpoint.id)
    if checkpoint.folder and session.scalar(shared.limit(1)) is None:
        _remove_later(session, Path(checkpoint.folder), artifacts)
    session.delete(checkpoint)
    session.flush()


def _forget_perplexities(session: Session, checkpoint: Checkpoint) -> None:
    """What was measured of it, unless another checkpoint here has the same content: then that is whose it is."""
    twin = session.scalar(
        select(Checkpoint.id)
        .where(Checkpoint.fingerprint == checkpoint.fingerprint, Checkpoint.base_model_id == checkpoint.base_model_id)
        .where(Checkpoint.id != checkpoint.id)
        .limit(1)
    )
    mine = Perplexity.checkpoint_id == checkpoint.id
    if twin is None:
        session.execute(delete(Perplexity).where(mine))
    else:
        session.execute(update(Perplexity).where(mine).values(checkpoint_id=twin))


def _remove_later(session: Session, folder: Path, artifacts: Path) -> None:
    """After the commit, and only what lies among the arena's own files."""
    if folder.parent.resolve().is_relative_to(artifacts.resolve()):
        session.info.setdefault(_FOLDERS, []).append(folder)


@event.listens_for(Session, "after_commit")
def _remove_after_commit(session: Session) -> None:
    folders: list[Path] = session.info.pop(_FOLDERS, [])
    for folder in folders:
        if folder.is_symlink():  # what it points to is not ours to delete
            folder.unlink()
        else:
            shutil.rmtree(folder, ignore_errors=True)


@event.listens_for(Session, "after_soft_rollback")
def _keep_after_rollback(session: Session, _previous: Any) -> None:
    session.info.pop(_FOLDERS, None)
