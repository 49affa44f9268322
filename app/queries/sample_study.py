"""A finished study as files: what ``data/sample_study/`` holds, read out of the database that it was made in."""

import json
import math
import uuid
from collections.abc import Sequence
from datetime import datetime
from statistics import mean, median
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError, ConflictError
from app.domain.names import SAMPLE
from app.domain.terms import BatchState, FinishReason, PairKind, Split
from app.models import (
    BaseModel,
    BatchCheckpoint,
    Checkpoint,
    Dataset,
    EvalBatch,
    Pair,
    Prompt,
    Response,
    Run,
    RunMetric,
    Suite,
)

FORMAT = "brie-arena-sample/1"


def sample_files(
    session: Session, batches: Sequence[EvalBatch], *, commands: Sequence[str], now: datetime
) -> tuple[str, str]:
    """Manifest (JSON) and responses (JSON Lines) of finished eval batches that compare the same checkpoints.

    Raises:
        BadInputError: the batches differ in checkpoints, sampling or seed.
        ConflictError: a batch is not complete.
    """
    plans = {json.dumps([_members(session, batch), batch.sampling, batch.seed, batch.replicates]) for batch in batches}
    if len(plans) != 1:
        raise BadInputError(
            "A sample study needs eval batches with the same checkpoints, sampling, seed and replicates."
        )
    first = batches[0]
    members = _checkpoints(session, first)
    base = session.get_one(BaseModel, members[0].base_model_id)
    responses = [row for batch in batches for row in _responses(session, batch, [member.id for member in members])]
    manifest = {
        "format": FORMAT,
        "made_at": now.date().isoformat(),
        "commands": list(commands),
        "base_model": {
            "name": base.name,
            "weights_hash": base.weights_hash,
            "tokenizer_hash": base.tokenizer_hash,
            "template_hash": base.template_hash,
            "validation_loss": _loss_of_base(session, members),
        },
        "training": _training(session, members),
        "sampling": first.sampling,
        "seed": first.seed,
        "replicates": first.replicates,
        "engines": sorted({row.pop("engine") for row in responses}),
        "checkpoints": [_checkpoint(member, label) for member, label in zip(members, _labels(members), strict=True)],
        "batches": [_batch(session, batch) for batch in batches],
        "responses": len(responses),
    }
    lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in responses)
    return json.dumps(manifest, ensure_ascii=False, indent=2) + "\n", "".join(lines)


def _members(session: Session, batch: EvalBatch) -> list[str]:
    return [member.fingerprint for member in _checkpoints(session, batch)]


def _checkpoints(session: Session, batch: EvalBatch) -> Sequence[Checkpoint]:
    return session.scalars(
        select(Checkpoint)
        .join(BatchCheckpoint, BatchCheckpoint.checkpoint_id == Checkpoint.id)
        .where(BatchCheckpoint.eval_batch_id == batch.id)
        .order_by(BatchCheckpoint.position)
    ).all()


def _labels(members: Sequence[Checkpoint]) -> list[str]:
    """``run/epoch-2`` becomes ``epoch-2``, or ``run-epoch-2`` where there are several runs; the bare base ``base``."""
    one_run = len({member.run_id for member in members if member.run_id}) == 1
    return [
        "base" if not member.run_id else member.name.rpartition("/")[2] if one_run else member.name.replace("/", "-")
        for member in members
    ]


def _checkpoint(member: Checkpoint, label: str) -> dict[str, Any]:
    return {
        "name": label,
        "fingerprint": member.fingerprint,
        "step": member.step,
        "epoch": member.epoch,
        "is_last": member.is_last,
        "validation_loss": member.validation_loss,
        "effect": member.effect,
    }


def _training(session: Session, members: Sequence[Checkpoint]) -> list[dict[str, Any]]:
    """Each run that the members come from: what it learned from, how and where."""
    runs = session.execute(
        select(Run, Dataset)
        .join(Dataset, Dataset.id == Run.dataset_id)
        .where(Run.id.in_([member.run_id for member in members if member.run_id]))
        .order_by(Run.name)
    )
    return [
        {
            "run": run.name,
            "recipe": run.recipe,
            "dataset": dataset.name,
            "sha256": dataset.sha256,
            "validation_sha256": dataset.validation_sha256,
            "rows": dataset.rows,
            "validation_rows": dataset.validation_rows,
            "device": run.device,
            "dtype": run.dtype,
            "steps": run.total_steps,
        }
        for run, dataset in runs
    ]


def _loss_of_base(session: Session, members: Sequence[Checkpoint]) -> float | None:
    """The bare base on the validation file: what the first run measured before its first step."""
    run_ids = [member.run_id for member in members if member.run_id]
    return session.scalar(
        select(RunMetric.loss)
        .where(RunMetric.run_id.in_(run_ids), RunMetric.split == Split.VALIDATION, RunMetric.step == 0)
        .limit(1)
    )


def _batch(session: Session, batch: EvalBatch) -> dict[str, Any]:
    suite = session.get_one(Suite, batch.suite_id)
    return {
        "name": f"{SAMPLE}-{suite.name}",
        "suite": suite.name,
        "suite_sha256": suite.sha256,
        "votes_per_pair": batch.votes_per_pair,
    }


def _responses(session: Session, batch: EvalBatch, members: Sequence[uuid.UUID]) -> list[dict[str, Any]]:
    """The responses of a batch by prompt, replicate and member, found through its pairs.

    Raises:
        ConflictError: some are missing.
    """
    rows: dict[tuple[int, int, int], dict[str, Any]] = {}
    pairs = session.execute(
        select(Prompt, Pair)
        .join(Prompt, Prompt.id == Pair.prompt_id)
        .where(Pair.eval_batch_id == batch.id, Pair.kind == PairKind.MAIN)
    ).all()
    ids = [id_ for _, pair in pairs for id_ in (pair.first_response_id, pair.second_response_id)]
    found = {row.id: row for row in session.scalars(select(Response).where(Response.id.in_(ids)))}
    suite = session.get_one(Suite, batch.suite_id).name
    for prompt, pair in pairs:
        for checkpoint_id, response_id in (
            (pair.first_id, pair.first_response_id),
            (pair.second_id, pair.second_response_id),
        ):
            member, response = members.index(checkpoint_id), found[response_id]
            rows[prompt.position, pair.replicate, member] = {
                "suite": suite,
                "prompt": prompt.key,
                "replicate": pair.replicate,
                "checkpoint": member,
                "tokens": response.token_count,
                "finish": response.finish_reason,
                "text": response.text,
                "engine": response.engine,
            }
    wanted = batch.planned_responses - 2 * batch.placebo_pairs
    if len(rows) != wanted:
        state = "closed" if batch.state is BatchState.CLOSED else "open"
        raise ConflictError(f"{batch.name} ({state}) has {len(rows)} of {wanted} responses. Let it finish first.")
    return [rows[place] for place in sorted(rows)]


def sample_numbers(manifest: dict[str, Any], responses: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each checkpoint of a study learned and how it wrote, one row a checkpoint.

    Losses in nats per token; lengths of responses in words and tokens; ``cut`` is the share that the limit of new
    tokens ended.
    """
    return [_numbers(told, [row for row in responses if row["checkpoint"] == position], manifest["base_model"])
            for position, told in enumerate(manifest["checkpoints"])]  # fmt: skip


def _numbers(told: dict[str, Any], rows: Sequence[dict[str, Any]], base: dict[str, Any]) -> dict[str, Any]:
    loss = told["validation_loss"] if told["step"] is not None else base.get("validation_loss")
    return {
        "checkpoint": told["name"],
        "validation_loss": None if loss is None else f"{loss:.3f}",
        "perplexity": None if loss is None else f"{math.exp(loss):.1f}",
        "responses": len(rows),
        "median_words": round(median(len(row["text"].split()) for row in rows)),
        "mean_tokens": round(mean(row["tokens"] for row in rows)),
        "cut": f"{sum(row['finish'] == FinishReason.LENGTH for row in rows) / len(rows):.0%}",
        "empty": sum(not row["text"].strip() for row in rows),
    }
