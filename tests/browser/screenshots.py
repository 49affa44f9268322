"""Pictures of every page in every state: ``python -m tests.browser.screenshots OUTDIR [STATE …]``."""

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from app.db import migrate
from app.setup.programs import find_chromium
from tests.browser.arena import Arena, home_settings
from tests.browser.driver import launch, sign_in
from tests.browser.server import serve
from tests.browser.states import STATES

VIEWS = [(1280, 900, "light"), (1280, 900, "dark"), (390, 844, "light"), (390, 844, "dark")]
TALLEST = 4000
"""Pixels of a picture; a page of 188,880 characters would not fit any screen."""


def main() -> None:
    """Draw the named states, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("states", nargs="*", choices=[*STATES, []])
    parser.add_argument("--page", default="", help="only pages whose name contains this")
    parser.add_argument("--width", type=int, help="only this width")
    parser.add_argument("--scheme", choices=["light", "dark"], help="only this colour scheme")
    wanted = parser.parse_args()
    program = find_chromium()
    if program is None:
        raise SystemExit("No Chromium: set ARENA_CHROMIUM.")
    views = [v for v in VIEWS if wanted.width in (None, v[0]) and wanted.scheme in (None, v[2])]
    with sync_playwright() as playwright:
        browser = launch(playwright, program.path)
        for state in wanted.states or STATES:
            home = Path(tempfile.mkdtemp())
            _draw(browser, state, home, wanted.out, wanted.page, views)
            shutil.rmtree(home)


def _draw(browser: Browser, state: str, home: Path, out: Path, only: str, views: list[tuple[int, int, str]]) -> None:
    settings = home_settings(home)
    migrate(settings.database)
    arena = Arena(settings)
    pages = STATES[state](arena)
    with serve(settings) as address:
        signed_in, stranger = browser.new_context(base_url=address), browser.new_context(base_url=address)
        sign_in(signed_in, arena.entry_path())
        for page in pages:
            if only in page.name:
                _shoot(signed_in if page.signed_in else stranger, page.path, out / f"{state}-{page.name}", views)
        signed_in.close()
        stranger.close()


def _shoot(context: BrowserContext, path: str, target: Path, views: list[tuple[int, int, str]]) -> None:
    page = context.new_page()
    for width, height, scheme in views:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.goto(path)
        full = min(TALLEST, page.evaluate("document.scrollingElement.scrollHeight"))
        file = target.with_name(f"{target.name}-{width}-{scheme}.png")
        if target.name.startswith("voting-"):
            page.screenshot(path=file)
        else:
            page.screenshot(path=file, full_page=True, clip={"x": 0, "y": 0, "width": width, "height": full})
    page.close()


if __name__ == "__main__":
    main()
