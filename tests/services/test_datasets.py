import errno
import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError, BadRowError, UnavailableError
from app.models import Dataset
from app.services.datasets import count_rows, hold_out, import_dataset
from tests.factories import NOW, write_rows
from tests.fixtures import on_sqlite


def lesson(number: int) -> dict[str, str]:
    return {"prompt": f"question {number}", "completion": f"answer {number}"}


def lessons(path: Path, *numbers: int) -> Path:
    return write_rows(path, [lesson(number) for number in numbers])


def test_training_and_validation_files_are_frozen_under_their_hashes(session: Session, tmp_path: Path) -> None:
    train = lessons(tmp_path / "brie.train.jsonl", *range(3))
    validation = lessons(tmp_path / "brie.val.jsonl", 3, 4)
    dataset = import_dataset(session, train, validation_path=validation, artifacts=tmp_path / "artifacts", now=NOW)
    assert (dataset.name, dataset.version, dataset.rows, dataset.validation_rows) == ("brie", 1, 3, 2)
    for frozen, sha256, given_file in (
        (dataset.path, dataset.sha256, train),
        (dataset.validation_path, dataset.validation_sha256, validation),
    ):
        assert Path(frozen).read_bytes() == given_file.read_bytes()
        assert hashlib.sha256(Path(frozen).read_bytes()).hexdigest() == sha256 == Path(frozen).stem


def test_the_frozen_file_does_not_follow_its_source(session: Session, tmp_path: Path) -> None:
    path = lessons(tmp_path / "brie.jsonl", 1, 2)
    dataset = import_dataset(session, path, artifacts=tmp_path / "artifacts", now=NOW)
    path.write_text("something else", encoding="utf-8")
    assert hashlib.sha256(Path(dataset.path).read_bytes()).hexdigest() == dataset.sha256


def test_the_same_content_again_is_the_same_dataset(session: Session, tmp_path: Path) -> None:
    path = lessons(tmp_path / "brie.jsonl", *range(20))
    first, second = (import_dataset(session, path, artifacts=tmp_path / "artifacts", now=NOW) for _ in range(2))
    assert first is second
    assert session.scalar(select(func.count(Dataset.id))) == 1


def test_another_validation_file_makes_the_next_version(session: Session, tmp_path: Path) -> None:
    train = lessons(tmp_path / "brie.jsonl", 1, 2)
    versions = [
        import_dataset(
            session, train, artifacts=tmp_path / "artifacts", now=NOW,
            validation_path=lessons(tmp_path / f"{number}.jsonl", number),
        ).version
        for number in (3, 4)
    ]  # fmt: skip
    assert versions == [1, 2]


@given(st.integers(2, 65))
def test_every_tenth_row_or_the_last_is_held_out(rows: int) -> None:
    content = b"".join(json.dumps(lesson(number)).encode() + b"\r\n\n" for number in range(rows))
    train, validation = hold_out(content, "file.jsonl")
    held = [json.loads(line)["prompt"] for line in validation.splitlines()]
    kept = [json.loads(line)["prompt"] for line in train.splitlines()]
    assert held == [f"question {number}" for number in (range(9, rows, 10) if rows >= 10 else [rows - 1])]
    assert sorted(held + kept) == sorted(f"question {number}" for number in range(rows))


@on_sqlite
def test_without_a_validation_file_some_rows_are_held_out(session: Session, tmp_path: Path) -> None:
    path = lessons(tmp_path / "brie.jsonl", *range(20))
    dataset = import_dataset(session, path, artifacts=tmp_path / "artifacts", now=NOW)
    assert (dataset.rows, dataset.validation_rows) == (18, 2)
    assert count_rows(Path(dataset.validation_path).read_bytes(), "frozen") == 2


@on_sqlite
def test_a_single_row_cannot_be_learned_and_validated_on(session: Session, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="a single row"):
        import_dataset(session, lessons(tmp_path / "one.jsonl", 1), artifacts=tmp_path / "artifacts", now=NOW)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        {"prompt": "q", "completion": "a"},
        {"instruction": "q", "output": "a"},
        {"instruction": "q", "input": "", "output": "a"},
        {"text": "a"},
    ],
)
def test_every_usual_shape_of_a_row_is_accepted(row: dict[str, object]) -> None:
    assert count_rows(json.dumps(row).encode(), "file.jsonl") == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"text": ', "not valid JSON"),
        ('"text"', "a JSON object"),
        ("{}", 'a row needs "messages"'),
        ('{"prompt": "q"}', 'a row needs "messages"'),
        ('{"prompt": "q", "completion": ""}', '"completion"'),
        ('{"instruction": 1, "output": "a"}', '"instruction"'),
        ('{"text": "\\ud800"}', "surrogate"),
        ('{"messages": [{"role": "user", "content": "q"}]}', "no assistant turn"),
        ('{"messages": [{"role": "tool", "content": "q"}]}', '"role"'),
        ('{"messages": ["q"]}', '"role"'),
        ('{"messages": "q"}', "a list of turns"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_by_file_and_line(row: str, reason: str) -> None:
    with pytest.raises(BadRowError) as caught:
        count_rows(f'{{"text": "fine"}}\n\n{row}\n'.encode(), "file.jsonl")
    assert caught.value.message.startswith("file.jsonl, line 3: ")
    assert reason in caught.value.message


@on_sqlite
@pytest.mark.parametrize("which", ["train", "validation"])
def test_a_bad_row_in_either_file_leaves_nothing(session: Session, tmp_path: Path, which: str) -> None:
    files = {name: lessons(tmp_path / f"{name}.jsonl", 1, 2) for name in ("train", "validation")}
    files[which].write_text("{}\n", encoding="utf-8")
    with pytest.raises(BadRowError, match=f"{which}.jsonl, line 1"):
        import_dataset(
            session, files["train"], validation_path=files["validation"], artifacts=tmp_path / "artifacts", now=NOW
        )
    assert session.scalar(select(func.count(Dataset.id))) == 0
    assert not (tmp_path / "artifacts").exists()


@on_sqlite
def test_a_full_disk_leaves_no_row_and_no_file(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnavailableError, match=r"No space left on device.*Nothing was imported"):
        import_dataset(session, lessons(tmp_path / "brie.jsonl", 1, 2), artifacts=tmp_path / "artifacts", now=NOW)
    assert session.scalar(select(func.count(Dataset.id))) == 0
    assert list((tmp_path / "artifacts/datasets").iterdir()) == []


@on_sqlite
def test_an_artifact_folder_that_is_a_file_is_refused(session: Session, tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("in the way", encoding="utf-8")
    with pytest.raises(UnavailableError, match="cannot be stored"):
        import_dataset(session, lessons(tmp_path / "brie.jsonl", 1, 2), artifacts=tmp_path / "artifacts", now=NOW)


@on_sqlite
def test_a_name_must_be_one_that_commands_can_say(session: Session, tmp_path: Path) -> None:
    path = lessons(tmp_path / "brie.jsonl", 1, 2)
    with pytest.raises(BadInputError, match="cannot be the name of a dataset"):
        import_dataset(session, path, artifacts=tmp_path / "artifacts", now=NOW, name="brie@2")
