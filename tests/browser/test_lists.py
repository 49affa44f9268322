"""Long lists: a search goes on without a reload, what is live stays on its page, and no script is needed for it."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import select

from app.domain.terms import JobState
from app.models import Job
from app.services.events import announce
from tests.browser.arena import Arena
from tests.browser.driver import sign_in
from tests.factories import make_study
from tests.many import LISTS


@pytest.fixture
def hundred(arena: Arena) -> Arena:
    with arena.writing() as session:
        study = make_study(session, arena.settings.home)
        for name in ("runs", "suites"):
            LISTS[name](session, study, 120)
    return arena


def test_a_search_is_kept_by_a_list_that_fetches_itself_again(page: Page, hundred: Arena) -> None:
    page.goto("/runs")
    page.evaluate("window.kept = true")
    status = page.get_by_role("status").filter(has_text=" of ")
    expect(status).to_have_text("1–50 of 121")  # noqa: RUF001
    search = page.get_by_label("Search by name")
    search.fill("ROW-010")
    search.press("Enter")
    expect(status).to_contain_text("1–10 of 10 that fit")  # noqa: RUF001
    expect(search).to_be_focused()
    assert "q=ROW-010" in page.url
    row = page.locator(".row", has_text="row-0105")
    expect(row).to_contain_text("105 of 114")
    with hundred.writing() as session:
        job = session.scalars(select(Job).where(Job.title == "Train row-0105")).one()
        assert job.state is JobState.RUNNING
        job.done = 113
        announce(session, "jobs", job.id, now=hundred.now)
    expect(row).to_contain_text("113 of 114")
    expect(status).to_contain_text("1–10 of 10 that fit")  # noqa: RUF001
    assert page.evaluate("window.kept"), "the page was loaded again"
    search.fill("nothing")
    search.press("Enter")
    expect(page.get_by_role("heading", name="Nothing is called like that")).to_be_visible()
    page.get_by_role("link", name="Show all").click()
    expect(status).to_have_text("1–50 of 121")  # noqa: RUF001


def test_pages_and_search_work_without_javascript(visitor: Callable[..., BrowserContext], hundred: Arena) -> None:
    context = visitor(java_script_enabled=False)
    sign_in(context, hundred.entry_path())
    page = context.new_page()
    page.goto("/suites")
    status = page.get_by_role("status").filter(has_text=" of ")
    expect(status).to_have_text("1–50 of 121")  # noqa: RUF001
    page.get_by_role("link", name="Next").click()
    expect(status).to_have_text("51–100 of 121")  # noqa: RUF001
    page.get_by_role("link", name="Next").click()
    expect(status).to_have_text("101–121 of 121")  # noqa: RUF001
    expect(page.get_by_role("link", name="Next")).to_have_count(0)
    page.get_by_role("link", name="Previous").click()
    expect(status).to_have_text("51–100 of 121")  # noqa: RUF001
    page.get_by_label("Search by name").fill("row-011")
    page.get_by_role("button", name="Search").click()
    expect(status).to_contain_text("1–10 of 10 that fit")  # noqa: RUF001
    page.get_by_role("link", name="show all").click()
    expect(status).to_have_text("1–50 of 121")  # noqa: RUF001
