"""A judge whose replies are made here: ballots, calls and verdicts as the worker has them, and no model behind it."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.config import DATA
from app.domain.rubric import read_rubric
from app.domain.simulation import Taste, draw
from app.domain.terms import Choice, Confidence, JudgingState, Outcome, ProviderKind, StopReason
from app.models import EvalBatch, Judge, Pair, Response
from app.providers.calls import JudgeRequest, Limit, Parameters, RateLimits, Reply, Usage
from app.queries.ballots import BlindBallot, blind_ballot
from app.services import judge_ballots, judge_calls, judging
from app.services.assignment import Rules
from app.services.judges import add_judge

_AT_ONCE = 50
_WORDS = {Choice.A: "A", Choice.B: "B", Choice.TIE: "tie"}
_NOWHERE = "http://127.0.0.1:9"
"""Nobody is asked there."""

Says = Callable[[BlindBallot, Pair], Choice]
"""Sees what a judge sees, and knows beside it which pair that is."""


@dataclass
class BiasedTaste:
    """What a judge prefers that shares the taste of people and leans to one side of it.

    On a prompt where people prefer the challenger at some rate, it does so at that rate plus ``bias``. It makes up its
    mind once a pair; with probability ``lazy`` it takes what stands first instead, whatever that is.
    """

    taste: Taste
    rates: Mapping[UUID, float]
    """What people prefer, by prompt."""
    bias: float
    lazy: float
    rng: random.Random

    def __post_init__(self) -> None:
        self._minds: dict[UUID, Outcome] = {}

    def says(self, session: Session) -> Says:
        """Its answers to ballots."""

        def answer(shown: BlindBallot, pair: Pair) -> Choice:
            if self.rng.random() < self.lazy:
                return Choice.A
            wanted = self._minds.get(pair.id)
            if wanted is None:
                rate = min(max(self.rates[pair.prompt_id] + self.bias, 0.0), 1.0)
                wanted = self._minds[pair.id] = draw(self.taste, rate, self.rng)
            if wanted is Outcome.TIE:
                return Choice.TIE
            text = session.get_one(
                Response, pair.first_response_id if wanted is Outcome.FIRST else pair.second_response_id
            ).text
            return Choice.A if shown.text_a == text else Choice.B

        return answer


def played_judge(session: Session, name: str, *, now: datetime) -> Judge:
    """A judge at a server that is never asked."""
    return add_judge(
        session, name, provider=ProviderKind.OPENAI_COMPATIBLE, model="played", base_url=_NOWHERE, simulated=True,
        rubric=read_rubric(DATA / "rubrics" / "general.md"), parameters=Parameters(), now=now,
    )  # fmt: skip


def judge_all(
    session: Session, batch: EvalBatch, judge: Judge, says: Says, *, rules: Rules, now: datetime, rng: random.Random
) -> int:
    """Judge every pair of an eval batch in both orders; returns the number of replies."""
    asked = judging.ask(session, batch, judge, now=now)
    replies = 0
    while ballots := judge_ballots.next_ballots(session, asked, _AT_ONCE, rules=rules, now=now, rng=rng):
        for ballot in ballots:
            prepared = judge_calls.prepare(session, asked, ballot, _body, now=now)
            if prepared is None:
                raise RuntimeError("a judge without a cap was kept from a call")
            choice = says(blind_ballot(session, ballot.id), session.get_one(Pair, ballot.pair_id))
            judge_calls.settle(session, asked, prepared.call_id, _reply(choice), rules=rules, now=now)
            replies += 1
    judging.end(session, asked, JudgingState.DONE, now=now)
    return replies


def _reply(choice: Choice) -> Reply:
    text = json.dumps(
        {"reasoning": "So it reads.", "choice": _WORDS[choice], "confidence": Confidence.HIGH.value}
    )  # fmt: skip
    none = Limit(None, None, None)
    return Reply(
        raw=json.dumps({"text": text}), text=text, stop=StopReason.END, usage=Usage(900, 60), model="played",
        request_id="", latency_ms=0, limits=RateLimits(none, none, none),
    )  # fmt: skip


def _body(request: JudgeRequest) -> dict[str, Any]:
    return {"model": request.model, "messages": [{"role": "user", "content": request.prompt.user}]}
