"""The judging job, done in this process: our rows, the real SDK, and a server that plays the model."""

from collections import Counter
from dataclasses import replace

import pytest

from app.db import Database
from app.demo_judges.script import evenly
from app.demo_judges.server import DemoJudges
from app.demo_judges.tastes import Always
from app.domain.terms import (
    BallotState,
    CallState,
    Choice,
    JudgingState,
    Order,
    Outcome,
    SwapMode,
    Trouble,
    VoterKind,
)
from app.models import Ballot, EvalBatch, Job, JudgeCall, Tally, Verdict
from app.providers.errors import EmptyBalanceError, MissingKeyError
from app.queries.verification import verify
from app.services import eval_batches
from app.services.judging import CapReachedError, spent
from tests.factories import NOW, RULES
from tests.worker.judge_job import PAIRS, again, ask, do, rows, state
from training.errors import Cancelled
from worker import judge as work


def test_every_pair_gets_a_verdict_in_both_orders(database: Database, server: DemoJudges, batch: EvalBatch) -> None:
    asked = ask(database, server, batch)
    do(database, asked)
    ballots = rows(database, Ballot)
    assert Counter(ballot.order for ballot in ballots) == {Order.FIRST_IS_A: PAIRS, Order.SECOND_IS_A: PAIRS}
    assert {ballot.state for ballot in ballots} == {BallotState.VOTED}
    assert {verdict.outcome for verdict in rows(database, Verdict)} == {Outcome.SECOND}
    assert {verdict.choice for verdict in rows(database, Verdict)} == {Choice.A, Choice.B}
    assert all(verdict.reason for verdict in rows(database, Verdict))
    calls = rows(database, JudgeCall)
    assert [call.state for call in calls] == [CallState.VERDICT] * 2 * PAIRS
    assert all(call.raw and call.reply and call.request["model"] and call.output_tokens for call in calls)
    assert all(0 < call.cost_micro_dollars <= call.worst_micro_dollars for call in calls)
    assert (state(database, asked).state, server.ledger.charged) == (JudgingState.DONE, 2 * PAIRS)
    (tally,) = {(one.first, one.second, one.tie) for one in rows(database, Tally) if one.voter_kind is VoterKind.JUDGE}
    assert tally == (0, 2, 0)
    job = next(job for job in rows(database, Job) if job.id == asked.job_id)
    assert (job.done, job.total) == (2 * PAIRS, 2 * PAIRS)


def test_a_judge_that_always_says_a_is_all_position(database: Database, server: DemoJudges, batch: EvalBatch) -> None:
    server.simulation.script = replace(server.simulation.script, taste=Always(Choice.A))
    do(database, ask(database, server, batch))
    assert Counter(verdict.outcome for verdict in rows(database, Verdict)) == {
        Outcome.FIRST: PAIRS, Outcome.SECOND: PAIRS,
    }  # fmt: skip


def test_the_second_order_only_where_the_first_was_decisive(
    database: Database, server: DemoJudges, batch: EvalBatch
) -> None:
    server.simulation.script = replace(server.simulation.script, taste=Always(Choice.TIE))
    asked = ask(database, server, batch, mode=SwapMode.DECISIVE)
    do(database, asked)
    assert len(rows(database, Ballot)) == PAIRS
    job = next(job for job in rows(database, Job) if job.id == asked.job_id)
    assert (job.done, job.total) == (PAIRS, PAIRS)


def test_faults_are_kept_and_every_ballot_ends_in_one_state(
    database: Database, server: DemoJudges, batch: EvalBatch
) -> None:
    faults = evenly(0.5)
    server.simulation.script = replace(server.simulation.script, faults=faults, retry_after=0)
    do(database, ask(database, server, batch))
    states = Counter(ballot.state for ballot in rows(database, Ballot))
    assert sum(states.values()) == 2 * PAIRS
    assert set(states) <= {BallotState.VOTED, BallotState.UNPARSED}
    assert CallState.SENT not in {call.state for call in rows(database, JudgeCall)}
    with database.session_scope(write=False) as session:
        checked = verify(session, RULES.secret, batch.id)
        assert checked.mismatches == ()


def test_the_cap_stops_it_and_a_higher_one_goes_on(database: Database, server: DemoJudges, batch: EvalBatch) -> None:
    asked = ask(database, server, batch, cap=900)
    with pytest.raises(CapReachedError, match=r"The cap of \$0.0009 is reached"):
        do(database, asked)
    stopped = state(database, asked)
    assert (stopped.state, stopped.trouble) == (JudgingState.STOPPED, Trouble.CAP_REACHED)
    with database.session_scope(write=False) as session:
        assert 0 < spent(session, stopped).at_most <= 900
    done = len(rows(database, Verdict))
    assert 0 < done < 2 * PAIRS
    do(database, again(database, asked, cap=10_000_000))
    assert (len(rows(database, Verdict)), server.ledger.charged) == (2 * PAIRS, 2 * PAIRS)
    assert state(database, asked).state is JudgingState.DONE


def test_an_empty_balance_stops_it_and_what_was_said_is_kept(
    database: Database, server: DemoJudges, batch: EvalBatch
) -> None:
    server.simulation.script = replace(server.simulation.script, balance=5)
    asked = ask(database, server, batch)
    with pytest.raises(EmptyBalanceError):
        do(database, asked)
    assert state(database, asked).trouble is Trouble.EMPTY_BALANCE
    assert len(rows(database, Verdict)) == 5
    server.simulation.script = replace(server.simulation.script, balance=None)
    do(database, again(database, asked))
    assert len(rows(database, Verdict)) == 2 * PAIRS


def test_without_a_key_nothing_is_sent(
    database: Database, server: DemoJudges, batch: EvalBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "")
    work.get_settings.cache_clear()
    asked = ask(database, server, batch)
    with pytest.raises(MissingKeyError):
        do(database, asked)
    assert (rows(database, JudgeCall), server.ledger.entries) == ([], ())
    assert "ANTHROPIC_API_KEY" in state(database, asked).message


def test_batches_bring_the_same_for_less(database: Database, server: DemoJudges, batch: EvalBatch) -> None:
    do(database, ask(database, server, batch, in_batches=True))
    assert {verdict.outcome for verdict in rows(database, Verdict)} == {Outcome.SECOND}
    calls = rows(database, JudgeCall)
    assert len({call.provider_batch for call in calls}) == 1
    assert len(rows(database, Verdict)) == server.ledger.charged == 2 * PAIRS


def test_a_closed_batch_can_still_be_judged(database: Database, server: DemoJudges, batch: EvalBatch) -> None:
    asked = ask(database, server, batch)
    with database.session_scope() as session:
        eval_batches.close(session, session.get_one(EvalBatch, batch.id), now=NOW)
    do(database, asked)
    assert len(rows(database, Verdict)) == 2 * PAIRS


def test_who_stops_it_keeps_everything(database: Database, server: DemoJudges, batch: EvalBatch) -> None:
    asked = ask(database, server, batch)
    with pytest.raises(Cancelled):
        do(database, asked, lambda: len(rows(database, Verdict)) >= 3)
    assert CallState.SENT not in {call.state for call in rows(database, JudgeCall)}
    do(database, again(database, asked))
    assert len(rows(database, Verdict)) == server.ledger.charged == 2 * PAIRS
