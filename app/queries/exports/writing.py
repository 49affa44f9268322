"""Rows written as files, one row in memory at a time. The same rows give the same bytes on every system."""

import csv
import json
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from app.queries.exports.rows import Format, Row, Shape

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The time that every file of an archive carries: the earliest that the format knows."""


_ENDS = "\r\n"
_FORMULA = tuple("=+-@\t\r\n'\uff1d\uff0b\uff0d\uff20")
"""How a cell begins that a spreadsheet would run instead of showing it (the last four are = + - @ of full width), and
the apostrophe itself."""


class _Line:
    """What ``csv`` writes to: keeps the last line."""

    text = ""

    def write(self, text: str) -> None:
        self.text = text


def lines(rows: Iterable[dict[str, Any]], shape: Shape) -> Iterator[str]:
    """The text of one file, piece by piece."""
    if shape is Shape.CSV:
        yield from _csv(rows)
        return
    between = "[\n" if shape is Shape.LIST else ""
    for row in rows:
        yield between + json.dumps(row, ensure_ascii=False)
        between = ",\n" if shape is Shape.LIST else "\n"
    if shape is Shape.LIST:
        yield "[]\n" if between == "[\n" else "\n]\n"
    elif between:
        yield "\n"


def _shown(cell: Any) -> Any:
    """A text that begins like a formula gets an apostrophe before it, so that no spreadsheet runs what a model wrote.

    As texts that begin with an apostrophe get one too, taking one off gives every text back exactly.
    """
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _csv(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    line = _Line()
    writer = csv.writer(line, lineterminator=_ENDS)  # so that a carriage return in a text is quoted, too
    for number, row in enumerate(rows):
        if number == 0:
            writer.writerow(row)
            yield line.text.removesuffix(_ENDS) + "\n"
        writer.writerow([_shown(cell) for cell in row.values()])
        yield line.text.removesuffix(_ENDS) + "\n"


def files(rows: Iterator[Row], of: Format) -> Iterator[tuple[str, Iterator[str]]]:
    """Each file with its text. Read the text of one before asking for the next."""
    for name, part in groupby(rows, lambda row: row[0]):
        yield name, lines((fields for _, fields in part), of.shape)


def write_folder(rows: Iterator[Row], of: Format, folder: Path) -> list[Path]:
    """Write every file below a folder; returns them in the order in which they were written."""
    written = []
    for name, text in files(rows, of):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(text)
        written.append(path)
    return written


def write_one(rows: Iterator[Row], of: Format, file: IO[str]) -> None:
    """Write the only file of a format; an export without a row is an empty file."""
    for _, text in files(rows, of):
        file.writelines(text)


def write_archive(rows: Iterator[Row], of: Format, file: IO[bytes]) -> None:
    """Write every file into a zip archive, which says nothing of when that was."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files(rows, of):
            with _opened(archive, name) as inside:
                for piece in text:
                    inside.write(piece.encode())


@contextmanager
def _opened(archive: zipfile.ZipFile, name: str) -> Iterator[IO[bytes]]:
    info = zipfile.ZipInfo(name, _LONG_AGO)
    info.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(info, "w", force_zip64=True) as inside:
        yield inside
