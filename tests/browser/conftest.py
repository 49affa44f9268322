"""A signed-in Chromium in front of the real application on a database of its own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser.arena import Arena, home_settings
from tests.browser.driver import Complaints, launch, sign_in
from tests.browser.server import serve

PATIENCE = 20_000
"""Milliseconds a slow machine may take for what a fast one shows at once."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder drives a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def chromium(chromium_path: Path) -> Iterator[Browser]:
    """One browser for a whole file; every test opens windows of its own.

    Not for the session: while Playwright is open, its event loop counts as running in this thread, and whatever
    calls ``asyncio.run`` in a later test of the same process is refused.
    """
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = launch(playwright, chromium_path)
        yield browser
        browser.close()


@pytest.fixture
def arena(tmp_path: Path, sqlite_template: Path) -> Arena:
    """An empty arena."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copyfile(sqlite_template, home / "arena.db")
    return Arena(home_settings(home))


@pytest.fixture
def address(arena: Arena) -> Iterator[str]:
    """Where the application answers."""
    with serve(arena.settings) as address:
        yield address


@pytest.fixture
def visitor(chromium: Browser, address: str) -> Iterator[Callable[..., BrowserContext]]:
    """Makes browser profiles that are not signed in."""
    contexts: list[BrowserContext] = []

    def open_context(**options: object) -> BrowserContext:
        context = chromium.new_context(base_url=address, **options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        return context

    yield open_context
    for context in contexts:
        context.close()


@pytest.fixture
def admin(visitor: Callable[..., BrowserContext], arena: Arena) -> BrowserContext:
    """A browser profile that is signed in as admin."""
    context = visitor()
    sign_in(context, arena.entry_path())
    return context


@pytest.fixture
def page(admin: BrowserContext) -> Iterator[Page]:
    """A window of the admin; whatever it complains about fails the test."""
    window = admin.new_page()
    complaints = Complaints(window)
    yield window
    assert complaints.said == []
