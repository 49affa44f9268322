"""Adding a checkpoint: dropped or chosen, watched while it is checked, and possible without any script."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import select

from app.models import Intake
from app.services import intake as intakes
from tests.browser.arena import Arena
from tests.browser.driver import Complaints, sign_in

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
    with page.expect_response("**/checkpoints/add"):
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
