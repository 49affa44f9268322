import json
from pathlib import Path

import pytest

from app.db import Database
from app.models import EvalBatch
from app.services.sample_study import MANIFEST, RESPONSES
from tests.command_line import Command
from tests.factories import make_study


@pytest.fixture
def batch(database: Database, tmp_path: Path) -> EvalBatch:
    with database.session_scope() as session:
        return make_study(session, tmp_path, name="study").batch


def test_a_study_is_written_and_its_numbers_are_the_table_of_its_card(
    arena: Command, batch: EvalBatch, tmp_path: Path
) -> None:
    out = tmp_path / "files"
    said = arena("sample", "write", batch.name, "--command", "./arena train brie-v1", "--out", out)
    assert (said.code, said.out.strip()) == (0, f"8 responses in {out}")
    manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["commands"] == ["./arena train brie-v1"]
    rows = [json.loads(line) for line in (out / RESPONSES).read_text(encoding="utf-8").splitlines()]
    assert {row["checkpoint"] for row in rows} == {0, 1}
    assert arena("sample", "numbers", out).out.splitlines() == [
        "| checkpoint | validation loss | perplexity | responses | median words | mean tokens | cut | empty |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| base |  |  | 4 | 8 | 7 | 0% | 0 |",
        "| epoch-2 | 1.500 | 4.5 | 4 | 8 | 7 | 0% | 0 |",
    ]
    told = json.loads(arena("sample", "numbers", out, "--json").out)
    assert [row["checkpoint"] for row in told] == ["base", "epoch-2"]


def test_what_is_no_study_is_one_sentence(arena: Command, batch: EvalBatch, tmp_path: Path) -> None:
    assert "There is no eval batch 'other'. Known: study." in arena("sample", "write", "other", "--out", tmp_path).err
    said = arena("sample", "numbers", tmp_path / "nowhere")
    assert (said.code, "cannot be read" in said.err) == (1, True)
    (tmp_path / MANIFEST).write_text("{")
    assert "is not valid JSON" in arena("sample", "numbers", tmp_path).err
    (tmp_path / MANIFEST).write_text("[]")
    assert "has the format None" in arena("sample", "numbers", tmp_path).err
    assert batch.name == "study"
