"""What a finished report is put together from; HTML and Markdown are written from the same blocks."""

from dataclasses import dataclass

from app.queries.cells import Cell


@dataclass(frozen=True)
class Point:
    """A paragraph about one thing, which is named first."""

    word: str
    text: str


@dataclass(frozen=True)
class Facts:
    """Words with what stands for each."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """Figures. The first cell of each row names it; groups of rows are set apart."""

    caption: str
    head: tuple[str, ...]
    groups: tuple[tuple[tuple[str, ...], ...], ...]
    wide: str = ""
    """The column that a narrow screen has no room for."""


@dataclass(frozen=True)
class Plot:
    """Win rates with their fixed ranges; the table after it has the same figures."""

    name: str
    finding: str
    rows: tuple[Cell, ...]
    first: str
    second: str
    each: str


Block = str | Point | Facts | Table | Plot


@dataclass(frozen=True)
class Section:
    """A title, or none, and what stands below it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A whole report. ``lead`` are the sentences that a reader came for; ``warning`` stands before them."""

    title: str
    about: str
    warning: str
    lead: tuple[str, ...]
    sections: tuple[Section, ...]
