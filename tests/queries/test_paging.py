import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from app.models import Suite
from app.queries.paging import PAGE, Wanted, Window, find
from tests.factories import NOW


@given(st.integers(0, 400), st.integers(1, 60), st.integers(1, 20))
def test_the_pages_hold_every_row_once_and_in_order(count: int, size: int, beyond: int) -> None:
    pages = Window.over(Wanted(), count, count, size).pages
    windows = [Window.over(Wanted(page=page), count, count, size) for page in range(1, pages + 1)]
    assert [row for window in windows for row in range(window.before, window.last)] == list(range(count))
    assert all(window.last - window.before == size for window in windows[:-1])
    assert Window.over(Wanted(page=pages + beyond), count, count, size) == windows[-1]


@pytest.mark.parametrize(
    ("total", "text", "is_long"), [(0, "", False), (PAGE, "", False), (PAGE + 1, "", True), (1, "x", True)]
)
def test_a_search_is_offered_where_it_is_of_use(total: int, text: str, is_long: bool) -> None:
    assert Window(text, 1, total, total).is_long is is_long


def names(session: Session, wanted: Wanted) -> tuple[list[str], Window]:
    ids, window = find(session, wanted, Suite, (Suite.name,), Suite.name, Suite.title)
    return [session.get_one(Suite, id_).name for id_ in ids], window


def add(session: Session, **titles: str) -> None:
    session.add_all(
        Suite(name=name, version=1, title=title, description="", sha256="", source="", created_at=NOW)
        for name, title in titles.items()
    )
    session.flush()


def test_the_database_cuts_the_page_in_the_order_of_the_list(session: Session) -> None:
    assert names(session, Wanted()) == ([], Window("", 1, 0, 0))
    add(session, **{f"suite-{number:03}": "" for number in reversed(range(PAGE + 3))})
    assert names(session, Wanted(page=2)) == (
        ["suite-050", "suite-051", "suite-052"],
        Window("", 2, PAGE + 3, PAGE + 3),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BRIE", ["brie-v1", "BRIE-v2"]),
        ("käse", ["brie-v1"]),
        ("100%", ["x_y"]),
        ("_", ["x_y"]),
        ("%", ["x_y"]),
        ("\\", []),
        ("brie v1", []),
    ],
)
def test_a_search_finds_what_was_typed_in_any_of_the_names(session: Session, text: str, expected: list[str]) -> None:
    add(session, **{"brie-v1": "Über Käse", "BRIE-v2": "", "x_y": "100% of it"})
    found, window = names(session, Wanted(text))
    assert sorted(found, key=str.casefold) == expected
    assert window == Window(text, 1, len(expected), 3)
