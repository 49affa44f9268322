import json
from pathlib import Path

import pytest
from sqlalchemy import select

from app.db import Database
from app.domain import blinding
from app.domain.terms import Order
from app.models import EvalBatch
from app.queries import ballots
from tests.command_line import Command
from tests.factories import make_study, write_rows


@pytest.fixture
def batch(database: Database, tmp_path: Path) -> EvalBatch:
    with database.session_scope() as session:
        return make_study(session, tmp_path, prompts=6, canary_pairs=2, name="study").batch


def test_canaries_are_run_by_hand_and_told(arena: Command, batch: EvalBatch) -> None:
    said = arena("canaries", "study")
    assert (said.code, said.err) == (0, "")
    assert "The mapping holds: 4 votes" in said.out
    told = json.loads(arena("canaries", "study", "--json").out)
    assert (told["right"], told["wrong"], len(told["runs"])) == (8, 0, 2)


def test_an_inversion_fails_the_command_and_the_report(
    arena: Command, batch: EvalBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swapped(order: Order, first: str, second: str) -> tuple[str, str]:
        return blinding.sides(blinding.opposite(order), first, second)

    with monkeypatch.context() as patched:
        patched.setattr(ballots, "sides", swapped)
        said = arena("canaries", "study")
    assert (said.code, "Mapping suspect: 4 of 4 votes" in said.out) == (1, True)
    said = arena("report", "study")
    assert (said.code, said.out.startswith("Mapping suspect: 4 of 4 votes")) == (1, True)
    told = arena("report", "study", "--json")
    assert (told.code, json.loads(told.out)["mapping_suspect"]) == (1, True)


def test_a_launch_with_every_check(arena: Command, database: Database, batch: EvalBatch) -> None:
    said = arena(
        "launch", "--suite", "suite", "--challenger", "brie-v1/epoch-2", "--gold", 6, "--repeats", 4, "--placebo", 5,
        "--canaries", 3, "--ask-recognised", "--votes-per-rater", 40, "--most-votes", 500, "--reveal", "never",
        "--name", "checked", "--detach",
        "--exclude", "gold<0.7@6", "--exclude", "agreement < 0.6", "--exclude", "side>.9",
    )  # fmt: skip
    assert (said.code, said.err) == (0, "")
    with database.session_scope(write=False) as session:
        made = session.scalars(select(EvalBatch).where(EvalBatch.name == "checked")).one()
    assert (made.gold_pairs, made.repeat_pairs, made.placebo_pairs, made.canary_pairs) == (6, 4, 5, 3)
    assert (made.ask_recognised, made.rater_limit, made.vote_limit, made.reveal) == (True, 40, 500, "never")
    assert made.exclusion == {
        "gold_min": 0.7, "gold_votes": 6, "agreement_min": 0.6, "agreement_votes": 4, "side_max": 0.9, "side_votes": 12,
    }  # fmt: skip


def test_gold_pairs_of_a_team_are_the_next_version(arena: Command, tmp_path: Path) -> None:
    row = {"key": "one", "category": "ours", "domain": "in_domain", "prompt": "One?", "better": "Yes.", "worse": "Egg."}
    assert json.loads(arena("controls", "list", "--json").out)[0] == {"name": "brie-gold", "pairs": 24}
    assert "Gold pairs, version 2: 1 pairs." in arena("controls", "import", write_rows(tmp_path / "a.jsonl", [row])).out
    assert arena("controls", "import", write_rows(tmp_path / "b.jsonl", [row | {"better": ""}])).code == 1
