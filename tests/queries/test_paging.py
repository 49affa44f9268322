import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.queries.paging import PAGE, Wanted, Window, cut


@given(st.integers(0, 400), st.integers(1, 20))
def test_the_pages_hold_every_row_once_and_in_order(count: int, beyond: int) -> None:
    rows = list(range(count))
    pages = cut(rows, Wanted(), str)[1].pages
    shown = [cut(rows, Wanted(page=page), str)[0] for page in range(1, pages + 1)]
    assert [row for page in shown for row in page] == rows
    assert all(len(page) == PAGE for page in shown[:-1])
    assert cut(rows, Wanted(page=pages + beyond), str)[0] == shown[-1]


def test_a_search_finds_names_in_capitals_or_not() -> None:
    rows, window = cut(["Straße", "brie-v1", "BRIE-v2"], Wanted("brie"), str)
    assert (rows, window) == (("brie-v1", "BRIE-v2"), Window("brie", 1, 2, 3))
    assert cut(["Straße"], Wanted("STRASSE"), str)[0] == ("Straße",)
    assert cut(["a"], Wanted("b"), str) == ((), Window("b", 1, 0, 1))


@pytest.mark.parametrize(
    ("total", "text", "is_long"), [(0, "", False), (PAGE, "", False), (PAGE + 1, "", True), (1, "x", True)]
)
def test_a_search_is_offered_where_it_is_of_use(total: int, text: str, is_long: bool) -> None:
    assert Window(text, 1, total, total).is_long is is_long
