"""Ballots: one showing of one pair to one voter in one stored order."""

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.terms import BallotState, Order, VoterKind
from app.models.types import Identified, Table, TextEnum

_LIVE = "state IN ('open', 'voted') AND NOT is_repeat AND voter_kind = 'rater'"
_HELD = "state = 'open' AND voter_kind = 'rater'"


class Ballot(Identified, Table):
    """Holds one of the pair's k slots while it is open or voted.

    The database itself forbids a rater's slot taken twice, a pair shown twice in one order and showing, and a
    rater with two open ballots in one eval batch (two tabs show the same ballot).
    """

    __tablename__ = "ballot"
    __table_args__ = (
        UniqueConstraint("pair_id", "voter_id", "order", "showing"),
        Index("uq_ballot_live_slot", "pair_id", "voter_kind", "slot", unique=True,
              sqlite_where=text(_LIVE), postgresql_where=text(_LIVE)),
        Index("uq_ballot_open_rater", "eval_batch_id", "voter_id", unique=True,
              sqlite_where=text(_HELD), postgresql_where=text(_HELD)),
        Index("uq_ballot_number", "eval_batch_id", "voter_id", "number", unique=True),
        Index("ix_ballot_batch_voter", "eval_batch_id", "voter_id", "state"),
    )  # fmt: skip

    pair_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("pair.id"))
    eval_batch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("eval_batch.id"))
    voter_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("voter.id"))
    voter_kind: Mapped[VoterKind] = mapped_column(TextEnum(VoterKind))
    number: Mapped[int | None]
    """0, 1, 2 … for each voter in each eval batch: a ballot taken away leaves a gap. ``None``: older than that."""
    slot: Mapped[int]
    order: Mapped[Order] = mapped_column(TextEnum(Order))
    order_known: Mapped[bool] = mapped_column(default=True)
    """``False``: imported without a word on the order. ``order`` is then a convention and says nothing of places."""
    showing: Mapped[int] = mapped_column(default=0)
    """0, then one more for each vote taken back: the same order is shown again. Imported: for each vote cast again."""
    is_repeat: Mapped[bool] = mapped_column(default=False)
    """A pair this rater has voted on is shown once more, in the other order; takes no slot."""
    state: Mapped[BallotState] = mapped_column(TextEnum(BallotState))
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    skip_reason: Mapped[str] = mapped_column(Text, default="")
    seal: Mapped[str] = mapped_column(String(64))
    """Keyed hash over order, slot and the shown texts, made at issue."""
