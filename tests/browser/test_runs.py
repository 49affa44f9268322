"""Runs: a window that is dragged or keyed, ticks that stay, lines that come live, and all of it without a script."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from app.domain.terms import LineKind, Split
from app.models import Run
from app.services import runs
from app.services.run_log import say
from app.services.runs import Metric
from tests.browser.arena import Arena
from tests.browser.driver import sign_in
from tests.browser.texts import noisy

STEPS = 1000


@pytest.fixture
def going(arena: Arena) -> Run:
    """A run that is half done."""
    arena.dataset()
    arena.base_model()
    run = arena.run("going")
    arena.train(run, noisy(STEPS // 2, 3.4, 2.4, 1), {0: 3.4, 250: 2.9, 500: 2.7}, steps=STEPS)
    return run


def further(arena: Arena, run: Run, step: int, loss: float) -> None:
    """One more step and a line about it, told as a worker does."""
    with arena.writing() as session:
        stored = session.get_one(Run, run.id)
        say(session, stored, [(arena.now, LineKind.TOLD, f"and now step {step}")])
        runs.record(session, stored, [Metric(Split.TRAIN, step, 1.0, loss, 1e-4, 5000.0, 940 * step)], now=arena.now)


def drag(page: Page, ground: Locator, start: float, end: float) -> None:
    ground.scroll_into_view_if_needed()
    box = ground.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + (start + end) / 2 * box["width"], middle)
    page.mouse.move(box["x"] + end * box["width"], middle)
    expect(page.locator(".plot-chosen")).to_be_visible()
    page.mouse.up()


def test_a_dragged_window_stays_while_the_run_goes_on(page: Page, arena: Arena, going: Run) -> None:
    page.goto(f"/runs/{going.id}")
    page.evaluate("window.kept = true")
    ground = page.locator("[data-plot]").first
    expect(ground).to_have_attribute("data-last", str(STEPS))
    drag(page, ground, 0.2, 0.8)
    expect(page).to_have_url(re.compile(r"from=\d+&to=\d+"))
    first, last = (int(number) for number in re.findall(r"(?:from|to)=(\d+)", page.url))
    assert abs(first - 200) <= 5
    assert abs(last - 800) <= 5
    expect(ground).to_have_attribute("data-first", str(first))
    expect(page.get_by_role("spinbutton", name="Steps")).to_have_value(str(first))
    expect(page.locator(".plot-chosen")).to_have_count(0)
    further(arena, going, 600, 2.5)
    expect(page.get_by_role("log")).to_contain_text("and now step 600")
    expect(page.locator(".chart", has_text="Learning rate").locator("td", has_text="600")).to_have_count(1)
    expect(ground).to_have_attribute("data-last", str(last))
    page.go_back()
    expect(ground).to_have_attribute("data-first", "0")
    assert page.evaluate("window.kept"), "the page was loaded again"


def test_keys_lead_through_the_curves(page: Page, going: Run) -> None:
    page.goto(f"/runs/{going.id}")
    ground = page.locator("[data-plot]").first
    page.locator("[data-curves]").focus()
    for key, window in (
        ("+", ("250", "750")),
        ("+", ("375", "625")),
        ("ArrowLeft", ("250", "500")),
        ("-", ("125", "625")),
        ("0", ("0", "1000")),
    ):
        page.keyboard.press(key)
        expect(ground).to_have_attribute("data-first", window[0])
        expect(ground).to_have_attribute("data-last", window[1])
        expect(page.locator("[data-curves]")).to_be_focused()
    page.get_by_role("link", name="log", exact=True).click()
    expect(page).to_have_url(re.compile("scale=log"))
    expect(page.locator("[aria-current=true]", has_text="log")).to_be_visible()


def test_a_press_without_a_drag_chooses_nothing(page: Page, going: Run) -> None:
    page.goto(f"/runs/{going.id}")
    page.locator("[data-plot]").first.click()
    expect(page.locator(".plot-chosen")).to_have_count(0)
    assert "from=" not in page.url


def test_ticks_stay_while_the_list_fetches_itself_again(page: Page, arena: Arena, going: Run) -> None:
    other = arena.run("other")
    page.goto("/runs")
    page.get_by_label("Compare going").check()
    arena.train(other, noisy(20, 3.4, 2.4, 2), {0: 3.4, 20: 2.8}, steps=40)
    expect(page.locator(".row", has_text="other")).to_contain_text("20 of 40")
    expect(page.get_by_label("Compare going")).to_be_checked()
    page.get_by_label("Compare other").check()
    page.get_by_role("button", name="Compare the ticked runs").click()
    expect(page.get_by_role("heading", name="Compare runs")).to_be_visible()
    for name in ("going", "other"):
        expect(page.get_by_role("link", name=name)).to_be_visible()
    figure = page.locator(".chart", has_text="Training loss")
    drawn = figure.locator(".line-run-1").last  # the newest is first on the list
    expect(drawn).not_to_have_attribute("d", re.compile("L6 "))
    further(arena, other, 30, 2.6)
    expect(drawn).to_have_attribute("d", re.compile("L6 "))
    page.get_by_role("link", name="tokens", exact=True).click()
    expect(page).to_have_url(re.compile("by=tokens"))
    expect(page.locator("[data-plot]").first).to_have_attribute("data-last", str(500 * 940))


def test_the_log_can_be_copied(page: Page, admin: BrowserContext, arena: Arena, going: Run) -> None:
    admin.grant_permissions(["clipboard-read", "clipboard-write"])
    further(arena, going, 501, 2.5)
    page.goto(f"/runs/{going.id}")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert len(copied) == 12
    assert re.fullmatch(r"\d\d:\d\d:\d\d and now step 501", copied[-1])


def test_everything_is_there_without_a_script(visitor: Callable[..., BrowserContext], arena: Arena, going: Run) -> None:
    context = visitor(java_script_enabled=False)
    sign_in(context, arena.entry_path())
    page = context.new_page()
    page.goto(f"/runs/{going.id}")
    expect(page.get_by_role("button", name="Copy")).to_be_hidden()
    page.get_by_role("link", name="Closer").click()
    ground = page.locator("[data-plot]").first
    expect(ground).to_have_attribute("data-first", "250")
    page.get_by_label("to", exact=True).fill("300")
    page.get_by_role("button", name="Show").click()
    expect(ground).to_have_attribute("data-last", "300")
    page.get_by_role("link", name="Whole run").click()
    expect(ground).to_have_attribute("data-last", str(STEPS))
    page.get_by_role("link", name="Train again with changes").click()
    page.get_by_label("Learning rate").fill("nothing")
    page.get_by_role("button", name="Train").click()
    expect(page.get_by_text("train.learning_rate must be a number")).to_be_visible()
    page.get_by_label("Learning rate").fill("2e-4")
    page.get_by_role("button", name="Train").click()
    expect(page.get_by_role("heading", name="going-2")).to_be_visible()
    expect(page.get_by_text("Changed from going: train.learning_rate 4e-4 → 2e-4")).to_be_visible()
    page.goto("/runs")
    for name in ("going", "going-2"):
        page.get_by_label(f"Compare {name}", exact=True).check()
    page.get_by_role("button", name="Compare the ticked runs").click()
    expect(page.get_by_role("cell", name="2e-4")).to_be_visible()
