"""Texts of models and people, rendered for the page: Markdown in, safe HTML out.

Both texts of a ballot go through this one function. Nothing in its result can load anything from anywhere,
and links stay text: a followed link could show who wrote a response, or tell somebody that it was read.
"""

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
    *("h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "span"),
}
_ATTRIBUTES = {tag: {"dir"} for tag in _TAGS} | {"ol": {"dir", "start"}, "span": {"class"}}

_HEADINGS = {"h1": "h3", "h2": "h4", "h3": "h5", "h4": "h6", "h5": "h6"}
"""Headings inside a text stand below the page's own h1 and h2."""


def _fence(_renderer: RendererHTML, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType) -> str:
    """A code block that keeps the words after the opening fence, which CommonMark would hide."""
    token = tokens[index]
    language = f'<span class="language">{escape(token.info.strip())}</span>' if token.info.strip() else ""
    return f"<pre>{language}<code>{escape(token.content)}</code></pre>\n"


def _make_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    parser.disable(["html_block", "html_inline", "image", "link", "autolink", "reference", "entity"])
    parser.add_render_rule("fence", _fence)
    return parser


_parser = _make_parser()


def render(text: str) -> Markup:
    """Render one response, prompt or message.

    Raw HTML, images, links and entities are shown as they were written, and each block takes its own writing
    direction. Where Markdown would hide a part of the text (cells beyond a table's width, very deep nesting),
    and beyond ``LONGEST_MARKDOWN`` characters, the text is shown plain: a voter sees every letter of it.
    """
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
    paragraphs = text.replace("\r\n", "\n").replace("\r", "\n").split("\n\n")
    return Markup("\n").join(
        Markup('<p class="plain" dir="auto">{}</p>').format(part) for part in paragraphs if part.strip()
    )


def _letters(text: str) -> Counter[str]:
    return Counter(character for character in text if character.isalpha())
