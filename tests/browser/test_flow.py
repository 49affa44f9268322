"""The whole way in one browser: a base model, a training, an eval batch, votes, a result. Nothing is pretended."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from app import jobs
from app.config import ROOT, get_settings
from app.services import datasets
from tests.browser.arena import Arena
from tests.fakes.tiny_model import make_tiny_model, write_conversations

PATIENCE = 120_000
"""Milliseconds that one job may take, starting torch included. Nothing waits longer than it has to."""


@pytest.fixture
def worker(arena: Arena, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A real worker on the embedded broker of the arena's folder, where the application sends its messages too."""
    monkeypatch.setenv("ARENA_HOME", str(arena.settings.home))
    monkeypatch.setenv("ARENA_BASE_MODEL", "")
    monkeypatch.setenv("ARENA_DEVICE", "cpu")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    get_settings.cache_clear()
    jobs._producer.cache_clear()
    output = tmp_path / "worker.log"
    with output.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "worker"], cwd=ROOT, env=dict(os.environ), stdout=log, stderr=log
        )
        yield
        process.terminate()
        code = process.wait(timeout=60)
    monkeypatch.undo()
    get_settings.cache_clear()
    jobs._producer.cache_clear()
    assert code == 0, output.read_text(encoding="utf-8")[-4000:]


def same_document(page: Page) -> None:
    """Mark what is loaded now, so that a reload would be noticed."""
    page.evaluate("window.loadedOnce = true")


def test_from_a_base_model_to_a_result_without_a_reload(
    page: Page, admin: BrowserContext, arena: Arena, worker: None, tmp_path: Path
) -> None:
    base = make_tiny_model(tmp_path / "tiny")
    arena.suite("six", [f"What is cheese number {number}?" for number in range(6)])
    with arena.writing() as session:
        conversations = write_conversations(tmp_path / "cheese.jsonl", 20)
        datasets.import_dataset(session, conversations, artifacts=arena.settings.artifacts, now=arena.now)

    page.goto("/models")
    page.get_by_label("Add a base model").fill(str(base))
    page.get_by_role("button", name="Add").click()
    expect(page.locator("#models-list .pill-ready")).to_be_visible(timeout=PATIENCE)

    page.goto("/runs")
    page.get_by_role("radio", name="brie-v1").check()
    page.get_by_text("Another dataset or base model").click()
    page.get_by_label("Dataset").select_option("cheese")
    page.get_by_label("Base model").select_option("tiny")
    page.get_by_role("button", name="Train").click()
    expect(page.get_by_role("heading", name="brie-v1")).to_be_visible()
    same_document(page)
    checkpoint = page.get_by_role("link", name="brie-v1/step-10")
    expect(checkpoint).to_be_visible(timeout=PATIENCE)
    expect(page.locator(".lead")).to_contain_text("Finished: validation loss went from", timeout=PATIENCE)
    assert page.evaluate("window.loadedOnce") is True

    page.goto("/batches/launch")
    page.get_by_label("Suite").select_option("six")
    expect(page.get_by_role("checkbox", name="brie-v1/step-10")).to_be_checked()
    expect(page.locator("#batches-plan")).to_contain_text("6 prompts, 6 pairs, 12 responses, 6 votes")
    page.get_by_text("Name, sampling and seed").click()
    page.get_by_label("Name").fill("Is ten steps enough?")
    page.get_by_label("Longest response").fill("24")
    page.get_by_role("button", name="Launch").click()
    expect(page.get_by_role("heading", name="Is ten steps enough?")).to_be_visible()
    same_document(page)
    expect(page.get_by_text("All responses are there.")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#batches-progress")).to_contain_text("12 of 12")
    assert page.evaluate("window.loadedOnce") is True

    page.get_by_role("link", name="Results").click()
    expect(page.locator("#results-live .lead")).to_contain_text("No votes yet on brie-v1/step-10 against tiny")
    same_document(page)
    votes = admin.new_page()
    votes.goto(page.url.replace("/results/", "/vote/"))
    counter = votes.locator(".vote-head > span")
    expect(counter).to_have_text(re.compile(r"^1 of \d$"))
    total = int(counter.inner_text()[-1])  # a pair of two equal or empty texts needs no voter
    cast = [("a", "b", "tie", "both_bad")[number % 4] for number in range(total)]
    for number, choice in enumerate(cast, 1):
        expect(counter).to_have_text(f"{number} of {total}")
        votes.keyboard.press({"tie": "t", "both_bad": "x"}.get(choice, choice))
        expect(page.get_by_text(f"{number} of {total} votes by people")).to_be_visible()
    expect(votes.get_by_role("heading", name="That was everything. Thank you.")).to_be_visible()
    expect(page.locator("#results-live .lead")).not_to_contain_text("No votes yet")
    assert page.evaluate("window.loadedOnce") is True
    assert arena.choices() == cast
