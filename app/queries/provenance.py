"""What a result was made from: frozen plan, suite, checkpoints with their hashes, and the engines that wrote."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import __version__
from app.domain.serving import ServerTold, Serving
from app.domain.terms import PairKind
from app.models import BaseModel, BatchCheckpoint, Checkpoint, Dataset, EvalBatch, Pair, Prompt, Response, Run, Suite
from app.queries.run_data import DataPart, data_of_runs


def provenance(session: Session, batch: EvalBatch) -> dict[str, Any]:
    """A part of the report: all that somebody would need to make the same comparison again."""
    suite = session.get_one(Suite, batch.suite_id)
    prompts = session.scalar(select(func.count()).select_from(Prompt).where(Prompt.suite_id == suite.id))
    written = _written(session, batch.id)
    return {
        "software": {"brie-arena": __version__},
        "suite": {"name": suite.name, "version": suite.version, "sha256": suite.sha256, "prompts": prompts},
        "plan": {
            "design": batch.design.value,
            "replicates": batch.replicates,
            "votes_per_pair": batch.votes_per_pair,
            "seed": batch.seed,
            "sampling": dict(sorted(batch.sampling.items())),
            "system_prompt": batch.system_prompt,
            "one_rater_may_meet_a_baseline_text_again": batch.allow_repeats,
            **_serving(batch),
            "launched_at": _time(batch.created_at),
            "closed_at": _time(batch.closed_at),
        },
        "checkpoints": [
            {**_checkpoint(*row), **{name: sorted(found) for name, found in written.get(row[1], {}).items()}}
            for row in _members(session, batch.id)
        ],
    }


def _serving(batch: EvalBatch) -> dict[str, Any]:
    """The server that wrote the responses; nothing where this arena did."""
    serving = Serving.of(batch.served)
    if serving is None:
        return {}
    told = ServerTold.of(batch.server_told)
    return {
        "server": {
            "url": serving.url,
            "models": dict(serving.models),
            "software": told.software,
            "weights_verified": False,
            "warnings": list(told.warnings),
        }
    }


def _members(session: Session, batch_id: uuid.UUID) -> list[Any]:
    """The checkpoints in the order of the plan, the baseline first, with their fingerprint at launch and lineage."""
    query = (
        select(Checkpoint, BatchCheckpoint.fingerprint, BaseModel, Run)
        .join(BatchCheckpoint, BatchCheckpoint.checkpoint_id == Checkpoint.id)
        .join(BaseModel, BaseModel.id == Checkpoint.base_model_id, isouter=True)
        .join(Run, Run.id == Checkpoint.run_id, isouter=True)
        .where(BatchCheckpoint.eval_batch_id == batch_id)
        .order_by(BatchCheckpoint.position)
    )
    found = session.execute(query).all()
    rows: list[tuple[Any, ...]] = [tuple(row) for row in found]  # the run is None for what was not trained here
    data = data_of_runs(session, {run.id for *_, run in rows if run is not None})
    return [(*row, data[row[-1].id] if row[-1] is not None else ()) for row in rows]


def _checkpoint(
    checkpoint: Checkpoint, fingerprint: str, base: BaseModel | None, run: Run | None, data: Sequence[DataPart]
) -> dict[str, Any]:
    dataset = data[0].dataset if data else None
    return {
        "name": checkpoint.name,
        "kind": checkpoint.kind.value,
        "fingerprint": fingerprint,
        "step": checkpoint.step,
        "is_last": checkpoint.is_last,
        "base_model": base.name if base else str((checkpoint.origin or {}).get("base_model", "")),
        "run": run.name if run else "",
        "recipe": run.recipe_name if run else "",
        "dataset": _dataset(dataset) if dataset else None,
        **({"mix": [{**_dataset(part.dataset), "weight": part.weight} for part in data]} if len(data) > 1 else {}),
    }


def _dataset(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "version": dataset.version,
        "sha256": dataset.sha256,
        "validation_sha256": dataset.validation_sha256,
    }


def _written(session: Session, batch_id: uuid.UUID) -> dict[str, dict[str, set[str]]]:
    """Which base weights, chat templates and engines wrote the texts of each fingerprint: what the responses say."""
    found: dict[str, dict[str, set[str]]] = {}
    for side in (Pair.first_response_id, Pair.second_response_id):
        query = (
            select(Response.fingerprint, Response.base_hash, Response.template_hash, Response.engine)
            .join(Pair, side == Response.id)
            .where(Pair.eval_batch_id == batch_id, Pair.kind == PairKind.MAIN)
            .distinct()
        )
        for fingerprint, base, template, engine in session.execute(query):
            of = found.setdefault(fingerprint, {"base_hashes": set(), "template_hashes": set(), "engines": set()})
            for name, value in (("base_hashes", base), ("template_hashes", template), ("engines", engine)):
                of[name] |= {value} - {""}
    return found


def _time(when: datetime | None) -> str | None:
    return when.isoformat() if when else None
