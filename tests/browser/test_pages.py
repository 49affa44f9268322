"""Every page in every state that was designed: readable for all, on a phone and on a desk, by day and by night."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.arena import Arena, home_settings
from tests.browser.driver import Complaints, sign_in
from tests.browser.page import Page as Shown
from tests.browser.server import serve
from tests.browser.states import STATES

AXE = (Path(__file__).parent / "vendor/axe.min.js").read_text(encoding="utf-8")
RULES = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}
"""Colours are all that the dark scheme changes."""

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PAPER = {"width": 703, "height": 1009}
"""A4 between margins of 12 and 15 mm."""

PRINTED = ("results", "report", "pairs")
"""Pages that people print, by the beginning of their names."""

MOST_TABS = 60

FOCUS = """(action) => {
  const on = document.activeElement, style = getComputedStyle(on), box = on.getBoundingClientRect();
  return {
    name: on.outerHTML.slice(0, 120),
    ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    seen: box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight,
    body: on === document.body,
    there: on.matches(action),
  };
}"""


@pytest.fixture
def state(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path
) -> tuple[Arena, list[Shown]]:
    """An arena in the state that the test names, with its pages. They are only looked at."""
    home = tmp_path_factory.mktemp(request.param)
    shutil.copyfile(sqlite_template, home / "arena.db")
    arena = Arena(home_settings(home))
    return arena, STATES[request.param](arena)


def broken_rules(page: Page, scheme: str) -> list[str]:
    """What axe-core finds, one line for each element."""
    found = page.evaluate("(options) => axe.run(document, { resultTypes: ['violations'], ...options })", RULES[scheme])
    return [
        f"{scheme}: {one['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


def widest(page: Page) -> str:
    """Empty, or what is wider than the window."""
    return str(
        page.evaluate(
            """() => document.scrollingElement.scrollWidth <= innerWidth ? "" :
                 [...document.querySelectorAll("main *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
                 .map(e => e.outerHTML.slice(0, 100)).slice(0, 3).join(" | ") || "something outside main" """
        )
    )


def askew(page: Page) -> list[str]:
    """Lists of names and values whose values do not stand below each other."""
    return list(
        page.evaluate(
            """() => [...document.querySelectorAll("dl.facts")].filter(list =>
                 new Set([...list.querySelectorAll("dd")].map(e => Math.round(e.getBoundingClientRect().left))).size > 1
               ).map(list => list.innerText.slice(0, 80))"""
        )
    )


def reach_by_tab(page: Page, action: str) -> list[str]:
    """Press Tab until the action has the focus; returns what had it on the way without being visibly focused."""
    page.evaluate("scrollTo(0, 0); document.activeElement.blur()")
    hidden = []
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS, action)
        if not focus["body"] and not (focus["ring"] and focus["seen"]):
            hidden.append(focus["name"])
        if focus["there"]:
            return hidden
    return [*hidden, f"{action} was not reached with {MOST_TABS} presses"]


@pytest.mark.parametrize("state", STATES, indirect=True)
def test_pages_can_be_used_by_everybody(state: tuple[Arena, list[Shown]], chromium: Browser) -> None:
    arena, pages = state
    wrong = []
    with serve(arena.settings) as address:
        # Without motion: a colour on its way from one scheme to the other has no contrast yet.
        admin, stranger = (chromium.new_context(base_url=address, reduced_motion="reduce") for _ in range(2))
        sign_in(admin, arena.entry_path())
        for shown in pages:
            own = chromium.new_context(base_url=address, reduced_motion="reduce") if shown.entry else None
            if own is not None:
                sign_in(own, shown.entry)
            page = (own or (admin if shown.signed_in else stranger)).new_page()
            wrong += [f"{shown.name} ({shown.path}): {what}" for what in _look(page, shown)]
            page.close()
            if own is not None:
                own.close()
        admin.close()
        stranger.close()
    assert not wrong, "\n".join(wrong)


def _look(page: Page, shown: Shown) -> list[str]:
    """Everything that is wrong with one page."""
    complaints = Complaints(page)
    page.set_viewport_size(PHONE)
    answer = page.goto(shown.path)
    wrong = [] if answer is not None and answer.status == shown.status else [f"answered {answer and answer.status}"]
    wrong += [f"wider than a phone: {what}" for what in [widest(page)] if what]
    page.set_viewport_size(DESK)
    wrong += [f"wider than a desk: {what}" for what in [widest(page)] if what]
    wrong += [f"values not below each other: {what}" for what in askew(page)]
    if shown.action:
        wrong += [f"focus not to be seen: {name}" for name in reach_by_tab(page, shown.action)]
    complaints.forgive(f"status of {shown.status}")
    wrong += complaints.said
    page.evaluate(AXE)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
        wrong += broken_rules(page, scheme)
    if shown.name.startswith(PRINTED):
        page.emulate_media(media="print", color_scheme="light")
        page.set_viewport_size(PAPER)
        wrong += [f"wider than paper: {what}" for what in [widest(page)] if what]
        wrong += [f"on paper, {what}" for what in broken_rules(page, "dark")]  # colours are all that could be lost
    return wrong


def test_the_menu_of_a_phone_leads_everywhere_and_out(admin: BrowserContext) -> None:
    page = admin.new_page()
    page.set_viewport_size(PHONE)
    page.goto("/")
    page.get_by_text("Menu").click()
    page.get_by_role("link", name="Suites").click()
    expect(page.get_by_role("heading", name="Suites", exact=True)).to_be_visible()
    page.get_by_text("Menu").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()
