"""What somebody reads before joining a comparison. It tells what is asked, and nothing of who competes."""

import uuid
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.terms import PairKind
from app.models import EvalBatch, Invite, Pair

_SECONDS_A_PAIR = 60
"""To read a prompt and two texts of a paragraph or two, and to choose."""


@dataclass(frozen=True)
class JoinPage:
    """An invite that lets in. ``pairs``: at most so many are there for one rater; 0 while none is written."""

    title: str
    pairs: int
    minutes: int
    joined: bool
    closed: bool


def join_page(session: Session, invite_id: uuid.UUID, *, joined: bool, closed: bool) -> JoinPage:
    """The page for one invite."""
    invite = session.get_one(Invite, invite_id)
    batch = session.get_one(EvalBatch, invite.eval_batch_id)
    reach = select(Pair.prompt_id, Pair.replicate).where(
        Pair.eval_batch_id == batch.id, Pair.kind == PairKind.MAIN, Pair.settled.is_(None)
    )
    if not batch.allow_repeats:
        reach = reach.distinct()
    pairs = session.scalar(select(func.count()).select_from(reach.subquery())) or 0
    if batch.rater_limit is not None:
        pairs = min(pairs, batch.rater_limit)
    return JoinPage(invite.title, pairs, max(1, round(pairs * _SECONDS_A_PAIR / 60)), joined, closed)
