"""Arenas with judges: none, at work, done, and stopped by everything that can stop one."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from app import jobs
from app.domain.terms import JobState, JudgingState, ProviderKind, SwapMode, Trouble
from app.models import EvalBatch, Job, Judge, Judging
from app.providers.errors import (
    EmptyBalanceError,
    LostReplyError,
    MissingKeyError,
    NoNetworkError,
    OverloadedError,
    ProviderError,
    RetiredModelError,
    Said,
    WrongKeyError,
)
from app.services import judges, judging
from app.services.assignment import Rules
from app.services.judge_calls import Prepared
from tests.browser.arena import Arena
from tests.browser.page import Page
from tests.browser.texts import reply as written
from tests.judged import OPUS, Outcome, a_judge, reply, work

LONG = "The strict one with the rubric for philosophy and creative writing, longest name of all"
SONNET = "claude-sonnet-5-5"


def nobody_judges(arena: Arena) -> list[Page]:
    """No judge yet: the list, the forms, a rubric, an eval batch, and a key that is there."""
    batch = judged_batch(arena, "cheese")
    return [
        Page("judges", "/judges", "main a.button"),
        Page("judge-add", "/judges/add", "main .button-main"),
        Page("judge-add-elsewhere", "/judges/add?provider=openai_compatible", "main .button-main"),
        Page("rubric", "/judges/rubrics/philosophy-creative", "main a"),
        Page("judge-nowhere", "/judges/00000000-0000-4000-8000-000000000000", "main a", status=404),
        Page("eval-batch", f"/batches/{batch.id}", "#batches-ask a.button"),
        Page("settings", "/settings"),
    ]


def to_be_asked(arena: Arena) -> list[Page]:
    """Judges that nobody has asked: one, several of every kind, and an eval batch without a pair."""
    batch = judged_batch(arena, "cheese")
    arena.suite("milk", ["What is milk?", "What is rennet?"])
    waiting = arena.batch("milk", name="Nothing is written yet")
    with arena.writing() as session:
        a_judge(session, now=arena.now)
        a_judge(session, LONG, OPUS, rubric="philosophy-creative", now=arena.now)
        local = a_judge(session, "local", "llama3.3:70b-instruct-q4_K_M", now=arena.now, **_elsewhere())
        old = a_judge(session, "the old one", "claude-opus-4-20250514", now=arena.now - timedelta(days=200))
        judges.set_retired(old, retired=True, now=arena.now)
    return [
        Page("judges", "/judges", "main .button-main"),
        Page("judge-unasked", f"/judges/{local.id}", "main button"),
        Page("judge-retired", f"/judges/{old.id}", "main button"),
        Page("eval-batch", f"/batches/{batch.id}", "form[action$='/judges'] button"),
        Page("eval-batch-no-pair", f"/batches/{waiting.id}", "form[action$='/judges'] button"),
    ]


def at_work(arena: Arena) -> list[Page]:
    """Judges in the middle of it, done, with odd replies, and waiting for another one."""
    arena.worker()
    batch = judged_batch(arena, "cheese", 24)
    other = judged_batch(arena, "bread", 6)
    with arena.writing() as session:
        haiku = a_judge(session, now=arena.now)
        opus = a_judge(session, LONG, OPUS, rubric="philosophy-creative", now=arena.now)
        local = a_judge(session, "local", "llama3.3:70b-instruct-q4_K_M", now=arena.now, **_elsewhere())
        a_judge(session, "sonnet", SONNET, now=arena.now)
        first = _asked(arena, session, batch, haiku, cap=150_000)
        judge_works(arena, session, first, _odd)
        _end(arena, session, first, JudgingState.DONE)
        running = _asked(arena, session, batch, local, cap=None, projected=None)
        judge_works(arena, session, running, most=17)
        _running(arena, session, running, 17, 48)
        strong = _asked(arena, session, batch, opus, cap=5_000_000, after=first, in_batches=True)
        assert strong.after_id == first.id
        third = _asked(arena, session, other, haiku, cap=150_000, mode=SwapMode.DECISIVE)
        judge_works(arena, session, third)
        _end(arena, session, third, JudgingState.DONE)
    return [
        Page("judges", "/judges", "main .row-name"),
        Page("judge-busy", f"/judges/{haiku.id}", "main a.button"),
        Page("judge-running", f"/judges/{local.id}", "main a.button"),
        Page("judge-waiting", f"/judges/{opus.id}", "main a"),
        Page("eval-batch", f"/batches/{batch.id}", "#batches-judges button"),
        Page("eval-batch-all-judged", f"/batches/{other.id}", "main summary"),
        Page("jobs", "/jobs", "main button"),
        Page("home", "/", "main a"),
    ]


def stopped(arena: Arena) -> list[Page]:
    """One eval batch for each reason why a judge stops, with the way on."""
    arena.worker()
    reasons: dict[str, Callable[[], ProviderError] | None] = {
        "no-key": lambda: MissingKeyError("Anthropic"),
        "wrong-key": lambda: WrongKeyError("Anthropic"),
        "empty-balance": lambda: EmptyBalanceError("Anthropic"),
        "retired-model": lambda: RetiredModelError("Anthropic", Said(), "claude-opus-4-20250514", "June 15th, 2026"),
        "no-network": lambda: NoNetworkError("Anthropic"),
        "cap-reached": None,
    }
    pages = []
    with arena.writing() as session:
        haiku = a_judge(session, now=arena.now)
        old = a_judge(session, "the old one", "claude-opus-4-20250514", now=arena.now)
    for name, reason in reasons.items():
        batch = judged_batch(arena, name, 6)
        with arena.writing() as session:
            asked = _asked(arena, session, batch, session.get_one(Judge, haiku.id), cap=3_000)
            judge_works(arena, session, asked, most=3)
            error = reason() if reason else judging.cap_reached(session, asked)
            trouble = error.trouble if isinstance(error, ProviderError) else Trouble.CAP_REACHED
            _end(arena, session, asked, JudgingState.STOPPED, trouble=trouble, message=error.message)
        pages.append(Page(f"eval-batch-{name}", f"/batches/{batch.id}", "#batches-judges .resume button"))
    by_hand = judged_batch(arena, "by-hand", 4)
    with arena.writing() as session:
        judge = session.get_one(Judge, old.id)
        asked = _asked(arena, session, by_hand, judge, cap=500_000)
        judging.stop(session, asked, now=arena.now)
        judges.set_retired(judge, retired=True, now=arena.now)
    return [
        *pages,
        Page("eval-batch-by-hand", f"/batches/{by_hand.id}", "#batches-judges a"),
        Page("judge-stopped", f"/judges/{haiku.id}", "main a.button"),
        Page("jobs", "/jobs", "main button"),
    ]


def _elsewhere() -> dict[str, Any]:
    return {
        "provider": ProviderKind.OPENAI_COMPATIBLE, "base_url": "http://127.0.0.1:11434/v1", "simulated": True,
    }  # fmt: skip


def judged_batch(arena: Arena, name: str, prompts: int = 4) -> EvalBatch:
    arena.suite(name, [f"What is the use of {name}, part {part}?" for part in range(prompts)])
    batch = arena.batch(name, name=name.capitalize().replace("-", " "))
    arena.write(batch, written)
    return batch


def _asked(arena: Arena, session: Session, batch: EvalBatch, judge: Judge, **how: Any) -> Judging:
    given: dict[str, Any] = {"projected": 100_000} | how
    return judging.ask(session, session.get_one(EvalBatch, batch.id), judge, now=arena.now, **given)


def judge_works(
    arena: Arena,
    session: Session,
    asked: Judging,
    answers: Callable[[int, Prepared], Outcome] = lambda number, _: reply("AB"[number % 2]),
    most: int = 1000,
) -> None:
    rules = Rules(secret=arena.settings.secret_key(), lease=timedelta(hours=1), grace=timedelta(minutes=2))
    work(session, asked, answers, most=most, rules=rules, now=arena.now)


def _odd(number: int, _: Prepared) -> Outcome:
    """A day on which much goes wrong."""
    return {
        2: reply(text="I prefer the first one."),
        3: reply(text="I still prefer the first one."),
        7: OverloadedError("Anthropic"),
        11: LostReplyError("Anthropic"),
    }.get(number, reply(("A", "B", "tie")[number % 3]))


def _running(arena: Arena, session: Session, asked: Judging, done: int, total: int) -> None:
    job = arena.working(session, asked.job_id, done=done, total=total, eta_seconds=95.0)
    job.message = "Asking the judge"


def _end(arena: Arena, session: Session, asked: Judging, state: JudgingState, **why: Any) -> None:
    job = session.get_one(Job, asked.job_id)
    job.attempt, job.started_at = 1, arena.now - timedelta(minutes=4)
    judging.end(session, asked, state, now=arena.now, **why)
    done = state is JudgingState.DONE
    jobs.finish(
        session, job, JobState.DONE if done else JobState.FAILED, now=arena.now, error=str(why.get("message", ""))
    )
