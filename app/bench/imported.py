"""How fast verdicts are imported: a file of plain rows, read, sealed and stored as ``arena import`` does it."""

import gc
import json
import random
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.config import Settings
from app.db import Database
from app.domain.imports.items import Log
from app.models import Ballot, EvalBatch, Verdict
from app.services import import_plan, imports

_NAME = "bench-import"
_RATERS = 64


@dataclass(frozen=True)
class ImportMeasured:
    """One import into an arena that holds other verdicts already."""

    verdicts: int
    pairs: int
    reading_seconds: float
    """Until all files are read and it is known what is stored."""
    storing_seconds: float
    stored: int
    """Verdicts that the database holds afterwards."""
    changed_again: int
    """Verdicts that the same import, given again, adds."""

    @property
    def per_second(self) -> int:
        """Verdicts a second, from the first byte that is read until all is stored."""
        return round(self.verdicts / (self.reading_seconds + self.storing_seconds))

    @property
    def holds(self) -> bool:
        """Whether every verdict is there, once."""
        return self.stored == self.verdicts and not self.changed_again

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "per_second": self.per_second, "holds": self.holds}


def measure_import(
    settings: Settings, *, checkpoints: int, prompts: int, verdicts: int, seed: int = 1
) -> ImportMeasured:
    """Write a file beside the arena of these settings, and import it twice."""
    path = settings.home / "verdicts.jsonl"
    _write(path, random.Random(seed), checkpoints, prompts, verdicts)  # noqa: S311 (every run imports the same)
    database = Database.at(settings.database)
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()  # as the command does
    try:
        begun = time.perf_counter()
        found = imports.gather("plain", [path], Log())
        planned = import_plan.plan(found, _NAME)
        read = time.perf_counter()
        _store(database, settings, found, planned)
        ended = time.perf_counter()
    finally:
        if was_on:
            gc.enable()
    with database.session_scope(write=False) as session:
        stored = _stored(session)
    _store(database, settings, found, planned)
    with database.session_scope(write=False) as session:
        again = _stored(session)
    database.engine.dispose()
    path.unlink()
    return ImportMeasured(
        verdicts=verdicts,
        pairs=len(found.pairs),
        reading_seconds=round(read - begun, 2),
        storing_seconds=round(ended - read, 2),
        stored=stored,
        changed_again=again - stored,
    )


def _store(database: Database, settings: Settings, found: Any, planned: import_plan.ImportPlan) -> None:
    imports.run(
        database, found, planned, secret=settings.secret_key(), clock=lambda: datetime.now(UTC), told=lambda _: None
    )


def _stored(session: Session) -> int:
    query = (
        select(func.count(Verdict.id))
        .join(Ballot, Ballot.id == Verdict.ballot_id)
        .join(EvalBatch, EvalBatch.id == Ballot.eval_batch_id)
        .where(EvalBatch.name == _NAME)
    )
    return session.scalar(query) or 0


def _write(path: Path, rng: random.Random, checkpoints: int, prompts: int, verdicts: int) -> None:
    """Battles of two checkpoints drawn at random on a prompt drawn at random, by raters drawn at random."""
    names = [f"model-{number}" for number in range(checkpoints)]
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with path.open("w", encoding="utf-8") as file:
        for number in range(verdicts):
            a, b = rng.sample(names, 2)
            row = {
                "prompt_id": f"prompt {rng.randrange(prompts)}", "checkpoint_a": a, "checkpoint_b": b,
                "winner": rng.choice(("a", "b", "tie")), "rater": f"rater {rng.randrange(_RATERS)}",
                "order_known": True, "cast_at": (start + timedelta(seconds=number)).isoformat(),
            }  # fmt: skip
            file.write(json.dumps(row) + "\n")
