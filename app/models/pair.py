"""Pairs: two responses to one prompt and replicate, and the running count of their verdicts."""

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.terms import PairKind, Settled, VoterKind
from app.models.types import Identified, Table, TextEnum


class Pair(Identified, Table):
    """``first`` and ``second`` in canonical order: first = baseline, between challengers the smaller fingerprint.

    Belongs to exactly one eval batch, so that one batch's reveal cannot unblind another's ballots.
    """

    __tablename__ = "pair"
    __table_args__ = (
        UniqueConstraint("eval_batch_id", "kind", "prompt_id", "replicate", "first_id", "second_id", name="uq_pair"),
    )

    eval_batch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("eval_batch.id"))
    kind: Mapped[PairKind] = mapped_column(TextEnum(PairKind))
    prompt_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("prompt.id"))
    replicate: Mapped[int]
    first_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("checkpoint.id"))
    second_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("checkpoint.id"))
    first_response_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("response.id"))
    second_response_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("response.id"))
    settled: Mapped[Settled | None] = mapped_column(TextEnum(Settled))
    """Set when the texts decide without a voter; such a pair is never shown and never in n."""
    self_identifies: Mapped[bool | None]
    """Whether a text says who wrote it; ``None``: formed before texts were looked at."""
    created_at: Mapped[datetime]
    seal: Mapped[str | None] = mapped_column(String(64))
    """Keyed hash over who wrote which text, made when the pair was formed; ``None``: older than seals."""


class Tally(Table):
    """Slots and verdicts of one kind of voter on one pair, counted in the transaction of the ballot or verdict.

    Pages read these rows: they grow with pairs, not with verdicts. A recount must give the same numbers.
    """

    __tablename__ = "tally"

    pair_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("pair.id"), primary_key=True)
    voter_kind: Mapped[VoterKind] = mapped_column(TextEnum(VoterKind), primary_key=True)
    eval_batch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("eval_batch.id"), index=True)
    held: Mapped[int] = mapped_column(default=0)
    """Slots that are taken: ballots open or voted, without repeats."""
    drawn_first_is_a: Mapped[int] = mapped_column(default=0)
    """First showings in the order first is A, without repeats; with the next, what the blocks of orders go by."""
    drawn_second_is_a: Mapped[int] = mapped_column(default=0)
    first: Mapped[int] = mapped_column(default=0)
    second: Mapped[int] = mapped_column(default=0)
    tie: Mapped[int] = mapped_column(default=0)
    both_bad: Mapped[int] = mapped_column(default=0)
    """The part of ``tie`` that was cast as "both bad"."""
