"""What the API takes: OpenAI's settings, and a refusal of those that would be passed over."""

from typing import Any

import pytest
from pydantic import ValidationError

from training.sampling import Sampling
from worker.endpoint.shapes import ChatRequest, TextRequest

HI = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_what_is_left_out_is_as_openai_has_it() -> None:
    body = ChatRequest.model_validate(HI)
    assert body.sampling(77) == Sampling(temperature=1.0, top_p=1.0, max_new_tokens=77)
    assert (body.stops, body.stream, body.seed) == ((), None, None)


def test_settings_reach_the_engine() -> None:
    body = TextRequest.model_validate(
        {"model": "m", "prompt": "x", "temperature": 0, "top_p": 0.5, "max_tokens": 3, "stop": "END"}
    )
    assert body.sampling(77) == Sampling(temperature=0.0, top_p=0.5, max_new_tokens=3)
    assert body.stops == ("END",)
    newer = ChatRequest.model_validate(HI | {"max_completion_tokens": 5, "stop": ["a", "b"]})
    assert (newer.sampling(77).max_new_tokens, newer.stops) == (5, ("a", "b"))


def test_a_message_may_have_parts() -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    body = ChatRequest.model_validate(HI | {"messages": [{"role": "developer", "content": parts}]})
    assert body.messages[0].plain() == {"role": "system", "content": "one two"}


REFUSED: dict[str, Any] = {
    "n": 2, "best_of": 3, "echo": True, "logprobs": True, "top_logprobs": 4, "frequency_penalty": 0.5,
    "presence_penalty": -1, "logit_bias": {"5": 1}, "tools": [{"type": "function"}], "audio": {},
    "response_format": {"type": "json_object"}, "suffix": "x",
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_passed_over_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name} is not supported here"):
        ChatRequest.model_validate(HI | {name: REFUSED[name]})
    ChatRequest.model_validate(HI | {name: None})


@pytest.mark.parametrize(
    "wrong",
    [
        {"stop": ["a", "b", "c", "d", "e"]},
        {"stop": [""]},
        {"stop": "x" * 201},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"top_p": 0},
        {"max_tokens": 0},
        {"seed": 2**70},
        {"messages": []},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
    ],
    ids=str,
)
def test_what_has_no_meaning_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ChatRequest.model_validate(HI | wrong)


def test_what_asks_for_nothing_is_taken() -> None:
    ChatRequest.model_validate(HI | {"n": 1, "frequency_penalty": 0.0, "tools": [], "logit_bias": {}, "user": "me"})
