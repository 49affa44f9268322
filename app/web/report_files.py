"""A finished report as files: one HTML page that stands alone, Markdown, and its numbers as JSON.

The same data gives the same bytes: nothing in them says when they were written.
"""

import re
from collections.abc import Iterator

from markupsafe import Markup

from app.queries.frozen_report import FrozenReport, canonical
from app.web.markdown_text import escaped
from app.web.render import style_of, write
from app.web.report_blocks import Block, Facts, Plot, Point, Table
from app.web.report_document import document_of

_SHEETS = ("tokens", "base", "components", "lists", "charts", "print", "report")


def html_of(report: FrozenReport) -> str:
    """One HTML file with its styles, drawings and numbers in it; it fetches nothing."""
    return write(
        "report/file.html",
        document=document_of(report),
        style=style_of(*_SHEETS),
        numbers=_embedded(canonical(report.told)),
    )


def markdown_of(report: FrozenReport) -> str:
    """The report as Markdown. Plots are left out: the tables after them have the same figures."""
    document = document_of(report)
    lines = [f"# {escaped(document.title)}", escaped(document.about)]
    lines += [f"> {escaped(document.warning)}"] if document.warning else []
    lines += [f"**{escaped(sentence)}**" for sentence in document.lead]
    for section in document.sections:
        lines.append(f"## {escaped(section.title)}")
        lines += [text for block in section.blocks if (text := _block(block))]
    return "\n\n".join(lines) + "\n"


def json_of(report: FrozenReport) -> str:
    """The bytes that the report's hash is of."""
    return canonical(report.told)


def _embedded(told: str) -> Markup:
    """JSON inside of a page: no text in it can end the element."""
    safe = told.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")
    return Markup('<script type="application/json" id="report-json">{}</script>').format(Markup(safe))  # noqa: S704


def _block(block: Block) -> str:
    match block:
        case Plot():
            return f"*{escaped(block.finding)}.*"
        case Point():
            return f"**{escaped(block.word)}.** {escaped(block.text)}"
        case Table():
            return "\n".join(_table(block))
        case Facts():
            return "\n".join(f"- {escaped(word)}: {_value(value)}" for word, value in block.rows)
    return escaped(block)


def _table(table: Table) -> Iterator[str]:
    yield escaped(table.caption) + ":"
    yield ""
    yield "| " + " | ".join(escaped(word) for word in table.head) + " |"
    yield "|---|" + "---:|" * (len(table.head) - 1)
    for group in table.groups:
        for row in group:
            yield "| " + " | ".join(escaped(cell) for cell in row) + " |"


def _value(value: str) -> str:
    return f"`{value}`" if re.fullmatch("[0-9a-f]{64}", value) else escaped(value)
