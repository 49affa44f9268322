"""Responses from a server that speaks chat completions."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from app.domain.errors import BadInputError
from app.providers.errors import BadRequestError, LostReplyError, NoNetworkError, RetiredModelError, WrongKeyError
from app.providers.model_server import Ask, ModelServer, ServedModel, same_model
from tests.fakes.model_server import SYSTEM_FINGERPRINT, VERSION, FakeModelServer, Fault, model_server
from tests.providers.odd_server import odd_server

SAMPLING = {"temperature": 0.7, "top_p": 0.9, "top_k": 0, "max_new_tokens": 64, "repetition_penalty": 1.0}
ASK = Ask("k", "brie", ({"role": "user", "content": "Why?"},), SAMPLING, seed=2**40 + 5)
MODELS = {"tiny": "", "brie": "tiny"}
COMPLETION: dict[str, Any] = {"choices": [{"message": {"content": "Because."}, "finish_reason": "stop"}]}


@contextmanager
def asking(url: str, key: str = "", seconds: float = 30) -> Iterator[ModelServer]:
    server = ModelServer(url, key, seconds)
    yield server
    server.close()


def test_every_setting_is_sent_and_the_seed_fits_every_server() -> None:
    with model_server(FakeModelServer(MODELS)) as fake, asking(fake.url, "secret") as server:
        done = server.complete(ASK)
        assert server.models() == (ServedModel("tiny", "", "vllm"), ServedModel("brie", "tiny", "vllm"))
        assert server.version() == VERSION
    body = fake.bodies[0]
    assert body["messages"] == [{"role": "user", "content": "Why?"}]
    assert (body["temperature"], body["top_p"], body["max_tokens"], body["seed"]) == (0.7, 0.9, 64, 5)
    assert (body["top_k"], body["min_p"], body["repetition_penalty"], body["repeat_penalty"]) == (-1, 0, 1.0, 1.0)
    assert fake.keys == {"Bearer secret"}
    assert (done.text, done.end, done.model) == ("brie on “Why?” with 5.", "stop", "brie")
    assert done.system_fingerprint == SYSTEM_FINGERPRINT
    assert done.tokens == len(done.text.split())


def test_a_response_that_was_cut_says_so() -> None:
    with model_server(FakeModelServer(MODELS)) as fake, asking(fake.url) as server:
        done = server.complete(replace(ASK, sampling={**SAMPLING, "max_new_tokens": 2}))
    assert (done.text, done.end, done.tokens) == ("brie on", "length", 2)


@pytest.mark.parametrize("name", ["top_k", "min_p", "repeat_penalty"])
def test_a_setting_that_changes_nothing_is_left_out_where_it_is_refused(name: str) -> None:
    with model_server(FakeModelServer(MODELS, refused=(name,))) as fake, asking(fake.url) as server:
        server.complete(ASK)
        server.complete(ASK)
    assert [name in body for body in fake.bodies] == [True, False, False]


def test_one_of_two_names_for_a_penalty_is_enough() -> None:
    ask = replace(ASK, sampling={**SAMPLING, "repetition_penalty": 1.1})
    with model_server(FakeModelServer(MODELS, refused=("repeat_penalty",))) as fake, asking(fake.url) as server:
        server.complete(ask)
    assert fake.bodies[-1]["repetition_penalty"] == 1.1


@pytest.mark.parametrize(
    ("changed", "refused", "words"),
    [
        ({"top_k": 40}, ("top_k",), "it takes no top k, and the plan asks for 40"),
        ({"repetition_penalty": 1.1}, ("repetition_penalty", "repeat_penalty"), "penalty, and the plan asks for 1.1"),
    ],
)
def test_a_setting_that_changes_the_text_is_never_left_out(
    changed: dict[str, float], refused: tuple[str, ...], words: str
) -> None:
    ask = replace(ASK, sampling={**SAMPLING, **changed})
    with (
        model_server(FakeModelServer(MODELS, refused=refused)) as fake,
        asking(fake.url) as server,
        pytest.raises(BadRequestError, match=words),
    ):
        server.complete(ask)


def test_the_limit_goes_under_its_newer_name_where_it_has_to() -> None:
    refusal = {"error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}}
    with odd_server((400, refusal), (200, COMPLETION)) as odd, asking(odd.url) as server:
        assert server.complete(ASK).text == "Because."
    assert "max_tokens" not in odd.bodies[1]
    assert odd.bodies[1]["max_completion_tokens"] == 64


def test_what_a_server_does_not_tell_is_empty() -> None:
    with odd_server((200, COMPLETION)) as odd, asking(odd.url) as server:
        done = server.complete(ASK)
        assert server.version() == ""
    assert (done.tokens, done.model, done.system_fingerprint, done.limits) == (0, "", "", None)


def test_an_empty_response_is_one_and_another_end_is_told() -> None:
    body = {"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]}
    with odd_server((200, body)) as odd, asking(odd.url) as server:
        done = server.complete(ASK)
    assert (done.text, done.end) == ("", "content_filter")


def test_another_model_than_was_asked_for_is_refused() -> None:
    fake = FakeModelServer(MODELS, answers_as="tiny")
    with (
        model_server(fake),
        asking(fake.url) as server,
        pytest.raises(BadRequestError, match="asked for brie, it let tiny answer"),
    ):
        server.complete(ASK)


@pytest.mark.parametrize(
    ("one", "other", "same"), [("brie", "brie:latest", True), ("brie", "brie:1", False), ("a", "b", False)]
)
def test_names_of_models(one: str, other: str, same: bool) -> None:
    assert same_model(one, other) is same


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": [{"message": {"content": 7}}]}, [], b"no"])
def test_what_is_no_completion_is_a_lost_reply(body: Any) -> None:
    with odd_server((200, body)) as odd, asking(odd.url) as server, pytest.raises(LostReplyError):
        server.complete(ASK)


def test_errors_are_told_apart_and_no_key_is_repeated() -> None:
    with (
        odd_server((401, {"error": "the key secret is wrong"})) as odd,
        asking(odd.url, "secret") as server,
        pytest.raises(WrongKeyError) as wrong,
    ):
        server.complete(ASK)
    assert wrong.value.said.words == "the key … is wrong"
    with (
        model_server(FakeModelServer({"tiny": ""})) as fake,
        asking(fake.url) as server,
        pytest.raises(RetiredModelError),
    ):
        server.complete(ASK)
    with (
        model_server(FakeModelServer(MODELS, faults={0: Fault.DROPPED})) as fake,
        asking(fake.url) as server,
        pytest.raises(LostReplyError),
    ):
        server.complete(ASK)
    with asking(fake.url) as server, pytest.raises(NoNetworkError):
        server.models()
    with pytest.raises(BadInputError):
        ModelServer("gpu:8000/v1")


def test_a_reply_that_does_not_come_is_lost() -> None:
    fake = FakeModelServer(MODELS, hang_from=0)
    with model_server(fake), asking(fake.url, seconds=0.1) as server, pytest.raises(LostReplyError):
        server.complete(ASK)
