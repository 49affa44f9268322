"""Anthropic's SDK by itself, as anybody would use it, against the simulated judges."""

from collections.abc import Iterator
from typing import Literal

import anthropic
import pytest
from pydantic import BaseModel

from app.demo_judges.server import demo_judges

PARAMS = {"model": "claude-haiku-5-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}


class Verdict(BaseModel):
    """What a user of ``messages.parse`` would write."""

    reasoning: str
    choice: Literal["A", "B", "tie"]
    confidence: str


@pytest.fixture
def client() -> Iterator[anthropic.Anthropic]:
    with demo_judges() as judges, anthropic.Anthropic(api_key="simulated", base_url=judges.url) as client:
        yield client


def test_structured_output_is_parsed(client: anthropic.Anthropic) -> None:
    message = client.messages.parse(output_format=Verdict, **PARAMS)
    assert isinstance(message.parsed_output, Verdict)
    assert message.parsed_output.choice == "A"  # its only text is the longer one
    assert message.usage.output_tokens > 0
    assert message._request_id is not None


def test_one_model_is_shown_or_not_found(client: anthropic.Anthropic) -> None:
    model = client.models.retrieve("claude-opus-4-20250514")
    assert (model.lifecycle, model.retires_at is not None) == ("retired", True)
    with pytest.raises(anthropic.NotFoundError, match="claude-none"):
        client.models.retrieve("claude-none")


def test_only_what_can_be_asked_is_listed_by_default(client: anthropic.Anthropic) -> None:
    assert {model.lifecycle for model in client.models.list()} == {"active", "deprecated"}


def test_what_is_missing_is_refused_by_name(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="max_tokens: Field required"):
        client.post("/v1/messages", cast_to=object, body={"model": "claude-haiku-5-5", "messages": []})
    with pytest.raises(anthropic.BadRequestError, match="top_p: Extra inputs"):
        client.messages.create(extra_body={"top_p": 0.5}, **PARAMS)


def test_batches_run_to_their_end(client: anthropic.Anthropic) -> None:
    batch = client.messages.batches.create(requests=[{"custom_id": "one", "params": PARAMS}])
    assert batch.processing_status == "in_progress"
    while client.messages.batches.retrieve(batch.id).processing_status != "ended":
        pass
    (result,) = client.messages.batches.results(batch.id)
    assert result.custom_id == "one"
    assert result.result.type == "succeeded"
    assert result.result.message.usage.service_tier == "batch"
    assert [found.id for found in client.messages.batches.list()] == [batch.id]
