"""Job: write the responses of an eval batch and form its pairs, a few at a time, so that voting begins early."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from app.config import get_settings
from app.db import session_scope
from app.domain.errors import BadInputError
from app.domain.serving import Serving
from app.domain.terms import CheckpointKind, FinishReason
from app.models import BaseModel, BatchCheckpoint, Checkpoint
from app.services import responses
from app.services.responses import Planned
from training.checkpoint import verify_checkpoint
from training.errors import PromptError
from training.generate import LocalEngine, Request
from training.sampling import Sampling
from worker.base_model import verified_folder
from worker.claim import Claim, utc_now
from worker.response_writer import ResponseWriter, open_batch
from worker.served import Served, write_served


@dataclass(frozen=True)
class _Member:
    """A checkpoint of the batch. ``folder`` is ``None`` for the bare base."""

    name: str
    fingerprint: str
    folder: Path | None


@dataclass(frozen=True)
class _Work:
    plan: list[Planned]
    missing: list[Planned]
    members: list[_Member]
    base: BaseModel
    sampling: dict[str, Any]
    serving: Serving | None
    """Who writes in place of this machine."""


def run(claim: Claim, should_stop: Callable[[], bool]) -> None:
    """Generate what is missing of the batch's plan; what other batches or attempts stored is reused.

    Raises:
        ConflictError: the batch is closed, or the base model's folder holds another model than the registered one.
        BadInputError: a prompt does not fit the model; names it.
        AdapterError: an adapter's folder holds other weights than the checkpoint that was launched.
        MemoryExhaustedError: the device has too little memory for this base and these prompts.
        UnavailableError: the server that was to write them stays away.
        Cancelled: somebody asked to stop; the responses written so far are kept.
    """
    work = _prepare(claim)
    if not work.missing:
        return
    writer = ResponseWriter(claim, work.plan, work.missing)
    try:
        if work.serving is None:
            _write_here(work, writer, should_stop)
        else:
            write_served(claim, _served(work, work.serving), writer, should_stop)
    finally:
        writer.flush()


def _served(work: _Work, serving: Serving) -> Served:
    return Served(
        serving=serving,
        plan=work.plan,
        missing=work.missing,
        sampling=work.sampling,
        names={member.fingerprint: member.name for member in work.members},
        bases=frozenset(member.fingerprint for member in work.members if member.folder is None),
    )


def _write_here(work: _Work, writer: ResponseWriter, should_stop: Callable[[], bool]) -> None:
    writer.say("Loading the base model")
    engine = LocalEngine(verified_folder(work.base), _verified_adapters(work), device=get_settings().device)
    writer.say("Writing the first responses")
    finished = engine.generate(
        [_request(planned, work) for planned in work.missing],
        Sampling(**work.sampling),
        batch_size=get_settings().generate_batch_size,
        should_stop=should_stop,
        say=writer.say,
    )
    try:
        for item in finished:
            finish_reason = FinishReason(item.finish_reason)
            writer.add(item.key, item.text, item.token_count, finish_reason, engine=engine.fingerprint)
    except PromptError as error:
        raise BadInputError(_unfit(error, work)) from error


def _unfit(error: PromptError, work: _Work) -> str:
    """The engine knows requests; people know prompts."""
    planned = next(planned for planned in work.missing if str(planned.seed) == error.key)
    asked = planned.messages[-1]["content"]
    return (
        f"The prompt “{asked[:60]}{'…' if len(asked) > 60 else ''}” cannot be put to this model: {error.reason}. "  # noqa: PLR2004
        "Nothing was generated. Launch with a suite without it."
    )


def _prepare(claim: Claim) -> _Work:
    """Read the plan, and pair up at once what is stored already."""
    with session_scope() as session:
        batch = open_batch(session, claim)
        plan = responses.plan_of(session, batch)
        there = responses.stored(session, plan)
        responses.form_pairs(session, batch, plan, secret=get_settings().secret_key(), now=utc_now())
        claim.progress(session, done=len(there), total=len(plan), message="Starting")
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
                _Member(
                    member.name, fingerprint, Path(member.folder) if member.kind is CheckpointKind.ADAPTER else None
                )
                for member, fingerprint in members
            ],
            base=base,
            sampling=batch.sampling,
            serving=Serving.of(batch.served),
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
