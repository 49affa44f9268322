"""Files as people keep them: with marks in front, blank lines, broken rows, and values that no database stores."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import BadInputError
from app.domain.imports.items import Log
from app.domain.imports.tables import Source, clean, open_table


def rows(content: bytes, log: Log | None = None) -> list[tuple[int, dict[str, object]]]:
    return list(open_table(Source("folder/file", content.splitlines(keepends=True)), log or Log()).rows)


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": 1}\n{"a": 2}\n',
        b'\xef\xbb\xbf{"a": 1}\r\n{"a": 2}\r\n',
        b'[{"a": 1},\n {"a": 2}]',
        b'[\n{"a":\n1},{"a": 2}\n]\n',
    ],
)
def test_json_lines_and_json_lists_are_told_apart_by_how_they_begin(content: bytes) -> None:
    assert [row for _, row in rows(content)] == [{"a": 1}, {"a": 2}]


def test_every_row_knows_its_line() -> None:
    assert [line for line, _ in rows(b'\n\n{"a": 1}\n\n{"a": 2}\n')] == [3, 5]
    assert [line for line, _ in rows(b'[\n  {\n "a": 1},\n\n  {"a": 2}]')] == [2, 5]
    assert [line for line, _ in rows(b'a,b\n1,"x\ny"\n2,z\n')] == [2, 4]


def test_a_csv_with_a_mark_in_front_and_values_beyond_its_columns() -> None:
    assert rows(b"\xef\xbb\xbfa,b\r\n1,2,3\r\n") == [(2, {"a": "1", "b": "2"})]


def test_what_is_no_row_is_told_with_its_line_and_the_others_are_read() -> None:
    log = Log()
    found = rows(b'{"a": 1}\n{"a": \n[1]\n{"a": "\xff"}\n{"a": 2}\n', log)
    assert [line for line, _ in found] == [1, 5]
    assert [(problem.line, problem.taken) for problem in log.problems] == [(2, False), (3, False), (4, False)]


def test_an_empty_file_and_a_broken_list_are_refused_whole() -> None:
    for content in (b"", b"\n \n", b"[]"):
        with pytest.raises(BadInputError, match="holds no row"):
            rows(content)
    with pytest.raises(BadInputError, match="line 2: not valid JSON"):
        rows(b'[{"a": 1},\n{"a": ]')


def test_a_text_longer_than_the_csv_library_takes_by_itself() -> None:
    assert rows(b"a\n" + b"x" * 300_000 + b"\n")[0][1]["a"] == "x" * 300_000


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.text() | st.none() | st.booleans() | st.integers())))
def test_json_lines_give_back_what_was_written(written: list[dict[str, object]]) -> None:
    content = "".join(json.dumps(row) + "\n" for row in [{"first": 1}, *written]).encode()
    assert [row for _, row in rows(content)] == [{"first": 1}, *written]


@given(st.text(st.characters()))
def test_a_clean_text_can_be_stored_and_keeps_its_length(text: str) -> None:
    log = Log()
    table = open_table(Source("folder/file", [b"{}"]), log)
    kept = clean(log, table, 1, text, "the text")
    kept.encode()
    assert "\0" not in kept
    assert len(kept) == len(text)
    assert (kept == text) == (log.noted == 0)
