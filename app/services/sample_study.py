"""The sample study: real responses that ship as text, so that there is something to vote on before torch is there.

Its checkpoints are ``external``: responses only. They carry the fingerprints of the weights that wrote them, so an
arena that trains the same adapter and launches the same plan finds these responses and writes none again.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError
from app.domain.names import SAMPLE
from app.domain.sampling import Sampling
from app.domain.terms import CheckpointKind, FinishReason
from app.models import Checkpoint, EvalBatch, Prompt, Suite
from app.queries.sample_study import FORMAT
from app.services.eval_batches import LaunchPlan, freeze
from app.services.files import read_bytes, rows
from app.services.responses import Generated, form_pairs, plan_of, store

MANIFEST = "manifest.json"
RESPONSES = "responses.jsonl"


def load_sample_study(session: Session, folder: Path, *, secret: bytes, now: datetime) -> list[EvalBatch]:
    """Load the study of a folder; what is there already stays as it is. Returns the batches that are new.

    A batch whose suite is not here in the very version that was answered is left out: its texts would stand
    under other prompts.

    Raises:
        BadInputError: the files are not what this version writes.
        BadRowError: a response cannot be read; names the line.
    """
    manifest = read_manifest(folder)
    there = set(session.scalars(select(EvalBatch.name).where(EvalBatch.name.startswith(SAMPLE))))
    wanted = [batch for batch in manifest["batches"] if batch["name"] not in there]
    if not wanted:
        return []
    members = [_member(session, manifest, one, now=now) for one in manifest["checkpoints"]]
    texts: dict[str, list[dict[str, Any]]] = {}
    for _, row in rows(read_bytes(folder / RESPONSES), RESPONSES):
        texts.setdefault(row["suite"], []).append(row)
    loaded = []
    for batch in wanted:
        suite = session.scalar(select(Suite).where(Suite.name == batch["suite"], Suite.sha256 == batch["suite_sha256"]))
        if suite is not None:
            loaded.append(_batch(session, manifest, batch, suite, members, texts[suite.name], secret=secret, now=now))
    return loaded


def read_manifest(folder: Path) -> dict[str, Any]:
    """What stands about the study in its folder.

    Raises:
        BadInputError: it cannot be read, or is not what this version writes.
    """
    try:
        manifest = json.loads(read_bytes(folder / MANIFEST))
    except ValueError as error:
        raise BadInputError(f"{folder / MANIFEST} is not valid JSON ({error}).") from error
    told = manifest.get("format") if isinstance(manifest, dict) else None
    if told != FORMAT:
        raise BadInputError(f"{folder / MANIFEST} has the format {told!r}, not {FORMAT!r}.")
    return dict(manifest)


def _member(session: Session, manifest: dict[str, Any], told: dict[str, Any], *, now: datetime) -> Checkpoint:
    """A checkpoint that has responses and no weights."""
    name = f"{SAMPLE}/{told['name']}"
    there = session.scalar(select(Checkpoint).where(Checkpoint.name == name))
    if there is not None:
        return there
    base = manifest["base_model"]
    training = manifest["training"][0] if told["step"] is not None else {}
    checkpoint = Checkpoint(
        name=name,
        kind=CheckpointKind.EXTERNAL,
        base_model_id=None,
        run_id=None,
        fingerprint=told["fingerprint"],
        step=told["step"],
        epoch=told["epoch"],
        is_last=told["is_last"],
        validation_loss=told["validation_loss"],
        effect=told["effect"],
        origin={
            **{key: training[key] for key in ("dataset", "rows", "run", "device", "dtype") if key in training},
            "base_model": base["name"],
            "base_hash": base["weights_hash"],
            "template_hash": base["template_hash"],
            "made_at": manifest["made_at"],
        },
        created_at=now,
    )
    session.add(checkpoint)
    session.flush()
    return checkpoint


def _batch(
    session: Session,
    manifest: dict[str, Any],
    told: dict[str, Any],
    suite: Suite,
    members: list[Checkpoint],
    texts: list[dict[str, Any]],
    *,
    secret: bytes,
    now: datetime,
) -> EvalBatch:
    """An eval batch with all its responses and pairs, open for votes; it has no job."""
    plan = LaunchPlan(
        suite=suite.name,
        challengers=tuple(member.name for member in members[1:]),
        baseline=members[0].name,
        name=told["name"],
        sampling=Sampling(**manifest["sampling"]),
        replicates=manifest["replicates"],
        votes_per_pair=told["votes_per_pair"],
        seed=manifest["seed"],
        allow_repeats=True,  # a newcomer votes alone, and there are two challengers
    )
    batch = freeze(session, plan, suite, members, secret=secret, now=now)
    keys = dict(session.execute(select(Prompt.id, Prompt.key).where(Prompt.suite_id == suite.id)).all())
    said = {(text["prompt"], text["replicate"], text["checkpoint"]): text for text in texts}
    positions = {member.id: position for position, member in enumerate(members)}
    planned = plan_of(session, batch)
    generated = []
    for one in planned:
        text = said.get((keys[one.prompt_id], one.replicate, positions[one.checkpoint_id]))
        if text is None:
            raise BadInputError(f"{RESPONSES} lacks a response to {keys[one.prompt_id]} of {suite.name}.")
        generated.append(Generated(one, text["text"], text["tokens"], FinishReason(text["finish"])))
    store(session, batch, generated, engine=", ".join(manifest["engines"]), now=now)
    form_pairs(session, batch, planned, secret=secret, now=now)
    return batch
