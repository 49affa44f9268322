"""Reading pairs: the filter goes on without a reload, and without JavaScript."""

from collections.abc import Callable

from playwright.sync_api import BrowserContext, Page, expect

from app.models import EvalBatch
from tests.browser.arena import Arena
from tests.browser.driver import sign_in


def closed_batch(arena: Arena) -> EvalBatch:
    """Thirty pairs on which nobody voted."""
    arena.suite("thirty", [f"Prompt number {number}?" for number in range(30)])
    batch = arena.batch("thirty")
    arena.write(batch)
    arena.close(batch)
    return batch


def test_the_list_narrows_in_place_and_the_address_follows(page: Page, arena: Arena) -> None:
    page.goto(f"/batches/{closed_batch(arena).id}/pairs")
    page.evaluate("window.kept = true")
    status = page.get_by_role("status")
    expect(status).to_have_text("1–25 of 30")  # noqa: RUF001
    page.get_by_label("Domain").select_option("in-domain")
    expect(status).to_contain_text("15 pairs that fit")
    search = page.get_by_label("Search prompts, responses and reasons")
    search.fill("NUMBER 28?")
    search.press("Enter")
    expect(status).to_contain_text("1 of 1 pair that fits")
    expect(search).to_be_focused()
    assert "text=NUMBER" in page.url
    assert page.evaluate("window.kept"), "the page was loaded again"
    page.go_back()
    expect(status).to_contain_text("15 pairs that fit")
    page.get_by_role("link", name="clear filters").click()
    expect(status).to_have_text("1–25 of 30")  # noqa: RUF001


def test_pairs_can_be_read_one_after_the_other_without_javascript(
    visitor: Callable[..., BrowserContext], arena: Arena
) -> None:
    batch = closed_batch(arena)
    context = visitor(java_script_enabled=False)
    sign_in(context, arena.entry_path())
    page = context.new_page()
    page.goto(f"/batches/{batch.id}/pairs")
    page.get_by_label("Domain").select_option("out-of-domain")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name="Prompt number 1?").click()
    expect(page.get_by_text("1 of 15 that fit")).to_be_visible()
    page.get_by_role("link", name="Next pair").first.click()
    expect(page.get_by_text("Prompt number 3?", exact=True)).to_be_visible()
    page.get_by_role("link", name="Pairs of").click()
    expect(page.get_by_label("Domain")).to_have_value("out_of_domain")
