"""Simulated votes on an open page: said everywhere, and gone without a reload when they are removed."""

from playwright.sync_api import BrowserContext, expect

from app.domain.terms import Outcome
from app.services import simulation
from tests.browser.arena import SCRIPT, Arena

PATIENCE = 60_000
"""Milliseconds; a stream that ended is opened again within a few seconds."""


def test_an_open_page_forgets_simulated_votes_when_they_are_removed(admin: BrowserContext, arena: Arena) -> None:
    arena.suite("six", [f"What is cheese number {number}?" for number in range(6)])
    batch = arena.batch("six")
    arena.write(batch)
    page = admin.new_page()
    page.goto(f"/results/{batch.id}")
    page.evaluate("window.loadedOnce = true")
    arena.vote(batch, [Outcome.SECOND] * 3, voter=SCRIPT)
    expect(page.get_by_text("With simulated votes:").first).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("3 of 6 votes, 3 of them simulated")).to_be_visible()
    with arena.writing() as session:
        assert simulation.remove(session) == 3
    expect(page.get_by_text("With simulated votes:")).to_have_count(0, timeout=PATIENCE)
    expect(page.get_by_text("0 of 6 votes by people")).to_be_visible()
    assert page.evaluate("window.loadedOnce") is True


def test_an_admin_removes_them_by_a_button(admin: BrowserContext, arena: Arena) -> None:
    arena.suite("six", [f"What is cheese number {number}?" for number in range(6)])
    batch = arena.batch("six")
    arena.write(batch)
    arena.vote(batch, [Outcome.SECOND] * 3, voter=SCRIPT)
    arena.vote(batch, [Outcome.FIRST], voter="ines")
    page = admin.new_page()
    page.goto(f"/batches/{batch.id}")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Remove simulated votes").click()
    expect(page.get_by_text("Simulated.")).to_be_hidden(timeout=PATIENCE)
    expect(page.get_by_text("1 of 6")).to_be_visible()
