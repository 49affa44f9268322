"""The playground, as its page shows it."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.terms import BaseModelState, CheckpointKind
from app.models import BaseModel, Checkpoint, Job, Trial
from app.queries.jobs import JobView, job_view

_MOST_SHOWN = 60


@dataclass(frozen=True)
class Askable:
    """A checkpoint that can be tried."""

    id: uuid.UUID
    name: str
    bare: bool


@dataclass(frozen=True)
class AskableBase:
    """A base model that is ready, bare and with its adapters, the newest first."""

    name: str
    checkpoints: tuple[Askable, ...]


@dataclass(frozen=True)
class Said:
    """What one checkpoint says so far. ``checkpoint_id`` is empty once it has been deleted."""

    name: str
    checkpoint_id: str
    fingerprint: str
    text: str
    tokens: int
    finish_reason: str


@dataclass(frozen=True)
class TrialView:
    """One trial."""

    id: uuid.UUID
    prompt: str
    sampling: dict[str, Any]
    members: tuple[Said, ...]
    job: JobView | None

    @property
    def unfinished(self) -> bool:
        """Whether more may come."""
        return self.job is not None and self.job.unfinished


def askable(session: Session) -> tuple[AskableBase, ...]:
    """What can be asked, by base model."""
    query = (
        select(Checkpoint, BaseModel.name)
        .join(BaseModel, BaseModel.id == Checkpoint.base_model_id)
        .where(
            BaseModel.state == BaseModelState.READY,
            Checkpoint.kind.in_((CheckpointKind.BASE, CheckpointKind.ADAPTER)),
        )
        .order_by(BaseModel.name, Checkpoint.created_at.desc(), Checkpoint.name)
    )
    groups: dict[str, list[Askable]] = {}
    for checkpoint, base in session.execute(query):
        bare = checkpoint.kind is CheckpointKind.BASE
        groups.setdefault(base, []).append(Askable(checkpoint.id, checkpoint.name, bare))
    return tuple(AskableBase(name, _bare_first(group)) for name, group in groups.items())


def _bare_first(group: Iterable[Askable]) -> tuple[Askable, ...]:
    return tuple(sorted(group, key=lambda one: not one.bare)[:_MOST_SHOWN])


def trial_view(session: Session, trial: Trial) -> TrialView:
    """A trial with what was said so far."""
    job = session.get(Job, trial.job_id) if trial.job_id else None
    ids = [uuid.UUID(member["id"]) for member in trial.members]
    there = {str(id_) for id_ in session.scalars(select(Checkpoint.id).where(Checkpoint.id.in_(ids)))}
    return TrialView(
        id=trial.id,
        prompt=trial.prompt,
        sampling=trial.sampling,
        members=tuple(
            Said(
                name=member["name"],
                checkpoint_id=member["id"] if member["id"] in there else "",
                fingerprint=member["fingerprint"],
                text=said["text"],
                tokens=said["tokens"],
                finish_reason=said["finish_reason"],
            )
            for member, said in zip(trial.members, trial.texts, strict=True)
        ),
        job=job_view(job) if job is not None else None,
    )
