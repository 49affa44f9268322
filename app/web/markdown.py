"""Texts of models and people, rendered for the page: Markdown in, safe HTML out.

Both texts of a ballot go through this one function. Nothing in its result can load anything from anywhere,
and links stay text: a followed link could show who wrote a response, or tell somebody that it was read.
Characters that reorder or hide what stands around them are written out.
"""

import re
from collections import Counter
from collections.abc import Sequence

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup, escape

LONGEST_MARKDOWN = 40_000
"""Characters up to which a text is parsed as Markdown. Longer texts are shown whole, as plain paragraphs."""

_TAGS = {
    *("p", "br", "hr", "blockquote", "pre", "code", "em", "strong", "s", "ul", "ol", "li"),
    *("h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "span", "div"),
}
_BOX = {"tabindex", "role", "aria-label"}
_ATTRIBUTES = {tag: {"dir"} for tag in _TAGS} | {
    "ol": {"dir", "start"}, "span": {"class"}, "pre": {"dir", *_BOX}, "div": {"class", *_BOX},
}  # fmt: skip
_CODE = '<pre dir="ltr" tabindex="0" role="group" aria-label="code">'
_TABLE = '<div class="scroll" tabindex="0" role="group" aria-label="table">'
"""What may be wider than its column scrolls in a box of its own, also by keyboard."""

_SPELLED = "\N{MATHEMATICAL LEFT ANGLE BRACKET}U+{:04X}\N{MATHEMATICAL RIGHT ANGLE BRACKET}"
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # control characters, without tab and line ends
    "\u202a-\u202e\u2066-\u2069\u206a-\u206f"  # those that turn the order of the letters that follow
    "\ufff9-\ufffb\ud800-\udfff]"  # annotations, and halves of characters
)

_HEADINGS = {"h1": "h3", "h2": "h4", "h3": "h5", "h4": "h6", "h5": "h6"}
"""Headings inside a text stand below the page's own h1 and h2."""


def _fence(_renderer: RendererHTML, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType) -> str:
    """A code block that keeps the words after the opening fence, which CommonMark would hide."""
    token = tokens[index]
    language = f'<span class="language">{escape(token.info.strip())}</span>' if token.info.strip() else ""
    return f"{_CODE}{language}<code>{escape(token.content)}</code></pre>\n"


def _code(_renderer: RendererHTML, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType) -> str:
    return f"{_CODE}<code>{escape(tokens[index].content)}</code></pre>\n"


def _table(_renderer: RendererHTML, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType) -> str:
    return f'{_TABLE}<table dir="auto">\n' if tokens[index].nesting == 1 else "</table></div>\n"


def _make_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    parser.disable(["html_block", "html_inline", "image", "link", "autolink", "reference", "entity"])
    rules = {"fence": _fence, "code_block": _code, "table_open": _table, "table_close": _table}
    for name, rule in rules.items():
        parser.add_render_rule(name, rule)
    return parser


_parser = _make_parser()


def render(text: str) -> Markup:
    """Render one response, prompt or message.

    Raw HTML, images, links and entities are shown as they were written, and each block takes its own writing
    direction. Where Markdown would hide a part of the text (cells beyond a table's width, very deep nesting),
    and beyond ``LONGEST_MARKDOWN`` characters, the text is shown plain: a voter sees every letter of it.
    """
    text = spelled_out(text)
    if len(text) > LONGEST_MARKDOWN:
        return plain(text)
    tokens = _parser.parse(text)
    for token in tokens:
        token.tag = _HEADINGS.get(token.tag, token.tag)
        if token.level == 0 and token.nesting == 1:
            token.attrSet("dir", "auto")
    html = nh3.clean(_parser.renderer.render(tokens, _parser.options, {}), tags=_TAGS, attributes=_ATTRIBUTES)
    rendered = Markup(html)  # noqa: S704 - the sanitizer's output is what Markup stands for
    return plain(text) if _letters(text) - _letters(rendered.striptags()) else rendered


def plain(text: str) -> Markup:
    """The whole text as paragraphs, without any Markdown. The style sheet keeps its line breaks."""
    paragraphs = spelled_out(text).replace("\r\n", "\n").replace("\r", "\n").split("\n\n")
    return Markup("\n").join(
        Markup('<p class="plain" dir="auto">{}</p>').format(part) for part in paragraphs if part.strip()
    )


def spelled_out(text: str) -> str:
    """The text with its control characters and those that reorder a line written out, such as ``⟨U+202E⟩``.

    Left alone are characters without a form that words and signs need: joiners, soft hyphens, marks of direction.
    """
    text = text.replace("\N{LINE SEPARATOR}", "\n").replace("\N{PARAGRAPH SEPARATOR}", "\n\n")
    return _UNSEEN.sub(lambda found: _SPELLED.format(ord(found[0])), text)


def _letters(text: str) -> Counter[str]:
    return Counter(character for character in text if character.isalpha())
