import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.web.markdown import LONGEST_MARKDOWN, plain, render

HARMLESS = {"dir", "start", "class"}
BOX = {"tabindex", "role", "aria-label"}
"""Only of what scrolls by itself, and only as written here."""

ALLOWED = {
    *("p", "br", "hr", "blockquote", "pre", "code", "em", "strong", "s", "ul", "ol", "li", "span"),
    *("h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "div"),
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
    '<button role="button" aria-label="A is better" tabindex="0">A is better</button>',
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


def only_harmless(found: list[tuple[str, dict[str, str | None]]]) -> bool:
    """Whether no attribute is the text's own: it has no way to call itself anything."""
    boxes = [attributes for tag, attributes in found if tag in {"pre", "div"}]
    return (
        all(set(attributes) - BOX <= HARMLESS for _, attributes in found)
        and all(not set(attributes) & BOX for tag, attributes in found if tag not in {"pre", "div"})
        and all((box["tabindex"], box["role"]) == ("0", "group") for box in boxes)
        and {box["aria-label"] for box in boxes} <= {"code", "table"}
    )


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_becomes_visible_text_and_nothing_else(text: str) -> None:
    seen = Tags(render(text))
    assert not {tag for tag, _ in seen.found} & {"script", "img", "a", "svg", "style", "iframe", "form", "b", "button"}
    assert only_harmless(seen.found)
    assert [c for c in text if c.isalnum()] == [c for c in seen.text if c.isalnum()]


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=300))
def test_no_letter_of_any_text_is_lost(text: str) -> None:
    shown = Tags(render(text)).text
    for letter in {c for c in text if c.isalpha()}:
        assert shown.count(letter) >= text.count(letter)


@given(st.text(alphabet="ab1 \n>*-_`#|[](){}<&;!:/\\~=", max_size=200))
def test_only_allowed_tags_and_attributes_come_out_of_any_markup(text: str) -> None:
    found = Tags(render(text)).found
    assert {tag for tag, _ in found} <= ALLOWED
    assert only_harmless(found)


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\N{RIGHT-TO-LEFT OVERRIDE}desrever", "a⟨U+202E⟩desrever"),
        ("\N{LEFT-TO-RIGHT ISOLATE}x\N{POP DIRECTIONAL ISOLATE}", "⟨U+2066⟩x⟨U+2069⟩"),
        ("nothing\x00here\x07\x1b[31m", "nothing⟨U+0000⟩here⟨U+0007⟩⟨U+001B⟩[31m"),
        ("half\ud83d", "half⟨U+D83D⟩"),
    ],
    ids=["override", "isolate", "control", "surrogate"],
)
def test_what_would_reorder_or_hide_is_written_out(text: str, shown: str) -> None:
    for html in (render(text), plain(text), render(f"`{text}`")):
        assert Tags(html).text.strip() == shown
    long = text + "." * LONGEST_MARKDOWN
    assert Tags(render(long)).text.startswith(shown)


@pytest.mark.parametrize(
    "text",
    ["👩\N{ZERO WIDTH JOINER}🚀", "می\N{ZERO WIDTH NON-JOINER}خواهم", "日本語、中文。", "e\u0301", "\u200fשלום"],  # noqa: RUF001
)
def test_what_words_and_signs_need_is_left_alone(text: str) -> None:
    assert Tags(render(text)).text.strip() == text


def test_a_table_and_code_scroll_in_a_box_of_their_own() -> None:
    found = Tags(render("| a | b |\n|---|---|\n| 1 | 2 |\n\n```py\nx = 1\n```\n\n    y = 2\n")).found
    boxes = [(tag, attributes["aria-label"]) for tag, attributes in found if "tabindex" in attributes]
    assert boxes == [("div", "table"), ("pre", "code"), ("pre", "code")]
