import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.web.markdown import LONGEST_MARKDOWN, plain, render

HARMLESS = {"dir", "start", "class"}
ALLOWED = {
    *("p", "br", "hr", "blockquote", "pre", "code", "em", "strong", "s", "ul", "ol", "li", "span"),
    *("h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
}
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![pixel](https://tracker.example/p.gif)",
    "![ref][1]\n\n[1]: https://tracker.example/p.gif",
    "[click](javascript:alert(1))",
    "[click](https://example.org 'title')",
    "<https://example.org/who-wrote-this>",
    "<javascript:alert(1)>",
    "<svg/onload=alert(1)>",
    "<style>body{display:none}</style>",
    "<iframe src=//example.org></iframe>",
    "</article></main><form action=/vote method=post>",
    '```"><script>alert(1)</script>\nx\n```',
    "`<b onclick=x>`",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<!-- --!> <img src=x onerror=alert(1)> -->",
    '<a id="vote-ballot" href="#">x</a>',
    "| <img src=x> |\n|---|\n| <form> |",
    "\N{RIGHT-TO-LEFT OVERRIDE}desrever",
]


class Tags(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(str(html))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_becomes_visible_text_and_nothing_else(text: str) -> None:
    seen = Tags(render(text))
    assert not {tag for tag, _ in seen.found} & {"script", "img", "a", "svg", "style", "iframe", "form", "b"}
    assert all(set(attributes) <= HARMLESS for _, attributes in seen.found)
    assert [c for c in text if c.isalnum()] == [c for c in seen.text if c.isalnum()]


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=300))
def test_no_letter_of_any_text_is_lost(text: str) -> None:
    shown = Tags(render(text)).text
    for letter in {c for c in text if c.isalpha()}:
        assert shown.count(letter) >= text.count(letter)


@given(st.text(alphabet="ab1 \n>*-_`#|[](){}<&;!:/\\~=", max_size=200))
def test_only_allowed_tags_and_attributes_come_out_of_any_markup(text: str) -> None:
    for tag, attributes in Tags(render(text)).found:
        assert tag in ALLOWED
        assert set(attributes) <= HARMLESS


def test_markdown_is_rendered() -> None:
    html = render("# Title\n\nSome *em* and **strong**.\n\n1. one\n2. two\n\n```py\nx < 1\n```\n")
    for part in ("<h3", "<em>em</em>", "<strong>strong</strong>", "<li>two</li>", "x &lt; 1", "py"):
        assert part in html


@pytest.mark.parametrize("text", ["> " * 60 + "deep", "a|b\n-|-\n1|2|beyond the table\n"])
def test_a_text_that_markdown_would_shorten_is_shown_plain(text: str) -> None:
    assert render(text) == plain(text)
    assert squeezed(Tags(render(text)).text) == squeezed(text)


def test_each_block_takes_its_own_writing_direction() -> None:
    blocks = Tags(render("שלום\n\nhello\n\n- مرحبا\n")).found
    assert [tag for tag, attributes in blocks if attributes.get("dir") == "auto"] == ["p", "p", "ul"]


def test_a_very_long_response_keeps_every_character() -> None:
    text = "**word** <i>" * (188_880 // 12)
    assert len(text) > LONGEST_MARKDOWN
    assert Tags(render(text)).text == text


def test_an_empty_response_is_empty() -> None:
    assert render("") == ""
    assert plain(" \n\n ") == ""
