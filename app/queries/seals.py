"""What each seal covers. They form a chain: plan, pair, ballot, verdict, and what was said or taken back afterwards.

Each covers the one above it, so that a row cannot be changed, or stripped of its seal, without breaking all below.
"""

import json
import math
import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from app.domain.blinding import seal
from app.domain.terms import CheckpointKind
from app.models import (
    Ballot,
    BatchCheckpoint,
    Checkpoint,
    EvalBatch,
    Pair,
    Prompt,
    Recognition,
    Response,
    Verdict,
    Voter,
)

PLAN = (
    "id", "suite_id", "design", "baseline_id", "sampling", "system_prompt", "seed", "replicates", "votes_per_pair",
    "allow_repeats", "exclusion", "reveal", "planned_pairs", "planned_responses", "rater_limit", "vote_limit",
    "gold_pairs", "repeat_pairs", "placebo_pairs", "canary_pairs", "ask_recognised", "created_at",
)  # fmt: skip
"""All of an eval batch that is frozen at launch."""


class PairSaid(NamedTuple):
    """What a seal covers of a pair, each value as it is spelt in the seal."""

    id: str
    eval_batch_id: str
    prompt_id: str
    first_id: str
    second_id: str
    kind: str
    replicate: str
    settled: str
    self_identifies: str
    first_response_id: str
    second_response_id: str


class BallotSaid(NamedTuple):
    """The same of a ballot."""

    id: str
    pair_id: str
    eval_batch_id: str
    voter_id: str
    voter_kind: str
    simulated: str
    number: str
    slot: str
    order: str
    showing: str
    is_repeat: str
    issued_at: str


class VerdictSaid(NamedTuple):
    """The same of a verdict without a score."""

    choice: str
    outcome: str
    cast_at: str
    reason: str
    tags: str
    surplus: str
    seconds: str


_first, _second = aliased(Response), aliased(Response)
"""Made once: a statement with new aliases would be compiled anew each time."""


def plan_seal(session: Session, batch: EvalBatch, secret: bytes) -> str:
    """The seal of a frozen plan with its members, and with the slices that results tell of its prompts.

    The bare base has no name in it: it is called as its base model is, which may change.
    """
    members = session.execute(
        select(
            BatchCheckpoint.position, BatchCheckpoint.checkpoint_id, BatchCheckpoint.fingerprint, Checkpoint.kind,
            Checkpoint.name,
        )
        .join(Checkpoint, Checkpoint.id == BatchCheckpoint.checkpoint_id)
        .where(BatchCheckpoint.eval_batch_id == batch.id)
        .order_by(BatchCheckpoint.position)
    ).all()  # fmt: skip
    prompts = session.execute(
        select(Prompt.position, Prompt.key, Prompt.category, Prompt.domain, Prompt.sha256)
        .where(Prompt.suite_id == batch.suite_id)
        .order_by(Prompt.position)
    ).all()
    named = [[*row[:-1], "" if row.kind is CheckpointKind.BASE else row.name] for row in members]
    return plan_seal_of(batch, secret, members=named, prompts=[list(row) for row in prompts])


def plan_seal_of(batch: EvalBatch, secret: bytes, *, members: list[list[Any]], prompts: Iterable[list[Any]]) -> str:
    """The same, given position, id, fingerprint, kind and name of each member, and what is sealed of each prompt."""
    plan = [spelt(getattr(batch, name)) for name in PLAN]
    if batch.imported_from is not None:
        plan.append(spelt(batch.imported_from))
    if batch.served is not None:
        plan.append(spelt({"served": batch.served}))
    return seal(secret, "plan", *plan, spelt(members), spelt(list(prompts)))


def server_seal(batch: EvalBatch, secret: bytes) -> str:
    """The seal of what the server of a plan told of itself, and of what looked odd about it."""
    return seal(secret, "server", batch.seal or "", spelt(batch.server_told))


def pair_seal(session: Session, pair: Pair, secret: bytes) -> str:
    """The seal of a pair: who wrote which text to which prompt, and what was seen in the texts."""
    plan, prompt, *texts = session.execute(
        select(EvalBatch.seal, Prompt.sha256, _first.fingerprint, _first.text, _second.fingerprint, _second.text)
        .select_from(EvalBatch)
        .join(Prompt, Prompt.id == pair.prompt_id)
        .join(_first, _first.id == pair.first_response_id)
        .join(_second, _second.id == pair.second_response_id)
        .where(EvalBatch.id == pair.eval_batch_id)
    ).one()
    return pair_seal_of(pair, secret, plan=plan, prompt=prompt, texts=texts)


def pair_seal_of(pair: Pair, secret: bytes, *, plan: str | None, prompt: str, texts: list[str]) -> str:
    """The same, given the seal of the plan, the hash of the prompt, and fingerprint and text of first and second."""
    said = PairSaid(*(spelt(getattr(pair, name)) for name in PairSaid._fields))
    return said_pair_seal(said, secret, plan=plan, prompt=prompt, texts=texts)


def said_pair_seal(said: PairSaid, secret: bytes, *, plan: str | None, prompt: str, texts: list[str]) -> str:
    """The same of a pair that is no row yet."""
    return seal(secret, "pair", plan or "", prompt, *said, *texts)


def ballot_seal(session: Session, ballot: Ballot, secret: bytes) -> str:
    """The seal of a ballot: over who sees which texts in which order, since when."""
    pair, first_text, second_text, simulated = session.execute(
        select(Pair.seal, _first.text, _second.text, Voter.simulated)
        .select_from(Pair)
        .join(Voter, Voter.id == ballot.voter_id)
        .join(_first, _first.id == Pair.first_response_id)
        .join(_second, _second.id == Pair.second_response_id)
        .where(Pair.id == ballot.pair_id)
    ).one()
    return ballot_seal_of(ballot, secret, pair=pair, texts=(first_text, second_text), simulated=simulated)


def ballot_seal_of(ballot: Ballot, secret: bytes, *, pair: str | None, texts: tuple[str, str], simulated: bool) -> str:
    """The same, given the seal of the pair, the texts of first and second, and whether the voter is simulated."""
    if ballot.number is None:  # issued before ballots were numbered
        old = (ballot.id, ballot.pair_id, ballot.voter_id, ballot.slot, ballot.order, ballot.showing, ballot.issued_at)
        return seal(secret, "ballot", *(spelt(value) for value in old), *texts)
    said = BallotSaid(
        *(spelt(simulated if name == "simulated" else getattr(ballot, name)) for name in BallotSaid._fields)
    )
    return said_ballot_seal(said, secret, pair=pair, texts=texts, order_known=ballot.order_known is not False)


def said_ballot_seal(
    said: BallotSaid, secret: bytes, *, pair: str | None, texts: tuple[str, str], order_known: bool
) -> str:
    """The same of a ballot that is no row yet."""
    told = () if order_known else ("order not told",)
    return seal(secret, "ballot", pair or "", *said, *told, *texts)


def verdict_seal(ballot: Ballot, verdict: Verdict, secret: bytes) -> str:
    """The seal of a verdict: over its ballot's seal and everything that was said."""
    said = VerdictSaid(*(spelt(getattr(verdict, name)) for name in VerdictSaid._fields))
    if ballot.number is None:
        return seal(secret, "verdict", ballot.seal, *said[:3])
    return said_verdict_seal(said, secret, ballot=ballot.seal, score=verdict.score)


def said_verdict_seal(said: VerdictSaid, secret: bytes, *, ballot: str, score: float | None) -> str:
    """The same of a verdict that is no row yet, given the seal of its ballot."""
    told = () if score is None else (spelt(score),)
    return seal(secret, "verdict", ballot, *said, *told)


def retraction_seal(verdict: Verdict, secret: bytes) -> str:
    """The seal of a vote taken back."""
    return seal(secret, "retraction", verdict.seal, spelt(verdict.retracted_at))


def recognition_seal(verdict: Verdict, recognition: Recognition, secret: bytes) -> str:
    """The seal of an answer to "did you recognise one?"."""
    return seal(
        secret, "recognition", verdict.seal, spelt(recognition.recognised), spelt(recognition.answered_at)
    )  # fmt: skip


def spelt(value: Any) -> str:
    """One spelling for a value, however the database gives it back. Distinct values have distinct texts."""
    if isinstance(value, str | uuid.UUID):
        return str(value)
    if value is None or isinstance(value, bool | int):  # as JSON spells them, at a tenth of the time
        return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and math.isfinite(value):
        return float.__repr__(value)  # as JSON does
    return json.dumps(value, sort_keys=True, default=_plain)


def _plain(value: object) -> str:
    if isinstance(value, uuid.UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be sealed")
