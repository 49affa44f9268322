"""Pictures of every page in every designed state, and those of the README: what ``./arena screenshots`` runs."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from app.config import ROOT
from app.db import migrate
from app.setup import local_home
from app.setup.programs import find_chromium
from app.web.filters import plural
from tests.browser.arena import Arena, home_settings
from tests.browser.contact_sheet import contact_sheet
from tests.browser.driver import launch, sign_in
from tests.browser.page import Page
from tests.browser.server import serve
from tests.browser.states import STATES

VIEWS = [(1280, 900, "light"), (1280, 900, "dark"), (390, 844, "light"), (390, 844, "dark")]
TALLEST = 4000
"""Pixels of a picture; a page of 188,880 characters would not fit any screen."""

README = ROOT / "static/readme"


@dataclass(frozen=True)
class Picture:
    """One picture of the README: which page of the newcomer's state, and the size of the window."""

    file: str
    page: str
    scheme: str = "light"
    width: int = 1280
    height: int = 860


PICTURES = (
    Picture("results.png", "results-simulated"),
    Picture("results-dark.png", "results-simulated", "dark"),
    Picture("vote.png", "vote", height=800),
    Picture("vote-dark.png", "vote", "dark", height=800),
    Picture("vote-phone.png", "vote", width=390, height=844),
    Picture("batch.png", "batch-simulated", height=800),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the named states, or all of them, and a page that shows all pictures side by side."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", default=local_home() / "screenshots", help="folder to draw into")
    parser.add_argument("states", nargs="*", metavar="STATE", help=f"only these: {', '.join(STATES)}")
    parser.add_argument("--page", default="", help="only pages whose name contains this")
    parser.add_argument("--width", type=int, choices=sorted({view[0] for view in VIEWS}), help="only this width")
    parser.add_argument("--scheme", choices=["light", "dark"], help="only this colour scheme")
    parser.add_argument("--readme", action="store_true", help="draw the pictures of the README, and nothing else")
    wanted = parser.parse_args(arguments)
    unknown = [state for state in wanted.states if state not in STATES]
    if unknown:
        parser.error(f"there is no state {unknown[0]!r}; choose from: {', '.join(STATES)}")
    program = find_chromium()
    if program is None:
        raise SystemExit("No Chromium: set ARENA_CHROMIUM.")
    views = [v for v in VIEWS if wanted.width in (None, v[0]) and wanted.scheme in (None, v[2])]
    with sync_playwright() as playwright:
        browser = launch(playwright, program.path)
        if wanted.readme:
            _draw_readme(browser)
        else:
            _draw_states(browser, wanted.states or list(STATES), wanted.out, wanted.page, views)


def _draw_states(
    browser: Browser, states: Sequence[str], out: Path, only: str, views: Sequence[tuple[int, int, str]]
) -> None:
    for state in states:
        with _shown(browser, state) as (pages, signed_in, stranger, address):
            wanted = [page for page in pages if only in page.name]
            drawn = len(wanted) * len(views)
            for page in wanted:
                target = out / f"{state}-{page.name}"
                if page.entry:
                    with browser.new_context(base_url=address) as own:
                        sign_in(own, page.entry)
                        _shoot(own, page.path, target, views)
                else:
                    _shoot(signed_in if page.signed_in else stranger, page.path, target, views)
        _say(f"{state}: {len(wanted)} {plural(len(wanted), 'page')}, {drawn} {plural(drawn, 'picture')}")
    pictures = sorted(out.glob("*.png"))
    if not pictures:
        raise SystemExit(f"No page of these states has {only!r} in its name. Nothing was drawn.")
    sheet = out / "index.html"
    sheet.write_text(contact_sheet([picture.name for picture in pictures]), encoding="utf-8")
    _say(f"All {len(pictures)} side by side: {sheet}")


def _draw_readme(browser: Browser) -> None:
    README.mkdir(exist_ok=True)
    with _shown(browser, "newcomer") as (pages, signed_in, *_):
        paths = {page.name: page.path for page in pages}
        window = signed_in.new_page()
        for picture in PICTURES:
            window.set_viewport_size({"width": picture.width, "height": picture.height})
            window.emulate_media(color_scheme="dark" if picture.scheme == "dark" else "light")
            window.goto(paths[picture.page])
            drawn = window.screenshot(path=README / picture.file)
            _say(f"{README / picture.file}: {len(drawn) / 1000:.0f} KB")


@contextmanager
def _shown(browser: Browser, state: str) -> Iterator[tuple[list[Page], BrowserContext, BrowserContext, str]]:
    """The pages of a state while it is served, a browser that is signed in, one that is not, and the address."""
    home = Path(tempfile.mkdtemp())
    try:
        settings = home_settings(home).model_copy(update={"log_level": "WARNING"})
        migrate(settings.database)
        arena = Arena(settings)
        pages = STATES[state](arena)
        with serve(settings) as address:
            signed_in, stranger = browser.new_context(base_url=address), browser.new_context(base_url=address)
            sign_in(signed_in, arena.entry_path())
            yield pages, signed_in, stranger, address
            signed_in.close()
            stranger.close()
    finally:
        shutil.rmtree(home)


def _shoot(context: BrowserContext, path: str, target: Path, views: Sequence[tuple[int, int, str]]) -> None:
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


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
