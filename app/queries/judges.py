"""Judges: the list, one judge with all it was asked, and its raw calls."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.domain.terms import ProviderKind
from app.models import EvalBatch, Judge, JudgeCall, Judging, Voter
from app.queries.judging import Calls, JudgingView, calls_of, judging_views
from app.queries.paging import FIRST_PAGE, Wanted, Window, find

_CHUNK = 200
"""Calls that are read at a time: each holds two texts and a reply."""

RawCall = dict[str, Any]
"""A line of the export. It names a ballot and its texts as they were shown, and no checkpoint."""

_PROVIDERS = {
    ProviderKind.ANTHROPIC: "Anthropic",
    ProviderKind.OPENAI_COMPATIBLE: "chat completions",
    ProviderKind.IMPORTED: "imported",
}


@dataclass(frozen=True)
class JudgeRow:
    """One judge with what it has done so far."""

    id: uuid.UUID
    name: str
    model: str
    provider: ProviderKind
    server: str
    """Who answers, in words."""
    rubric: str
    parameters: tuple[str, ...]
    simulated: bool
    batches: int
    calls: Calls
    created_at: datetime
    retired_at: datetime | None


@dataclass(frozen=True)
class JudgesPage:
    """A page of the judges, newest first."""

    rows: tuple[JudgeRow, ...]
    window: Window
    has_key: bool


@dataclass(frozen=True)
class JudgePage:
    """One judge, what it reads, and a page of the eval batches it was asked about, newest first."""

    judge: JudgeRow
    base_url: str
    fingerprint: str
    rubric_name: str
    rubric_text: str
    rubric_sha256: str
    asked: tuple[JudgingView, ...]
    window: Window


def in_words(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """Parameters as people read them; what is left to the model is not said."""
    if not parameters:  # of an imported judge nobody told how it was asked
        return ()
    said = [f"replies of at most {parameters['max_tokens']:,} tokens".replace(",", "\N{NARROW NO-BREAK SPACE}")]
    if parameters.get("effort") is not None:
        said.append(f"{parameters['effort']} effort")
    if parameters.get("thinking") is not None:
        said.append("with thinking" if parameters["thinking"] else "without thinking")
    if parameters.get("temperature") is not None:
        said.append(f"temperature {parameters['temperature']:g}")
    return tuple(said)


def judge_rows(session: Session, *conditions: Any) -> tuple[JudgeRow, ...]:
    """Judges newest first, in a fixed number of queries."""
    found = session.execute(
        select(Judge, Voter.name, Voter.simulated)
        .join(Voter, Voter.id == Judge.voter_id)
        .where(*conditions)
        .order_by(*_NEWEST_FIRST)
    ).all()
    ids = [judge.id for judge, *_ in found]
    calls = calls_of(session, Judging.judge_id, Judging.judge_id.in_(ids))
    query = select(Judging.judge_id, func.count(Judging.id)).where(Judging.judge_id.in_(ids))
    batches = dict(session.execute(query.group_by(Judging.judge_id)).all())
    return tuple(
        JudgeRow(
            id=judge.id,
            name=name,
            model=judge.model,
            provider=judge.provider,
            server=f"{_PROVIDERS[judge.provider]} at {judge.base_url}" if judge.base_url else "Anthropic",
            rubric=f"{judge.rubric_name} v{judge.rubric_version}",
            parameters=in_words(judge.parameters),
            simulated=simulated,
            batches=batches.get(judge.id, 0),
            calls=calls.get(judge.id, Calls()),
            created_at=judge.created_at,
            retired_at=judge.retired_at,
        )
        for judge, name, simulated in found
    )


_NEWEST_FIRST = (Judge.created_at.desc(), Judge.id)


def judges_page(session: Session, wanted: Wanted = FIRST_PAGE, *, has_key: bool) -> JudgesPage:
    """The list of judges."""
    name = select(Voter.name).where(Voter.id == Judge.voter_id).scalar_subquery()
    ids, window = find(session, wanted, Judge, _NEWEST_FIRST, name, Judge.model)
    return JudgesPage(judge_rows(session, Judge.id.in_(ids)), window, has_key)


def judge_page(session: Session, judge_id: uuid.UUID, wanted: Wanted = FIRST_PAGE) -> JudgePage:
    """One judge.

    Raises:
        NotFoundError: no judge has this id.
    """
    rows, judge = judge_rows(session, Judge.id == judge_id), session.get(Judge, judge_id)
    if not rows or judge is None:
        raise NotFoundError("There is no such judge. The page Judges shows what exists.")
    newest_first = (Judging.created_at.desc(), Judging.id)
    name = select(EvalBatch.name).where(EvalBatch.id == Judging.eval_batch_id).scalar_subquery()
    ids, window = find(session, wanted, Judging, newest_first, name, within=Judging.judge_id == judge_id)
    return JudgePage(
        judge=rows[0],
        base_url=judge.base_url,
        fingerprint=judge.fingerprint,
        rubric_name=judge.rubric_name,
        rubric_text=judge.rubric_text,
        rubric_sha256=judge.rubric_sha256,
        asked=judging_views(session, Judging.id.in_(ids), order=Judging.created_at.desc()),
        window=window,
    )


Place = tuple[datetime, uuid.UUID]
"""Where a reader of calls is: the moment and id of the last one."""


def raw_calls(session: Session, judge_id: uuid.UUID, after: Place | None = None) -> tuple[list[RawCall], Place | None]:
    """The next calls of a judge in the order in which they were sent, and where the reader then is."""
    query = (
        select(JudgeCall, EvalBatch.name)
        .join(Judging, Judging.id == JudgeCall.judging_id)
        .join(EvalBatch, EvalBatch.id == Judging.eval_batch_id)
        .where(Judging.judge_id == judge_id)
        .order_by(JudgeCall.sent_at, JudgeCall.id)
        .limit(_CHUNK)
    )
    if after is not None:
        moment, id_ = after
        later = and_(JudgeCall.sent_at == moment, JudgeCall.id > id_)
        query = query.where(or_(JudgeCall.sent_at > moment, later))
    rows = session.execute(query).all()
    last = rows[-1][0] if rows else None
    return [_raw(call, batch) for call, batch in rows], (last.sent_at, last.id) if last else None


def _raw(call: JudgeCall, batch: str) -> RawCall:
    return {
        "call_id": str(call.id),
        "eval_batch": batch,
        "ballot_id": str(call.ballot_id),
        "attempt": call.attempt,
        "state": call.state,
        "unparsed": call.unparsed,
        "trouble": call.trouble,
        "detail": call.detail,
        "sent_at": call.sent_at.isoformat(),
        "ended_at": call.ended_at.isoformat() if call.ended_at else None,
        "latency_ms": call.latency_ms,
        "answered_as": call.answered_as,
        "request_id": call.request_id,
        "provider_batch": call.provider_batch,
        "stop": call.stop,
        "confidence": call.confidence,
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "cache_write_tokens": call.cache_write_tokens,
        "cache_write_1h_tokens": call.cache_write_1h_tokens,
        "cache_read_tokens": call.cache_read_tokens,
        "cost_micro_dollars": call.cost_micro_dollars,
        "worst_micro_dollars": call.worst_micro_dollars,
        "price_table": call.price_table,
        "request": call.request,
        "reply": call.reply,
        "raw": call.raw,
    }
