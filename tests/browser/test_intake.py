"""Adding a checkpoint: dropped or chosen, watched while it is checked, and possible without any script."""

import hashlib
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect
from sqlalchemy import select

from app.models import Intake
from app.services import intake as intakes
from app.services.sending import LARGEST_PIECE
from tests.browser.arena import Arena
from tests.browser.driver import Complaints, sign_in

PIECE = re.compile(r"/checkpoints/sending/[0-9a-f-]+\?file=")
SECOND_PIECE = re.compile(rf"/checkpoints/sending/[0-9a-f-]+\?file=0&at={LARGEST_PIECE}$")
LOOK = re.compile(r"/checkpoints/sending/[0-9a-f-]+$")

REASON = "The upload was refused: it is a bomb. Nothing of it was kept."


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    file = tmp_path / "seneca.zip"
    file.write_bytes(b"PK\x03\x04" + bytes(300_000))
    return file


@pytest.fixture
def ready(arena: Arena) -> Arena:
    arena.base_model()
    return arena


def sent(arena: Arena) -> Intake:
    with arena.database.session_scope(write=False) as session:
        return session.scalars(select(Intake)).one()


def test_a_mistake_keeps_what_was_chosen_and_the_check_is_watched(
    admin: BrowserContext, ready: Arena, archive: Path
) -> None:
    page = admin.new_page()
    complaints = Complaints(page)
    page.goto("/checkpoints")
    page.get_by_role("link", name="Add a checkpoint").click()
    page.evaluate("window.kept = true")
    page.locator("#files").set_input_files(archive)
    page.get_by_label("Name").fill("../up")
    with page.expect_response("**/taken"):
        page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be the name of a checkpoint")
    assert page.evaluate("window.kept"), "the page was loaded again"
    page.get_by_label("Name").fill("seneca-r16")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("heading", name="seneca-r16")).to_be_visible()
    expect(page.locator("#checkpoints-check")).to_contain_text("waiting for a worker")
    with ready.writing() as session:
        intakes.refuse(session, session.get_one(Intake, sent(ready).id), REASON, now=ready.now)
    expect(page.locator("#checkpoints-check")).to_contain_text("it is a bomb")
    complaints.forgive("status of 422")
    assert complaints.said == []


def test_files_can_be_dropped(page: Page, ready: Arena) -> None:
    page.goto("/checkpoints/add")
    carried = page.evaluate_handle(
        "() => { const all = new DataTransfer(); all.items.add(new File(['PK'], 'seneca.zip')); return all; }"
    )
    zone = page.locator("[data-drop]")
    zone.dispatch_event("dragover", {"dataTransfer": carried})
    expect(zone).to_have_class("field drop drop-over")
    zone.dispatch_event("drop", {"dataTransfer": carried})
    expect(zone).to_have_class("field drop")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("heading", name="seneca")).to_be_visible()
    assert sent(ready).files[0]["name"] == "seneca.zip"


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Three pieces."""
    file = tmp_path / "large.zip"
    content = random.Random(7).randbytes(2 * LARGEST_PIECE + 300_000)  # noqa: S311 - the same every time
    file.write_bytes(content)
    return file


class Line:
    """What the pieces of an upload meet on their way: each has its number, from 1."""

    def __init__(self, page: Page, broken: dict[int, bool]) -> None:
        self.offsets: list[int] = []
        self._broken = broken
        page.route(PIECE, self._pass)

    def _pass(self, route: Route) -> None:
        self.offsets.append(int(route.request.url.rpartition("=")[2]))
        arrives = self._broken.get(len(self.offsets))
        if arrives is None:
            route.continue_()
        else:
            if arrives:
                route.fetch()
            route.abort("connectionreset")


def arrived_whole(arena: Arena, file: Path) -> bool:
    told = sent(arena).files[0]
    return bool(told["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest())


BROKE_OFF = "The connection broke off. Sending goes on by itself"


@pytest.fixture
def careless(admin: BrowserContext) -> Page:
    """A window whose complaints are expected: of requests that were lost or refused."""
    return admin.new_page()


def add(page: Page, file: Path, **fields: str) -> None:
    page.goto("/checkpoints/add")
    page.locator("#files").set_input_files(file)
    for label, text in fields.items():
        page.get_by_label(label).fill(text)
    page.get_by_role("button", name="Add").click()


def test_what_breaks_off_goes_on_by_itself(careless: Page, ready: Arena, large: Path) -> None:
    """The second piece is lost on the way, and so is the answer to the last."""
    line = Line(careless, {2: False, 4: True})
    add(careless, large)
    expect(careless.get_by_role("heading", name="large")).to_be_visible()
    assert line.offsets == [0, LARGEST_PIECE, LARGEST_PIECE, 2 * LARGEST_PIECE]
    assert arrived_whole(ready, large)


def test_a_page_that_was_closed_goes_on_where_it_was(admin: BrowserContext, ready: Arena, large: Path) -> None:
    first, second = admin.new_page(), admin.new_page()
    first.route(SECOND_PIECE, lambda route: route.abort())
    first.route(LOOK, lambda route: route.abort())
    add(first, large)
    expect(first.get_by_role("status")).to_contain_text(BROKE_OFF)
    expect(first.locator("[data-sent]")).to_contain_text("of 16 MB")
    first.close()
    line = Line(second, {})
    add(second, large)
    expect(second.get_by_role("heading", name="large")).to_be_visible()
    assert line.offsets == [LARGEST_PIECE, 2 * LARGEST_PIECE]
    assert arrived_whole(ready, large)


def test_an_upload_can_be_stopped_and_gone_on_with(careless: Page, ready: Arena, large: Path) -> None:
    careless.clock.install()
    for path in (SECOND_PIECE, LOOK):
        careless.route(path, lambda route: route.abort())
    add(careless, large)
    expect(careless.get_by_role("status")).to_contain_text(BROKE_OFF)
    careless.get_by_role("button", name="Stop").click()
    expect(careless.get_by_role("alert")).to_contain_text("Stopped. What was sent is kept for a day")
    expect(careless.get_by_role("button", name="Stop")).to_be_hidden()
    for path in (SECOND_PIECE, LOOK):
        careless.unroute(path)
    line = Line(careless, {})
    careless.get_by_role("button", name="Add").click()
    expect(careless.get_by_role("heading", name="large")).to_be_visible()
    assert line.offsets == [LARGEST_PIECE, 2 * LARGEST_PIECE]
    assert arrived_whole(ready, large)


def test_while_the_connection_is_away_the_page_says_so_and_tries_again(
    careless: Page, ready: Arena, archive: Path
) -> None:
    careless.clock.install()
    careless.route("**/checkpoints/sending", lambda route: route.abort("internetdisconnected"))
    add(careless, archive)
    expect(careless.get_by_role("status")).to_contain_text(BROKE_OFF)
    careless.unroute("**/checkpoints/sending")
    careless.clock.run_for(1000)
    expect(careless.get_by_role("heading", name="seneca")).to_be_visible()
    assert arrived_whole(ready, archive)


def test_an_upload_that_was_taken_is_found_although_the_answer_was_lost(
    careless: Page, ready: Arena, archive: Path
) -> None:
    asked: list[int] = []

    def lose(route: Route) -> None:
        asked.append(route.fetch().status)
        if len(asked) == 1:
            route.abort()
        else:
            route.continue_()

    careless.route("**/taken", lose)
    add(careless, archive)
    expect(careless.get_by_role("heading", name="seneca")).to_be_visible()
    assert asked == [200, 404]
    assert arrived_whole(ready, archive)


def test_an_upload_that_is_gone_is_begun_anew(careless: Page, ready: Arena, archive: Path) -> None:
    add(careless, archive, Name="../up")
    expect(careless.get_by_role("alert")).to_contain_text("cannot be the name of a checkpoint")
    shutil.rmtree(ready.settings.artifacts / "uploads")
    careless.get_by_label("Name").fill("seneca-r16")
    careless.get_by_role("button", name="Add").click()
    expect(careless.get_by_role("heading", name="seneca-r16")).to_be_visible()
    assert arrived_whole(ready, archive)


def test_it_works_without_javascript(visitor: Callable[..., BrowserContext], ready: Arena, archive: Path) -> None:
    context = visitor(java_script_enabled=False)
    sign_in(context, ready.entry_path())
    page = context.new_page()
    page.goto("/checkpoints/add")
    expect(page.get_by_text("Files can be dropped here.")).to_be_hidden()
    page.locator("#files").set_input_files(archive)
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("heading", name="seneca")).to_be_visible()
    assert sent(ready).files[0]["bytes"] == archive.stat().st_size
