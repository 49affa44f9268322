"""Judges through real workers: whatever is killed or away, each pair ends in one state and is paid for once."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from app.config import DATA
from app.db import Database
from app.demo_judges.script import Script
from app.demo_judges.server import DemoJudges, demo_judges
from app.domain.rubric import read_rubric
from app.domain.terms import BallotState, CallState, JobState, JudgingState, Order, ProviderKind, Trouble
from app.models import Ballot, EvalBatch, Job, Judge, JudgeCall, Judging
from app.providers.calls import Parameters
from app.services import judging
from app.services.judge_calls import NOT_TOLD
from app.services.judges import add_judge
from app.services.judging import spent
from tests.command_line import Command
from tests.factories import NOW, RULES, make_study
from tests.processes import PATIENCE_SECONDS, QUICK, OwnArena, wait_for

PAIRS = 12
CALLS = 2 * PAIRS
CAP = 10_000_000
CHILD, AT_ONCE = "worker.child", 4


@pytest.fixture
def server() -> Iterator[DemoJudges]:
    with demo_judges(Script()) as running:
        yield running


@pytest.fixture
def judged(arena: OwnArena, server: DemoJudges) -> OwnArena:
    """The same arena, whose workers reach the simulated judges."""
    known = {"judge_retry_seconds": "0.02", "judge_poll_seconds": "0.05", "secret": RULES.secret.decode()}
    own = OwnArena.at(arena.home, **QUICK, **known)
    return OwnArena(own.home, own.environment | {"ANTHROPIC_API_KEY": "simulated", "ANTHROPIC_BASE_URL": server.url})


def begin(database: Database, arena: OwnArena, address: str, **how: object) -> Judging:
    """An eval batch and a judge who is asked about it; an address with a path is one of chat completions."""
    kind = ProviderKind.OPENAI_COMPATIBLE if address.endswith("/v1") else ProviderKind.ANTHROPIC
    with database.session_scope() as session:
        batch = make_study(session, arena.home, prompts=PAIRS).batch
        judge = add_judge(
            session, "haiku", provider=kind, model="claude-haiku-5-5", base_url=address, simulated=True, now=NOW,
            rubric=read_rubric(DATA / "rubrics/general.md"), parameters=Parameters(max_tokens=500),
        )  # fmt: skip
        cap = CAP if kind is ProviderKind.ANTHROPIC else None
        return judging.ask(session, batch, judge, cap=cap, now=NOW, **how)  # type: ignore[arg-type]


def resume(database: Database, asked: Judging) -> None:
    with database.session_scope() as session:
        row = session.get_one(Judging, asked.id)
        judging.ask(
            session, session.get_one(EvalBatch, row.eval_batch_id), session.get_one(Judge, row.judge_id), cap=CAP,
            in_batches=row.in_batches, now=NOW,
        )  # fmt: skip


def now_of(database: Database, asked: Judging) -> Judging:
    with database.session_scope(write=False) as session:
        return session.get_one(Judging, asked.id)


def has_ended(database: Database, asked: Judging) -> bool:
    with database.session_scope(write=False) as session:
        job = session.get_one(Job, session.get_one(Judging, asked.id).job_id)
        return job.state not in (JobState.QUEUED, JobState.RUNNING)


def calls(database: Database) -> Counter[CallState]:
    with database.session_scope(write=False) as session:
        return Counter(call.state for call in session.query(JudgeCall))


def assert_whole(database: Database, asked: Judging, server: DemoJudges, *, in_flight: int = 0) -> None:
    """Each pair in each order ended once, and only calls whose replies were lost were paid for again."""
    with database.session_scope(write=False) as session:
        ballots = session.query(Ballot).all()
        money = spent(session, session.get_one(Judging, asked.id))
    ends = Counter((ballot.pair_id, ballot.order) for ballot in ballots)
    assert (len(ends), set(ends.values())) == (CALLS, {1})
    assert {ballot.state for ballot in ballots} == {BallotState.VOTED}
    assert Counter(ballot.order for ballot in ballots) == dict.fromkeys(Order, PAIRS)
    found = calls(database)
    assert (found[CallState.VERDICT], found[CallState.SENT], found[CallState.UNKNOWN]) == (CALLS, 0, in_flight)
    assert server.ledger.repeated <= in_flight
    assert server.ledger.charged <= CALLS + in_flight
    assert money.at_most <= CAP
    assert (money.unknown > 0) == (in_flight > 0)
    assert now_of(database, asked).state is JudgingState.DONE


@pytest.mark.parametrize("words", [CHILD, ""], ids=["child", "everything"])
def test_killed_in_the_middle_only_calls_in_flight_are_paid_for_again(
    judged: OwnArena, database: Database, server: DemoJudges, words: str
) -> None:
    server.gate.close(after=5)
    asked = begin(database, judged, server.url)
    with judged.running("worker", "--queue", "io"):
        assert server.gate.wait_for(AT_ONCE, PATIENCE_SECONDS)
        assert judged.kill(words)
        wait_for(lambda: not judged.processes(CHILD) or calls(database)[CallState.UNKNOWN] > 0, "the child to be gone")
        server.gate.open()
        if words:
            wait_for(lambda: has_ended(database, asked), "the rest")
    if not words:
        assert calls(database)[CallState.SENT] == AT_ONCE
        assert now_of(database, asked).state is JudgingState.RUNNING  # nobody was left to say otherwise
        with judged.running("worker", "--queue", "io"):
            wait_for(lambda: has_ended(database, asked), "the rest")
    assert_whole(database, asked, server, in_flight=AT_ONCE)


def test_a_worker_killed_while_its_batch_is_at_work_pays_for_nothing_twice(
    judged: OwnArena, database: Database, server: DemoJudges
) -> None:
    server.simulation.script = replace(server.simulation.script, batch_polls=1_000_000)
    asked = begin(database, judged, server.url, in_batches=True)

    def handed_in() -> bool:
        with database.session_scope(write=False) as session:
            return session.query(JudgeCall).filter(JudgeCall.provider_batch.startswith("msgbatch")).count() == CALLS

    with judged.running("worker", "--queue", "io"):
        wait_for(handed_in, "the batch")
        judged.kill("")
    with database.session_scope() as session:  # as if it had died a moment earlier, before it stored the id
        for call in session.query(JudgeCall):
            call.provider_batch = NOT_TOLD
    with judged.running("worker", "--queue", "io"):
        server.simulation.script = Script()  # the provider ends it
        wait_for(lambda: has_ended(database, asked), "the results")
    assert_whole(database, asked, server)


def test_a_server_that_is_away_stops_the_judge_with_a_sentence_and_it_goes_on_later(
    judged: OwnArena, database: Database
) -> None:
    with demo_judges(Script()) as gone:
        port = int(gone.url.rpartition(":")[2])
    asked = begin(database, judged, gone.url)
    with judged.running("worker", "--queue", "io"):
        wait_for(lambda: has_ended(database, asked), "it to stop")
        stopped = now_of(database, asked)
        assert (stopped.state, stopped.trouble) == (JudgingState.STOPPED, Trouble.NO_NETWORK)
        assert "cannot be reached" in stopped.message
        with demo_judges(Script(), port) as back:
            resume(database, asked)
            wait_for(lambda: has_ended(database, asked), "the rest")
            assert_whole(database, asked, back)


def test_who_stops_a_judge_keeps_what_it_said_and_goes_on_later(
    judged: OwnArena, database: Database, server: DemoJudges
) -> None:
    server.gate.close(after=5)
    asked = begin(database, judged, server.url)
    with judged.running("worker", "--queue", "io"):
        assert server.gate.wait_for(AT_ONCE, PATIENCE_SECONDS)
        with database.session_scope() as session:
            judging.stop(session, session.get_one(Judging, asked.id), now=NOW)
        server.gate.open()
        wait_for(lambda: has_ended(database, asked), "it to stop")
        stopped = now_of(database, asked)
        assert stopped.state is JudgingState.STOPPED
        assert "can go on" in stopped.message
        resume(database, asked)
        wait_for(lambda: has_ended(database, asked), "the rest")
    assert_whole(database, asked, server)


def test_a_local_server_judges_without_key_and_price(judged: OwnArena, database: Database, server: DemoJudges) -> None:
    asked = begin(database, judged, server.completions_url)
    keyless = OwnArena(judged.home, judged.environment | {"ANTHROPIC_API_KEY": "", "OPENAI_API_KEY": ""})
    with keyless.running("worker", "--queue", "io"):
        wait_for(lambda: has_ended(database, asked), "all verdicts")
    assert_whole(database, asked, server)


def test_the_bench_of_judges_compares_the_books(command: Command) -> None:
    said = command("bench", "judge", "--pairs", 12, "--faults", 0.1, "--timeout", 10, "--json")
    found = json.loads(said.out)
    assert (said.code, said.err, found["holds"]) == (0, "", True)
    assert (found["wanted"], found["once"], found["mismatches"]) == (48, 48, [])
    assert found["in_flight_at_kill"] > 0
    assert found["paid_again"] <= found["in_flight_at_kill"]
