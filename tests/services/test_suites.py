import json
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError, BadRowError
from app.domain.terms import Domain
from app.models import Prompt, Suite
from app.services.files import sha256_of_json
from app.services.suites import import_suite, parse_suite
from tests.factories import NOW, prompt_row, write_rows

GOOD = json.dumps(prompt_row(0)).encode()


def rows_of(*rows: object) -> bytes:
    return b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows)


def test_a_suite_is_stored_with_its_prompts_in_order(session: Session, tmp_path: Path) -> None:
    header = {"suite": "cheese", "title": "Cheese", "description": "Questions about cheese."}
    path = write_rows(tmp_path / "file.jsonl", [header, prompt_row(0), prompt_row(1)])
    suite = import_suite(session, path, now=NOW)
    assert (suite.name, suite.version, suite.title, suite.source) == ("cheese", 1, "Cheese", "file.jsonl")
    prompts = session.scalars(select(Prompt).where(Prompt.suite_id == suite.id).order_by(Prompt.position)).all()
    assert [(p.key, p.domain) for p in prompts] == [("key-0", Domain.IN_DOMAIN), ("key-1", Domain.OUT_OF_DOMAIN)]
    assert prompts[0].messages == [{"role": "user", "content": "Question number 0?"}]
    assert prompts[0].sha256 == sha256_of_json(prompts[0].messages)


def test_a_suite_without_a_header_takes_the_name_of_its_file(session: Session, tmp_path: Path) -> None:
    suite = import_suite(session, write_rows(tmp_path / "plain.jsonl", [prompt_row(0)]), now=NOW)
    assert (suite.name, suite.title) == ("plain", "plain")


def test_the_same_content_again_is_the_same_suite(session: Session, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "suite.jsonl", [prompt_row(0)])
    assert import_suite(session, path, now=NOW) is import_suite(session, path, now=NOW)
    assert session.scalar(select(func.count(Prompt.id))) == 1


def test_changed_content_is_the_next_version_and_the_old_one_stays(session: Session, tmp_path: Path) -> None:
    first = import_suite(session, write_rows(tmp_path / "suite.jsonl", [prompt_row(0)]), now=NOW)
    second = import_suite(session, write_rows(tmp_path / "suite.jsonl", [prompt_row(1)]), now=NOW)
    assert (first.version, second.version) == (1, 2)
    counted = select(Prompt.suite_id, func.count(Prompt.id)).group_by(Prompt.suite_id)
    assert dict(session.execute(counted).all()) == {first.id: 1, second.id: 1}


def test_a_row_may_be_a_conversation_that_ends_with_the_user() -> None:
    row = talk("system", "user", "assistant", "user")
    _, prompts = parse_suite(rows_of(row), "file.jsonl")
    assert prompts[0].messages == row["messages"]


def test_blank_lines_and_a_byte_order_mark_are_passed_over() -> None:
    header, prompts = parse_suite(b"\xef\xbb\xbf" + rows_of({"suite": "s"}, b"", GOOD, b"  "), "file.jsonl")
    assert (header, len(prompts)) == ({"suite": "s"}, 1)


def talk(*roles: str) -> dict[str, object]:
    """A row with one turn of each role."""
    row = {key: value for key, value in prompt_row(1).items() if key != "prompt"}
    return row | {"messages": [{"role": role, "content": f"{role} speaks"} for role in roles]}


BAD = {
    "not JSON": (b'{"key": ', "not valid JSON"),
    "no object": (b"[1, 2]", "a JSON object"),
    "not UTF-8": (b'{"key": "\xff\xfe"}', "not UTF-8"),
    "nested beyond reason": (b"[" * 100_000, "not valid JSON"),
    "a number beyond reason": (b'{"key": ' + b"9" * 5000 + b"}", "not valid JSON"),
    "unknown domain": (prompt_row(1, domain="near_domain"), "'near_domain'"),
    "no key": (prompt_row(1, key=""), '"key"'),
    "a key that is no text": (prompt_row(1, key=7), '"key"'),
    "no category": (prompt_row(1, category=" "), '"category"'),
    "neither prompt nor messages": ({"key": "k", "category": "c", "domain": "in_domain"}, 'either "prompt" or'),
    "both prompt and messages": (prompt_row(1, messages=[]), 'either "prompt" or'),
    "the same key": (prompt_row(1, key="key-0"), "the same key stands in line 1"),
    "the same prompt": (prompt_row(1, prompt=prompt_row(0)["prompt"]), "the same prompt stands in line 1"),
    "no turn": (talk(), "a list of turns"),
    "an unknown role": (talk("judge"), '"role"'),
    "the assistant has the first word": (talk("assistant", "user"), "the first turn"),
    "the assistant has the last word": (talk("user", "assistant"), "the last turn"),
    "a header in the middle": ({"suite": "late"}, 'either "prompt" or'),
    "half a surrogate pair": (prompt_row(1, prompt="\ud800"), "surrogate"),
    "a null character": (prompt_row(1, prompt="a\0b"), "null character"),
}


@pytest.mark.parametrize(("row", "reason"), BAD.values(), ids=BAD)
def test_a_row_that_cannot_be_used_is_named_by_file_and_line(row: object, reason: str) -> None:
    with pytest.raises(BadRowError) as caught:
        parse_suite(rows_of(GOOD, row), "file.jsonl")
    assert caught.value.message.startswith("file.jsonl, line 2: ")
    assert reason in caught.value.message


@pytest.mark.parametrize("content", [b"", b" \n\n"])
def test_an_empty_file_is_refused(session: Session, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match="is empty"):
        import_suite(session, path, now=NOW)


def test_a_missing_file_is_refused(session: Session, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cannot be read"):
        import_suite(session, tmp_path / "absent.jsonl", now=NOW)


def test_a_header_alone_is_no_suite() -> None:
    with pytest.raises(BadInputError, match="holds no prompt"):
        parse_suite(rows_of({"suite": "alone"}), "file.jsonl")


TOO_LONG = {
    "key": [prompt_row(0, key="k" * 121)],
    "category": [prompt_row(0, category="c" * 61)],
    "title": [{"suite": "s", "title": "t" * 201}, prompt_row(0)],
}


@pytest.mark.parametrize("field", TOO_LONG)
def test_names_longer_than_their_column_are_refused_on_every_database(field: str) -> None:
    with pytest.raises(BadRowError, match=f'"{field}" .* characters'):
        parse_suite(rows_of(*TOO_LONG[field]), "file.jsonl")


@pytest.mark.parametrize("name", ["s" * 101, "two words", "at@2", "../up"])
def test_a_name_must_be_one_that_commands_can_say(session: Session, tmp_path: Path, name: str) -> None:
    path = write_rows(tmp_path / "file.jsonl", [{"suite": name}, prompt_row(0)])
    with pytest.raises(BadInputError, match="cannot be the name of a suite"):
        import_suite(session, path, now=NOW)


def test_nothing_of_a_refused_file_is_stored(session: Session, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "suite.jsonl", [prompt_row(0), prompt_row(1, domain="?")])
    with pytest.raises(BadRowError):
        import_suite(session, path, now=NOW)
    assert session.scalar(select(func.count(Suite.id))) == 0
