import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.factories import Study
from tests.fixtures import on_sqlite
from tests.many import LISTS

MANY = 1000


def shown(page: str) -> list[str]:
    return sorted(set(re.findall(r">\s*(?:<[^>]+>)?\s*(row-\d{4})(?: v1)?\s*<", page)))


@pytest.mark.parametrize("name", LISTS)
def test_a_thousand_rows_are_read_page_by_page_and_found_by_name(
    app: FastAPI, admin: TestClient, study: Study, name: str
) -> None:
    before = admin.get(f"/{name}").text
    assert 'role="search"' not in before
    assert "page 1 of" not in before
    with app.state.database.session_scope() as session:
        LISTS[name](session, study, MANY)
    first = admin.get(f"/{name}").text
    assert 1 <= len(shown(first)) <= 50
    assert "page 1 of 21" in first
    seen = [row for page in range(1, 22) for row in shown(admin.get(f"/{name}?page={page}").text)]
    assert len(seen) == len(set(seen)) == MANY
    found = admin.get(f"/{name}?q=ROW-07").text
    assert "1\N{EN DASH}50 of 100 that fit" in found
    assert "q=ROW-07&amp;page=2" in found
    assert "51\N{EN DASH}100 of 100 that fit" in admin.get(f"/{name}?q=ROW-07&page=2").text
    assert shown(admin.get(f"/{name}?q=row-0421").text) == ["row-0421"]
    nothing = admin.get(f"/{name}?q=nothing like that")
    assert (nothing.status_code, "is called like that" in nothing.text) == (200, True)


@on_sqlite
@pytest.mark.parametrize(
    ("name", "fragment"), [("runs", "list"), ("batches", "list"), ("models", "list"), ("jobs", "table")]
)
def test_a_fragment_that_refetches_itself_stays_on_its_page(
    app: FastAPI, admin: TestClient, study: Study, name: str, fragment: str
) -> None:
    with app.state.database.session_scope() as session:
        LISTS[name](session, study, MANY)
    page = admin.get(f"/{name}?q=row&page=3").text
    address = f"/{name}/{fragment}?q=row&amp;page=3"
    assert f'hx-get="{address}"' in page
    again = admin.get(address.replace("&amp;", "&")).text
    assert shown(again) == shown(page)
    assert len(shown(again)) == 50


@on_sqlite
def test_home_and_the_launch_form_bear_a_thousand(app: FastAPI, admin: TestClient, study: Study) -> None:
    with app.state.database.session_scope() as session:
        for fill in LISTS.values():
            fill(session, study, MANY)
    home = admin.get("/").text
    assert len(re.findall("The base model row-[0-9]{4} is not here", home)) == 3
    assert "All 500 base models that are not here" in home
    assert "501 eval batches wait for votes" in home
    assert "All 666 that run or wait" in home
    at_once, folded = admin.get("/batches/launch").text.split("All 1\N{NARROW NO-BREAK SPACE}001 checkpoints")
    assert [part.count('name="challengers"') for part in (at_once, folded)] == [8, MANY + 1 - 8]


@on_sqlite
def test_a_list_that_fits_a_page_has_no_search_and_no_pages(app: FastAPI, admin: TestClient, study: Study) -> None:
    with app.state.database.session_scope() as session:
        for fill in LISTS.values():
            fill(session, study, 13)
    for name in LISTS:
        page = admin.get(f"/{name}").text
        assert len(shown(page)) == 13, name
        assert not re.search('role="search"|rel="next"|rel="prev"| of 1[34]', page), name


@on_sqlite
def test_a_search_without_a_match_leaves_the_page_as_it_was(admin: TestClient, study: Study) -> None:
    page = admin.get("/batches?q=%3Cb%3Enothing").text
    assert "“&lt;b&gt;nothing” is in none of 1 name." in page
    assert '<a class="button" href="/batches">Show all</a>' in page
    assert "Launch an eval batch" in page
    assert "No eval batch yet" not in page
    assert "No run yet" not in admin.get("/runs?q=nothing").text
