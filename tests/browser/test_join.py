"""From an admin's invite to a stranger's vote, with a phone, with and without JavaScript."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from app.models import Verdict
from tests.browser.arena import Arena

PHONE = {"width": 390, "height": 844}


def invite(page: Page, batch: str) -> str:
    """Make an invite on the pages and read its link."""
    page.goto("/raters")
    page.get_by_role("link", name=f"Invite raters to {batch}").click()
    page.get_by_label("Title").fill("Two answers about milk")
    page.get_by_role("button", name="Make the link").click()
    return page.get_by_label("Link of the invite").input_value()


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_a_stranger_joins_votes_and_comes_back(
    arena: Arena, page: Page, visitor: Callable[..., BrowserContext], scripts: bool
) -> None:
    arena.suite("milk", ["What is milk?", "What is rennet?"])
    batch = arena.batch("milk", name="epoch two against the base")
    arena.write(batch)
    link = invite(page, batch.name)
    phone = visitor(viewport=PHONE, java_script_enabled=scripts).new_page()
    phone.goto(link)
    expect(phone.get_by_role("heading", name="Two answers about milk")).to_be_visible()
    phone.get_by_label("Your name").fill("Anna")
    phone.get_by_role("button", name="Join").click()
    expect(phone.get_by_text("1 of 2", exact=True)).to_be_visible()
    phone.get_by_role("button", name="A is better").click()
    expect(phone.get_by_text("2 of 2", exact=True)).to_be_visible()
    assert arena.count(Verdict) == 1
    phone.goto("/")
    expect(phone.get_by_text("1 vote of yours")).to_be_visible()
    assert batch.name not in phone.content()
    phone.get_by_role("link", name="Go on: Two answers about milk").click()
    expect(phone.get_by_text("2 of 2", exact=True)).to_be_visible()
    page.goto(f"/raters/{batch.id}")
    expect(page.get_by_text("Anna", exact=True)).to_be_visible()


def test_a_seat_that_is_taken_back_shows_no_more_pairs(
    arena: Arena, page: Page, visitor: Callable[..., BrowserContext]
) -> None:
    arena.suite("milk", ["What is milk?", "What is rennet?"])
    batch = arena.batch("milk")
    arena.write(batch)
    phone = visitor(viewport=PHONE).new_page()
    phone.goto(invite(page, batch.name))
    phone.get_by_label("Your name").fill("Anna")
    phone.get_by_role("button", name="Join").click()
    expect(phone.get_by_text("1 of 2", exact=True)).to_be_visible()
    page.goto(f"/raters/{batch.id}")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Revoke seat").click()
    expect(page.get_by_text("seat revoked")).to_be_visible()
    phone.get_by_role("button", name="A is better").click()
    expect(phone.get_by_text("There is nothing to vote on at this address")).to_be_visible()
    assert arena.count(Verdict) == 0


def test_a_password_is_set_and_leads_back_to_the_page_that_was_asked_for(
    admin: BrowserContext, visitor: Callable[..., BrowserContext]
) -> None:
    page = admin.new_page()
    page.goto("/account")
    page.get_by_label("New password").fill("under the old walnut tree")
    page.get_by_label("The same again").fill("under the old walnut")
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_text("The two new passwords differ")).to_be_visible()
    page.get_by_label("The same again").fill("under the old walnut tree")
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_text("Your password is set")).to_be_visible()
    other = visitor().new_page()
    other.goto("/suites?q=milk")
    other.get_by_label("Name").fill("admin")
    other.get_by_label("Password").fill("under the old walnut tree")
    other.get_by_role("button", name="Sign in").click()
    expect(other.get_by_role("heading", name="Suites", exact=True)).to_be_visible()
    assert other.url.endswith("/suites?q=milk")
