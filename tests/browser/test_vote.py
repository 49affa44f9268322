"""A rater with keys, a thumb, a bad connection, two tabs or no JavaScript: nothing is lost, nothing counts twice."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from app.domain.terms import BallotState, Outcome
from app.models import Ballot, EvalBatch
from app.services import accounts
from tests.browser import texts
from tests.browser.arena import Arena
from tests.browser.driver import Complaints, sign_in

PROMPTS = [f"Prompt number {number}?" for number in range(6)]
BALLOT = "#vote-ballot"


@pytest.fixture
def batch(arena: Arena) -> EvalBatch:
    """Six pairs, all of them ready."""
    arena.suite("six", PROMPTS)
    launched = arena.batch("six")
    arena.write(launched)
    return launched


def shown(page: Page) -> tuple[str, ...]:
    """What a rater reads: the prompt and both texts."""
    return tuple(part.inner_text() for part in page.locator(".prompt .reading, .text > .reading").all())


def counter(page: Page, text: str) -> None:
    expect(page.locator(".vote-place")).to_have_text(text)


def test_each_key_is_a_choice_and_the_counter_goes_on(page: Page, arena: Arena, batch: EvalBatch) -> None:
    page.goto(f"/vote/{batch.id}")
    for number, key in enumerate("abtx", 1):
        counter(page, f"{number} of 6")
        page.keyboard.press(key)
    counter(page, "5 of 6")
    ballot = page.locator(".choices [name=ballot_id]")
    skipped = ballot.input_value()
    page.keyboard.press("s")
    expect(ballot).not_to_have_value(skipped)
    assert arena.choices() == ["a", "b", "tie", "both_bad"]
    assert arena.count(Ballot, Ballot.state == BallotState.SKIPPED) == 1


def test_a_key_held_down_or_pressed_twice_gives_one_verdict(page: Page, arena: Arena, batch: EvalBatch) -> None:
    page.goto(f"/vote/{batch.id}")
    counter(page, "1 of 6")
    page.evaluate(
        """() => { for (const key of ["a", "a", "b"])
             document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true })); }"""
    )
    counter(page, "2 of 6")
    page.keyboard.down("a")
    page.keyboard.down("a")  # the second one is the repetition of a key that is held
    counter(page, "3 of 6")
    assert arena.choices() == ["a", "a"]


def test_a_double_click_gives_one_verdict(page: Page, arena: Arena, batch: EvalBatch) -> None:
    page.goto(f"/vote/{batch.id}")
    page.get_by_role("button", name="B is better").dblclick()
    counter(page, "2 of 6")
    assert arena.choices() == ["b"]


def test_a_vote_taken_back_shows_the_same_texts_in_the_same_order(page: Page, arena: Arena, batch: EvalBatch) -> None:
    page.goto(f"/vote/{batch.id}")
    before = shown(page)
    page.keyboard.press("a")
    counter(page, "2 of 6")
    page.keyboard.press("u")
    counter(page, "1 of 6")
    assert shown(page) == before
    assert arena.choices() == []
    page.keyboard.press("b")
    counter(page, "2 of 6")
    assert arena.choices() == ["b"]


def test_the_question_mark_lists_the_keys(page: Page, batch: EvalBatch) -> None:
    page.goto(f"/vote/{batch.id}")
    keys = page.get_by_text("undo the last vote")
    expect(keys).to_be_hidden()
    page.keyboard.press("?")
    expect(keys).to_be_visible()


def test_keys_with_ctrl_belong_to_the_browser(page: Page, arena: Arena, batch: EvalBatch) -> None:
    page.goto(f"/vote/{batch.id}")
    page.keyboard.press("Control+b")
    page.keyboard.press("t")
    counter(page, "2 of 6")
    assert arena.choices() == ["tie"]


def test_a_reload_shows_the_same_ballot(page: Page, arena: Arena, batch: EvalBatch) -> None:
    page.goto(f"/vote/{batch.id}")
    before = shown(page)
    page.reload()
    assert shown(page) == before
    assert arena.count(Ballot) == 1


def test_a_second_tab_shows_the_same_ballot_and_cannot_vote_otherwise(
    admin: BrowserContext, arena: Arena, batch: EvalBatch
) -> None:
    one, other = admin.new_page(), admin.new_page()
    one.goto(f"/vote/{batch.id}")
    other.goto(f"/vote/{batch.id}")
    assert shown(one) == shown(other)
    one.keyboard.press("a")
    counter(one, "2 of 6")
    other.keyboard.press("b")
    expect(other.locator("#notice")).to_contain_text("it stands as you first cast it")
    assert arena.choices() == ["a"]
    other.reload()
    counter(other, "2 of 6")
    assert shown(other) == shown(one)


def test_without_javascript_every_button_works(
    visitor: Callable[..., BrowserContext], arena: Arena, batch: EvalBatch
) -> None:
    context = visitor(java_script_enabled=False)
    sign_in(context, arena.entry_path())
    page = context.new_page()
    page.goto(f"/vote/{batch.id}")
    for number, label in enumerate(("A is better", "B is better", "Tie", "Both bad"), 2):
        page.get_by_role("button", name=label).click()
        counter(page, f"{number} of 6")
    page.get_by_role("button", name="Undo my last vote").click()
    counter(page, "4 of 6")
    ballot = page.locator(".choices [name=ballot_id]")
    skipped = ballot.input_value()
    page.get_by_role("button", name="Skip").click()
    expect(ballot).not_to_have_value(skipped)
    assert arena.choices() == ["a", "b", "tie"]


def test_results_in_another_window_move_when_a_vote_is_cast(
    page: Page, admin: BrowserContext, batch: EvalBatch
) -> None:
    results = admin.new_page()
    results.goto(f"/results/{batch.id}")
    expect(results.get_by_text("0 of 6 votes by people")).to_be_visible()
    results.evaluate("window.loadedOnce = true")
    results.get_by_text("The numbers, by domain and category").click()
    page.goto(f"/vote/{batch.id}")
    page.keyboard.press("t")
    counter(page, "2 of 6")
    expect(results.get_by_text("1 of 6 votes by people")).to_be_visible()
    expect(results.locator("#results-live")).to_contain_text("is a tie. Too early to say more.")
    expect(results.get_by_role("row", name=re.compile(r"all prompts 0\W0\W1"))).to_be_visible()
    assert results.evaluate("window.loadedOnce") is True


def test_the_end_thanks_and_says_how_much_was_done(page: Page, arena: Arena, batch: EvalBatch) -> None:
    arena.vote(batch, [Outcome.FIRST] * 5, voter=accounts.ADMIN)
    page.goto(f"/vote/{batch.id}")
    counter(page, "6 of 6")
    page.keyboard.press("a")
    expect(page.get_by_role("heading", name="That was everything. Thank you.")).to_be_visible()
    expect(page.locator(BALLOT)).to_contain_text("You have voted on 6 pairs, in under a minute of reading.")
    page.keyboard.press("u")
    counter(page, "6 of 6")
    expect(page.get_by_role("button", name="A is better")).to_be_visible()


def test_a_batch_that_closes_takes_no_more_votes_and_keeps_the_earlier_ones(
    admin: BrowserContext, arena: Arena, batch: EvalBatch
) -> None:
    page = admin.new_page()
    page.goto(f"/vote/{batch.id}")
    page.keyboard.press("a")
    counter(page, "2 of 6")
    arena.close(batch)
    page.keyboard.press("b")
    expect(page.locator("#notice")).to_contain_text("Voting has closed. This vote was not counted; all your earlier")
    assert arena.choices() == ["a"]
    page.reload()
    expect(page.get_by_role("heading", name="Voting is closed")).to_be_visible()
    expect(page.locator(BALLOT)).to_contain_text("The vote you gave is kept.")


def test_offline_the_ballot_stays_and_says_so(admin: BrowserContext, arena: Arena, batch: EvalBatch) -> None:
    page = admin.new_page()
    complaints = Complaints(page)
    page.goto(f"/vote/{batch.id}")
    before = shown(page)
    admin.set_offline(offline=True)
    page.keyboard.press("a")
    expect(page.get_by_text("Your choice was not sent")).to_be_visible()
    assert shown(page) == before
    assert arena.choices() == []
    admin.set_offline(offline=False)
    page.keyboard.press("b")
    counter(page, "2 of 6")
    expect(page.get_by_text("Your choice was not sent")).to_be_hidden()
    assert arena.choices() == ["b"]
    complaints.forgive("ERR_INTERNET_DISCONNECTED", "ERR_NETWORK", "Failed to fetch")
    assert complaints.said == []


def test_while_responses_are_written_the_next_pair_appears_by_itself(page: Page, arena: Arena) -> None:
    arena.suite("three", PROMPTS[:3])
    batch = arena.batch("three")
    page.goto(f"/vote/{batch.id}")
    expect(page.get_by_role("heading", name="No pair is ready yet")).to_be_visible()
    arena.write(batch, prompts=[1], finish=False)
    expect(page.locator(".prompt")).to_contain_text("Prompt number 1?")


def test_pairs_with_an_empty_or_a_repeated_text_are_never_shown(page: Page, arena: Arena) -> None:
    arena.suite("three", PROMPTS[:3])
    batch = arena.batch("three")
    replies = {(0, True): "", (0, False): "Something.", (1, True): "The same.", (1, False): "The same."}
    arena.write(batch, lambda number, baseline: replies.get((number, baseline), f"Its own {baseline}."))
    page.goto(f"/vote/{batch.id}")
    counter(page, "1 of 1")
    expect(page.locator(".prompt")).to_contain_text("Prompt number 2?")


def test_a_text_of_one_endless_line_is_shown_whole_and_does_not_widen_the_page(page: Page, arena: Arena) -> None:
    batch = arena.ballot_batch("How long?", texts.LONG.replace(" ", "_"), texts.CODE, "endless")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"/vote/{batch.id}")
    assert max(len(text) for text in shown(page)) == len(texts.LONG)
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    expect(page.get_by_role("button", name="A is better")).to_be_in_viewport()


def test_both_texts_have_the_same_place_to_stand_in(page: Page, arena: Arena) -> None:
    batch = arena.ballot_batch("Which?", texts.LIST, texts.SEEING, "equal")
    for width, side_by_side in ((1280, True), (390, False)):
        page.set_viewport_size({"width": width, "height": 844})
        page.goto(f"/vote/{batch.id}")
        one, other = (text.bounding_box() for text in page.locator(".text").all())
        assert one is not None
        assert other is not None
        assert one["width"] == other["width"]
        assert (one["y"] == other["y"]) is side_by_side
        buttons = [page.get_by_role("button", name=f"{side} is better").bounding_box() for side in "AB"]
        assert buttons[0] is not None
        assert buttons[1] is not None
        assert (buttons[0]["width"], buttons[0]["y"]) == (buttons[1]["width"], buttons[1]["y"])


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_the_prompt_is_in_reach_while_a_long_text_is_read(page: Page, arena: Arena, width: int, height: int) -> None:
    batch = arena.ballot_batch("What makes a cheese ripen?", texts.LONG, texts.PLAIN, "reach")
    page.set_viewport_size({"width": width, "height": height})
    page.goto(f"/vote/{batch.id}")
    longest = page.locator(".text", has_text="Cheese ripens from the rind")
    longest.evaluate("text => scrollTo(0, text.offsetTop + 3000)")
    expect(page.get_by_text("What makes a cheese ripen?")).to_be_in_viewport(ratio=1)
    expect(longest.get_by_role("heading", level=2)).to_be_in_viewport(ratio=1)
    covered = longest.get_by_role("heading", level=2).evaluate(
        "head => { const box = head.getBoundingClientRect(); "
        "return document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2) !== head; }"
    )
    assert not covered
