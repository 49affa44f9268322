"""Finished studies with as many verdicts as one likes: written as files and imported, as ``arena import`` does it.

So they are sealed and stored like any other, and how fast that goes is measured on the way.
"""

import json
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from app.config import Settings
from app.db import Database
from app.domain.blinding import choice_for, sides
from app.domain.imports.items import Log
from app.domain.imports.own import FORMAT
from app.domain.terms import Design, Domain, Order, Outcome, VoterKind
from app.models import Ballot, Verdict
from app.services import import_plan, imports

_TIES = 0.1
_WORDS = ("a tide", "the harbour", "two gulls", "an old rope", "wet sand", "a lamp", "the pilot", "grey light")


@dataclass(frozen=True)
class Many:
    """Where it is, and what is in it."""

    name: str
    batch_id: uuid.UUID
    pairs: int
    verdicts: int
    stored: int
    """Verdicts that the database holds of it."""
    reading_seconds: float
    """Until the file is read and it is known what is stored."""
    storing_seconds: float

    @property
    def per_second(self) -> int:
        """Verdicts a second, from the first byte that is read until all is stored."""
        return round(self.verdicts / (self.reading_seconds + self.storing_seconds))


def make_many(settings: Settings, *, checkpoints: int, prompts: int, verdicts: int, seed: int = 1) -> Many:
    """An eval batch of one baseline and its challengers on which raters have voted, in an arena with tables."""
    path = settings.home / f"verdicts-{verdicts}.jsonl"
    write_study(path, checkpoints=checkpoints, prompts=prompts, verdicts=verdicts, seed=seed)
    database = Database.at(settings.database)
    begun = time.perf_counter()
    found = imports.gather("arena", [path], Log())
    planned = import_plan.plan(found, f"bench-{verdicts}")
    read = time.perf_counter()
    imports.run(
        database, found, planned, secret=settings.secret_key(), clock=lambda: datetime.now(UTC),
        told=lambda _verdicts: None,
    )  # fmt: skip
    ended = time.perf_counter()
    batch_id = planned.ids.uuid("batch", 0)
    query = select(func.count(Verdict.id)).join(Ballot, Ballot.id == Verdict.ballot_id)
    with database.session_scope(write=False) as session:
        stored = session.scalar(query.where(Ballot.eval_batch_id == batch_id)) or 0
    database.engine.dispose()
    path.unlink()
    return Many(
        name=planned.name,
        batch_id=batch_id,
        pairs=len(found.pairs),
        verdicts=verdicts,
        stored=stored,
        reading_seconds=round(read - begun, 2),
        storing_seconds=round(ended - read, 2),
    )


def write_study(path: Path, *, checkpoints: int, prompts: int, verdicts: int, seed: int) -> None:
    """A file in the arena's own format.

    Every pair has the same number of verdicts or one more. A challenger wins more often the later it stands, prompts
    differ in what is preferred on them, and each rater meets a pair once.
    """
    rng = random.Random(seed)  # noqa: S311 (every run reads the same votes)
    names, keys = ([f"{what}-{number:02}" for number in range(n)] for what, n in
                   (("checkpoint", checkpoints), ("prompt", prompts)))  # fmt: skip
    with path.open("w", encoding="utf-8") as file:

        def line(what: str, /, **told: Any) -> None:
            file.write(json.dumps({"type": what, **told}) + "\n")

        line("batch", format=FORMAT, design=Design.STAR)
        for name in names:
            line("checkpoint", name=name)
        for place, key in enumerate(keys):
            domain = Domain.IN_DOMAIN if place % 2 else Domain.OUT_OF_DOMAIN
            asked = [{"role": "user", "content": f"Write about {_words(rng)}."}]
            line("prompt", key=key, messages=asked, category=f"category {place % 5}", domain=domain)
            for name in names:
                line("response", prompt=key, checkpoint=name, replicate=0, text=_words(rng))
        for told in _verdicts(rng, names, keys, verdicts):
            line("verdict", **told)


def _words(rng: random.Random) -> str:
    return ", ".join(rng.choices(_WORDS, k=rng.randint(2, 30)))


def _verdicts(rng: random.Random, names: list[str], keys: list[str], verdicts: int) -> Iterator[dict[str, Any]]:
    """One rater after the other; each meets the pairs in an order of its own."""
    leaning = [rng.gauss(0, 0.15) for _ in keys]
    pairs = [(key, second) for key in range(len(keys)) for second in range(1, len(names))]
    start, number = datetime.now(UTC) - timedelta(seconds=10 + verdicts), 0
    while number < verdicts:
        rater = f"rater {number // len(pairs)}"
        for key, second in rng.sample(pairs, len(pairs))[: verdicts - number]:
            chance = min(max(0.4 + 0.3 * second / len(names) + leaning[key], 0.05), 0.95)
            order = rng.choice(list(Order))
            a, b = sides(order, names[0], names[second])
            number += 1
            yield {
                "prompt": keys[key], "replicate": 0, "a": a, "b": b, "voter": rater, "kind": VoterKind.RATER,
                "choice": choice_for(_wanted(rng, chance), order), "order_known": True, "seconds": 12.0,
                "cast_at": (start + timedelta(seconds=number)).isoformat(),
            }  # fmt: skip


def _wanted(rng: random.Random, chance: float) -> Outcome:
    if rng.random() < _TIES:
        return Outcome.TIE
    return Outcome.SECOND if rng.random() < chance else Outcome.FIRST
