"""Pictures of every page in every state: ``./arena screenshots [OUT] [STATE …]``, or those of the README."""

import argparse
import html
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from app.config import ROOT
from app.db import migrate
from app.setup import local_home
from app.setup.programs import find_chromium
from tests.browser.arena import Arena, home_settings
from tests.browser.driver import launch, sign_in
from tests.browser.server import serve
from tests.browser.states import STATES

VIEWS = [(1280, 900, "light"), (1280, 900, "dark"), (390, 844, "light"), (390, 844, "dark")]
TALLEST = 4000
"""Pixels of a picture; a page of 188,880 characters would not fit any screen."""

README = ROOT / "static/readme"


@dataclass(frozen=True)
class Picture:
    """One picture of the README: which page of the newcomer's state, and its size."""

    file: str
    page: str
    scheme: str
    width: int = 1280
    height: int = 900


PICTURES = (
    Picture("results.png", "results-simulated", "light", height=860),
    Picture("results-dark.png", "results-simulated", "dark", height=860),
    Picture("vote.png", "vote", "light", height=800),
    Picture("vote-dark.png", "vote", "dark", height=800),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the named states, or all of them, and a page that shows all pictures side by side."""
    parser = argparse.ArgumentParser(prog="arena screenshots", description=__doc__)
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
        states = ["newcomer"] if wanted.readme else wanted.states or list(STATES)
        for state in states:
            home = Path(tempfile.mkdtemp())
            try:
                _draw(browser, state, home, None if wanted.readme else wanted.out, wanted.page, views)
            finally:
                shutil.rmtree(home)
            sys.stdout.write(f"{state} drawn\n")
    if not wanted.readme:
        sheet = wanted.out / "index.html"
        sheet.write_text(contact_sheet(sorted(wanted.out.glob("*.png"))), encoding="utf-8")
        sys.stdout.write(f"All side by side: {sheet}\n")


def contact_sheet(pictures: Sequence[Path]) -> str:
    """A page of all pictures in a folder, one row for the views of each page."""
    rows: dict[str, list[str]] = {}
    for picture in pictures:
        rows.setdefault(picture.stem.rsplit("-", 2)[0], []).append(picture.name)
    body = "".join(
        f"<h2>{html.escape(name)}</h2><p>"
        + "".join(
            f'<a href="{html.escape(file)}"><img src="{html.escape(file)}" alt="{html.escape(file)}"></a> '
            for file in files
        )
        + "</p>"
        for name, files in rows.items()
    )
    style = "body{font:16px sans-serif;margin:2rem}img{width:22%;border:1px solid #999;vertical-align:top}"
    return f"<!doctype html><meta charset=utf-8><title>Brie Arena, every page</title><style>{style}</style>{body}\n"


def _draw(
    browser: Browser, state: str, home: Path, out: Path | None, only: str, views: list[tuple[int, int, str]]
) -> None:
    """One state; without a folder its pages as the README shows them."""
    settings = home_settings(home)
    migrate(settings.database)
    arena = Arena(settings)
    pages = STATES[state](arena)
    with serve(settings) as address:
        signed_in, stranger = browser.new_context(base_url=address), browser.new_context(base_url=address)
        sign_in(signed_in, arena.entry_path())
        if out is None:
            _for_the_readme(signed_in, {page.name: page.path for page in pages})
        for page in pages if out is not None else ():
            if only in page.name:
                _shoot(signed_in if page.signed_in else stranger, page.path, out / f"{state}-{page.name}", views)
        signed_in.close()
        stranger.close()


def _for_the_readme(context: BrowserContext, paths: dict[str, str]) -> None:
    README.mkdir(exist_ok=True)
    page = context.new_page()
    for picture in PICTURES:
        page.set_viewport_size({"width": picture.width, "height": picture.height})
        page.emulate_media(color_scheme="dark" if picture.scheme == "dark" else "light")
        page.goto(paths[picture.page])
        page.screenshot(path=README / picture.file)
    page.close()


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
