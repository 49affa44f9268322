"""Starting a Chromium and signing in, for tests and for pictures."""

import os
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Playwright


def launch(playwright: Playwright, program: Path) -> Browser:
    """A headless Chromium; root has no sandbox to use."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(executable_path=program, args=arguments)


def sign_in(context: BrowserContext, entry_path: str) -> None:
    """Use an entry link up, as its holder does: open it and press the button."""
    page = context.new_page()
    page.goto(entry_path)
    page.get_by_role("button", name="Open the arena").click()
    page.wait_for_url("**/")
    page.close()
