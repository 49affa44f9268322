"""A run of the judges' bench: two simulated judges with faults, a worker that is killed, and the books compared."""

import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.bench.arena import make_pairs, settings_for
from app.bench.judge_worker import JudgeWorker
from app.config import DATA
from app.db import Database
from app.demo_judges.script import Script, evenly
from app.demo_judges.server import DemoJudges, demo_judges
from app.domain.errors import UnavailableError
from app.domain.rubric import read_rubric
from app.domain.terms import BallotState, CallState, JobState, Order, ProviderKind
from app.models import Ballot, EvalBatch, Job, JudgeCall, Judging, Pair
from app.providers.calls import Parameters
from app.queries.verification import verify
from app.services import judging
from app.services.judges import add_judge
from app.services.projection import project

MODELS = {"depth": "claude-opus-5-5", "clarity": "claude-sonnet-5-5"}
"""The two judges of the story."""
AT_ONCE = 4
_PATIENCE_SECONDS = 1800
_LOOK_SECONDS = 0.1
_ENDED = (BallotState.VOTED, BallotState.UNPARSED)


@dataclass(frozen=True)
class JudgesMeasured:
    """What became of every pair, judge and order, and of the money."""

    pairs: int
    judges: int
    faults: float
    states: dict[str, int]
    """Ballots, by how they ended."""
    calls: dict[str, int]
    """Attempts, by how they ended."""
    wanted: int
    """Pairs by judges by 2 orders."""
    once: int
    """Of these, how many ended in exactly one state."""
    mismatches: tuple[str, ...]
    in_flight_at_kill: int
    paid_again: int
    """Payments for a question whose reply with a choice had been written before: what the kill cost."""
    paid_again_for_faults: int
    """Payments after a reply that brought no choice or was lost on the way: what the server's faults cost."""
    spent_micro_dollars: int
    """Known to the arena."""
    unknown_micro_dollars: int
    """At most, for lost replies."""
    charged_micro_dollars: int
    """By the books of the server."""
    cap_micro_dollars: int
    jobs: tuple[str, ...]
    seconds: float
    calls_per_second: float

    @property
    def holds(self) -> bool:
        """Whether all is as it must be. Times never decide."""
        held = self.spent_micro_dollars + self.unknown_micro_dollars
        return (
            self.once == self.wanted == sum(self.states.values())
            and not self.mismatches
            and self.paid_again <= self.in_flight_at_kill
            and self.spent_micro_dollars <= self.charged_micro_dollars <= held <= self.cap_micro_dollars
            and set(self.jobs) == {JobState.DONE.value}
        )

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**vars(self), "holds": self.holds}


def measure_judges(home: Path, *, pairs: int, faults: float, timeout_seconds: float) -> JudgesMeasured:
    """Let both judges judge so many pairs in both orders, and kill their worker in the middle."""
    settings = settings_for(home, "")
    batch_id = make_pairs(settings, pairs)
    database = Database.at(settings.database)
    with demo_judges(Script(faults=evenly(faults))) as server:
        worker = JudgeWorker(settings, server.url, at_once=AT_ONCE, timeout_seconds=timeout_seconds)
        try:
            with database.session_scope() as session:
                asked = [_ask(session, batch_id, server, name) for name in MODELS]
            begun = time.monotonic()
            worker.start()
            in_flight = _kill_in_the_middle(database, server, worker, 2 * pairs * len(MODELS) // 2)
            worker.start()
            _wait_until(lambda: _all_ended(database), "the judges to end")
            seconds = time.monotonic() - begun
        finally:
            worker.stop()
        with database.session_scope(write=False) as session:
            found = _measured(session, server, asked, batch_id, settings.secret_key(), in_flight, faults, seconds)
    database.engine.dispose()
    return found


def _ask(session: Session, batch_id: uuid.UUID, server: DemoJudges, name: str) -> uuid.UUID:
    now = datetime.now(UTC)
    judge = add_judge(
        session, f"simulated {MODELS[name]} ({name})", provider=ProviderKind.ANTHROPIC, model=MODELS[name],
        base_url=server.url, rubric=read_rubric(DATA / "rubrics" / "general.md"), parameters=Parameters(),
        simulated=True, now=now,
    )  # fmt: skip
    batch = session.get_one(EvalBatch, batch_id)
    cost = project(session, batch, judge, now=now)
    return judging.ask(session, batch, judge, cap=cost.worst, projected=cost.expected, now=now).id


def _kill_in_the_middle(database: Database, server: DemoJudges, worker: JudgeWorker, after: int) -> int:
    """Kill the worker while replies are on their way; returns how many calls had none."""
    _wait_until(lambda: server.ledger.charged >= after, "half of the calls")
    given_up = _calls(database, CallState.UNKNOWN)
    server.gate.close()
    server.gate.wait_for(AT_ONCE * len(MODELS), worker.timeout_seconds / 4)  # fewer where judges were told to slow down
    _wait_until(lambda: server.gate.held > 0, "calls in flight")
    worker.kill()
    server.gate.open()
    # On a slow machine the worker may have given up on a held call before it was killed: that has no reply either.
    return _calls(database, CallState.SENT, CallState.UNKNOWN) - given_up


def _calls(database: Database, *states: CallState) -> int:
    with database.session_scope(write=False) as session:
        return session.scalar(select(func.count(JudgeCall.id)).where(JudgeCall.state.in_(states))) or 0


def _all_ended(database: Database) -> bool:
    with database.session_scope(write=False) as session:
        states = set(session.scalars(select(Job.state)))
    return not states & {JobState.QUEUED, JobState.RUNNING}


def _wait_until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise UnavailableError(f"The bench waited in vain for {what}. Nothing was measured.")
        time.sleep(_LOOK_SECONDS)


def _measured(
    session: Session, server: DemoJudges, asked: list[uuid.UUID], batch_id: uuid.UUID, secret: bytes, in_flight: int,
    faults: float, seconds: float,
) -> JudgesMeasured:  # fmt: skip
    rows = [session.get_one(Judging, judging_id) for judging_id in asked]
    money = [judging.spent(session, row) for row in rows]
    shown = session.execute(select(Ballot.pair_id, Ballot.voter_id, Ballot.order, Ballot.state)).all()
    ends = Counter((pair, voter, order) for pair, voter, order, state in shown if state in _ENDED)
    pairs = list(session.scalars(select(Pair.id).where(Pair.eval_batch_id == batch_id)))
    voters = {voter for _, voter, _, _ in shown}
    calls = Counter(state.value for state in session.scalars(select(JudgeCall.state)))
    ledger = server.ledger
    return JudgesMeasured(
        pairs=len(pairs),
        judges=len(rows),
        faults=faults,
        states=dict(Counter(state.value for *_, state in shown)),
        calls=dict(calls),
        wanted=len(pairs) * len(rows) * len(Order),
        once=sum(ends[pair, voter, order] == 1 for pair in pairs for voter in voters for order in Order),
        mismatches=tuple(one.sentence for one in verify(session, secret, batch_id).mismatches),
        in_flight_at_kill=in_flight,
        paid_again=ledger.repeated_needlessly,
        paid_again_for_faults=ledger.repeated - ledger.repeated_needlessly,
        spent_micro_dollars=sum(one.known for one in money),
        unknown_micro_dollars=sum(one.unknown for one in money),
        charged_micro_dollars=ledger.spent(datetime.now(UTC)),
        cap_micro_dollars=sum(row.cap_micro_dollars or 0 for row in rows),
        jobs=tuple(session.get_one(Job, row.job_id).state.value for row in rows if row.job_id),
        seconds=round(seconds, 1),
        calls_per_second=round(sum(calls.values()) / seconds, 1),
    )
