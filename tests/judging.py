"""Judges for tests: real rows, the real SDK, and the simulated server at the other end."""

import random
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.config import DATA
from app.demo_judges.server import DemoJudges
from app.domain.rubric import read_rubric
from app.domain.terms import ProviderKind
from app.models import Judge
from app.providers.calls import Parameters
from app.services.judges import add_judge
from tests.factories import NOW

MODEL = "claude-haiku-5-5"
DICE = random.Random(5)  # noqa: S311


def make_judge(
    session: Session, server: DemoJudges, name: str = "haiku", model: str = MODEL, *, now: datetime = NOW, **more: Any
) -> Judge:
    """A judge whose model is played by this server."""
    return add_judge(
        session, name, provider=ProviderKind.ANTHROPIC, model=model, base_url=server.url, simulated=True, now=now,
        rubric=read_rubric(DATA / "rubrics/general.md"), **{"parameters": Parameters(max_tokens=500)} | more,
    )  # fmt: skip
