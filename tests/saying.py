"""Judges for tests whose replies are made here: the whole path but the network, so that any taste can be played."""

import json
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.config import DATA
from app.domain.rubric import read_rubric
from app.domain.terms import Choice, Confidence, JudgingState, ProviderKind, StopReason, SwapMode
from app.models import EvalBatch, Judge, Judging
from app.providers.calls import Limit as NoLimit
from app.providers.calls import Parameters, RateLimits, Reply, Usage
from app.queries.ballots import BlindBallot, blind_ballot
from app.services import judge_ballots, judge_calls, judging
from app.services.assignment import Rules
from app.services.judges import add_judge
from tests.factories import NOW, RULES

Says = Callable[[BlindBallot], Choice | str | StopReason]
"""Sees what a judge sees: the choice, or a whole reply that is none, or how the reply was cut off."""

_WORDS = {Choice.A: "A", Choice.B: "B", Choice.TIE: "tie"}


def judge_called(session: Session, name: str, *, simulated: bool = False, model: str = "claude-haiku-5-5") -> Judge:
    """A judge at a server that is never asked."""
    return add_judge(
        session, name, provider=ProviderKind.ANTHROPIC, model=model, base_url=f"http://127.0.0.1:9/{name}",
        rubric=read_rubric(DATA / "rubrics/general.md"), parameters=Parameters(), simulated=simulated, now=NOW,
    )  # fmt: skip


def reply_of(
    said: Choice | str | StopReason, reason: str = "So it reads.", sure: Confidence = Confidence.HIGH
) -> Reply:
    """What a provider would hand back."""
    text = said if isinstance(said, str) and not isinstance(said, Choice | StopReason) else ""
    if isinstance(said, Choice):
        text = json.dumps({"reasoning": reason, "choice": _WORDS[said], "confidence": sure.value})
    none = NoLimit(None, None, None)
    return Reply(
        raw=json.dumps({"text": text}), text=text, stop=said if isinstance(said, StopReason) else StopReason.END,
        usage=Usage(900, 60), model="played", request_id="req", latency_ms=700, limits=RateLimits(none, none, none),
    )  # fmt: skip


def say(
    session: Session,
    batch: EvalBatch,
    judge: Judge,
    says: Says,
    *,
    mode: SwapMode = SwapMode.BOTH,
    most: int = 100_000,
    reason: Callable[[BlindBallot, Choice], str] = lambda _ballot, _choice: "So it reads.",
    sure: Confidence = Confidence.HIGH,
    rules: Rules = RULES,
    now: datetime = NOW,
    seed: int = 3,
) -> Judging:
    """Judge the pairs of a batch, at most so many replies, through ballots, calls and verdicts as the worker does."""
    asked = judging.ask(session, batch, judge, mode=mode, now=now)
    dice = random.Random(seed)  # noqa: S311 - the same ballots every time
    replies = 0
    while replies < most:
        ballots = judge_ballots.next_ballots(session, asked, 2, rules=rules, now=now, rng=dice)
        if not ballots:
            judging.end(session, asked, JudgingState.DONE, now=now)
            break
        shown = blind_ballot(session, ballots[0].id)
        prepared = judge_calls.prepare(session, asked, ballots[0], _body, now=now)
        assert prepared is not None
        said = says(shown)
        words = reason(shown, said) if isinstance(said, Choice) else ""
        judge_calls.settle(session, asked, prepared.call_id, reply_of(said, words, sure), rules=rules, now=now)
        replies += 1
    return asked


def with_marker(marker: str) -> Says:
    """Prefers the text that holds the marker."""
    return lambda ballot: _compared(marker in ballot.text_a, marker in ballot.text_b)


def longer(ballot: BlindBallot) -> Choice:
    """Prefers the longer text."""
    return _compared(len(ballot.text_a), len(ballot.text_b))


def _compared(a: float, b: float) -> Choice:
    return Choice.TIE if a == b else Choice.A if a > b else Choice.B


def _body(request: Any) -> dict[str, Any]:
    return {"model": request.model, "messages": [{"role": "user", "content": request.prompt.user}]}


__all__ = ["Says", "judge_called", "longer", "reply_of", "say", "with_marker"]
