"""The arena's own export: everything that was said of the pairs of a closed eval batch, so that another can import it.

Who wrote what is in it. Lines stand in an order that follows from their content alone, so that what was imported and is
exported again is the same file, byte for byte. Without: placebo, gold and canary pairs, repeats, votes taken back.
"""

import json
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.blinding import sides
from app.domain.imports.items import UNKNOWN_PROMPT
from app.domain.imports.own import FORMAT
from app.domain.terms import BallotState, PairKind
from app.models import (
    Ballot,
    BatchCheckpoint,
    Checkpoint,
    EvalBatch,
    Judge,
    JudgeCall,
    Judging,
    Pair,
    Prompt,
    Response,
    Verdict,
    Voter,
)
from app.queries.exports.pairs import exportable
from app.queries.exports.rows import Row

FILE = "comparison.jsonl"

NO_TEXT = "imported without its text"
"""The engine of a response of which only the author is known."""

_CHUNK = 200
"""Prompts at a time."""

_IDS = 500
"""Ids in one statement."""


class _Member(NamedTuple):
    position: int
    name: str


def rows(session: Session, batch_id: uuid.UUID) -> Iterator[Row]:
    """The lines of the file.

    Raises:
        NotFoundError, ConflictError, ForbiddenError: see ``exportable``.
    """
    batch = exportable(session, batch_id)
    members = _members(session, batch)
    voters = _voters(session, batch)
    yield _line("batch", format=FORMAT, design=batch.design.value)
    for member in sorted(members.values()):
        yield _line("checkpoint", name=member.name)
    modes = session.execute(
        select(Judge.voter_id, Judging.mode)
        .join(Judging, Judging.judge_id == Judge.id)
        .where(Judging.eval_batch_id == batch.id)
    )
    for name, mode in sorted((voters[voter_id], mode) for voter_id, mode in modes if voter_id in voters):
        yield _line("judge", name=name, mode=mode.value)
    pairs = select(Pair.prompt_id).where(Pair.eval_batch_id == batch.id, Pair.kind == PairKind.MAIN)
    prompts = session.scalars(select(Prompt).where(Prompt.id.in_(pairs)).order_by(Prompt.position)).all()
    for start in range(0, len(prompts), _CHUNK):
        yield from _prompts(session, batch, prompts[start : start + _CHUNK], members, voters)


def _members(session: Session, batch: EvalBatch) -> dict[uuid.UUID, _Member]:
    """The checkpoints; an imported one is called as in the file that it came from."""
    query = (
        select(Checkpoint, BatchCheckpoint.position)
        .join(BatchCheckpoint, BatchCheckpoint.checkpoint_id == Checkpoint.id)
        .where(BatchCheckpoint.eval_batch_id == batch.id)
    )
    return {
        checkpoint.id: _Member(position, str((checkpoint.origin or {}).get("model") or checkpoint.name))
        for checkpoint, position in session.execute(query)
    }


def _voters(session: Session, batch: EvalBatch) -> dict[uuid.UUID, str]:
    """What voters are called; of those with one name, all but the first have a number behind it."""
    ids = select(Ballot.voter_id).where(Ballot.eval_batch_id == batch.id)
    rows = session.scalars(select(Voter).where(Voter.id.in_(ids)).order_by(Voter.created_at, Voter.id)).all()
    taken = {(voter.kind, voter.name) for voter in rows}
    names: dict[uuid.UUID, str] = {}
    given = set[tuple[str, str]]()
    for voter in rows:
        name, number = voter.name, 1
        while (voter.kind, name) in given or (number > 1 and (voter.kind, name) in taken):
            number += 1
            name = f"{voter.name} ({number})"
        given.add((voter.kind, name))
        names[voter.id] = name
    return names


def _prompts(
    session: Session,
    batch: EvalBatch,
    prompts: Sequence[Prompt],
    members: Mapping[uuid.UUID, _Member],
    voters: Mapping[uuid.UUID, str],
) -> Iterator[Row]:
    of_batch = (Pair.eval_batch_id == batch.id, Pair.kind == PairKind.MAIN)
    ids = [prompt.id for prompt in prompts]
    pairs = defaultdict[uuid.UUID, list[Pair]](list)
    for pair in session.scalars(select(Pair).where(*of_batch, Pair.prompt_id.in_(ids))):
        pairs[pair.prompt_id].append(pair)
    said = _said(session, batch, ids, members, voters, {p.id: p for of in pairs.values() for p in of},
                 {prompt.id: prompt.key for prompt in prompts})  # fmt: skip
    for prompt in prompts:
        yield _prompt(prompt)
        yield from _responses(session, prompt, pairs[prompt.id], members)
        for key, pair in sorted((_place(pair, members), pair) for pair in pairs[prompt.id]):
            replicate, one, other = key
            yield _line("pair", prompt=prompt.key, replicate=replicate, a=one.name, b=other.name)
            yield from sorted(said[pair.id], key=_by_voter)


def _prompt(prompt: Prompt) -> Row:
    known = [turn["content"] for turn in prompt.messages] != [UNKNOWN_PROMPT]
    messages = [{"role": turn["role"], "content": turn["content"]} for turn in prompt.messages] if known else []
    return _line("prompt", key=prompt.key, category=prompt.category, domain=prompt.domain.value, messages=messages)


def _place(pair: Pair, members: Mapping[uuid.UUID, _Member]) -> tuple[int, _Member, _Member]:
    one, other = sorted((members[pair.first_id], members[pair.second_id]))
    return pair.replicate, one, other


def _responses(
    session: Session, prompt: Prompt, pairs: Sequence[Pair], members: Mapping[uuid.UUID, _Member]
) -> Iterator[Row]:
    wanted = {
        (pair.replicate, members[checkpoint_id]): response_id
        for pair in pairs
        for checkpoint_id, response_id in (
            (pair.first_id, pair.first_response_id), (pair.second_id, pair.second_response_id)
        )
    }  # fmt: skip
    texts = {
        id_: None if engine == NO_TEXT else text
        for id_, text, engine in session.execute(
            select(Response.id, Response.text, Response.engine).where(Response.id.in_(set(wanted.values())))
        )
    }
    for replicate, member in sorted(wanted):
        text = texts[wanted[replicate, member]]
        if text is not None:
            yield _line("response", prompt=prompt.key, replicate=replicate, checkpoint=member.name, text=text)


def _said(
    session: Session,
    batch: EvalBatch,
    prompts: Sequence[uuid.UUID],
    members: Mapping[uuid.UUID, _Member],
    voters: Mapping[uuid.UUID, str],
    pairs: Mapping[uuid.UUID, Pair],
    keys: Mapping[uuid.UUID, str],
) -> dict[uuid.UUID, list[Row]]:
    """The lines of verdicts and of replies without a choice, by pair."""
    last = (
        select(JudgeCall.ballot_id, func.max(JudgeCall.attempt).label("attempt"))
        .group_by(JudgeCall.ballot_id)
        .subquery()
    )
    query = (
        select(Ballot, Voter.simulated)
        .join(Pair, Pair.id == Ballot.pair_id)
        .join(Voter, Voter.id == Ballot.voter_id)
        .where(Pair.eval_batch_id == batch.id, Pair.kind == PairKind.MAIN, Pair.prompt_id.in_(prompts))
        .where(Ballot.state.in_((BallotState.VOTED, BallotState.UNPARSED)), Ballot.is_repeat.is_(False))
    )
    rows = session.execute(query).all()
    ids = [ballot.id for ballot, _ in rows]
    verdicts = {
        verdict.ballot_id: verdict
        for start in range(0, len(ids), _IDS)
        for verdict in session.scalars(select(Verdict).where(Verdict.ballot_id.in_(ids[start : start + _IDS])))
    }
    unparsed = [ballot.id for ballot, _ in rows if ballot.state is BallotState.UNPARSED]
    replies = dict(
        session.execute(
            select(JudgeCall.ballot_id, JudgeCall.reply)
            .join(last, (last.c.ballot_id == JudgeCall.ballot_id) & (last.c.attempt == JudgeCall.attempt))
            .where(JudgeCall.ballot_id.in_(unparsed))
        ).all()
    )
    found = defaultdict[uuid.UUID, list[Row]](list)
    for ballot, simulated in rows:
        pair, verdict = pairs[ballot.pair_id], verdicts.get(ballot.id)
        a, b = (members[id_].name for id_ in sides(ballot.order, pair.first_id, pair.second_id))
        who = {"voter": voters[ballot.voter_id], "kind": ballot.voter_kind.value}
        told = {"prompt": keys[pair.prompt_id], "replicate": pair.replicate, "a": a, "b": b, **who}
        told |= {"choice": None if verdict is None else verdict.choice.value, "order_known": ballot.order_known}
        if verdict is None:
            told |= {"said": replies.get(ballot.id, "")}
            at = ballot.closed_at
        else:
            told |= _words(ballot, verdict)
            at = verdict.cast_at
        if at is not None and (batch.imported_from is None or at != batch.created_at):
            told["cast_at"] = at.isoformat()
        if simulated:
            told["simulated"] = True
        found[pair.id].append(_line("verdict", **{name: value for name, value in told.items() if value != ""}))
    return found


def _words(ballot: Ballot, verdict: Verdict) -> dict[str, Any]:
    """What was said beside the choice; what was not is left out."""
    told: dict[str, Any] = {}
    if verdict.score is not None:
        _, told["score"] = sides(ballot.order, 1 - verdict.score, verdict.score)
    if verdict.reason:
        told["said"] = verdict.reason
    if verdict.tags:
        told["tags"] = list(verdict.tags)
    if verdict.seconds:
        told["seconds"] = verdict.seconds
    return told


def _by_voter(row: Row) -> tuple[str, str, str]:
    """An order that follows from what is said alone."""
    fields = row[1]
    return fields["kind"], fields["voter"], json.dumps(fields, ensure_ascii=False)


def _line(what: str, /, **fields: Any) -> Row:
    return FILE, {"type": what, **fields}
