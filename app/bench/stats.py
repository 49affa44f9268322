"""A run of the bench of statistics: what pages of results take at a tenth of the verdicts and at all of them."""

import asyncio
import math
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.bench.arena import settings_for
from app.bench.client import Browser
from app.bench.million import Many, make_many
from app.bench.process import ServerProcess, free_port
from app.config import Settings
from app.db import Database, migrate
from app.domain.errors import UnavailableError
from app.queries.results import Matchup, results_page
from app.queries.statistics import Statistics, points_up_to_now, statistics
from app.services import accounts, snapshots
from app.web.deps import COOKIE

_CALLS = 9
_SAME = 1e-9


@dataclass(frozen=True)
class Step:
    """Medians over some calls, after one that is not counted."""

    verdicts: int
    results_ms: float
    """Headline and forest: ``results_page``."""
    statistics_ms: float
    """The win rate over votes, agreement and variance, beside results that are there."""
    page_ms: float
    """The part of the results page that moves, by a server in a process of its own."""
    snapshot_seconds: float
    """Reading every vote anew."""
    imported_per_second: float
    """Verdicts, from the first byte of their file that is read until all of them are stored and sealed."""


@dataclass(frozen=True)
class StatsMeasured:
    """On one database."""

    database: str
    checkpoints: int
    prompts: int
    pairs: int
    steps: tuple[Step, ...]
    differences: tuple[str, ...]
    """Numbers that tallies, votes and snapshot do not tell alike; in sentences."""

    @property
    def holds(self) -> bool:
        """Whether all tell the same. Times never decide."""
        return not self.differences

    @property
    def growth(self) -> float:
        """How many times as long results and statistics take with all verdicts as with the first step's."""
        first, last = (step.results_ms + step.statistics_ms for step in (self.steps[0], self.steps[-1]))
        return round(last / first, 2)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "growth": self.growth, "holds": self.holds}


def measure_stats(
    home: Path, database_url: str, *, checkpoints: int, prompts: int, verdicts: int, calls: int = _CALLS
) -> StatsMeasured:
    """Make an arena in this folder and on this database (empty: SQLite), import two studies and read their results."""
    settings = settings_for(home, database_url)
    migrate(settings.database)
    database = Database.at(settings.database)
    steps: list[Step] = []
    found: list[str] = []
    pairs = 0
    for size in (max(1, verdicts // 10), verdicts):
        many = make_many(settings, checkpoints=checkpoints, prompts=prompts, verdicts=size)
        pairs = many.pairs
        if many.stored != size:
            found.append(f"{many.stored} of {size} verdicts were imported")
        steps.append(_step(database, settings, many, calls))
        with database.session_scope(write=False) as session:
            found += [f"{size} verdicts: {one}" for one in differences(session, many.batch_id)]
    database.engine.dispose()
    return StatsMeasured(
        database=database.engine.dialect.name,
        checkpoints=checkpoints,
        prompts=prompts,
        pairs=pairs,
        steps=tuple(steps),
        differences=tuple(found),
    )


def _step(database: Database, settings: Settings, many: Many, calls: int) -> Step:
    begun = time.perf_counter()
    with database.session_scope() as session:
        snapshots.keep(session, snapshots.count(session, many.batch_id), now=datetime.now(UTC))
    snapshot = time.perf_counter() - begun
    results, beside = [], []
    for _ in range(1 + calls):
        with database.session_scope(write=False) as session:
            start = time.perf_counter()
            page = results_page(session, many.batch_id)
            between = time.perf_counter()
            found = statistics(session, page)
            for matchup in page.matchups:
                points_up_to_now(found, matchup)
            beside.append(time.perf_counter() - between)
            results.append(between - start)
    return Step(
        verdicts=many.verdicts,
        results_ms=_milliseconds(results),
        statistics_ms=_milliseconds(beside),
        page_ms=_milliseconds(_pages(database, settings, many.batch_id, 1 + calls)),
        snapshot_seconds=round(snapshot, 1),
        imported_per_second=many.per_second,
    )


def _pages(database: Database, settings: Settings, batch_id: UUID, calls: int) -> list[float]:
    """Seconds until the server has sent the live part of the results page."""
    now = datetime.now(UTC)
    with database.session_scope() as session:
        link = accounts.make_entry_link(session, accounts.the_admin(session, now=now), now=now)
        session.flush()
        token = accounts.enter(session, link, now=now, lifetime=timedelta(days=1))
    server = ServerProcess(settings, free_port())
    server.start()
    try:
        return asyncio.run(_fetched(Browser(server.port, f"{COOKIE}={token}"), f"/results/{batch_id}/live", calls))
    finally:
        server.stop()


async def _fetched(browser: Browser, path: str, calls: int) -> list[float]:
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        status, _body = await browser.get(path)
        times.append(time.perf_counter() - start)
        if status != HTTPStatus.OK:
            raise UnavailableError(f"The server of the bench answered {status} to {path}. Nothing was measured.")
    await browser.close()
    return times


def differences(session: Session, batch_id: UUID) -> list[str]:
    """Where the snapshot, which was made from the votes one by one, does not tell what the tallies do; in sentences."""
    page = results_page(session, batch_id)
    found = statistics(session, page)
    return [words for matchup in page.matchups for words in _of_matchup(matchup, found)]


def _of_matchup(matchup: Matchup, found: Statistics) -> list[str]:
    own, whole = found.of(matchup), matchup.whole
    if own is None or not own.points:
        return [f"the snapshot has no votes of {matchup.second}"] if whole.n else []
    last = own.points[-1]
    if last.votes != whole.n:
        return [f"{matchup.second} has {last.votes} votes by the snapshot and {whole.n} by the tallies"]
    by_votes, by_tallies = (last.win_rate, *(last.live or ())), (whole.win_rate or 0.0, *(whole.live or ()))
    same = len(by_votes) == len(by_tallies) and all(
        math.isclose(one, other, abs_tol=_SAME) for one, other in zip(by_votes, by_tallies, strict=True)
    )
    return [] if same else [f"{matchup.second} wins {by_votes} by the snapshot and {by_tallies} by the tallies"]


def _milliseconds(seconds: list[float]) -> float:
    """The median of all but the first."""
    return round(1000 * median(seconds[1:]), 1)
