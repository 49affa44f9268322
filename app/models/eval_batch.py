"""Eval batches: the frozen plan an admin launches."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.terms import BatchState, Design, Reveal
from app.models.types import Identified, Table, TextEnum


class EvalBatch(Identified, Table):
    """Who meets whom, on which prompts, sampled how, voted on how often. Frozen at launch."""

    __tablename__ = "eval_batch"

    name: Mapped[str] = mapped_column(String(120), unique=True)
    suite_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("suite.id"))
    design: Mapped[Design] = mapped_column(TextEnum(Design))
    baseline_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("checkpoint.id"))
    sampling: Mapped[dict[str, Any]]
    system_prompt: Mapped[str] = mapped_column(default="")
    seed: Mapped[int] = mapped_column(BigInteger)
    replicates: Mapped[int]
    votes_per_pair: Mapped[int]
    allow_repeats: Mapped[bool]
    """Whether one rater may meet the same baseline text again in another pair."""
    exclusion: Mapped[dict[str, Any]]
    """Rule by which raters' votes are left out, fixed before the first vote; empty: none."""
    rater_limit: Mapped[int | None]
    """Votes that one rater gives at most, those on gold pairs and repeats among them."""
    vote_limit: Mapped[int | None]
    """Slots that raters take at most in all; no limit but the slots of each pair when ``None``."""
    gold_pairs: Mapped[int] = mapped_column(default=0)
    """Pairs with a known better text; each rater gets each in both orders."""
    repeat_pairs: Mapped[int] = mapped_column(default=0)
    """Pairs that each rater is shown again, in the other order."""
    placebo_pairs: Mapped[int] = mapped_column(default=0)
    """Pairs of the baseline with itself."""
    canary_pairs: Mapped[int] = mapped_column(default=0)
    """Pairs that a script votes on through the whole real path."""
    ask_recognised: Mapped[bool] = mapped_column(default=False)
    """Whether raters are asked after a vote if they think they recognised who wrote one of the texts."""
    reveal: Mapped[Reveal] = mapped_column(TextEnum(Reveal))
    state: Mapped[BatchState] = mapped_column(TextEnum(BatchState))
    planned_pairs: Mapped[int]
    planned_responses: Mapped[int]
    job_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("job.id"))
    created_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    seal: Mapped[str | None] = mapped_column(String(64))
    """Keyed hash over the frozen plan, made at launch; ``None``: launched before plans were sealed."""
    served: Mapped[dict[str, Any] | None]
    """Which server writes the responses, and what it calls each checkpoint (``Serving``); ``None``: this arena does."""
    server_told: Mapped[dict[str, Any] | None]
    """What that server told of itself when it was last asked, and what looked odd (``ServerTold``)."""
    server_seal: Mapped[str | None] = mapped_column(String(64))
    """Keyed hash over the same, made when it is told."""
    imported_from: Mapped[dict[str, Any] | None]
    """Of verdicts that were cast elsewhere: the format and a hash over what was taken; ``None``: launched here."""


class BatchCheckpoint(Identified, Table):
    """A checkpoint that takes part in an eval batch, with its fingerprint as it was at launch."""

    __tablename__ = "batch_checkpoint"
    __table_args__ = (
        UniqueConstraint("eval_batch_id", "checkpoint_id"),
        UniqueConstraint("eval_batch_id", "position"),
    )

    eval_batch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("eval_batch.id"))
    checkpoint_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("checkpoint.id"))
    position: Mapped[int]
    """0 is the baseline."""
    fingerprint: Mapped[str] = mapped_column(String(64))
