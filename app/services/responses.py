"""Responses and the pairs they form. Everything here can be done twice with the same result."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.domain.leaks import leaks
from app.domain.pairing import drawn, matchups, response_seed, settle
from app.domain.serving import Serving
from app.domain.terms import FinishReason, PairKind, VoterKind
from app.models import BaseModel, BatchCheckpoint, Checkpoint, EvalBatch, Pair, Prompt, Response, Tally
from app.models.response import RESPONSE_KEY
from app.queries.leaks import names_of
from app.queries.seals import pair_seal
from app.services.events import announce
from app.services.files import sha256_of_json

_CHUNK = 500  # ids in one IN list, under every database's limit of parameters


@dataclass(frozen=True)
class Planned:
    """One response of a batch's plan. ``key`` are the values of ``RESPONSE_KEY``."""

    checkpoint_id: uuid.UUID
    prompt_id: uuid.UUID
    replicate: int
    messages: list[dict[str, str]]
    key: dict[str, Any]

    @property
    def seed(self) -> int:
        """Identifies the response within the plan: it is derived from everything else."""
        seed: int = self.key["seed"]
        return seed


@dataclass(frozen=True)
class Generated:
    """What a checkpoint answered to a planned response."""

    planned: Planned
    text: str
    token_count: int
    finish_reason: FinishReason


def plan_of(session: Session, batch: EvalBatch) -> list[Planned]:
    """All responses the batch needs, prompt by prompt, so that pairs form early.

    The two of a placebo pair lie at a replicate of their own: nobody meets a main text in it.
    """
    members = session.execute(
        select(Checkpoint, BaseModel, BatchCheckpoint.fingerprint)
        .join(BatchCheckpoint, BatchCheckpoint.checkpoint_id == Checkpoint.id)
        .join(BaseModel, BaseModel.id == Checkpoint.base_model_id, isouter=True)
        .where(BatchCheckpoint.eval_batch_id == batch.id)
        .order_by(BatchCheckpoint.position)
    ).all()
    prompts = session.scalars(select(Prompt).where(Prompt.suite_id == batch.suite_id).order_by(Prompt.position)).all()
    serving = Serving.of(batch.served)
    how = {of: sha256_of_json(_how(batch, serving, of)) for *_, of in members}
    system_sha256 = hashlib.sha256(batch.system_prompt.encode()).hexdigest()
    system = [{"role": "system", "content": batch.system_prompt}] if batch.system_prompt else []

    def planned(prompt: Prompt, replicate: int, member: int, twin: int = 0) -> Planned:
        checkpoint, base, fingerprint = members[member]
        return Planned(
            checkpoint_id=checkpoint.id,
            prompt_id=prompt.id,
            replicate=replicate,
            messages=[*system, *prompt.messages],
            key={
                "fingerprint": fingerprint,
                **(_base_hashes(checkpoint, base) if serving is None else {"base_hash": "", "template_hash": ""}),
                "prompt_sha256": prompt.sha256,
                "system_sha256": system_sha256,
                "sampling_sha256": how[fingerprint],
                "seed": response_seed(batch.seed, prompt.sha256, replicate, fingerprint, twin),
                "twin": twin,
            },
        )

    placebo = set(drawn(batch.seed, "placebo", [prompt.sha256 for prompt in prompts], batch.placebo_pairs))
    plan: list[Planned] = []
    for replicate in range(batch.replicates):
        for place, prompt in enumerate(prompts):
            plan += [planned(prompt, replicate, member) for member in range(len(members))]
            if replicate == 0 and place in placebo:  # between the others, so that they are voted on between them
                plan += [planned(prompt, batch.replicates, 0, twin) for twin in (0, 1)]
    return plan


def _how(batch: EvalBatch, serving: Serving | None, fingerprint: str) -> dict[str, Any]:
    """What decides a text beside weights, prompt and seed.

    A server's weights and template are its word alone, so no text of one is ever taken for a text of this arena.
    """
    if serving is None:
        return batch.sampling
    return {**batch.sampling, "server": serving.url, "model": serving.models[fingerprint]}


def _base_hashes(checkpoint: Checkpoint, base: BaseModel | None) -> dict[str, str]:
    """Of the weights that answer; an external checkpoint tells what it knows of them."""
    if base is not None:
        return {"base_hash": base.weights_hash, "template_hash": base.template_hash}
    origin = checkpoint.origin or {}
    return {"base_hash": origin.get("base_hash", ""), "template_hash": origin.get("template_hash", "")}


def stored(session: Session, plan: Sequence[Planned]) -> dict[int, Response]:
    """The responses of the plan that are there already, by seed. Other batches' are reused."""
    wanted = {planned.seed: planned for planned in plan}
    seeds = list(wanted)
    found: dict[int, Response] = {}
    for start in range(0, len(seeds), _CHUNK):
        query = select(Response).where(Response.seed.in_(seeds[start : start + _CHUNK]))
        for response in session.scalars(query):
            if all(getattr(response, name) == wanted[response.seed].key[name] for name in RESPONSE_KEY):
                found[response.seed] = response
    return found


def store(session: Session, batch: EvalBatch, generated: Sequence[Generated], *, engine: str, now: datetime) -> None:
    """Keep responses; one that is there already stays as it is.

    Null characters, which a model can write and Postgres cannot store, become U+FFFD.
    """
    if not generated:
        return
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.execute(
        insert(Response).on_conflict_do_nothing(index_elements=list(RESPONSE_KEY)),
        [_row(batch, item, engine, now) for item in generated],
    )


def _row(batch: EvalBatch, item: Generated, engine: str, now: datetime) -> dict[str, Any]:
    text = item.text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return {
        "id": uuid.uuid4(),
        "checkpoint_id": item.planned.checkpoint_id,
        **item.planned.key,
        "sampling": batch.sampling,
        "text": text,
        "text_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "token_count": item.token_count,
        "finish_reason": item.finish_reason,
        "engine": engine,
        "created_at": now,
    }


def _paired(
    session: Session, batch: EvalBatch, prompt_ids: Sequence[uuid.UUID]
) -> set[tuple[uuid.UUID, int, uuid.UUID, uuid.UUID]]:
    """The pairs of these prompts that are there already, as (prompt, replicate, first, second)."""
    wanted = list(dict.fromkeys(prompt_ids))
    found: set[tuple[uuid.UUID, int, uuid.UUID, uuid.UUID]] = set()
    for start in range(0, len(wanted), _CHUNK):
        query = select(Pair.prompt_id, Pair.replicate, Pair.first_id, Pair.second_id).where(
            Pair.eval_batch_id == batch.id,
            Pair.kind.in_((PairKind.MAIN, PairKind.PLACEBO)),
            Pair.prompt_id.in_(wanted[start : start + _CHUNK]),
        )
        found.update((row.prompt_id, row.replicate, row.first_id, row.second_id) for row in session.execute(query))
    return found


def form_pairs(session: Session, batch: EvalBatch, plan: Sequence[Planned], *, secret: bytes, now: datetime) -> int:
    """Make every pair of the plan whose two responses are there; returns how many are new.

    A pair with an empty or two identical texts is settled at once and never shown. One in which a text says who wrote
    it is flagged, and shown like all others.
    """
    members = session.scalars(
        select(BatchCheckpoint.fingerprint)
        .where(BatchCheckpoint.eval_batch_id == batch.id)
        .order_by(BatchCheckpoint.position)
    ).all()
    main = [((one.first, 0), (one.second, 0)) for one in matchups(batch.design, members[0], members[1:])]
    placebo = [((members[0], 0), (members[0], 1))]
    responses = stored(session, plan)
    by_place: dict[tuple[uuid.UUID, int], dict[tuple[str, int], tuple[Planned, Response]]] = {}
    for planned in plan:
        if planned.seed in responses:
            place = by_place.setdefault((planned.prompt_id, planned.replicate), {})
            place[planned.key["fingerprint"], planned.key["twin"]] = (planned, responses[planned.seed])
    there = _paired(session, batch, [planned.prompt_id for planned in plan])
    names = names_of(session, batch.id)
    told: dict[uuid.UUID, bool] = {}  # a text of the baseline meets every challenger, and is looked at once
    new = 0
    for (prompt_id, replicate), answers in by_place.items():
        is_placebo = replicate == batch.replicates
        for one, other in placebo if is_placebo else main:
            if one not in answers or other not in answers:
                continue
            (first, first_response), (second, second_response) = answers[one], answers[other]
            if (prompt_id, replicate, first.checkpoint_id, second.checkpoint_id) in there:
                continue
            for response in (first_response, second_response):
                if response.id not in told:
                    told[response.id] = bool(leaks(response.text, names))
            pair = Pair(
                eval_batch_id=batch.id,
                kind=PairKind.PLACEBO if is_placebo else PairKind.MAIN,
                prompt_id=prompt_id,
                replicate=replicate,
                first_id=first.checkpoint_id,
                second_id=second.checkpoint_id,
                first_response_id=first_response.id,
                second_response_id=second_response.id,
                settled=settle(first_response.text, second_response.text),
                self_identifies=told[first_response.id] or told[second_response.id],
                created_at=now,
            )
            session.add(pair)
            session.flush()
            pair.seal = pair_seal(session, pair, secret)
            session.add(Tally(pair_id=pair.id, voter_kind=VoterKind.RATER, eval_batch_id=batch.id))
            new += 1
    if new:
        announce(session, "pairs", batch.id, now=now)
    session.flush()
    return new
