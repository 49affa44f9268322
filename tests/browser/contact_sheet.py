"""A page that shows all pictures of ``./arena screenshots``, those of one page together: static, without scripts."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 96rem; padding: 0 1rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: 0; list-style: none; }
h2 { margin: 3rem 0 0; }
h3 { margin: 1.5rem 0 .5rem; font-size: 1rem; }
.views { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; }
img { display: block; height: 20rem; width: 28.4rem; object-fit: cover; object-position: top; border: 1px solid; }
.phone img { width: 9.24rem; }
figcaption { font-size: .8rem; }
"""
_PHONE = 390


@dataclass(frozen=True, order=True)
class Drawn:
    """What the name of a picture says: the kind of page, its name, the state it is in, and the view."""

    kind: str
    page: str
    state: str
    width: int
    scheme: str
    file: str

    @classmethod
    def named(cls, file: str) -> "Drawn":
        """``STATE-PAGE-WIDTH-SCHEME.png``. A page may have hyphens in its name: before the first stands its kind."""
        name, width, scheme = file.removesuffix(".png").rsplit("-", 2)
        state, page = name.split("-", 1)
        return cls(page.split("-", 1)[0], page, state, int(width), scheme, file)


def contact_sheet(files: Sequence[str]) -> str:
    """A page of these pictures: by kind of page, then one row for the views of a page in a state."""
    kinds: dict[str, dict[tuple[str, str], list[Drawn]]] = {}
    for drawn in sorted(map(Drawn.named, files), key=_large_and_light_first):
        kinds.setdefault(drawn.kind, {}).setdefault((drawn.page, drawn.state), []).append(drawn)
    links = "".join(f'<li><a href="#{escape(kind)}">{escape(kind)}</a></li>' for kind in kinds)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Brie Arena, every page</title>\n<style>{_STYLE}</style>\n"
        f'<h1>Brie Arena, every page</h1>\n<nav aria-label="Pages"><ul>{links}</ul></nav>\n'
        + "".join(
            f'<h2 id="{escape(kind)}">{escape(kind)}</h2>\n' + "".join(_row(*at, row) for at, row in rows.items())
            for kind, rows in kinds.items()
        )
        + "</html>\n"
    )


def _large_and_light_first(drawn: Drawn) -> tuple[str, str, str, int, bool]:
    return drawn.kind, drawn.page, drawn.state, -drawn.width, drawn.scheme == "dark"


def _row(page: str, state: str, views: Sequence[Drawn]) -> str:
    figures = "".join(
        f'<figure{" class=phone" if view.width == _PHONE else ""}><a href="{escape(view.file)}">'
        f'<img src="{escape(view.file)}" loading="lazy" alt="{escape(f"{page}, {state}, {view.width} {view.scheme}")}">'
        f"</a><figcaption>{view.width}, {view.scheme}</figcaption></figure>\n"
        for view in views
    )
    return f'<h3>{escape(page)}: {escape(state.replace("_", " "))}</h3>\n<div class="views">{figures}</div>\n'
