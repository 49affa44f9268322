"""Judges in a browser: the list of models comes on request, costs follow the form, and nothing typed is lost."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from app.demo_judges.server import DemoJudges, demo_judges
from app.models import EvalBatch, Job, Judge, Judging
from app.services import judging
from tests.browser.arena import Arena
from tests.browser.driver import sign_in
from tests.browser.judging import judge_works, judged_batch
from tests.judged import OPUS, a_judge


@pytest.fixture
def server() -> Iterator[DemoJudges]:
    with demo_judges() as running:
        yield running


def test_models_come_on_request_and_what_was_typed_stays(page: Page, arena: Arena, server: DemoJudges) -> None:
    page.goto("/judges/add?provider=openai_compatible")
    page.evaluate("window.kept = true")
    page.get_by_label("Name", exact=True).fill("the local one")
    page.get_by_label("Address of the server").fill("http://127.0.0.1:1/v1")
    page.get_by_role("button", name="Fetch the list of models").click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    page.get_by_label("Address of the server").fill(server.completions_url)
    page.get_by_role("button", name="Fetch the list").click()
    expect(page.get_by_role("status").filter(has_text="as the server lists")).to_be_visible()
    assert page.evaluate("window.kept"), "the page was not left"
    expect(page.get_by_label("Name", exact=True)).to_have_value("the local one")
    page.get_by_label("claude-haiku-5-5").check()
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("heading", name="the local one")).to_be_visible()
    assert arena.count(Judge, Judge.model == "claude-haiku-5-5") == 1


def test_without_scripts_a_judge_is_added_and_asked(
    chromium: Browser, arena: Arena, address: str, server: DemoJudges
) -> None:
    batch = judged_batch(arena, "cheese")
    plain = chromium.new_context(base_url=address, java_script_enabled=False)
    sign_in(plain, arena.entry_path())
    page = plain.new_page()
    page.goto("/judges/add?provider=openai_compatible")
    page.get_by_label("Name", exact=True).fill("the local one")
    page.get_by_label("Address of the server").fill(server.completions_url)
    page.get_by_role("button", name="Fetch the list of models").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("the local one")
    page.get_by_label("claude-haiku-5-5").check()
    page.get_by_role("button", name="Add", exact=True).click()
    page.goto(f"/batches/{batch.id}")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#batches-judges")).to_contain_text("the local one")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#batches-judges")).to_contain_text("Somebody stopped it before it began")
    page.get_by_role("button", name="Resume the local one").click()
    expect(page.locator("#batches-judges")).to_contain_text("queued")
    plain.close()


def test_costs_follow_the_form_and_a_typed_cap_stays(page: Page, arena: Arena) -> None:
    batch = judged_batch(arena, "cheese", 12)
    with arena.writing() as session:
        for name, model in (("cheap", "claude-haiku-5-5"), ("dear", OPUS)):
            a_judge(session, name, model, now=arena.now)
    page.goto(f"/batches/{batch.id}")
    cost, cap = page.locator("#batches-projection"), page.get_by_label("Spend at most, in dollars, for each judge")
    expect(cost).to_contain_text("Pick a judge")
    page.get_by_label("cheap").check()
    expect(cost).to_contain_text("at most 24 calls on 12 pairs")
    low = float(cap.input_value())
    page.get_by_label("dear").check()
    expect(cost).to_contain_text("dear: about")
    assert float(cap.input_value()) > low
    cap.fill("3.21")
    page.get_by_label("In batches, at half the price").check()
    expect(cost).to_contain_text("in batches")
    expect(cap).to_have_value("3.21")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#batches-judges .row")).to_have_count(2)
    assert arena.count(Judging, Judging.cap_micro_dollars == 3_210_000, Judging.in_batches) == 2


def test_progress_comes_by_itself_and_leaves_a_typed_cap_alone(page: Page, arena: Arena) -> None:
    batch = judged_batch(arena, "cheese", 12)
    with arena.writing() as session:
        stored = session.get_one(EvalBatch, batch.id)
        asked = judging.ask(session, stored, a_judge(session, now=arena.now), cap=900_000, now=arena.now)
        other = a_judge(session, "dear", OPUS, now=arena.now)
        judging.stop(session, judging.ask(session, stored, other, cap=900_000, now=arena.now), now=arena.now)
    page.goto(f"/batches/{batch.id}")
    cap = page.get_by_label("with what is spent already")
    cap.fill("7.77")
    with arena.writing() as session:
        judge_works(arena, session, session.get_one(Judging, asked.id), most=5)
        arena.working(session, session.get_one(Judging, asked.id).job_id, done=5, total=24, eta_seconds=90.0)
        assert session.get_one(Job, asked.job_id)
    expect(page.locator("#batches-judges")).to_contain_text("5 verdicts")
    expect(page.locator("#batches-judges")).to_contain_text("5 of 24")
    expect(cap).to_have_value("7.77")
