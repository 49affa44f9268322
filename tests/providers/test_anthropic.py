"""The real SDK, against the server of simulated judges."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.demo_judges.script import Fault
from app.demo_judges.server import DemoJudges
from app.demo_judges.tastes import Always
from app.domain.judging import Judged, Unparsed, read_reply
from app.domain.terms import Choice, ProviderKind, StopReason, Trouble, UnparsedReason
from app.providers import anthropic
from app.providers.anthropic import AnthropicProvider
from app.providers.calls import BatchResult, JudgeRequest, Lifecycle, Parameters, Reply, takes_batches
from app.providers.connect import connect
from app.providers.errors import (
    BadRequestError,
    EmptyBalanceError,
    LostReplyError,
    MissingKeyError,
    NoNetworkError,
    OverloadedError,
    ProviderError,
    RateLimitedError,
    RetiredModelError,
    ServerFaultError,
    WrongKeyError,
)
from tests.providers.conftest import Ask
from tests.providers.odd_server import CUT, odd_server

RETIRED = "claude-3-7-sonnet-20250219"


def always(judges: DemoJudges, fault: Fault) -> None:
    judges.simulation.script = replace(judges.simulation.script, faults={fault: 1.0})


@contextmanager
def impatient(judges: DemoJudges) -> Iterator[AnthropicProvider]:
    provider = AnthropicProvider("simulated", judges.url, timeout_seconds=0.3)
    yield provider
    provider.close()


def judged(reply: Reply) -> Judged | Unparsed:
    return read_reply(reply.text, reply.stop)


# ---------------------------------------------------------------------------------------------- one call


def test_a_reply_has_the_choice_and_all_that_is_stored_with_it(
    judges: DemoJudges, claude: AnthropicProvider, ask: Ask
) -> None:
    reply = claude.send(ask())
    found = judged(reply)
    assert isinstance(found, Judged)
    assert found.choice is Choice.B  # the longer one
    assert json.loads(reply.raw)["stop_reason"] == "end_turn"
    assert (reply.stop, reply.model) == (StopReason.END, "claude-haiku-5-5")
    assert reply.request_id.startswith("req_sim_")
    assert reply.latency_ms is not None
    assert reply.usage == judges.ledger.entries[0].usage
    assert reply.limits is not None
    assert (reply.limits.requests.limit, reply.limits.requests.remaining) == (60, 59)
    assert reply.limits.input_tokens.resets_at is not None


def test_both_orders_name_the_same_text(claude: AnthropicProvider, ask: Ask) -> None:
    found = [judged(claude.send(ask(a, b))) for a, b in (("Short.", "Rather longer."), ("Rather longer.", "Short."))]
    assert [one.choice for one in found if isinstance(one, Judged)] == [Choice.B, Choice.A]


def test_the_rubric_is_written_to_the_cache_once_and_read_from_it_then(claude: AnthropicProvider, ask: Ask) -> None:
    first, second = claude.send(ask()), claude.send(ask("Other.", "Texts."))
    assert first.usage.cache_write_tokens > 1024
    assert first.usage.cache_read_tokens == 0
    assert second.usage.cache_read_tokens == first.usage.cache_write_tokens
    assert second.usage.cache_write_tokens == 0


def test_tokens_are_counted_without_charge(judges: DemoJudges, claude: AnthropicProvider, ask: Ask) -> None:
    request = ask()
    count = claude.count_tokens(request)
    assert count.exact
    assert count.tokens == claude.send(request).usage.all_input_tokens
    assert judges.ledger.charged == 1


def test_parameters_are_sent_as_the_api_has_them(claude: AnthropicProvider, ask: Ask) -> None:
    parameters = Parameters(max_tokens=900, effort="low", thinking=False, temperature=0.0)
    reply = claude.send(replace(ask(), parameters=parameters))  # a temperature would be refused
    assert isinstance(judged(reply), Judged)


def test_no_second_attempt_is_made_behind_our_back(judges: DemoJudges, claude: AnthropicProvider, ask: Ask) -> None:
    for fault in (Fault.RATE_LIMITED, Fault.OVERLOADED, Fault.SERVER_FAULT):
        always(judges, fault)
        before = len(judges.ledger.entries)
        with pytest.raises(ProviderError):
            claude.send(ask())
        assert len(judges.ledger.entries) == before + 1


def test_the_record_of_a_call_has_all_of_it_but_the_key(claude: AnthropicProvider, ask: Ask) -> None:
    request = ask()
    body = claude.body(request)
    assert body["messages"] == [{"role": "user", "content": request.prompt.user}]
    assert body["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "5m"}
    assert claude.batch_body(request)["system"][0]["cache_control"]["ttl"] == "1h"
    assert "simulated" not in json.dumps(body)


# --------------------------------------------------------------------------------------------- faults


def test_a_rate_limit_says_how_long_to_wait(judges: DemoJudges, claude: AnthropicProvider, ask: Ask) -> None:
    judges.simulation.script = replace(judges.simulation.script, faults={Fault.RATE_LIMITED: 1.0}, retry_after=7)
    with pytest.raises(RateLimitedError, match="wait for 7 seconds") as caught:
        claude.send(ask())
    assert caught.value.said.retry_after == 7
    assert caught.value.passing
    assert not caught.value.unknown
    assert judges.ledger.charged == 0


@pytest.mark.parametrize(
    ("fault", "error"), [(Fault.OVERLOADED, OverloadedError), (Fault.SERVER_FAULT, ServerFaultError)]
)
def test_faults_of_the_server_pass_and_cost_nothing(
    judges: DemoJudges, claude: AnthropicProvider, ask: Ask, fault: Fault, error: type[ProviderError]
) -> None:
    always(judges, fault)
    with pytest.raises(error) as caught:
        claude.send(ask())
    assert (caught.value.passing, caught.value.unknown, caught.value.blocks) == (True, False, False)
    assert caught.value.said.request_id.startswith("req_sim_")
    assert judges.ledger.charged == 0


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.DROP, Fault.BROKEN_BODY])
def test_a_lost_reply_is_unknown_because_it_was_paid_for(judges: DemoJudges, ask: Ask, fault: Fault) -> None:
    always(judges, fault)
    with impatient(judges) as claude, pytest.raises(LostReplyError, match="counted as unknown") as caught:
        claude.send(ask())
    assert caught.value.unknown
    assert judges.ledger.charged == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.BROKEN_SCHEMA, UnparsedReason.SCHEMA),
        (Fault.CUT_OFF, UnparsedReason.TRUNCATED),
        (Fault.REFUSAL, UnparsedReason.REFUSED),
        (Fault.EMPTY, UnparsedReason.EMPTY),
    ],
)
def test_a_reply_without_a_choice_is_a_reply(
    judges: DemoJudges, claude: AnthropicProvider, ask: Ask, fault: Fault, reason: UnparsedReason
) -> None:
    always(judges, fault)
    reply = claude.send(ask())
    found = judged(reply)
    assert isinstance(found, Unparsed)
    assert found.reason is reason
    assert reply.usage.output_tokens > 0
    assert judges.ledger.charged == 1


def test_a_closed_port_is_no_network_and_nothing_was_sent(judges: DemoJudges, ask: Ask) -> None:
    claude = AnthropicProvider("simulated", "http://127.0.0.1:9")
    with pytest.raises(NoNetworkError, match="nothing was sent") as caught:
        claude.send(ask())
    assert (caught.value.passing, caught.value.unknown) == (True, False)
    with pytest.raises(NoNetworkError):
        claude.models()
    with pytest.raises(NoNetworkError):
        claude.count_tokens(ask())
    claude.close()
    assert judges.ledger.entries == ()


@pytest.mark.parametrize("key", ["", "  "])
def test_without_a_key_nothing_is_tried(key: str) -> None:
    with pytest.raises(MissingKeyError, match="ANTHROPIC_API_KEY") as caught:
        connect(ProviderKind.ANTHROPIC, key=key)
    assert caught.value.blocks


@pytest.mark.parametrize("key", ["sk-ant-ключ", "sk-ant\nx"])
def test_a_key_that_cannot_be_one_is_wrong(key: str) -> None:
    with pytest.raises(WrongKeyError):
        AnthropicProvider(key)


def test_a_wrong_key_is_told_apart(judges: DemoJudges, ask: Ask) -> None:
    claude = AnthropicProvider("sk-ant-wrong", judges.url)
    for call in (lambda: claude.send(ask()), claude.models, lambda: claude.batch("msgbatch_x")):
        with pytest.raises(WrongKeyError, match="does not accept the key") as caught:
            call()
        assert caught.value.blocks
        assert "sk-ant-wrong" not in caught.value.message + caught.value.detail
    claude.close()


def test_an_empty_balance_is_told_apart(judges: DemoJudges, claude: AnthropicProvider, ask: Ask) -> None:
    judges.simulation.script = replace(judges.simulation.script, balance=1)
    claude.send(ask())
    with pytest.raises(EmptyBalanceError, match="Add credit") as caught:
        claude.send(ask("Other.", "Texts."))
    assert caught.value.blocks
    assert "credit balance is too low" in caught.value.detail
    assert judges.ledger.charged == 1


def test_a_retired_model_is_named_with_its_day(claude: AnthropicProvider, ask: Ask) -> None:
    with pytest.raises(RetiredModelError, match=r"does not offer the model claude-3-7-.*February 19th, 2026") as caught:
        claude.send(ask(model=RETIRED))
    assert caught.value.blocks
    with pytest.raises(RetiredModelError, match="Add a judge with a model that is offered") as unknown:
        claude.send(ask(model="claude-nobody-1"))
    assert unknown.value.retired == ""


def test_a_request_that_is_refused_says_why(
    claude: AnthropicProvider, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = anthropic._arguments
    monkeypatch.setattr(anthropic, "_arguments", lambda *given: {**whole(*given), "extra_body": {"temperature": 1.0}})
    with pytest.raises(BadRequestError, match="temperature: Extra inputs are not permitted") as caught:
        claude.send(ask())
    assert (caught.value.passing, caught.value.unknown) == (False, False)


# ---------------------------------------------------------------------------------------------- models


def test_models_are_listed_with_their_stage_of_life(claude: AnthropicProvider) -> None:
    models = {model.id: model for model in claude.models()}
    assert models["claude-opus-5-5"].lifecycle is Lifecycle.ACTIVE
    assert models["claude-opus-5-5"].retires_at is None
    assert (models["claude-opus-5-5"].structured, models["claude-opus-5-5"].thinking_optional) == (True, True)
    assert {*anthropic.DEFAULT_MODELS, anthropic.CHEAP_MODEL} <= models.keys()
    assert models["claude-sonnet-4-5-20250929"].lifecycle is Lifecycle.DEPRECATED
    assert models[RETIRED].lifecycle is Lifecycle.RETIRED
    assert models[RETIRED].retires_at == datetime(2026, 2, 19, tzinfo=UTC)
    assert all("simulated" in model.name for model in models.values())


def test_every_page_of_the_list_is_read(
    judges: DemoJudges, claude: AnthropicProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anthropic, "_PAGE", 2)
    assert {model.id for model in claude.models()} == {model.id for model in judges.simulation.script.models}


# ---------------------------------------------------------------------------------------------- batches


def requests_of(ask: Ask, count: int) -> list[tuple[str, JudgeRequest]]:
    return [(f"attempt-{number}", ask("Short.", f"Longer {number}.")) for number in range(count)]


def ended(claude: AnthropicProvider, batch_id: str) -> dict[str, BatchResult]:
    assert claude.batch(batch_id).ended is False
    assert claude.batch(batch_id).ended is True
    return {result.custom_id: result for result in claude.results(batch_id)}


def test_a_batch_brings_a_result_for_each_call(judges: DemoJudges, claude: AnthropicProvider, ask: Ask) -> None:
    assert takes_batches(claude)
    handed_in = claude.create_batch(requests_of(ask, 5))
    assert (handed_in.ended, handed_in.processing, handed_in.total) == (False, 5, 5)
    results = ended(claude, handed_in.id)
    assert sorted(results) == [f"attempt-{number}" for number in range(5)]
    for result in results.values():
        assert isinstance(result.outcome, Reply)
        found = judged(result.outcome)
        assert isinstance(found, Judged)
        assert found.choice is Choice.B
        assert json.loads(result.outcome.raw)["usage"]["service_tier"] == "batch"
    writes = [one.outcome.usage.cache_write_1h_tokens > 0 for one in results.values() if isinstance(one.outcome, Reply)]
    assert sum(writes) == 1
    assert claude.batch(handed_in.id).succeeded == 5
    assert [entry.batch for entry in judges.ledger.entries] == [True] * 5
    assert {entry.custom_id for entry in judges.ledger.entries} == set(results)


def test_reading_the_results_again_pays_nothing(judges: DemoJudges, claude: AnthropicProvider, ask: Ask) -> None:
    batch = claude.create_batch(requests_of(ask, 3))
    first = ended(claude, batch.id)
    again = {result.custom_id: result for result in claude.results(batch.id)}
    assert again == first
    assert (judges.ledger.charged, judges.ledger.repeated) == (3, 0)


def test_a_batch_is_found_again_after_its_id_was_lost(
    judges: DemoJudges, claude: AnthropicProvider, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anthropic, "_PAGE", 1)
    started = datetime.now(UTC)
    ids = [claude.create_batch([(f"attempt-{number}", ask())]).id for number in range(3)]
    assert [batch.id for batch in claude.batches(started)] == list(reversed(ids))
    assert list(claude.batches(started + timedelta(days=1))) == []
    ended(claude, ids[1])
    assert [result.custom_id for result in claude.results(ids[1])] == ["attempt-1"]
    assert judges.ledger.charged == 1


@pytest.mark.parametrize("fault", [Fault.SERVER_FAULT, Fault.OVERLOADED, Fault.HANG])
def test_a_call_that_fails_in_a_batch_has_an_error_that_passes(
    judges: DemoJudges, claude: AnthropicProvider, ask: Ask, fault: Fault
) -> None:
    always(judges, fault)
    (result,) = ended(claude, claude.create_batch(requests_of(ask, 1)).id).values()
    assert isinstance(result.outcome, ServerFaultError)
    assert (result.outcome.passing, result.outcome.unknown) == (True, False)
    assert judges.ledger.charged == 0


def test_a_canceled_batch_pays_nothing_and_says_so(judges: DemoJudges, claude: AnthropicProvider, ask: Ask) -> None:
    batch = claude.create_batch(requests_of(ask, 2))
    assert claude.cancel_batch(batch.id).ended is False
    assert claude.batch(batch.id).canceled == 2
    outcomes = [result.outcome for result in claude.results(batch.id)]
    assert [one.trouble for one in outcomes if isinstance(one, ProviderError)] == [Trouble.SERVER_FAULT] * 2
    assert judges.ledger.charged == 0


def test_results_before_the_end_and_unknown_batches_are_refused(claude: AnthropicProvider, ask: Ask) -> None:
    batch = claude.create_batch(requests_of(ask, 1))
    for call in (lambda: list(claude.results(batch.id)), lambda: claude.batch("msgbatch_none")):
        with pytest.raises(BadRequestError):
            call()
    with pytest.raises(BadRequestError, match="custom_id of its own"):
        claude.create_batch([("same", ask()), ("same", ask())])


@pytest.mark.parametrize(("line", "cut"), [(b'{"custom_id": "one", \n', "0"), (b'{"custom_id": ', "50")])
def test_results_that_break_off_can_be_read_again(line: bytes, cut: str) -> None:
    with odd_server((200, {}), (200, line, {CUT: cut})) as server:
        url = server.url.removesuffix("/v1")
        batch = {"id": "msgbatch_1", "results_url": f"{url}/v1/messages/batches/msgbatch_1/results"}
        server.answers[0] = (200, batch, {"content-type": "application/json"})
        claude = AnthropicProvider("key", url)
        with pytest.raises(NoNetworkError if cut != "0" else ServerFaultError) as caught:
            list(claude.results("msgbatch_1"))
        claude.close()
    assert caught.value.passing


def test_no_key_is_stored_because_a_server_repeats_it(ask: Ask) -> None:
    said = {"type": "error", "error": {"type": "authentication_error", "message": "no such key: sk-very-secret"}}
    with odd_server((401, said, {"content-type": "application/json"})) as server:
        claude = AnthropicProvider("sk-very-secret", server.url.removesuffix("/v1"))
        with pytest.raises(WrongKeyError) as caught:
            claude.send(ask())
        claude.close()
    assert "secret" not in caught.value.detail + caught.value.said.raw
    assert "no such key" in caught.value.detail


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [
        (402, {"type": "billing_error", "message": "Pay first."}, EmptyBalanceError),
        (400, {"type": "billing_error", "message": "Pay first."}, EmptyBalanceError),
        (
            429,
            {"type": "rate_limit_error", "message": "x", "details": {"error_code": "enforced_spend_limit_reached"}},
            EmptyBalanceError,
        ),
        (403, {"type": "permission_error", "message": "Not this model."}, WrongKeyError),
        (413, {"type": "invalid_request_error", "message": "Too large."}, BadRequestError),
        (503, {"type": "api_error", "message": "x"}, OverloadedError),
        (504, {"type": "timeout_error", "message": "x"}, LostReplyError),
        (502, {"type": "api_error", "message": "x"}, ServerFaultError),
        (404, {"type": "unheard_of", "message": "x"}, BadRequestError),
    ],
)
def test_every_refusal_becomes_a_known_state(
    ask: Ask, status: int, said: dict[str, object], error: type[ProviderError]
) -> None:
    with odd_server((status, {"type": "error", "error": said}, {"content-type": "application/json"})) as server:
        claude = AnthropicProvider("key", server.url.removesuffix("/v1"))
        with pytest.raises(error):
            claude.send(ask())
        claude.close()
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "body", [b"<html>Sign in to the network</html>", b"[]", b"{}", b'{"content": [], "usage": {}}']
)
def test_a_page_in_between_is_no_reply(ask: Ask, body: bytes) -> None:
    with odd_server((200, body)) as server:
        claude = AnthropicProvider("key", server.url.removesuffix("/v1"))
        with pytest.raises(LostReplyError) as caught:
            claude.send(ask())
        claude.close()
    assert caught.value.said.raw == body.decode()


@pytest.mark.parametrize("body", [b"<html>Sign in to the network</html>", b"[]", b"{}", b'{"data": [{}]}', b"null"])
@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_a_page_in_between_is_no_answer_to_anything(ask: Ask, body: bytes, kind: str) -> None:
    with odd_server((200, body, {"content-type": kind})) as server:
        claude = AnthropicProvider("key", server.url.removesuffix("/v1"))
        free: list[Callable[[], object]] = [
            lambda: claude.count_tokens(ask()),
            lambda: claude.batch("msgbatch_1"),
            lambda: list(claude.results("msgbatch_1")),
            lambda: claude.cancel_batch("msgbatch_1"),
        ]
        for call in free:
            with pytest.raises(ProviderError) as caught:
                call()
            assert not caught.value.unknown
        with pytest.raises(LostReplyError):
            claude.create_batch([("one", ask())])
        claude.close()


def test_a_long_reply_may_be_waited_for(judges: DemoJudges, ask: Ask) -> None:
    claude = AnthropicProvider("simulated", judges.url, timeout_seconds=600)
    claude.send(replace(ask(), parameters=Parameters(max_tokens=64_000)))
    claude.close()


def test_a_batch_for_a_retired_model_is_refused_before_it_begins(
    judges: DemoJudges, claude: AnthropicProvider, ask: Ask
) -> None:
    with pytest.raises(RetiredModelError, match="February 19th, 2026"):
        claude.create_batch([("one", ask(model=RETIRED))])
    assert judges.ledger.entries == ()


def test_a_judge_that_always_says_a_does_so_in_both_orders(
    judges: DemoJudges, claude: AnthropicProvider, ask: Ask
) -> None:
    judges.simulation.script = replace(judges.simulation.script, tastes={}, taste=Always(Choice.A))
    found = [judged(claude.send(ask(a, b))) for a, b in (("One.", "Two."), ("Two.", "One."))]
    assert [one.choice for one in found if isinstance(one, Judged)] == [Choice.A, Choice.A]
