import secrets
from collections.abc import Iterator
from functools import partial
from typing import Protocol

import pytest

from app.demo_judges.script import Script
from app.demo_judges.server import DemoJudges, demo_judges
from app.domain.judging import ShownTurn, judge_prompt
from app.providers.anthropic import AnthropicProvider
from app.providers.calls import JudgeRequest, Parameters

LONG_RUBRIC = "Say which is better, and why. " * 200


class Ask(Protocol):
    """Makes a request about two texts."""

    def __call__(
        self, a: str = "Short.", b: str = "Rather longer.", model: str = "claude-haiku-5-5"
    ) -> JudgeRequest: ...


def _ask(
    a: str = "Short.", b: str = "Rather longer.", model: str = "claude-haiku-5-5", parameters: Parameters | None = None
) -> JudgeRequest:
    prompt = judge_prompt(LONG_RUBRIC, (ShownTurn("user", "Why?"),), a, b, secrets.token_hex(16))
    return JudgeRequest(model, prompt, parameters or Parameters())


@pytest.fixture
def ask() -> Ask:
    return partial(_ask, parameters=Parameters(max_tokens=500))


@pytest.fixture
def judges() -> Iterator[DemoJudges]:
    """A server whose script a test may exchange."""
    with demo_judges(Script()) as running:
        yield running


@pytest.fixture
def claude(judges: DemoJudges) -> Iterator[AnthropicProvider]:
    """Our provider on the real SDK."""
    provider = AnthropicProvider("simulated", judges.url, timeout_seconds=30)
    yield provider
    provider.close()
