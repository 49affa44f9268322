"""What could cost money twice, or more than was allowed, and what could end a judge too early."""

import uuid
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app.db import Database
from app.demo_judges.server import DemoJudges
from app.domain.errors import BadInputError
from app.domain.terms import BallotState, CallState, JobState, JudgingState, Trouble
from app.models import Ballot, EvalBatch, Job, Judge, JudgeCall, Judging, Verdict
from app.providers.anthropic import AnthropicProvider
from app.providers.calls import JudgeRequest, Limit, RateLimits
from app.providers.errors import BadRequestError, EmptyBalanceError, LostReplyError, NoNetworkError, ServerFaultError
from app.providers.pacing import Pace
from app.services import judging
from app.services.judge_calls import MOST_FAULTS, NOT_TOLD
from app.services.judging import spent
from tests.factories import NOW
from tests.judging import make_judge
from tests.worker.judge_job import PAIRS, again, ask, do, rows, state
from training.errors import Cancelled
from worker import judge as work
from worker.claim import claim, requeue, utc_now
from worker.judge_work import Work

CALLS = 2 * PAIRS


class KilledError(BaseException):
    """Stands for ``kill -9``: nothing of ours catches it."""


def killed_while(monkeypatch: pytest.MonkeyPatch, database: Database, asked: Judging, method: str) -> None:
    """Do the job until this step of it has been done, of which nobody hears any more; the job goes back in line."""
    real = getattr(AnthropicProvider, method)

    def die(*arguments: Any) -> None:
        real(*arguments)
        raise KilledError

    taken = claim(asked.job_id, worker="here")
    assert taken is not None
    with monkeypatch.context() as patch:
        patch.setattr(AnthropicProvider, method, die)
        with pytest.raises(KilledError):
            work.run(taken, lambda: False)
    with database.session_scope() as session:
        requeue(session, taken.hold(session), reason="killed", now=NOW)


def calls_by_state(database: Database) -> Counter[CallState]:
    return Counter(call.state for call in rows(database, JudgeCall))


def test_a_batch_whose_id_was_never_stored_is_found_again_though_the_clocks_differ_and_others_use_the_key(
    database: Database, server: DemoJudges, batch: EvalBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(database, server, batch, in_batches=True)
    killed_while(monkeypatch, database, asked, "create_batch")
    assert {call.provider_batch for call in rows(database, JudgeCall)} == {NOT_TOLD}
    with database.session_scope() as session:  # our clock is an hour ahead of the provider's
        session.execute(update(JudgeCall).values(sent_at=utc_now() + timedelta(hours=1)))
        request = session.scalars(select(JudgeCall.request).limit(1)).one()
    client = AnthropicProvider("simulated", server.url)._client
    for size in (1, CALLS):  # somebody else's, with ids of another form
        client.messages.batches.create(
            requests=[{"custom_id": f"theirs-{number}", "params": request} for number in range(size)]
        )
    client.close()
    do(database, asked)
    assert (len(rows(database, Verdict)), calls_by_state(database)) == (CALLS, {CallState.VERDICT: CALLS})
    assert sum(not entry.custom_id.startswith("theirs") for entry in server.ledger.entries) == CALLS


def test_who_goes_on_without_batches_still_gets_what_was_handed_in(
    database: Database, server: DemoJudges, batch: EvalBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(database, server, batch, in_batches=True)
    killed_while(monkeypatch, database, asked, "create_batch")
    with database.session_scope() as session:
        session.get_one(Judging, asked.id).in_batches = False
    do(database, asked)
    assert (len(rows(database, Verdict)), server.ledger.charged) == (CALLS, CALLS)
    assert state(database, asked).state is JudgingState.DONE


def test_who_goes_on_in_batches_does_not_take_lost_replies_for_calls_that_were_never_sent(
    database: Database, server: DemoJudges, batch: EvalBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(database, server, batch)
    killed_while(monkeypatch, database, asked, "send")
    lost = calls_by_state(database)[CallState.SENT]
    assert lost > 0
    with database.session_scope() as session:
        session.get_one(Judging, asked.id).in_batches = True
    do(database, asked)
    assert calls_by_state(database) == {CallState.UNKNOWN: lost, CallState.VERDICT: CALLS}
    with database.session_scope(write=False) as session:
        assert spent(session, state(database, asked)).unknown > 0


def test_who_stops_a_judge_that_waits_for_a_batch_does_not_pay_for_what_has_not_begun(
    database: Database, server: DemoJudges, batch: EvalBatch
) -> None:
    asked = ask(database, server, batch, in_batches=True)

    def stop() -> bool:
        if not any(call.provider_batch not in ("", NOT_TOLD) for call in rows(database, JudgeCall)):
            return False
        with database.session_scope() as session:
            judging.stop(session, session.get_one(Judging, asked.id), now=NOW)
        return True

    with pytest.raises(Cancelled):
        do(database, asked, stop)
    assert (state(database, asked).state, server.ledger.charged) == (JudgingState.STOPPED, 0)
    do(database, again(database, asked, in_batches=True))
    assert calls_by_state(database) == {CallState.FAILED: CALLS, CallState.VERDICT: CALLS}
    assert (len(rows(database, Verdict)), server.ledger.charged) == (CALLS, CALLS)


def test_results_that_the_provider_no_longer_has_do_not_hold_a_judge_up(
    database: Database, server: DemoJudges, batch: EvalBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(database, server, batch, in_batches=True)
    killed_while(monkeypatch, database, asked, "create_batch")
    with database.session_scope() as session:
        session.execute(update(JudgeCall).values(provider_batch="msgbatch_of_last_month"))
    do(database, asked)
    assert calls_by_state(database) == {CallState.UNKNOWN: CALLS, CallState.VERDICT: CALLS}
    with database.session_scope(write=False) as session:  # it may have been paid for: held against the cap
        assert spent(session, state(database, asked)).unknown > 0


def test_a_cap_that_nothing_could_be_held_against_is_refused(
    database: Database, server: DemoJudges, batch: EvalBatch
) -> None:
    with database.session_scope() as session:
        make_judge(session, server, "haiku").model = "brie-nobody-sells"
    with database.session_scope() as session:
        judge, row = session.scalars(select(Judge)).one(), session.get_one(EvalBatch, batch.id)
        with pytest.raises(BadInputError, match="no price"):
            judging.ask(session, row, judge, cap=1_000_000, now=NOW)
    assert rows(database, Judging) == []


def test_a_batch_that_is_refused_as_a_whole_gives_no_ballot_up(
    database: Database, server: DemoJudges, batch: EvalBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.simulation.script = replace(server.simulation.script, balance=3)
    asked = ask(database, server, batch)
    with pytest.raises(EmptyBalanceError):
        do(database, asked)
    server.simulation.script = replace(server.simulation.script, balance=None)

    def refuse(*_: object) -> None:
        raise BadRequestError("Anthropic")

    with monkeypatch.context() as patch:
        patch.setattr(AnthropicProvider, "create_batch", refuse)
        with pytest.raises(BadRequestError):
            do(database, again(database, asked, in_batches=True))
    assert Counter(ballot.state for ballot in rows(database, Ballot))[BallotState.UNPARSED] == 0
    do(database, again(database, asked, in_batches=True))
    assert len(rows(database, Verdict)) == server.ledger.charged == CALLS


def test_a_balance_that_ends_within_a_batch_gives_no_ballot_up(
    database: Database, server: DemoJudges, batch: EvalBatch
) -> None:
    server.simulation.script = replace(server.simulation.script, balance=5)
    asked = ask(database, server, batch, in_batches=True)
    with pytest.raises(EmptyBalanceError):
        do(database, asked)
    assert state(database, asked).trouble is Trouble.EMPTY_BALANCE
    assert calls_by_state(database) == {CallState.VERDICT: 5, CallState.FAILED: CALLS - 5}
    server.simulation.script = replace(server.simulation.script, balance=None)
    do(database, again(database, asked, in_batches=True))
    assert len(rows(database, Verdict)) == server.ledger.charged == CALLS


def test_a_limit_that_is_used_up_by_the_last_reply_is_waited_out(
    database: Database, server: DemoJudges, batch: EvalBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call is under way and none has failed: that alone does not mean that everything was asked."""
    real, paused = Pace.replied, []

    def used_up(pace: Pace, limits: RateLimits | None) -> None:
        real(pace, limits)
        if not paused:
            paused.append(utc_now() + timedelta(seconds=0.5))
            gone = Limit(60, 0, paused[0])
            pace._heed(gone)

    monkeypatch.setattr(Pace, "replied", used_up)
    do(database, ask(database, server, batch))
    assert paused
    assert len(rows(database, Verdict)) == CALLS


def test_a_server_that_is_away_stops_it_after_a_few_tries_of_a_few_ballots(
    database: Database, server: DemoJudges, batch: EvalBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise NoNetworkError("Anthropic")

    monkeypatch.setenv("ARENA_JUDGE_CONCURRENCY", "1")
    work.get_settings.cache_clear()
    asked = ask(database, server, batch)
    with monkeypatch.context() as patch:
        patch.setattr(AnthropicProvider, "send", away)
        with pytest.raises(NoNetworkError):
            do(database, asked)
    stopped = state(database, asked)
    assert (stopped.state, stopped.trouble) == (JudgingState.STOPPED, Trouble.NO_NETWORK)
    assert "cannot be reached" in stopped.message
    tried = Counter(call.ballot_id for call in rows(database, JudgeCall))
    assert max(tried.values()) == MOST_FAULTS
    assert len(tried) <= 2

    real, once = AnthropicProvider.send, []

    def overloaded_once(provider: AnthropicProvider, request: JudgeRequest) -> Any:
        if not once:
            once.append(request)
            raise ServerFaultError("Anthropic")
        return real(provider, request)

    monkeypatch.setattr(AnthropicProvider, "send", overloaded_once)  # a resumed judge is patient again
    do(database, again(database, asked))
    assert (len(rows(database, Verdict)), server.ledger.charged) == (CALLS, CALLS)


def test_lost_replies_are_held_against_the_cap_as_dearly_as_they_can_be(
    database: Database, server: DemoJudges, batch: EvalBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise LostReplyError("Anthropic")

    asked = ask(database, server, batch, cap=60_000)
    with monkeypatch.context() as patch:
        patch.setattr(AnthropicProvider, "send", lost)
        with pytest.raises((LostReplyError, judging.CapReachedError)):
            do(database, asked)
    calls = rows(database, JudgeCall)
    with database.session_scope(write=False) as session:
        held = spent(session, state(database, asked))
    assert {call.state for call in calls} == {CallState.UNKNOWN}
    assert held.at_most == held.unknown == sum(call.worst_micro_dollars for call in calls) <= 60_000


def test_a_job_that_ends_without_a_word_of_the_judge_leaves_none_running(
    database: Database, server: DemoJudges, batch: EvalBatch
) -> None:
    asked = ask(database, server, batch)
    taken = claim(asked.job_id, worker="here")
    assert taken is not None
    with database.session_scope() as session:
        job = taken.hold(session)
        job.max_attempts = 1
        requeue(session, job, reason="Its worker died.", now=NOW)
    stopped = state(database, asked)
    assert stopped.state is JudgingState.STOPPED
    assert "Its worker died." in stopped.message
    with database.session_scope() as session:
        work_again = session.get_one(Job, asked.job_id)
        work_again.state, work_again.max_attempts = JobState.QUEUED, 3
    do(database, asked)
    assert (state(database, asked).state, state(database, asked).message) == (JudgingState.DONE, "")


def test_a_call_that_is_settled_twice_is_counted_once(database: Database, server: DemoJudges, batch: EvalBatch) -> None:
    """A batch may tell its results twice, and a crash may come between two of them."""
    asked = ask(database, server, batch, in_batches=True)
    real, settled = Work.settle, []

    def die_in_the_middle(self: Work, call_id: uuid.UUID, outcome: Any, **more: Any) -> Any:
        if len(settled) == 4:
            raise KilledError
        settled.append(call_id)
        return real(self, call_id, outcome, **more)

    taken = claim(asked.job_id, worker="here")
    assert taken is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Work, "settle", die_in_the_middle)
        with pytest.raises(KilledError):
            work.run(taken, lambda: False)
    with database.session_scope() as session:
        requeue(session, taken.hold(session), reason="killed", now=NOW)
    do(database, asked)
    assert len(rows(database, Verdict)) == server.ledger.charged == CALLS
