import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import BadInputError
from app.domain.names import LONGEST_PERSON, line_of_text, person_name


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("  Anna ", "Anna"),
        ("Anna\t \n Maria", "Anna Maria"),
        ("Zoe\u0308", "Zo\u00eb"),
        ("李雷", "李雷"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
        ("👩\u200d🔬", "👩\u200d🔬"),
        ("<b>", "<b>"),
        ("7", "7"),
        ("x" * LONGEST_PERSON, "x" * LONGEST_PERSON),
    ],
)
def test_people_may_be_called_as_they_like(typed: str, name: str) -> None:
    assert person_name(typed) == name


@pytest.mark.parametrize(
    "typed",
    ["", " \t", "\u200d", "\u0301", "a\x00", "a\x1b[31m", "a\u202eb", "\ufeffa", "a\u2066b", "\ud800", "x" * 81],
    ids=ascii,
)
def test_what_cannot_be_seen_is_no_name(typed: str) -> None:
    with pytest.raises(BadInputError, match="Nothing was stored"):
        person_name(typed)


@given(st.text(max_size=60))
def test_a_name_that_was_accepted_is_accepted_as_it_is(typed: str) -> None:
    try:
        name = person_name(typed)
    except BadInputError:
        return
    assert person_name(name) == name == name.strip()
    assert 1 <= len(name) <= LONGEST_PERSON


def test_a_line_says_what_it_is_when_it_is_too_long() -> None:
    with pytest.raises(BadInputError, match="A title has up to 3 characters"):
        line_of_text("four", "title", 3)
