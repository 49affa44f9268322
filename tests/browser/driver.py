"""Starting a Chromium, signing in, and hearing what a page complains about; for tests and for pictures."""

import os
from http import HTTPStatus
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright

_TELL_VIOLATIONS = """
document.addEventListener("securitypolicyviolation",
  (event) => console.error(`refused by the policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


def launch(playwright: Playwright, program: Path) -> Browser:
    """A headless Chromium; root has no sandbox to use."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(executable_path=program, args=arguments)


def sign_in(context: BrowserContext, entry_path: str) -> None:
    """Use an entry link up, as the button on its page does."""
    answer = context.request.post(entry_path, max_redirects=0)
    if answer.status != HTTPStatus.SEE_OTHER:
        raise AssertionError(f"signing in was answered with {answer.status}")


class Complaints:
    """Errors on the console, exceptions of scripts and violations of the page's policy, as they come."""

    def __init__(self, page: Page) -> None:
        self.said: list[str] = []
        page.add_init_script(_TELL_VIOLATIONS)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.said.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.said.append(message.text)

    def forgive(self, *parts: str) -> None:
        """Drop what a test brought about on purpose: lines that contain one of ``parts``."""
        self.said = [line for line in self.said if not any(part in line for part in parts)]
