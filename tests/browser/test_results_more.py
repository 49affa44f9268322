"""What is behind the numbers of a large eval batch: fetched when somebody reads that far, and live from then on."""

import pytest
from playwright.sync_api import BrowserContext, expect

from app.domain.terms import Outcome
from app.models import EvalBatch
from app.web import results
from tests.browser.arena import Arena


@pytest.fixture
def large(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> EvalBatch:
    """An eval batch that counts as large, on which two raters have voted."""
    monkeypatch.setattr(results, "_AT_ONCE", 5)
    arena.suite("six", [f"What is cheese number {number}?" for number in range(6)])
    batch = arena.batch("six", votes_per_pair=3)
    arena.write(batch)
    for name in ("ines", "otto"):
        arena.vote(batch, [Outcome.SECOND] * 6, voter=name)
    return batch


def test_it_is_fetched_when_somebody_reads_that_far_and_moves_from_then_on(
    admin: BrowserContext, arena: Arena, large: EvalBatch
) -> None:
    page = admin.new_page()
    page.set_viewport_size({"width": 1280, "height": 400})
    page.goto(f"/results/{large.id}")
    page.evaluate("window.loadedOnce = true")
    expect(page.get_by_text("12 of 18 votes by people")).to_be_visible()
    expect(page.get_by_text("counted when you read this far")).to_be_visible()
    assert page.get_by_text("Two raters agree on").count() == 0
    page.locator("#results-more").scroll_into_view_if_needed()
    expect(page.get_by_text("Two raters agree on")).to_be_visible()
    expect(page.get_by_text("counted when you read this far")).to_have_count(0)
    arena.vote(large, [Outcome.FIRST] * 6, voter="mara")
    expect(page.get_by_text("Two raters, drawn from 3, agree on")).to_be_visible()
    expect(page.get_by_text("18 of 18 votes by people")).to_be_visible()
    assert page.evaluate("window.loadedOnce") is True


def test_without_scripts_a_link_shows_it(arena: Arena, visitor: object, large: EvalBatch) -> None:
    context = visitor(java_script_enabled=False)
    context.request.post(arena.entry_path(), max_redirects=0)
    page = context.new_page()
    page.goto(f"/results/{large.id}")
    page.get_by_role("link", name="Show everything at once").click()
    expect(page.get_by_text("Two raters agree on")).to_be_visible()
    expect(page.get_by_text("12 of 18 votes by people")).to_be_visible()
