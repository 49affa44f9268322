"""What a judge would cost: only what is missing counts, and the worst case holds."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.terms import JudgingState, ProviderKind, SwapMode
from app.models import Judge, JudgeCall, Judging
from app.providers.errors import OverloadedError
from app.services import judging
from app.services.projection import project
from tests.factories import NOW, Study, make_study
from tests.judged import OPUS, a_judge, reply, work

PAIRS = 6


def text(position: int, planned: Any) -> str:
    """Three bytes a character."""
    return f"{'チーズ' * 300} {position} {planned.messages}"


@pytest.fixture
def study(session: Session, tmp_path: Path) -> Study:
    return make_study(session, tmp_path, prompts=PAIRS, text=text)


def ask(session: Session, study: Study, name: str = "haiku", model: str = OPUS, **how: Any) -> Judging:
    judge = a_judge(session, name, model)
    return judging.ask(session, study.batch, judge, now=NOW, **{"cap": 9_000_000} | how)


def calls(session: Session, study: Study, asked: Judging, **how: Any) -> int:
    judge = session.get_one(Judge, asked.judge_id)
    return project(session, study.batch, judge, now=NOW, **how).calls


def test_only_what_is_missing_is_projected(session: Session, study: Study) -> None:
    asked = ask(session, study)
    assert calls(session, study, asked) == 2 * PAIRS
    work(session, asked, most=3)
    assert calls(session, study, asked) == 2 * PAIRS - 3
    work(session, asked, lambda *_: OverloadedError("Anthropic"), most=1)
    assert calls(session, study, asked) == 2 * PAIRS - 3, "an open one is still to be asked for"
    work(session, asked)
    assert calls(session, study, asked) == 0


def test_the_second_order_of_a_tie_is_never_missing(session: Session, study: Study) -> None:
    asked = ask(session, study, mode=SwapMode.DECISIVE)
    judge = session.get_one(Judge, asked.judge_id)
    work(session, asked, lambda number, _: reply("tie" if number < 2 else "A"), most=3)
    left = project(session, study.batch, judge, mode=SwapMode.DECISIVE, now=NOW)
    assert left.calls == 2 * (PAIRS - 3) + 1
    work(session, asked, lambda *_: reply("tie"))
    assert calls(session, study, asked, mode=SwapMode.DECISIVE) == 0


def test_after_a_judge_that_is_done_only_its_hard_pairs_count(session: Session, study: Study) -> None:
    first = ask(session, study)
    second = ask(session, study, "strong", "claude-sonnet-5-5", after=first)
    work(session, first, lambda number, _: reply("tie" if number < 2 else "AB"[number % 2]))
    assert calls(session, study, second, after=first) == 2 * PAIRS, "nobody knows yet where it will be torn"
    judging.end(session, first, JudgingState.DONE, now=NOW)
    hard = calls(session, study, second, after=first)
    assert hard == 2
    assert work(session, second) == hard


@pytest.mark.parametrize("in_batches", [False, True])
def test_the_worst_case_is_never_exceeded_by_what_is_held_against_the_cap(
    session: Session, study: Study, in_batches: bool
) -> None:
    asked = ask(session, study, in_batches=in_batches)
    judge = session.get_one(Judge, asked.judge_id)
    cost = project(session, study.batch, judge, in_batches=in_batches, now=NOW)
    work(session, asked)
    held = sum(session.scalars(select(JudgeCall.worst_micro_dollars)))
    assert cost.expected is not None
    assert cost.worst is not None
    assert cost.expected < held <= cost.worst


def test_a_model_without_a_price_has_none(session: Session, study: Study) -> None:
    local = {"provider": ProviderKind.OPENAI_COMPATIBLE, "base_url": "http://127.0.0.1:1/v1"}
    cost = project(session, study.batch, a_judge(session, "local", "llama3", **local), now=NOW)
    assert (cost.pairs, cost.calls, cost.expected, cost.worst) == (PAIRS, 2 * PAIRS, None, None)
