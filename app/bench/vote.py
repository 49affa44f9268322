"""A run of the bench: votes at everybody's own pace, votes against bare inserts, and a crash in the middle."""

import asyncio
import os
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.bench.arena import make_arena, settings_for
from app.bench.audit import Audit, audit
from app.bench.load import Rater, freely, in_step, raters_of
from app.bench.process import ServerProcess, free_port
from app.db import make_engine

_AGAINST_BARE, _WITH_CRASH = 0.2, 0.2
"""Shares of the votes that are cast in step with bare inserts, and around the crash."""


@dataclass(frozen=True)
class Measured:
    """Times in milliseconds, as (half are faster, 99 of 100 are faster)."""

    database: str
    raters: int
    votes: int
    votes_per_second: float
    issue_ms: tuple[float, float]
    cast_ms: tuple[float, float]
    cast_against_bare: float
    """Throughput of votes as a share of that of bare inserts."""
    generator_cpu: float
    """Share of one core that the raters themselves took."""
    acknowledged_before_crash: int
    lost_in_crash: int
    audit: Audit

    @property
    def holds(self) -> bool:
        """Whether no vote was lost, doubled or miscounted. Times never decide."""
        return self.audit.holds and not self.lost_in_crash

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "holds": self.holds}


def measure(home: Path, database_url: str, *, raters: int, votes: int) -> Measured:
    """Make an arena in this folder and on this database (empty: SQLite), and let so many raters give so many votes."""
    settings = settings_for(home, database_url)
    arena = make_arena(settings, raters=raters, votes=votes)
    server = ServerProcess(settings, free_port())
    server.start()
    everybody = raters_of(server.port, arena.batch_id, arena.tokens)
    crash: dict[str, int] = {}

    def kill_and_look() -> None:
        server.kill()
        before = _acknowledged(everybody)
        crash.update(acknowledged=len(before), lost=audit(arena, before).lost)
        server.start()

    async def run() -> tuple[float, float, dict[str, float], int]:
        rounds = max(1, round(_AGAINST_BARE * votes / raters))
        last = max(raters, round(_WITH_CRASH * votes))
        free = max(raters, votes - rounds * raters - last)
        cpu = time.process_time()
        seconds = await freely(everybody, free)
        share = (time.process_time() - cpu) / seconds
        times = {what: sorted(one for rater in everybody for one in rater.times[what]) for what in ("issue", "cast")}
        percentiles.update({what: (_at(found, 0.5), _at(found, 0.99)) for what, found in times.items()})
        compared = await in_step(everybody, rounds)
        await freely(everybody, last, on_half=kill_and_look)
        for rater in everybody:
            await rater.browser.close()
        return free / seconds, share, compared, free

    percentiles: dict[str, tuple[float, float]] = {}
    try:
        per_second, share, compared, _ = asyncio.run(run())
    finally:
        server.stop()
    acknowledged = _acknowledged(everybody)
    return Measured(
        database=make_engine(settings.database).dialect.name,
        raters=raters,
        votes=len(acknowledged),
        votes_per_second=round(per_second, 1),
        issue_ms=percentiles["issue"],
        cast_ms=percentiles["cast"],
        cast_against_bare=round(compared["bare"] / compared["vote"], 2),
        generator_cpu=round(share, 2),
        acknowledged_before_crash=crash["acknowledged"],
        lost_in_crash=crash["lost"],
        audit=audit(arena, acknowledged),
    )


def _acknowledged(raters: list[Rater]) -> dict[uuid.UUID, str]:
    return {ballot: choice for rater in raters for ballot, choice in list(rater.acknowledged.items())}


def _at(times: list[float], share: float) -> float:
    """The time that so large a share of the times lies below, in milliseconds."""
    return round(1000 * times[min(len(times) - 1, int(share * len(times)))], 1)


def cores() -> int:
    """Cores of this machine, which a figure means little without."""
    return os.cpu_count() or 1
