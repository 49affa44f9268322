"""An arena to be voted on: a home in a temporary folder, an eval batch with texts of usual length, raters signed in."""

import hashlib
import json
import random
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.bench.server import rows
from app.config import Settings
from app.db import Database, migrate
from app.domain.terms import CheckpointKind, Domain, FinishReason, Role, VoterKind
from app.models import Account, Checkpoint, EvalBatch, Seat, SignIn, Suite, Voter
from app.services.eval_batches import LaunchPlan, freeze
from app.services.files import NamedFile
from app.services.responses import Generated, form_pairs, plan_of, store
from app.services.suites import add_suite

_SENTENCE = (
    "a cheese that ripens slowly asks for a cool room and some patience because the rind changes before the inside "
    "does and whoever cuts it early tastes mostly salt and chalk and none of what the milk had to say"
)
_WORDS = _SENTENCE.split()
_SHORTEST, _LONGEST = 80, 260
"""Words of a text."""

_DOMAINS = tuple(Domain)

_SPARE = 1.25
"""Pairs for each rater beyond those that the votes need, so that nobody runs out before the end."""

_MOST_VOTES_PER_PAIR = 100


@dataclass(frozen=True)
class BenchArena:
    """Where it is, what is voted on, and the session tokens of those who vote."""

    settings: Settings
    batch_id: uuid.UUID
    tokens: tuple[str, ...]


def settings_for(home: Path, database_url: str) -> Settings:
    """Settings that read neither environment nor ``.env``, and import nothing that ships."""
    return Settings(_env_file=None, home=home, database_url=database_url, secret="", base_model="", sample_study=False)


def make_arena(settings: Settings, *, raters: int, votes: int) -> BenchArena:
    """Tables, pairs and raters."""
    migrate(settings.database)
    database, now = Database.at(settings.database), datetime.now(UTC)
    rows.metadata.create_all(database.engine)
    with database.session_scope() as session:
        votes_per_pair = min(raters, _MOST_VOTES_PER_PAIR)
        pairs = ceil(_SPARE * votes / votes_per_pair) + 10
        batch_id = _batch(session, settings.secret_key(), pairs, votes_per_pair=votes_per_pair, now=now)
        tokens = tuple(_rater(session, batch_id, number, now=now) for number in range(raters))
    database.engine.dispose()
    return BenchArena(settings, batch_id, tokens)


def make_pairs(settings: Settings, pairs: int) -> uuid.UUID:
    """Tables and so many pairs to judge; returns the eval batch."""
    migrate(settings.database)
    database = Database.at(settings.database)
    with database.session_scope() as session:
        batch_id = _batch(session, settings.secret_key(), pairs, votes_per_pair=1, now=datetime.now(UTC))
    database.engine.dispose()
    return batch_id


def _batch(session: Session, secret: bytes, prompts: int, *, votes_per_pair: int, now: datetime) -> uuid.UUID:
    suite, members = make_ground(session, prompts, now=now)
    plan = plan_for(members, "bench", votes_per_pair=votes_per_pair)
    return make_batch(session, secret, suite, members, plan, words=(_SHORTEST, _LONGEST), now=now).id


def make_ground(session: Session, prompts: int, *, now: datetime) -> tuple[Suite, list[Checkpoint]]:
    """What eval batches stand on: a suite of so many prompts, a baseline and its challenger."""
    rng = random.Random(1)  # noqa: S311 (every run reads the same texts)
    lines = [
        {
            "key": f"key-{n}",
            "category": f"category {n % 8}",
            "domain": _DOMAINS[n % 2],
            "prompt": f"{n}: {_text(rng, 12)}?",
        }
        for n in range(prompts)
    ]
    suite = add_suite(session, NamedFile("bench", "\n".join(map(json.dumps, lines)).encode()), now=now, name="bench")
    members = [
        Checkpoint(
            name=f"bench/{name}", kind=CheckpointKind.EXTERNAL, fingerprint=hashlib.sha256(name.encode()).hexdigest(),
            created_at=now,
        )
        for name in ("base", "adapter")
    ]  # fmt: skip
    session.add_all(members)
    session.flush()
    return suite, members


def plan_for(members: Sequence[Checkpoint], name: str, **more: Any) -> LaunchPlan:
    """A plan in which the others meet the first; ``more`` are further fields of it."""
    return LaunchPlan(
        suite="bench", challengers=tuple(member.name for member in members[1:]), baseline=members[0].name, name=name,
        **more,
    )  # fmt: skip


def make_batch(
    session: Session, secret: bytes, suite: Suite, members: Sequence[Checkpoint], plan: LaunchPlan, *,
    words: tuple[int, int], now: datetime,
) -> EvalBatch:  # fmt: skip
    """An eval batch by this plan with its responses, of so many words at least and at most, and its pairs."""
    rng = random.Random(2)  # noqa: S311 (every run reads the same texts)
    batch = freeze(session, plan, suite, members, secret=secret, now=now)
    planned = plan_of(session, batch)
    said = [Generated(one, _text(rng, rng.randint(*words)), 200, FinishReason.STOP) for one in planned]
    store(session, batch, said, engine="none: written by the bench", now=now)
    form_pairs(session, batch, planned, secret=secret, now=now)
    return batch


def _text(rng: random.Random, words: int) -> str:
    """Paragraphs of so many words."""
    drawn = [rng.choice(_WORDS) for _ in range(words)]
    return "\n\n".join(" ".join(drawn[start : start + 60]) for start in range(0, words, 60))


def _rater(session: Session, batch_id: uuid.UUID, number: int, *, now: datetime) -> str:
    """An account with a seat, signed in; returns the token of its session."""
    name, token = f"rater {number}", secrets.token_urlsafe(32)
    voter = Voter(kind=VoterKind.RATER, name=name, created_at=now)
    session.add(voter)
    session.flush()
    account = Account(name=name, role=Role.RATER, voter_id=voter.id, created_at=now)
    session.add_all((account, Seat(eval_batch_id=batch_id, voter_id=voter.id, title="bench", joined_at=now)))
    session.flush()
    token_sha256, expires_at = hashlib.sha256(token.encode()).hexdigest(), now + timedelta(days=1)
    session.add(SignIn(account_id=account.id, token_sha256=token_sha256, created_at=now, expires_at=expires_at))
    return token
