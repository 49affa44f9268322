"""Job: write the responses of an eval batch and form its pairs, a few at a time, so that voting begins early."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.config import get_settings
from app.db import session_scope
from app.domain.errors import BadInputError, ConflictError
from app.domain.terms import BatchState, CheckpointKind, FinishReason
from app.models import BaseModel, BatchCheckpoint, Checkpoint, EvalBatch
from app.services import responses
from app.services.responses import Planned
from training.checkpoint import verify_checkpoint
from training.errors import PromptError
from training.generate import LocalEngine, Request
from training.sampling import Sampling
from worker.base_model import verified_folder
from worker.claim import Claim, utc_now

_STORE_SECONDS = 2.0
_STORE_ROWS = 8
"""A killed worker loses at most the rows in flight and the few finished since the last store."""


@dataclass(frozen=True)
class _Member:
    """A checkpoint of the batch. ``folder`` is ``None`` for the bare base."""

    fingerprint: str
    folder: Path | None


@dataclass(frozen=True)
class _Work:
    plan: list[Planned]
    missing: list[Planned]
    members: list[_Member]
    base: BaseModel
    sampling: dict[str, Any]


def run(claim: Claim, should_stop: Callable[[], bool]) -> None:
    """Generate what is missing of the batch's plan; what other batches or attempts stored is reused.

    Raises:
        ConflictError: the batch is closed, or the base model's folder holds another model than the registered one.
        BadInputError: a prompt does not fit the model; names it.
        AdapterError: an adapter's folder holds other weights than the checkpoint that was launched.
        Cancelled: somebody asked to stop; the responses written so far are kept.
    """
    work = _prepare(claim)
    if not work.missing:
        return
    engine = LocalEngine(verified_folder(work.base), _verified_adapters(work), device=get_settings().device)
    writer = _Writer(claim, work, engine=engine.fingerprint)
    writer.say("Writing the first responses")
    finished = engine.generate(
        [_request(planned, work) for planned in work.missing],
        Sampling(**work.sampling),
        batch_size=get_settings().generate_batch_size,
        should_stop=should_stop,
    )
    try:
        for item in finished:
            writer.add(item.key, item.text, item.token_count, FinishReason(item.finish_reason))
    except PromptError as error:
        raise BadInputError(_unfit(error, work)) from error
    finally:
        writer.flush()


def _unfit(error: PromptError, work: _Work) -> str:
    """The engine knows requests; people know prompts."""
    planned = next(planned for planned in work.missing if str(planned.seed) == error.key)
    asked = planned.messages[-1]["content"]
    return (
        f"The prompt “{asked[:60]}{'…' if len(asked) > 60 else ''}” cannot be put to this model: {error.reason}. "  # noqa: PLR2004
        "Nothing was generated. Launch with a suite without it."
    )


def _open_batch(session: Session, claim: Claim) -> EvalBatch:
    """The batch of this job; a closed one must not grow."""
    batch = session.get_one(EvalBatch, claim.subject_id)
    if batch.state is BatchState.CLOSED:
        raise ConflictError(f"The eval batch {batch.name} is closed: nothing more is written for it.")
    return batch


def _prepare(claim: Claim) -> _Work:
    """Read the plan, and pair up at once what is stored already."""
    with session_scope() as session:
        batch = _open_batch(session, claim)
        plan = responses.plan_of(session, batch)
        there = responses.stored(session, plan)
        responses.form_pairs(session, batch, plan, secret=get_settings().secret_key(), now=utc_now())
        claim.progress(session, done=len(there), total=len(plan), message="Loading the base model")
        members = session.execute(
            select(Checkpoint, BatchCheckpoint.fingerprint)
            .join(BatchCheckpoint, BatchCheckpoint.checkpoint_id == Checkpoint.id)
            .where(BatchCheckpoint.eval_batch_id == batch.id)
        ).all()
        base = session.get_one(BaseModel, members[0][0].base_model_id)
        return _Work(
            plan=plan,
            missing=[planned for planned in plan if planned.seed not in there],
            members=[
                _Member(fingerprint, Path(member.folder) if member.kind is CheckpointKind.ADAPTER else None)
                for member, fingerprint in members
            ],
            base=base,
            sampling=batch.sampling,
        )


def _verified_adapters(work: _Work) -> dict[str, Path]:
    """Folders by fingerprint, each hashed again now: a path may point elsewhere than when it was registered."""
    adapters = {member.fingerprint: member.folder for member in work.members if member.folder is not None}
    for fingerprint, folder in adapters.items():
        verify_checkpoint(folder, fingerprint)
    return adapters


def _request(planned: Planned, work: _Work) -> Request:
    fingerprint = planned.key["fingerprint"]
    bare = next(member for member in work.members if member.fingerprint == fingerprint).folder is None
    return Request(
        key=str(planned.seed),
        adapter=None if bare else fingerprint,
        messages=tuple(planned.messages),
        seed=planned.seed,
    )


class _Writer:
    """Stores finished responses in small transactions, each with the pairs it completes and the progress."""

    def __init__(self, claim: Claim, work: _Work, *, engine: str) -> None:
        self._claim = claim
        self._engine = engine
        self._by_key = {str(planned.seed): planned for planned in work.missing}
        self._by_place: dict[tuple[object, int], list[Planned]] = {}
        for planned in work.plan:
            self._by_place.setdefault((planned.prompt_id, planned.replicate), []).append(planned)
        self._total = len(work.plan)
        self._done = self._total - len(work.missing)
        self._begun_with = self._done
        self._begun_at = self._stored_at = time.monotonic()
        self._waiting: list[responses.Generated] = []

    def add(self, key: str, text: str, token_count: int, finish_reason: FinishReason) -> None:
        """Take one finished response; store when some have come together."""
        self._waiting.append(responses.Generated(self._by_key[key], text, token_count, finish_reason))
        if len(self._waiting) >= _STORE_ROWS or time.monotonic() - self._stored_at > _STORE_SECONDS:
            self.flush()

    def say(self, message: str) -> None:
        """Show what goes on while nothing is finished yet."""
        with session_scope() as session:
            self._claim.progress(session, done=self._done, total=self._total, message=message)

    def flush(self) -> None:
        """Store what is waiting."""
        if not self._waiting:
            return
        done = self._done + len(self._waiting)
        with session_scope() as session:
            batch = _open_batch(session, self._claim)
            self._claim.progress(
                session,
                done=done,
                total=self._total,
                message=f"{done} of {self._total} responses",
                eta_seconds=self._eta(done),
            )
            responses.store(session, batch, self._waiting, engine=self._engine, now=utc_now())
            responses.form_pairs(session, batch, self._touched(), secret=get_settings().secret_key(), now=utc_now())
        self._done, self._waiting, self._stored_at = done, [], time.monotonic()

    def _touched(self) -> Sequence[Planned]:
        """The plan of the prompts and replicates that the waiting responses belong to."""
        places = dict.fromkeys((item.planned.prompt_id, item.planned.replicate) for item in self._waiting)
        return [planned for place in places for planned in self._by_place[place]]

    def _eta(self, done: int) -> float | None:
        written = done - self._begun_with
        elapsed = time.monotonic() - self._begun_at
        return elapsed / written * (self._total - done) if written else None
