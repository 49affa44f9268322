"""Trials on the playground: one prompt put to some checkpoints, with their names. Nothing of it is ever a verdict."""

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import jobs
from app.domain.errors import BadInputError, ConflictError, NotFoundError
from app.domain.sampling import Sampling
from app.domain.terms import BaseModelState, CheckpointKind, JobKind, JobState
from app.models import Account, BaseModel, Checkpoint, Job, Trial

MOST_MEMBERS = 5
"""The bare base and four adapters: more columns cannot be read side by side."""

MOST_TOKENS = 2048
LONGEST_PROMPT = 20_000
_KEPT = 20
"""Trials of one account; older ones are forgotten."""

_SHOWN = 60
_ASKABLE = (CheckpointKind.BASE, CheckpointKind.ADAPTER)


@dataclass(frozen=True)
class Asked:
    """What is to be tried. ``checkpoints`` are ids, in the order of their columns."""

    prompt: str
    checkpoints: tuple[uuid.UUID, ...]
    sampling: Sampling
    seed: int


def start(session: Session, account: Account, asked: Asked, *, now: datetime) -> Trial:
    """Queue a trial.

    Raises:
        BadInputError: no prompt or a very long one, no checkpoint or too many, or too many tokens.
        ConflictError: the checkpoints cannot be asked together, or not here.
        NotFoundError: there is no such checkpoint.
    """
    prompt = asked.prompt.strip()
    if not 0 < len(prompt) <= LONGEST_PROMPT or "\0" in prompt:
        raise BadInputError(f"A prompt has 1 to {LONGEST_PROMPT} characters. Nothing was asked.")
    if not 0 < len(set(asked.checkpoints)) <= MOST_MEMBERS:
        raise BadInputError(f"Choose 1 to {MOST_MEMBERS} checkpoints. Nothing was asked.")
    if asked.sampling.max_new_tokens > MOST_TOKENS:
        raise BadInputError(f"On the playground a response has at most {MOST_TOKENS} tokens. Nothing was asked.")
    members = _members(session, tuple(dict.fromkeys(asked.checkpoints)))
    trial = Trial(
        account_id=account.id,
        base_model_id=members[0].base_model_id,
        prompt=prompt,
        sampling={**asdict(asked.sampling), "seed": asked.seed},
        members=[
            {"id": str(one.id), "name": one.name, "fingerprint": one.fingerprint, "folder": _folder(one)}
            for one in members
        ],
        texts=[{"text": "", "tokens": 0, "finish_reason": ""} for _ in members],
        job_id=None,
        created_at=now,
    )
    session.add(trial)
    session.flush()
    shown = prompt if len(prompt) <= _SHOWN else f"{prompt[: _SHOWN - 1]}…"
    title = f"Playground: {' '.join(shown.split())}"
    trial.job_id = jobs.enqueue(session, JobKind.TRIAL, trial.id, title=title, now=now).id
    _forget_old(session, account)
    session.flush()
    return trial


def find(session: Session, account: Account, trial_id: uuid.UUID) -> Trial:
    """A trial of this account.

    Raises:
        NotFoundError: there is none with this id, or it is another account's (one sentence for both).
    """
    trial = session.get(Trial, trial_id)
    if trial is None or trial.account_id != account.id:
        raise NotFoundError(f"There is no such trial. The playground keeps the last {_KEPT} of each account.")
    return trial


def write(trial: Trial, texts: Sequence[dict[str, Any]]) -> None:
    """What the checkpoints say so far, in the order of the members."""
    trial.texts = [dict(text) for text in texts]


def _members(session: Session, ids: Sequence[uuid.UUID]) -> list[Checkpoint]:
    """The checkpoints by id, if one engine can answer with all of them."""
    found = {one.id: one for one in session.scalars(select(Checkpoint).where(Checkpoint.id.in_(ids)))}
    if len(found) != len(ids):
        raise NotFoundError("One of these checkpoints does not exist any more. Nothing was asked; choose again.")
    members = [found[id_] for id_ in ids]
    for one in members:
        if one.kind not in _ASKABLE:
            raise ConflictError(f"Of {one.name} only responses are here, so it can be asked nothing.")
    if len({one.base_model_id for one in members}) > 1:
        raise ConflictError("These checkpoints sit on different base models. Choose those of one; nothing was asked.")
    base = session.get_one(BaseModel, members[0].base_model_id)
    if base.state is not BaseModelState.READY:
        raise ConflictError(f"The base model {base.name} is not on this machine, so nothing was asked. Add it first.")
    return members


def _folder(checkpoint: Checkpoint) -> str:
    return checkpoint.folder if checkpoint.kind is CheckpointKind.ADAPTER else ""


def _forget_old(session: Session, account: Account) -> None:
    """All but the newest; never one that is still being answered."""
    newest = select(Trial).where(Trial.account_id == account.id).order_by(Trial.created_at.desc(), Trial.id)
    for old in session.scalars(newest.offset(_KEPT)).all():
        job = session.get(Job, old.job_id) if old.job_id else None
        if job is None or job.state not in (JobState.QUEUED, JobState.RUNNING):
            session.delete(old)
