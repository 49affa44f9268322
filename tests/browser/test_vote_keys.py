"""Ten pairs with the keyboard alone, as it is heard by somebody who does not see; and words that are not lost."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from app.models import Ballot, EvalBatch, Recognition, SignIn, Verdict
from tests.browser.arena import Arena
from tests.browser.driver import Complaints, sign_in
from tests.browser.test_pages import AXE, broken_rules
from tests.browser.test_vote import PROMPTS, counter

FOCUSED = "() => document.activeElement.id || document.activeElement.textContent.trim()"


@pytest.fixture
def ten(arena: Arena) -> EvalBatch:
    """Ten pairs, and the question after each vote."""
    arena.suite("ten", [f"Prompt number {number}?" for number in range(10)])
    batch = arena.batch("ten", ask_recognised=True)
    arena.write(batch)
    return batch


@pytest.fixture
def batch(arena: Arena) -> EvalBatch:
    """Six pairs."""
    arena.suite("six", PROMPTS)
    launched = arena.batch("six")
    arena.write(launched)
    return launched


def said(page: Page, text: str) -> None:
    """What the live region says now, and that nothing else of the page is one that talks."""
    expect(page.locator("#vote-said")).to_have_text(text)
    assert page.locator("#notice").inner_text() == ""


def test_ten_pairs_are_voted_on_with_the_keyboard_alone(page: Page, arena: Arena, ten: EvalBatch) -> None:
    page.goto(f"/vote/{ten.id}")
    for number, key in enumerate("abtxabtxab", 1):
        counter(page, f"{number} of 10")
        assert page.evaluate(FOCUSED) == "prompt-title"
        page.keyboard.press(key)
        if number < 10:
            said(page, f"Vote stored. {number + 1} of 10.")
    said(page, "Vote stored. That was everything. Thank you.")
    assert arena.choices() == ["a", "b", "tie", "both_bad"] * 2 + ["a", "b"]
    assert page.evaluate("document.activeElement.tagName") == "H1"


def test_what_a_screen_reader_finds(page: Page, ten: EvalBatch) -> None:
    page.goto(f"/vote/{ten.id}")
    page.keyboard.press("a")
    counter(page, "2 of 10")
    expect(page.locator("main")).to_match_aria_snapshot(
        """
        - main:
          - status: Vote stored. 2 of 10.
          - text: 2 of 10
          - button "Undo my last vote"
          - text: possible for about 2 min
          - group: Keys
          - link "Stop for now"
          - progressbar "Done"
          - form /About your last vote/:
            - paragraph: /did you think you recognised/
            - button "Yes"
            - button "No"
          - region "Prompt":
            - heading "Prompt" [level=1]
            - paragraph: /Prompt number/
          - region "A":
            - heading "A" [level=2]
          - region "B":
            - heading "B" [level=2]
          - group: Say why (optional)
          - button "A is better"
          - button "B is better"
          - button "Tie"
          - button "Both bad"
          - button "Skip"
        """
    )


def test_the_question_is_answered_by_keyboard_and_goes(page: Page, arena: Arena, ten: EvalBatch) -> None:
    page.goto(f"/vote/{ten.id}")
    page.keyboard.press("b")
    counter(page, "2 of 10")
    for _ in range(2):
        page.keyboard.press("Shift+Tab")
    assert page.evaluate(FOCUSED) == "Yes"
    page.keyboard.press("Enter")
    said(page, "Thank you, your answer is kept. 2 of 10.")
    expect(page.get_by_text("About your last vote")).to_be_hidden()
    assert page.evaluate(FOCUSED) == "prompt-title"
    assert arena.count(Recognition, Recognition.recognised) == 1
    assert arena.choices() == ["b"]


def test_undo_is_said_and_brings_the_words_back(page: Page, arena: Arena, batch: EvalBatch) -> None:
    page.goto(f"/vote/{batch.id}")
    page.get_by_text("Say why (optional)").click()
    page.get_by_label("clarity").check()
    page.get_by_label("In your words").fill("a and b, and then t?")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    said(page, "Vote stored. 2 of 6.")
    expect(page.get_by_label("In your words")).to_have_value("")
    expect(page.get_by_label("In your words")).to_be_visible()  # stays open from ballot to ballot
    page.keyboard.press("u")
    said(page, "Taken back. The pair is here again. 1 of 6.")
    expect(page.get_by_label("In your words")).to_have_value("a and b, and then t?")
    expect(page.get_by_label("clarity")).to_be_checked()
    assert arena.choices() == []


def test_keys_do_nothing_while_somebody_types_and_something_after_a_tick(
    page: Page, arena: Arena, batch: EvalBatch
) -> None:
    page.goto(f"/vote/{batch.id}")
    page.get_by_text("Say why (optional)").click()
    page.get_by_label("In your words").press_sequentially("abtxsu?")
    expect(page.get_by_label("In your words")).to_have_value("abtxsu?")
    assert arena.count(Verdict) == 0
    page.get_by_label("depth").check()
    page.keyboard.press("t")
    counter(page, "2 of 6")
    with arena.database.session_scope(write=False) as session:
        verdict = session.query(Verdict).one()
        assert (verdict.reason, verdict.tags) == ("abtxsu?", ["deep"])


def test_the_list_of_keys_traps_nobody(page: Page, batch: EvalBatch) -> None:
    page.goto(f"/vote/{batch.id}")
    keys = page.get_by_text("undo the last vote")
    page.keyboard.press("?")
    expect(keys).to_be_visible()
    assert page.evaluate(FOCUSED) == "Keys"
    page.evaluate(AXE)
    assert broken_rules(page, "light") == []
    page.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    assert page.evaluate(FOCUSED) == "prompt-title"
    page.keyboard.press("?")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED) == "Stop for now"
    page.keyboard.press("?")
    expect(keys).to_be_hidden()


def test_single_keys_can_be_turned_off_and_stay_off(page: Page, arena: Arena, batch: EvalBatch) -> None:
    page.goto(f"/vote/{batch.id}")
    page.keyboard.press("?")
    page.get_by_label("Choose with single keys").uncheck()
    page.reload()
    page.keyboard.press("a")
    page.keyboard.press("?")
    expect(page.get_by_label("Choose with single keys")).not_to_be_checked()
    assert arena.count(Verdict) == 0
    page.get_by_label("Choose with single keys").check()
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    counter(page, "2 of 6")


def test_a_key_pressed_while_a_vote_is_on_its_way_is_answered(page: Page, arena: Arena, batch: EvalBatch) -> None:
    held: list[Route] = []
    page.route(
        f"**/vote/{batch.id}", lambda route: held.append(route) if route.request.method == "POST" else route.continue_()
    )
    page.goto(f"/vote/{batch.id}")
    page.keyboard.press("a")
    expect(page.locator("#vote-ballot")).to_have_attribute("aria-busy", "true")
    page.keyboard.press("b")
    said(page, "One moment: your last choice is still on its way. This key was not used.")
    expect(page.get_by_text("One moment …")).to_be_visible()
    held[0].continue_()
    said(page, "Vote stored. 2 of 6.")
    expect(page.locator("#vote-ballot")).not_to_have_attribute("aria-busy", "true")
    assert arena.choices() == ["a"]
    assert len(held) == 1


def test_offline_the_words_and_the_choice_are_kept(admin: BrowserContext, arena: Arena, batch: EvalBatch) -> None:
    page = admin.new_page()
    complaints = Complaints(page)
    page.goto(f"/vote/{batch.id}")
    page.get_by_text("Say why (optional)").click()
    page.get_by_label("In your words").fill("Because of the rind.")
    page.get_by_label("style").check()
    admin.set_offline(offline=True)
    page.get_by_role("button", name="B is better").click()
    expect(page.get_by_text("Your choice was not sent")).to_be_visible()
    admin.set_offline(offline=False)
    page.reload()  # as after a closed laptop
    expect(page.get_by_label("In your words")).to_have_value("Because of the rind.")
    expect(page.get_by_label("style")).to_be_checked()
    admin.set_offline(offline=True)
    page.get_by_role("button", name="B is better").click()
    again = page.get_by_role("button", name="Send “B is better” again")
    expect(again).to_be_visible()
    admin.set_offline(offline=False)
    again.click()
    counter(page, "2 of 6")
    assert arena.choices() == ["b"]
    expect(page.get_by_label("In your words")).to_have_value("")
    with arena.database.session_scope(write=False) as session:
        assert session.query(Verdict).one().reason == "Because of the rind."
    complaints.forgive("ERR_INTERNET_DISCONNECTED", "ERR_NETWORK", "Failed to fetch")
    assert complaints.said == []


def test_who_is_signed_out_in_between_keeps_the_choice(admin: BrowserContext, arena: Arena, batch: EvalBatch) -> None:
    page = admin.new_page()
    page.goto(f"/vote/{batch.id}")
    with arena.writing() as session:
        session.query(SignIn).delete()
    page.keyboard.press("a")
    expect(page.get_by_text("this browser is no longer signed in")).to_be_visible()
    expect(page.get_by_role("link", name="Sign in again in a new tab")).to_be_visible()
    page.evaluate(AXE)
    assert broken_rules(page, "light") == []
    sign_in(admin, arena.entry_path())
    page.get_by_role("button", name="Send “A is better” again").click()
    counter(page, "2 of 6")
    assert arena.choices() == ["a"]


def test_a_reason_that_is_too_long_stays_in_its_field(admin: BrowserContext, arena: Arena, batch: EvalBatch) -> None:
    page = admin.new_page()
    page.goto(f"/vote/{batch.id}")
    page.get_by_text("Say why (optional)").click()
    page.get_by_label("In your words").fill("x" * 4001)
    page.get_by_role("button", name="Tie").click()
    expect(page.locator("#notice")).to_contain_text("the reason has 4001 characters, and at most 4000 are kept")
    expect(page.get_by_label("In your words")).to_have_value("x" * 4001)
    page.get_by_label("In your words").fill("x" * 4000)
    page.get_by_role("button", name="Tie").click()
    counter(page, "2 of 6")
    assert arena.choices() == ["tie"]


def test_a_stale_tab_leads_to_the_next_pair(admin: BrowserContext, arena: Arena, batch: EvalBatch) -> None:
    one, other = admin.new_page(), admin.new_page()
    for page in (one, other):
        page.goto(f"/vote/{batch.id}")
    one.keyboard.press("a")
    counter(one, "2 of 6")
    other.keyboard.press("b")
    other.get_by_role("link", name="Show the pair that is next").click()
    counter(other, "2 of 6")
    assert arena.choices() == ["a"]


def test_without_javascript_reasons_and_the_question_work(
    visitor: Callable[..., BrowserContext], arena: Arena, ten: EvalBatch
) -> None:
    context = visitor(java_script_enabled=False)
    sign_in(context, arena.entry_path())
    page = context.new_page()
    page.goto(f"/vote/{ten.id}")
    expect(page.get_by_label("Choose with single keys")).to_be_hidden()
    page.get_by_text("Say why (optional)").click()
    page.get_by_label("originality").check()
    page.get_by_label("In your words").fill("x" * 4001)
    page.get_by_role("button", name="Skip").click()
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("at most 4000 are kept")
    page.get_by_label("In your words").fill("It is new.")
    expect(page.get_by_label("originality")).to_be_checked()
    page.get_by_role("button", name="A is better").click()
    counter(page, "2 of 10")
    page.get_by_role("button", name="No", exact=True).click()
    expect(page.get_by_text("About your last vote")).to_be_hidden()
    page.get_by_role("button", name="Undo my last vote").click()
    counter(page, "1 of 10")
    expect(page.get_by_label("In your words")).to_have_value("It is new.")
    assert arena.count(Recognition, Recognition.recognised.is_(False)) == 1
    assert arena.count(Ballot) == 3


@pytest.mark.parametrize("height", [844, 420])
def test_no_bar_covers_what_has_the_focus_on_a_phone(page: Page, arena: Arena, height: int) -> None:
    batch = arena.ballot_batch("Why?\n\nSay it in full.", "- one\n" * 60, "    code\n\nwords\n\n" * 30, "tall")
    page.set_viewport_size({"width": 390, "height": height})
    page.goto(f"/vote/{batch.id}")
    page.get_by_text("Say why (optional)").click()
    page.evaluate("scrollTo(0, 0); document.activeElement.blur()")
    covered = []
    for _ in range(60):
        page.keyboard.press("Tab")
        hidden = page.evaluate(
            """() => { const on = document.activeElement, box = on.getBoundingClientRect();
                 if (on === document.body) return "";
                 const x = box.x + Math.min(box.width, innerWidth) / 2, y = box.y + Math.min(box.height, 20) / 2;
                 const there = document.elementFromPoint(x, y);
                 return there && (on.contains(there) || there.contains(on)) ? "" : on.outerHTML.slice(0, 80); }"""
        )
        covered += [hidden] if hidden else []
        if page.evaluate("document.activeElement.value") == "skip":
            break
    assert covered == []
    assert page.evaluate("document.activeElement.value") == "skip"
