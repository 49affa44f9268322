"""Inviting raters and looking at them from the terminal."""

import json
import random
import re
from pathlib import Path

import pytest
from sqlalchemy import select

from app.db import Database
from app.domain.terms import Choice
from app.models import Invite, Seat, Voter
from app.services import assignment, invites, voting
from tests.command_line import Command
from tests.factories import NOW, RULES, make_study

LINK = re.compile(r"^http://\S+/join/([\w-]{43})$", re.MULTILINE)


@pytest.fixture
def batch(database: Database, tmp_path: Path) -> str:
    """The name of an eval batch that can be voted on."""
    with database.session_scope() as session:
        return make_study(session, tmp_path).batch.name


def join(database: Database, token: str, name: str) -> None:
    with database.session_scope() as session:
        _, seat = invites.join(session, token, None, name=name, now=NOW)
        voter = session.get_one(Voter, seat.voter_id)
        rng = random.Random(1)  # noqa: S311
        ballot = assignment.issue(session, seat.eval_batch_id, voter, rules=RULES, now=NOW, rng=rng)
        assert ballot is not None
        voting.cast(session, ballot.id, voter, Choice.A, rules=RULES, now=NOW)


def test_an_invite_is_printed_once_and_lets_people_in(database: Database, batch: str, arena: Command) -> None:
    said = arena("raters", "invite", batch, "--title", "Two texts", "--days", "3", "--uses", "2")
    assert said.code == 0
    link = LINK.search(said.out)
    assert link is not None
    join(database, link[1], "Anna")
    listed = arena("raters", "list", batch)
    assert (listed.code, "Two texts" in listed.out, "Anna" in listed.out) == (0, True, True)
    assert link[1] not in listed.out
    with database.session_scope(write=False) as session:
        assert session.scalars(select(Invite.most_uses)).one() == 2
        assert session.scalars(select(Seat.title)).one() == "Two texts"


def test_programs_get_the_link_and_the_rows_as_json(database: Database, batch: str, arena: Command) -> None:
    made = json.loads(arena("raters", "invite", batch, "--json").out)
    assert " ".join(made) == "id batch title most_uses expires_at link"
    join(database, made["link"].rpartition("/")[2], "Anna")
    for command in (("raters", "list", batch, "--json"), ("raters", "list", "--json")):
        rows = json.loads(arena(*command).out)
        (invite,), (rater,) = rows["invites"], rows["raters"]
        assert " ".join(invite) == "id batch title uses most_uses expires_at open"
        assert (invite["id"], invite["uses"], invite["open"]) == (made["id"], 1, True)
        assert " ".join(rater) == "name batch votes skipped open_ballot last_at simulated seat_revoked_at excluded"
        assert (rater["name"], rater["batch"], rater["votes"]) == ("Anna", batch, 1)


def test_a_revoked_invite_lets_nobody_in(database: Database, batch: str, arena: Command) -> None:
    made = json.loads(arena("raters", "invite", batch, "--json").out)
    assert arena("raters", "revoke", made["id"]).code == 0
    assert json.loads(arena("raters", "list", "--json").out)["invites"][0]["open"] is False


@pytest.mark.parametrize(
    "mistake",
    [
        ("invite", "absent"),
        ("invite", "BATCH", "--days", "0"),
        ("invite", "BATCH", "--uses", "1001"),
        ("invite", "BATCH", "--title", "about brie-v1/epoch-2"),
        ("list", "absent"),
        ("revoke", "nonsense"),
        ("revoke", "00000000-0000-4000-8000-000000000000"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_explained_in_one_sentence(
    database: Database, batch: str, arena: Command, mistake: tuple[str, ...]
) -> None:
    said = arena("raters", *(batch if word == "BATCH" else word for word in mistake))
    assert said.code == 1
    assert said.err.startswith("arena: ")
    with database.session_scope(write=False) as session:
        assert session.scalars(select(Invite.id)).all() == []


def test_nobody_yet_is_said(database: Database, arena: Command) -> None:
    said = arena("raters", "list")
    assert "./arena raters invite BATCH" in said.out
    assert json.loads(arena("raters", "list", "--json").out)["raters"] == []
