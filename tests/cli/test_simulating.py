import json
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.db import Database
from app.models import EvalBatch, Verdict, Voter
from tests.command_line import Command
from tests.factories import NOW, make_study


@pytest.fixture
def batch(database: Database, tmp_path: Path) -> EvalBatch:
    with database.session_scope() as session:
        return make_study(session, tmp_path, prompts=30, votes_per_pair=3, allow_repeats=True, name="study").batch


def count(database: Database, table: type) -> int:
    with database.session_scope(write=False) as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_simulated_raters_vote_and_are_taken_out(arena: Command, database: Database, batch: EvalBatch) -> None:
    said = arena("simulate", batch.name, "--rate", 0.65, "--raters", 4, "--votes", 60)
    assert (said.code, said.err) == (0, "")
    assert "60 simulated votes. The truth is 65.0%." in said.out
    assert "With simulated votes: brie-v1/epoch-2" in said.out
    assert "./arena simulate study --remove" in said.out
    assert (count(database, Verdict), count(database, Voter)) == (60, 5)  # four, and the admin
    assert "60/90 (60 simulated)" in arena("batches", "list").out
    assert json.loads(arena("report", "study", "--json").out)["batch"]["simulated_votes"] == 60
    assert "60 simulated votes taken out of study" in arena("simulate", "study", "--remove").out
    assert (count(database, Verdict), count(database, Voter)) == (0, 1)


def test_programs_learn_whether_the_truth_was_inside(arena: Command, batch: EvalBatch) -> None:
    told = json.loads(arena("simulate", batch.name, "--noise", 0, "--ties", 0, "--json").out)
    assert (told["simulated_votes"], told["rate"], told["seed"]) == (90, 0.65, 1)
    [matchup] = told["matchups"]
    assert matchup["truth_inside"] is (matchup["live"][0] <= 0.65 <= matchup["live"][1])
    assert json.loads(arena("simulate", "--remove", "--json").out) == {"batch": None, "removed_votes": 90}


def test_fewer_free_places_than_votes_are_said(arena: Command, batch: EvalBatch) -> None:
    assert "90 simulated votes of 500: no free pair is left" in arena("simulate", batch.name, "--votes", 500).out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nothing"], "There is no eval batch 'nothing'. Known: study."),
        ([], "Name the eval batch"),
        (["study", "--rate", "65"], "the rate must lie between 0 and 1"),
        (["study", "--rate", "0.01", "--ties", "0.5"], "Ask for fewer ties."),
        (["study", "--raters", "0"], "1 to 200 raters can vote, not 0"),
        (["study", "--votes", "-1"], "cannot be -1"),
    ],
)
def test_what_cannot_be_simulated_is_one_sentence(
    arena: Command, database: Database, batch: EvalBatch, arguments: list[str], reason: str
) -> None:
    assert batch.created_at == NOW
    said = arena("simulate", *arguments)
    assert (said.code, said.out) == (1, "")
    assert reason in said.err
    assert count(database, Verdict) == 0
