"""Judges that have said something: the real services with replies made here, without a worker or a server."""

import json
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.config import DATA
from app.domain.rubric import read_rubric
from app.domain.terms import ProviderKind, StopReason
from app.models import Judge, Judging
from app.providers.calls import Parameters, Reply, Usage
from app.providers.errors import ProviderError
from app.services.assignment import Rules
from app.services.judge_ballots import next_ballots
from app.services.judge_calls import Prepared, prepare, settle
from app.services.judges import add_judge
from tests.factories import NOW, RULES

HAIKU, OPUS = "claude-haiku-5-5", "claude-opus-5-5"

Outcome = Reply | ProviderError
Answers = Callable[[int, Prepared], Outcome]
"""The number of the call, from 0, and the call: what comes back."""


def a_judge(
    session: Session,
    name: str = "haiku",
    model: str = HAIKU,
    *,
    rubric: str = "general",
    now: datetime = NOW,
    **more: Any,
) -> Judge:
    """A judge at Anthropic, unless ``more`` says otherwise."""
    given: dict[str, Any] = {"provider": ProviderKind.ANTHROPIC, "parameters": Parameters(max_tokens=500)}
    shipped = read_rubric(DATA / f"rubrics/{rubric}.md")
    return add_judge(session, name, model=model, rubric=shipped, now=now, **given | more)


def reply(choice: str = "A", *, text: str | None = None, stop: StopReason = StopReason.END) -> Reply:
    """A reply with this choice, or with this text."""
    said = {"reasoning": "It keeps closer to the prompt.", "choice": choice, "confidence": "high"}
    text = json.dumps(said) if text is None else text
    raw = json.dumps({"id": "msg_1", "content": [{"type": "text", "text": text}]})
    return Reply(raw, text, stop, Usage(1200, 180), "the model", "req_1", 900, None)


def work(
    session: Session,
    asked: Judging,
    answers: Answers = lambda number, _: reply("AB"[number % 2]),
    *,
    most: int = 10_000,
    rules: Rules = RULES,
    now: datetime = NOW,
) -> int:
    """Ask until nothing is missing, the cap is reached or ``most`` calls are made; returns how many were."""
    rng = random.Random(5)  # noqa: S311
    made = 0
    while made < most and (found := next_ballots(session, asked, 1, rules=rules, now=now, rng=rng)):
        prepared = prepare(session, asked, found[0], lambda request: {"user": request.prompt.user}, now=now)
        if prepared is None:
            break
        settle(session, asked, prepared.call_id, answers(made, prepared), rules=rules, now=now)
        made += 1
    return made
