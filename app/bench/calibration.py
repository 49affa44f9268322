"""Studies with a known truth, voted and judged through the real path, and how often intervals miss it.

The truth of a study is about prompts like its own: the mean of the distribution that they were drawn from. Raters vote
blind, a judge whose taste leans to one side judges every pair in both orders, and what the report says is read after
every ten votes, as somebody would who cannot wait.
"""

import random
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.bench.arena import make_batch, make_ground, plan_for, settings_for
from app.bench.played_judge import BiasedTaste, judge_all, played_judge
from app.db import Database, migrate
from app.domain.intervals import Interval, clopper_pearson
from app.domain.simulation import Taste
from app.models import Checkpoint, EvalBatch, Judge, Suite, Voter
from app.queries.report import report
from app.services import simulation
from app.services.assignment import Rules

EVERY = 10
"""Votes between two looks."""
ICC = 0.3
TIES = 0.1
LIVE_MISSES_AT_MOST = 0.05
COVERED_AT_LEAST = 0.93

_LOWEST, _HIGHEST = 0.3, 0.7
_BIAS, _LAZY = 0.15, 0.1
_WORDS = (12, 24)


@dataclass(frozen=True)
class Size:
    """Of one study. People vote on a part of the pairs, the judge on all."""

    prompts: int = 20
    replicates: int = 2
    votes_per_pair: int = 2
    raters: int = 4
    votes: int = 50


@dataclass(frozen=True)
class Looked:
    """What became of one study."""

    truth: float
    """The win rate that its prompts were drawn around."""
    votes: int
    looks: int
    live_missed: bool
    """At any look."""
    fixed_missed: bool
    """At the last look; also where there was no interval."""
    combined_missed: bool
    """The same with the judge."""
    combined_live_missed: bool
    weight: float
    """How far the judge was trusted in the end."""
    judged: float
    """The win rate that the judge alone tells."""
    said: float
    """The win rate that people tell."""


@dataclass(frozen=True)
class Misses:
    """How often, and between what shares the chance of it lies with 95 % probability (Clopper and Pearson)."""

    missed: int
    studies: int

    @property
    def interval(self) -> Interval:
        """Of the chance."""
        return clopper_pearson(self.missed, self.studies)

    def surely_above(self, share: float) -> bool:
        """Whether more than this share misses, beyond chance."""
        return self.interval.low > share

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "missed": self.missed,
            "studies": self.studies,
            "share": self.missed / self.studies,
            "interval": list(self.interval),
        }


@dataclass(frozen=True)
class Calibrated:
    """All studies together."""

    studies: tuple[Looked, ...]
    size: Size
    seconds: float
    processes: int

    @property
    def live(self) -> Misses:
        """The live interval, ever."""
        return self._count([one.live_missed for one in self.studies])

    @property
    def fixed(self) -> Misses:
        """The fixed interval, at the end."""
        return self._count([one.fixed_missed for one in self.studies])

    @property
    def combined(self) -> Misses:
        """The fixed interval of people and judge together, at the end."""
        return self._count([one.combined_missed for one in self.studies])

    @property
    def combined_live(self) -> Misses:
        """The live interval of people and judge together, ever."""
        return self._count([one.combined_live_missed for one in self.studies])

    @property
    def holds(self) -> bool:
        """Whether no bound is broken beyond chance."""
        return not (
            self.live.surely_above(LIVE_MISSES_AT_MOST)
            or self.fixed.surely_above(1 - COVERED_AT_LEAST)
            or self.combined.surely_above(1 - COVERED_AT_LEAST)
        )

    @property
    def judge_off_by(self) -> float:
        """Mean of what the judge alone tells above what is true."""
        return sum(one.judged - one.truth for one in self.studies) / len(self.studies)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "studies": len(self.studies),
            "size": vars(self.size),
            "votes": sum(one.votes for one in self.studies),
            "looks": sum(one.looks for one in self.studies),
            "icc": ICC,
            "live_ever": self.live.as_json(),
            "fixed": self.fixed.as_json(),
            "combined": self.combined.as_json(),
            "combined_live_ever": self.combined_live.as_json(),
            "judge_off_by": self.judge_off_by,
            "judge_weight": sum(one.weight for one in self.studies) / len(self.studies),
            "processes": self.processes,
            "seconds": round(self.seconds, 1),
            "holds": self.holds,
        }

    @staticmethod
    def _count(missed: Sequence[bool]) -> Misses:
        return Misses(sum(missed), len(missed))


@dataclass(frozen=True)
class _Ground:
    """What the studies of one database share."""

    suite: Suite
    members: tuple[Checkpoint, ...]
    judge: Judge
    rules: Rules


def measure_calibration(studies: int, *, size: Size | None = None, seed: int = 1, processes: int = 1) -> Calibrated:
    """So many studies, spread over processes with an arena each. The seed decides what is true."""
    size = size or Size()
    begun = time.perf_counter()
    numbers = [range(start, studies, processes) for start in range(min(processes, studies))]
    work = partial(run_studies, size=size, seed=seed)
    if len(numbers) == 1:
        found = work(numbers[0])
    else:
        with ProcessPoolExecutor(len(numbers), mp_context=get_context("spawn")) as pool:
            found = [one for part in pool.map(work, numbers) for one in part]
    return Calibrated(tuple(found), size, time.perf_counter() - begun, len(numbers))


def run_studies(numbers: Iterable[int], *, size: Size, seed: int) -> list[Looked]:
    """The studies of these numbers, one eval batch each, on an arena of their own."""
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="arena-bench-") as folder:
        settings = settings_for(Path(folder), "")
        migrate(settings.database)
        database, rules = Database.at(settings.database), Rules.of(settings)
        with database.session_scope() as session:
            suite, members = make_ground(session, size.prompts, now=now)
            judge = played_judge(session, "a judge that leans", now=now)
            ground = _Ground(suite, tuple(members), judge, rules)
        found = [_study(database, ground, size, number, random.Random(f"{seed} {number}"), now) for number in numbers]  # noqa: S311 (the same truths again)
        database.engine.dispose()
    return found


def _study(
    database: Database, ground: _Ground, size: Size, number: int, rng: random.Random, now: datetime
) -> Looked:  # fmt: skip
    taste = Taste(rng.uniform(_LOWEST, _HIGHEST), noise=ICC, ties=TIES)
    with database.session_scope() as session:
        batch = _batch(session, ground, size, number, now)
        rates = simulation.tastes_of(session, batch, taste, rng)
        leaning = BiasedTaste(taste, rates, _BIAS, _LAZY, rng)
        judge_all(session, batch, ground.judge, leaning.says(session), rules=ground.rules, now=now, rng=rng)
        raters = simulation.begin(session, batch, raters=size.raters, now=now)
    looks: list[dict[str, Any]] = []
    votes = 0
    while votes < size.votes:
        with database.session_scope() as session:
            cast = sum(
                _vote(session, batch.id, raters, taste, rates, ground.rules, now + timedelta(seconds=votes + nth), rng)
                for nth in range(min(EVERY, size.votes - votes))
            )
        if not cast:
            break
        votes += cast
        with database.session_scope(write=False) as session:
            looks.append(report(session, batch.id)["matchups"][0])
    return looked(taste.rate, votes, looks)


def _batch(session: Session, ground: _Ground, size: Size, number: int, now: datetime) -> EvalBatch:
    """All have the same sampling seed, so that responses are written once; nobody reads them."""
    plan = plan_for(
        ground.members, f"calibration-{number}", replicates=size.replicates, votes_per_pair=size.votes_per_pair
    )  # fmt: skip
    return make_batch(
        session, ground.rules.secret, ground.suite, ground.members, plan, words=_WORDS, now=now
    )  # fmt: skip


def _vote(
    session: Session, batch_id: UUID, raters: Sequence[Voter], taste: Taste, rates: dict[UUID, float], rules: Rules,
    now: datetime, rng: random.Random,
) -> bool:  # fmt: skip
    """One vote of whoever comes first; false where nothing is left for anybody."""
    for rater in rng.sample(raters, len(raters)):
        if simulation.vote_once(session, batch_id, rater, taste, rates, rules=rules, now=now, rng=rng) is not None:
            return True
    return False


def looked(truth: float, votes: int, looks: Sequence[dict[str, Any]]) -> Looked:
    """What became of a study: ``looks`` are its matchup as the report told it, the oldest first."""
    people = [look["raters"]["all"] for look in looks]
    together = [look["combined"]["all"] if look["combined"] else {"live": None, "fixed": None} for look in looks]
    last = looks[-1]
    return Looked(
        truth=truth,
        votes=votes,
        looks=len(looks),
        live_missed=any(_misses(look["live"], truth) for look in people),
        fixed_missed=people[-1]["fixed"] is None or _misses(people[-1]["fixed"], truth),
        combined_missed=together[-1]["fixed"] is None or _misses(together[-1]["fixed"], truth),
        combined_live_missed=any(_misses(look["live"], truth) for look in together),
        weight=last["combined"]["lambda"] if last["combined"] else 0.0,
        judged=last["judges"]["all"]["win_rate"],
        said=people[-1]["win_rate"],
    )


def _misses(interval: Sequence[float] | None, truth: float) -> bool:
    """An interval that is not shown misses nothing."""
    return interval is not None and not interval[0] <= truth <= interval[1]
