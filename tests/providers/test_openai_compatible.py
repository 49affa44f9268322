"""Chat completions, against the server of simulated judges and against servers that answer oddly."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from app.demo_judges.script import Fault
from app.demo_judges.server import DemoJudges
from app.domain.errors import BadInputError
from app.domain.judging import Judged, Unparsed, read_reply
from app.domain.terms import Choice, ProviderKind, StopReason, UnparsedReason
from app.providers.calls import Lifecycle, Parameters, takes_batches
from app.providers.connect import connect
from app.providers.errors import (
    BadRequestError,
    EmptyBalanceError,
    LostReplyError,
    NoNetworkError,
    OverloadedError,
    ProviderError,
    RateLimitedError,
    RetiredModelError,
    ServerFaultError,
    WrongKeyError,
)
from app.providers.openai_compatible import OpenAICompatibleProvider
from tests.providers.conftest import Ask
from tests.providers.odd_server import odd_server

VERDICT = json.dumps({"reasoning": "A is right.", "choice": "A", "confidence": "low"})
COMPLETION: dict[str, Any] = {
    "model": "tiny",
    "choices": [{"message": {"content": VERDICT}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 90, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 60}},
}


@contextmanager
def asking(url: str, key: str = "", seconds: float = 30) -> Iterator[OpenAICompatibleProvider]:
    provider = OpenAICompatibleProvider(url, key, seconds)
    yield provider
    provider.close()


# ------------------------------------------------------------------------------------- simulated judges


def test_a_judge_without_a_key_replies(judges: DemoJudges, ask: Ask) -> None:
    with asking(judges.completions_url) as provider:
        reply = provider.send(ask())
        found = read_reply(reply.text, reply.stop)
        assert isinstance(found, Judged)
        assert found.choice is Choice.B
        assert reply.stop is StopReason.END
        assert reply.usage == judges.ledger.entries[0].usage
        assert reply.request_id.startswith("sim-")
        assert reply.limits is None
        assert not takes_batches(provider)


def test_models_are_listed(judges: DemoJudges) -> None:
    with asking(judges.completions_url) as provider:
        models = provider.models()
    assert models[0].id == "claude-opus-5-5"
    assert {model.lifecycle for model in models} == {Lifecycle.ACTIVE}


def test_a_server_without_schemas_is_asked_in_words(judges: DemoJudges, ask: Ask) -> None:
    judges.simulation.script = replace(judges.simulation.script, structured=False)
    with asking(judges.completions_url) as provider:
        reply = provider.send(ask())
    assert isinstance(read_reply(reply.text, reply.stop), Judged)
    assert judges.ledger.charged == 1


@pytest.mark.parametrize(
    ("fault", "error", "charged"),
    [
        (Fault.RATE_LIMITED, RateLimitedError, 0),
        (Fault.OVERLOADED, OverloadedError, 0),
        (Fault.SERVER_FAULT, ServerFaultError, 0),
        (Fault.HANG, LostReplyError, 1),
        (Fault.DROP, LostReplyError, 1),
        (Fault.BROKEN_BODY, LostReplyError, 1),
    ],
)
def test_faults_are_told_apart(
    judges: DemoJudges, ask: Ask, fault: Fault, error: type[ProviderError], charged: int
) -> None:
    judges.simulation.script = replace(judges.simulation.script, faults={fault: 1.0})
    with asking(judges.completions_url, seconds=0.3) as provider, pytest.raises(error) as caught:
        provider.send(ask())
    assert caught.value.unknown is bool(charged)
    assert judges.ledger.charged == charged


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
    judges: DemoJudges, ask: Ask, fault: Fault, reason: UnparsedReason
) -> None:
    judges.simulation.script = replace(judges.simulation.script, faults={fault: 1.0})
    with asking(judges.completions_url) as provider:
        reply = provider.send(ask())
    found = read_reply(reply.text, reply.stop)
    assert isinstance(found, Unparsed)
    assert found.reason is reason


def test_an_unknown_model_and_a_used_up_quota_are_told_apart(judges: DemoJudges, ask: Ask) -> None:
    with asking(judges.completions_url) as provider:
        with pytest.raises(RetiredModelError, match="does not offer the model nobody"):
            provider.send(ask(model="nobody"))
        judges.simulation.script = replace(judges.simulation.script, balance=0)
        with pytest.raises(EmptyBalanceError):
            provider.send(ask())


# -------------------------------------------------------------------------------------------- odd servers


def test_what_is_sent_is_what_such_servers_know(ask: Ask) -> None:
    with odd_server((200, COMPLETION)) as server, asking(server.url, key="secret") as provider:
        request = replace(ask(), parameters=Parameters(max_tokens=300, effort="high", temperature=0.0))
        reply = provider.send(request)
    (body,) = server.bodies
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert (body["max_tokens"], body["temperature"], "effort" in body) == (300, 0.0, False)
    assert body["response_format"]["json_schema"]["strict"] is True
    assert server.headers[0]["authorization"] == "Bearer secret"
    assert (reply.usage.input_tokens, reply.usage.cache_read_tokens, reply.usage.output_tokens) == (30, 60, 10)


def test_what_a_server_refuses_is_left_out_from_then_on(ask: Ask) -> None:
    def refusal(words: str) -> dict[str, Any]:
        return {"error": {"message": words}}

    with (
        odd_server(
            (400, refusal("Use 'max_completion_tokens' instead.")),
            (422, refusal("json_schema is not a known type")),
            (400, refusal("response_format: not supported")),
            (200, COMPLETION),
        ) as server,
        asking(server.url) as provider,
    ):
        provider.send(ask())
        provider.send(ask())
    forms = [(body.get("response_format") or {}).get("type") for body in server.bodies]
    assert forms == ["json_schema", "json_schema", "json_object", None, None]
    assert ["max_tokens" in body for body in server.bodies] == [True, False, False, False, False]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": "the prompt is too long: 9000 > 8192"}, BadRequestError),
        (400, {"detail": "no"}, BadRequestError),
        (401, {"error": {"message": "bad key"}}, WrongKeyError),
        (402, {"message": "pay"}, EmptyBalanceError),
        (404, {"error": "model 'claude-haiku-5-5' not found, try pulling it first"}, RetiredModelError),
        (404, b"<html>nothing here</html>", BadRequestError),
        (301, b"", BadRequestError),
        (500, b"oops", ServerFaultError),
        (504, b"", LostReplyError),
        (200, b"<html>Sign in to the hotel's network</html>", LostReplyError),
        (200, {"choices": []}, LostReplyError),
        (200, [], LostReplyError),
        (200, {"choices": [{"message": None}]}, LostReplyError),
    ],
)
def test_every_odd_answer_becomes_a_known_state(ask: Ask, status: int, body: Any, error: type[ProviderError]) -> None:
    with odd_server((status, body)) as server, asking(server.url) as provider, pytest.raises(error):
        provider.send(ask())
    assert len(server.bodies) == 1


def test_no_key_is_stored_because_a_server_repeats_it(ask: Ask) -> None:
    said = {"error": {"message": "The key sk-very-secret is unknown"}}
    for status in (400, 401):
        with odd_server((status, said)) as server, asking(server.url, "sk-very-secret") as provider:
            with pytest.raises(ProviderError) as caught:
                provider.send(ask())
            with pytest.raises(ProviderError) as listing:
                provider.models()
        for error in (caught.value, listing.value):
            assert "secret" not in error.message + error.detail + error.said.raw
            assert "is unknown" in error.detail


def test_a_refusal_in_the_message_is_a_refusal(ask: Ask) -> None:
    said = {"choices": [{"message": {"content": None, "refusal": "I cannot."}, "finish_reason": "stop"}]}
    with odd_server((200, said)) as server, asking(server.url) as provider:
        assert provider.send(ask()).stop is StopReason.REFUSAL


def test_limits_are_read_from_the_headers(ask: Ask) -> None:
    headers = {
        "date": "Wed, 25 Nov 2026 10:00:00 GMT",
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1m30s",
    }
    with odd_server((200, COMPLETION, headers)) as server, asking(server.url) as provider:
        limits = provider.send(ask()).limits
    assert limits is not None
    assert (limits.requests.limit, limits.requests.remaining) == (60, 59)
    assert limits.input_tokens.remaining is None


def test_a_closed_port_is_no_network(ask: Ask) -> None:
    with asking("http://127.0.0.1:9/v1") as provider:
        with pytest.raises(NoNetworkError, match=r"The server at 127\.0\.0\.1:9 cannot be reached"):
            provider.send(ask())
        with pytest.raises(NoNetworkError):
            provider.models()


def test_a_list_of_models_that_is_none_is_told(ask: Ask) -> None:
    with odd_server((200, {"models": []})) as server, asking(server.url) as provider, pytest.raises(ServerFaultError):
        provider.models()
    with odd_server((504, b"")) as server, asking(server.url) as provider, pytest.raises(ServerFaultError):
        provider.models()
    with odd_server((401, {"error": "key"})) as server, asking(server.url) as provider, pytest.raises(WrongKeyError):
        provider.models()


def test_tokens_are_guessed_rather_too_high(ask: Ask) -> None:
    with asking("http://127.0.0.1:9/v1") as provider:
        count = provider.count_tokens(ask())
    assert not count.exact
    assert count.tokens > 1500


@pytest.mark.parametrize("address", ["", "localhost:11434", "ftp://x/v1", "http://"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(BadInputError, match=r"http://127\.0\.0\.1:11434/v1"):
        connect(ProviderKind.OPENAI_COMPATIBLE, base_url=address)


def test_a_password_in_the_address_is_not_shown() -> None:
    provider = OpenAICompatibleProvider("http://me:hidden@127.0.0.1:9/v1")
    with pytest.raises(NoNetworkError) as caught:
        provider.models()
    assert "hidden" not in caught.value.message
    provider.close()
