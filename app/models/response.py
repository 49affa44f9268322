"""Responses: the text a checkpoint gave to a prompt for one seed."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.terms import FinishReason
from app.models.types import Identified, Table, TextEnum

RESPONSE_KEY = (
    "fingerprint",
    "base_hash",
    "template_hash",
    "prompt_sha256",
    "system_sha256",
    "sampling_sha256",
    "seed",
    "twin",
)
"""Everything that decides the text. Same key, same response: later eval batches reuse it."""


class Response(Identified, Table):
    """One generated text with all that would be needed to generate it again."""

    __tablename__ = "response"
    __table_args__ = (UniqueConstraint(*RESPONSE_KEY, name="uq_response_key"),)

    checkpoint_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("checkpoint.id"), index=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    base_hash: Mapped[str] = mapped_column(String(64))
    template_hash: Mapped[str] = mapped_column(String(64))
    prompt_sha256: Mapped[str] = mapped_column(String(64))
    system_sha256: Mapped[str] = mapped_column(String(64))
    sampling_sha256: Mapped[str] = mapped_column(String(64))
    seed: Mapped[int] = mapped_column(BigInteger, index=True)
    twin: Mapped[int] = mapped_column(default=0)
    """0, or 1 for the second text of a placebo pair: it keys the sampling noise."""
    sampling: Mapped[dict[str, Any]]
    text: Mapped[str] = mapped_column(Text)
    text_sha256: Mapped[str] = mapped_column(String(64))
    token_count: Mapped[int]
    finish_reason: Mapped[FinishReason] = mapped_column(TextEnum(FinishReason))
    engine: Mapped[str] = mapped_column(String(400))
    """Device, dtype and versions that made it; equality across engines is never promised."""
    created_at: Mapped[datetime]
