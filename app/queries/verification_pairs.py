"""Verifying what is voted on: members, prompts, responses, pairs."""

import hashlib
import json
import uuid
from collections import Counter
from typing import NamedTuple

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, aliased

from app.domain.leaks import leaks
from app.domain.pairing import matchups, settle
from app.domain.terms import BatchState, JobState, PairKind
from app.models import BatchCheckpoint, Checkpoint, EvalBatch, Job, Pair, Prompt, Response
from app.queries.leaks import names_of
from app.queries.seals import pair_seal_of, plan_seal, server_seal
from app.queries.verification_findings import Findings, streamed

_COMPETING = (PairKind.MAIN, PairKind.PLACEBO)


class PairFacts(NamedTuple):
    """What a pair is there for, whether its texts settle it, and whether one of them says who wrote it.

    ``flagged`` is ``None`` for a pair from before texts were looked at. ``longer_by``: characters that the text of
    ``second`` has more.
    """

    kind: PairKind
    is_settled: bool
    flagged: bool | None
    longer_by: int


def verify_plan(session: Session, batch: EvalBatch, secret: bytes, findings: Findings, *, must: bool) -> None:
    """Check the frozen plan and its members. ``must``: an eval batch launched earlier has a seal, so this one has."""
    row = f"Eval batch {batch.name}"
    if batch.seal is None and not must:
        findings.checked.older += 1
    else:
        covers = "its plan, members and the slices of its suite"
        findings.seal(row, plan_seal(session, batch, secret), batch.seal, covers=covers)
    if batch.server_told is not None or batch.server_seal is not None:
        covers = "what its server told of itself"
        findings.seal(row, server_seal(batch, secret), batch.server_seal, covers=covers)
    findings.equal(row, "closed since, as its state tells,", batch.state is BatchState.CLOSED, bool(batch.closed_at))
    other = BatchState.IMPORTING if batch.imported_from is None else BatchState.OPEN
    if batch.state is other:
        findings.differs(row, f"no state {other.value}, going by where its verdicts come from", other.value)
    members = session.execute(
        select(Checkpoint.name, Checkpoint.fingerprint, BatchCheckpoint.fingerprint)
        .join(Checkpoint, Checkpoint.id == BatchCheckpoint.checkpoint_id)
        .where(BatchCheckpoint.eval_batch_id == batch.id)
    )
    for name, now, at_launch in members:
        findings.equal(f"Checkpoint {name} of {batch.name}", "the fingerprint of the launch,", at_launch, now)


def verify_prompts(session: Session, batch: EvalBatch, findings: Findings) -> None:
    """Check that every prompt is the text that its hash was made of."""
    used = select(Pair.prompt_id).where(Pair.eval_batch_id == batch.id)
    query = select(Prompt).where(or_(Prompt.suite_id == batch.suite_id, Prompt.id.in_(used)))
    for (prompt,) in streamed(session, query):
        row = f"Prompt {prompt.key} of {batch.name}"
        findings.equal(row, "the hash of its messages,", _sha256_of_json(prompt.messages), prompt.sha256)


def verify_pairs(session: Session, batch: EvalBatch, secret: bytes, findings: Findings) -> dict[uuid.UUID, PairFacts]:
    """Check every pair; returns what follows from the texts of each."""
    members = session.execute(
        select(BatchCheckpoint.checkpoint_id, BatchCheckpoint.fingerprint)
        .where(BatchCheckpoint.eval_batch_id == batch.id)
        .order_by(BatchCheckpoint.position)
    ).all()
    prints = [fingerprint for _, fingerprint in members]
    meet = set(matchups(batch.design, prints[0], prints[1:])) if members else set()
    fingerprint_of = {row.checkpoint_id: row.fingerprint for row in members}
    first, second = aliased(Response), aliased(Response)
    query = (
        select(
            Pair, Prompt.sha256.label("prompt"), Prompt.suite_id,
            first.fingerprint.label("first_print"), first.text.label("first_text"),
            first.text_sha256.label("first_sha256"), first.prompt_sha256.label("first_prompt"),
            second.fingerprint.label("second_print"), second.text.label("second_text"),
            second.text_sha256.label("second_sha256"), second.prompt_sha256.label("second_prompt"),
        )
        .join(Prompt, Prompt.id == Pair.prompt_id)
        .join(first, first.id == Pair.first_response_id)
        .join(second, second.id == Pair.second_response_id)
        .where(Pair.eval_batch_id == batch.id)
        .order_by(Pair.id)
    )  # fmt: skip
    found: dict[uuid.UUID, PairFacts] = {}
    names = names_of(session, batch.id)
    told: dict[uuid.UUID, bool] = {}  # each text is looked at once, however many pairs it is in
    for said in streamed(session, query):
        pair, row = said.Pair, f"Pair {said.Pair.id} of {batch.name}"
        findings.checked.pairs += 1
        for response_id, text in (
            (pair.first_response_id, said.first_text), (pair.second_response_id, said.second_text)
        ):  # fmt: skip
            if response_id not in told:
                told[response_id] = bool(leaks(text, names))
        flagged = told[pair.first_response_id] or told[pair.second_response_id]
        is_old = pair.self_identifies is None
        longer_by = len(said.second_text) - len(said.first_text)
        found[pair.id] = PairFacts(pair.kind, pair.settled is not None, None if is_old else flagged, longer_by)
        if pair.self_identifies not in (None, flagged):
            what = "a flag, as a text says" if flagged else "no flag, as no text says"
            findings.differs(row, f"{what} who wrote it", "none" if flagged else "one")
        for which, text, sha256 in (
            ("first", said.first_text, said.first_sha256), ("second", said.second_text, said.second_sha256)
        ):  # fmt: skip
            is_hash = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
            findings.equal(f"The {which} response of {row}", "the hash of its text,", is_hash, sha256)
        # Votes that were cast elsewhere are what they are, whatever the texts.
        settled = settle(said.first_text, said.second_text) if batch.imported_from is None else None
        findings.equal(row, "a settled state from its texts of", settled, pair.settled)
        findings.equal(row, "a first response to its prompt", said.prompt, said.first_prompt)
        findings.equal(row, "a second response to its prompt", said.prompt, said.second_prompt)
        if pair.kind in _COMPETING:
            findings.equal(row, "a prompt of the suite", batch.suite_id, said.suite_id)
            two = (fingerprint_of.get(pair.first_id), fingerprint_of.get(pair.second_id))
            findings.equal(row, "responses by its two checkpoints,", two, (said.first_print, said.second_print))
            if two not in (meet if pair.kind is PairKind.MAIN else {(prints[0], prints[0])}):
                findings.differs(row, "two members that meet, in canonical order", " and ".join(map(str, two)))
        if pair.seal is None and batch.seal is None:
            findings.checked.older += 1
            continue
        texts = [said.first_print, said.first_text, said.second_print, said.second_text]
        made = pair_seal_of(pair, secret, plan=batch.seal, prompt=said.prompt, texts=texts)
        findings.seal(row, made, pair.seal, covers="who wrote which text to which prompt")
    _all_there(session, batch, findings, Counter(one.kind for one in found.values()))
    return found


def _all_there(session: Session, batch: EvalBatch, findings: Findings, kinds: Counter[PairKind]) -> None:
    """No pair was taken away or added: gold and canaries are there from launch, the others once generation is done."""
    job = session.get(Job, batch.job_id) if batch.job_id else None
    done = job is None or job.state is JobState.DONE
    for kind, planned, all_there in (
        (PairKind.MAIN, batch.planned_pairs, done),
        (PairKind.PLACEBO, batch.placebo_pairs, done),
        (PairKind.GOLD, batch.gold_pairs, True),
        (PairKind.CANARY, batch.canary_pairs, True),
    ):
        if kinds[kind] > planned or (all_there and kinds[kind] < planned):
            findings.differs(f"Eval batch {batch.name}", f"{planned} {kind.value} pairs as planned", kinds[kind])


def _sha256_of_json(value: object) -> str:
    """As prompts are hashed at import."""
    canonical = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
