"""Judges: what they are, which eval batches they were asked about, and every call that was sent."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.terms import (
    CallState,
    Confidence,
    JudgingState,
    ProviderKind,
    StopReason,
    SwapMode,
    Trouble,
    UnparsedReason,
)
from app.models.types import Identified, Table, TextEnum

_SENT = "state = 'sent'"


class Judge(Identified, Table):
    """A provider's model, a version of a rubric and parameters. Never edited: with another of them it is another judge.

    Its name is the name of its voter.
    """

    __tablename__ = "judge"

    voter_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("voter.id"), unique=True)
    provider: Mapped[ProviderKind] = mapped_column(TextEnum(ProviderKind))
    base_url: Mapped[str] = mapped_column(String(300))
    """Where the server is; empty for the provider's own address."""
    model: Mapped[str] = mapped_column(String(200))
    rubric_name: Mapped[str] = mapped_column(String(60))
    rubric_version: Mapped[int]
    rubric_sha256: Mapped[str] = mapped_column(String(64))
    rubric_text: Mapped[str] = mapped_column(Text)
    """What it reads with every call, so that a verdict stays readable when the file has changed."""
    parameters: Mapped[dict[str, Any]]
    """Fields of ``app.providers.calls.Parameters``."""
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)
    """Hash over everything above but the voter."""
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]
    """Since when it is offered for no new eval batch."""


class Judging(Identified, Table):
    """One judge asked about the pairs of one eval batch. It stands beside the plan, which it does not change."""

    __tablename__ = "judging"
    __table_args__ = (UniqueConstraint("eval_batch_id", "judge_id"),)

    eval_batch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("eval_batch.id"), index=True)
    judge_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("judge.id"), index=True)
    mode: Mapped[SwapMode] = mapped_column(TextEnum(SwapMode))
    after_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("judging.id"))
    """Only the pairs on which this other judge of the batch was torn; ``None``: all."""
    in_batches: Mapped[bool] = mapped_column(default=False)
    """Whether calls go through the provider's batch interface: cheaper, within a day."""
    cap_micro_dollars: Mapped[int | None] = mapped_column(BigInteger)
    """What may be spent at most, in millionths of a dollar. ``None``: no cap, for models without a price."""
    projected_micro_dollars: Mapped[int | None] = mapped_column(BigInteger)
    """What it was expected to cost when it was last started; ``None``: the model has no price in the table."""
    state: Mapped[JudgingState] = mapped_column(TextEnum(JudgingState))
    trouble: Mapped[Trouble | None] = mapped_column(TextEnum(Trouble))
    message: Mapped[str] = mapped_column(Text, default="")
    """Why it stopped and what to do next, in a sentence for people."""
    job_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("job.id"))
    """The job of the last start."""
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class JudgeCall(Identified, Table):
    """One attempt to get a verdict on one ballot. The row is there before anything is sent, and is never deleted."""

    __tablename__ = "judge_call"
    __table_args__ = (
        UniqueConstraint("ballot_id", "attempt"),
        Index("uq_judge_call_sent", "ballot_id", unique=True,
              sqlite_where=text(_SENT), postgresql_where=text(_SENT)),
        Index("ix_judge_call_judging_state", "judging_id", "state"),
    )  # fmt: skip

    judging_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("judging.id"))
    ballot_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("ballot.id"))
    attempt: Mapped[int]
    """Counts from 1 for each ballot."""
    state: Mapped[CallState] = mapped_column(TextEnum(CallState))
    request: Mapped[dict[str, Any]]
    """The body as it is sent, without the key."""
    worst_micro_dollars: Mapped[int | None] = mapped_column(BigInteger)
    """What it can cost at most: held against the cap until the real cost is known."""
    sent_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    provider_batch: Mapped[str] = mapped_column(String(100), default="")
    """The provider's id of the batch it was handed in with."""
    raw: Mapped[str] = mapped_column(Text, default="")
    """The body of what came back, as it came."""
    reply: Mapped[str] = mapped_column(Text, default="")
    """The model's text in it."""
    stop: Mapped[StopReason | None] = mapped_column(TextEnum(StopReason))
    unparsed: Mapped[UnparsedReason | None] = mapped_column(TextEnum(UnparsedReason))
    trouble: Mapped[Trouble | None] = mapped_column(TextEnum(Trouble))
    detail: Mapped[str] = mapped_column(Text, default="")
    """Why there is no verdict, in words."""
    confidence: Mapped[Confidence | None] = mapped_column(TextEnum(Confidence))
    answered_as: Mapped[str] = mapped_column(String(200), default="")
    """The model as the provider names it in the reply."""
    request_id: Mapped[str] = mapped_column(String(200), default="")
    latency_ms: Mapped[int | None]
    input_tokens: Mapped[int] = mapped_column(default=0)
    """Neither written to the provider's cache nor read from it."""
    output_tokens: Mapped[int] = mapped_column(default=0)
    cache_write_tokens: Mapped[int] = mapped_column(default=0)
    cache_write_1h_tokens: Mapped[int] = mapped_column(default=0)
    cache_read_tokens: Mapped[int] = mapped_column(default=0)
    cost_micro_dollars: Mapped[int | None] = mapped_column(BigInteger)
    """By the price table; ``None`` while it is under way, when the reply was lost, and for models without a price."""
    price_table: Mapped[str] = mapped_column(String(100), default="")
