"""The same comparison again with new seeds: how far a result is luck of the sampling."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import ConflictError
from app.domain.sampling import Sampling
from app.domain.serving import Serving
from app.domain.terms import BatchState, CheckpointKind, JobState
from app.models import BatchCheckpoint, Checkpoint, EvalBatch, Job, Suite
from app.services.eval_batches import LONGEST_NAME, LaunchPlan, launch

_SUFFIX = re.compile(r", seeds \d+$")


def rerun(session: Session, batch: EvalBatch, *, secret: bytes, now: datetime) -> EvalBatch:
    """Launch the plan of this eval batch again with the next seed that none like it has had.

    Raises:
        ConflictError: a new seed would change nothing, weights are missing, or the batch is not done itself.
    """
    members = session.scalars(
        select(Checkpoint)
        .join(BatchCheckpoint, BatchCheckpoint.checkpoint_id == Checkpoint.id)
        .where(BatchCheckpoint.eval_batch_id == batch.id)
        .order_by(BatchCheckpoint.position)
    ).all()
    reason = refusal(session, batch, members)
    if reason:
        raise ConflictError(f"Nothing was launched: {reason}")
    suite = session.get_one(Suite, batch.suite_id)
    name, seed = _next(session, batch)
    plan = LaunchPlan(
        suite=f"{suite.name}@{suite.version}",
        challengers=tuple(member.name for member in members[1:]),
        baseline=members[0].name,
        name=name,
        design=batch.design,
        sampling=Sampling(**batch.sampling),
        system_prompt=batch.system_prompt,
        replicates=batch.replicates,
        votes_per_pair=batch.votes_per_pair,
        seed=seed,
        allow_repeats=batch.allow_repeats,
        reveal=batch.reveal,
        exclusion=batch.exclusion,
        rater_limit=batch.rater_limit,
        vote_limit=batch.vote_limit,
        gold_pairs=batch.gold_pairs,
        repeat_pairs=batch.repeat_pairs,
        placebo_pairs=batch.placebo_pairs,
        canary_pairs=batch.canary_pairs,
        ask_recognised=batch.ask_recognised,
        **_served(batch, members),
    )
    return launch(session, plan, secret=secret, now=now)


def _served(batch: EvalBatch, members: Sequence[Checkpoint]) -> dict[str, Any]:
    """The same server with the same names, where one wrote the responses."""
    serving = Serving.of(batch.served)
    if serving is None:
        return {}
    return {"server": serving.url, "served_as": {one.name: serving.models[one.fingerprint] for one in members}}


def refusal(session: Session, batch: EvalBatch, members: Sequence[Checkpoint]) -> str:
    """Why this eval batch cannot be run again with new seeds; empty where it can."""
    for member in members:
        if member.kind is CheckpointKind.EXTERNAL:
            return (
                f"of {member.name} only responses are here, no weights, so it cannot answer again. Train the same "
                "recipe yourself, and launch with that checkpoint."
            )
    if batch.sampling["temperature"] == 0:
        return "at temperature 0 every seed gives the same text. Launch with a higher temperature to see what seeds do."
    job = session.get(Job, batch.job_id) if batch.job_id else None
    if batch.state is BatchState.OPEN and (job is None or job.state is not JobState.DONE):
        return "the responses of this eval batch are not all written. Run it again once they are."
    return ""


def _next(session: Session, batch: EvalBatch) -> tuple[str, int]:
    """The name and the seed of the next one: after all seeds of the same suite, baseline and design."""
    same = (
        EvalBatch.suite_id == batch.suite_id,
        EvalBatch.baseline_id == batch.baseline_id,
        EvalBatch.design == batch.design,
    )
    seeds = set(session.scalars(select(EvalBatch.seed).where(*same)))
    names = set(session.scalars(select(EvalBatch.name)))
    plain = _SUFFIX.sub("", batch.name)
    seed = batch.seed
    while True:
        seed = (seed + 1) % 2**63
        suffix = f", seeds {seed}"
        name = plain[: LONGEST_NAME - len(suffix)] + suffix
        if seed not in seeds and name not in names:
            return name, seed
