import json
from pathlib import Path

import pytest
from sqlalchemy import update

from app.db import Database
from app.models import EvalBatch, Tally, Verdict
from tests.command_line import Command
from tests.factories import RULES
from tests.processes import process_settings
from tests.story import tell


@pytest.fixture
def batch(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvalBatch:
    """A study sealed with the key of the tests, which commands of this process read from the home."""
    (tmp_path / "home/secret.key").write_bytes(RULES.secret)
    with database.session_scope() as session:
        return tell(session, tmp_path).batch


def test_what_holds_is_told_in_a_table(arena: Command, batch: EvalBatch) -> None:
    said = arena("verify")
    assert (said.code, said.err) == (0, "")
    assert "batches  pairs  ballots  verdicts  numbers  seals  older than seals" in said.out
    assert "Everything recomputed is what is stored and published." in said.out
    told = json.loads(arena("verify", batch.name, "--json").out)
    assert told["holds"] is True
    assert (told["batches"], told["pairs"], told["mismatches"], told["told"]) == (1, 10, 0, [])


def test_the_first_mismatch_is_one_sentence_and_all_are_told_on_request(
    arena: Command, database: Database, batch: EvalBatch
) -> None:
    with database.session_scope() as session:
        session.execute(update(Verdict).where(~Verdict.surplus).values(seconds=Verdict.seconds + 1))
        session.execute(update(Tally).values(held=Tally.held + 1))
    said = arena("verify", batch.name)
    assert said.code == 1
    first, rest = said.out.splitlines()
    assert first.startswith("Verdict ")
    assert "expected a seal that fits its ballot and what was said, found one that does not" in first
    assert rest.endswith("mismatches in all; see them with --every.")
    every = arena("verify", batch.name, "--every").out.splitlines()
    assert every[0] == first
    assert len(every) == int(rest.split()[0])
    told = arena("verify", batch.name, "--json")
    assert (told.code, json.loads(told.out)["told"]) == (1, [first])


def test_another_key_is_not_called_tampering(arena: Command, batch: EvalBatch, home: Path) -> None:
    with process_settings(home, secret="another"):
        said = arena("verify")
    assert said.code == 1
    assert "The key is probably another one than they were made with" in said.out


def test_an_unknown_eval_batch(arena: Command, batch: EvalBatch) -> None:
    said = arena("verify", "nothing")
    assert (said.code, said.out) == (1, "")
    assert "There is no eval batch 'nothing'. Known: study" in said.err


def test_an_arena_without_votes_holds(arena: Command, home: Path, database: Database) -> None:
    assert arena("verify").code == 0
