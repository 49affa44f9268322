import random
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db import Database
from app.domain.errors import BadInputError, ConflictError
from app.domain.simulation import Taste
from app.domain.terms import Choice, Design
from app.models import Ballot, EvalBatch, Event, Pair, Table, Tally, Verdict, Voter
from app.queries.batches import batch_rows
from app.queries.report import report
from app.services import eval_batches, simulation, voting
from tests.factories import NOW, RULES, make_rater, make_study, vote_blind, write_responses
from tests.fixtures import on_sqlite

LATER = NOW + timedelta(minutes=5)
TASTE = Taste(rate=0.65, noise=0.1, ties=0.1)


def dice(seed: int = 5) -> random.Random:
    return random.Random(seed)  # noqa: S311


def dump(session: Session) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    session.flush()
    return {
        table.name: sorted((tuple(row) for row in session.execute(select(table))), key=repr)
        for table in Table.metadata.sorted_tables
    }


def simulate(
    session: Session, batch: EvalBatch, votes: int = 1000, *, raters: int = 3, taste: Taste = TASTE, seed: int = 5
) -> int:
    rng = dice(seed)
    voters = simulation.begin(session, batch, raters=raters, now=NOW)
    rates = simulation.tastes_of(session, batch, taste, rng)
    cast = 0
    while voters and cast < votes:
        voter = rng.choice(voters)
        if simulation.vote_once(session, batch.id, voter, taste, rates, rules=RULES, now=LATER, rng=rng) is None:
            voters.remove(voter)
        else:
            cast += 1
    return cast


def test_after_the_removal_the_database_is_what_it_was(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=6, votes_per_pair=3).batch
    vote_blind(session, batch, make_rater(session), lambda _: Choice.BOTH_BAD, rng=dice())
    before = dump(session)
    assert simulate(session, batch) == 12
    assert dump(session) != before
    assert simulation.remove(session, batch) == 12
    assert dump(session) == before
    assert simulation.remove(session) == 0


def test_people_who_vote_meanwhile_keep_their_votes_and_places(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=4, votes_per_pair=2).batch
    assert simulate(session, batch, 3, raters=1) == 3
    person = make_rater(session)
    assert vote_blind(session, batch, person, lambda _: Choice.TIE, rng=dice()) == 4
    simulation.remove(session)
    session.expire_all()
    counted = session.execute(select(func.sum(Tally.first), func.sum(Tally.second), func.sum(Tally.tie))).one()
    assert tuple(counted) == (0, 0, 4)
    assert set(session.scalars(select(Ballot.voter_id))) == {person.id}
    assert vote_blind(session, batch, make_rater(session, "another"), lambda _: Choice.TIE, rng=dice()) == 4


def test_raters_who_never_had_a_turn_leave_nothing_either(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=6).batch
    before = dump(session)
    assert simulate(session, batch, 2, raters=40) == 2
    assert simulate(session, batch, raters=3, seed=6) == 4  # and two of them may find nothing to vote on
    assert simulation.remove(session, batch) == 6
    assert dump(session) == before


def test_a_removal_in_the_middle_of_a_simulation_keeps_the_tallies_true(database: Database, tmp_path: Path) -> None:
    """Each removal sees whole votes, before them or after them."""
    with database.session_scope() as session:
        batch = make_study(session, tmp_path, prompts=20, votes_per_pair=5).batch
    failed: list[BaseException] = []

    def vote() -> None:
        rng = dice()
        try:
            with database.session_scope() as session:
                voters = simulation.begin(session, batch, raters=5, now=LATER)
                rates = simulation.tastes_of(session, batch, TASTE, rng)
            for number in range(60):
                with database.session_scope() as session:
                    simulation.vote_once(
                        session, batch.id, voters[number % 5], TASTE, rates, rules=RULES, now=LATER, rng=rng
                    )
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test must hear of it
            failed.append(error)

    voting_thread = threading.Thread(target=vote)
    voting_thread.start()
    while voting_thread.is_alive():
        with database.session_scope() as session:
            simulation.remove(session, batch)
    voting_thread.join()
    assert failed == []
    with database.session_scope() as session:
        simulation.remove(session, batch)
        counted = session.execute(select(func.sum(Tally.first), func.sum(Tally.second), func.sum(Tally.tie))).one()
        assert tuple(counted) == (0, 0, 0)
        assert session.scalar(select(func.count(Voter.id)).where(Voter.simulated)) == 0


@on_sqlite
def test_two_challengers_meet_as_equals(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=60, challengers=2, design=Design.ROUND_ROBIN).batch
    simulate(session, batch, taste=Taste(rate=1, noise=0, ties=0))
    rates = {
        (one["baseline"] == "tiny"): one["raters"]["all"]["win_rate"] for one in report(session, batch.id)["matchups"]
    }
    assert rates[True] == 1
    assert 0.2 < rates[False] < 0.8


@on_sqlite
def test_a_vote_taken_back_by_a_simulated_rater_is_not_taken_out_twice(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=2).batch
    before = dump(session)
    simulate(session, batch, 1, raters=1)
    voter = session.scalars(select(Voter).where(Voter.simulated)).one()
    cast = session.scalars(select(Verdict)).one()
    voting.undo(session, cast.ballot_id, voter, rules=RULES, now=LATER + timedelta(seconds=5))
    simulation.remove(session)
    assert dump(session) == before


@on_sqlite
def test_one_batch_is_cleared_and_the_other_left(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path)
    one = study.batch
    plan = eval_batches.LaunchPlan(suite=study.suite.name, challengers=(study.adapters[0].name,), name="other")
    other = eval_batches.launch(session, plan, secret=RULES.secret, now=NOW)
    write_responses(session, other)
    simulate(session, one)
    simulate(session, other)
    assert simulation.remove(session, one) == 4
    assert {row.name: row.simulated_votes for row in batch_rows(session)} == {one.name: 0, "other": 4}
    assert session.scalar(select(func.count(Voter.id)).where(Voter.simulated)) == 3


def test_what_simulated_votes_went_into_says_so(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=30).batch
    clean = report(session, batch.id)
    assert (clean["batch"]["simulated_votes"], "simulated" in clean["matchups"][0]["sentence"]) == (0, False)
    simulate(session, batch, 20)
    told = report(session, batch.id)
    assert (told["batch"]["votes"], told["batch"]["simulated_votes"]) == (20, 20)
    assert told["matchups"][0]["sentence"].startswith("With simulated votes: ")


@on_sqlite
@pytest.mark.parametrize("seed", range(6))
def test_two_hundred_votes_hold_the_truth(session: Session, tmp_path: Path, seed: int) -> None:
    batch = make_study(session, tmp_path, prompts=60, votes_per_pair=5, allow_repeats=True).batch
    assert simulate(session, batch, 200, raters=5, seed=seed) == 200
    cell = report(session, batch.id)["matchups"][0]["raters"]["all"]
    assert cell["n"] == 200
    assert cell["live"][0] <= TASTE.rate <= cell["live"][1]
    assert cell["live"][1] - cell["live"][0] < 0.4


@on_sqlite
@pytest.mark.parametrize("certain", [0, 1])
def test_a_certain_taste_is_found_again_in_every_order(session: Session, tmp_path: Path, certain: int) -> None:
    batch = make_study(session, tmp_path, prompts=40).batch
    simulate(session, batch, taste=Taste(rate=certain, noise=0, ties=0))
    assert report(session, batch.id)["matchups"][0]["raters"]["all"]["win_rate"] == certain
    assert set(session.scalars(select(Ballot.order))) == {"first_is_a", "second_is_a"}


@on_sqlite
def test_what_cannot_be_simulated_is_refused(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path, text=lambda _position, _planned: "the same")
    with pytest.raises(ConflictError, match="no pair to vote on"):
        simulation.begin(session, study.batch, raters=3, now=NOW)
    with pytest.raises(BadInputError, match="1 to 200"):
        simulation.begin(session, study.batch, raters=0, now=NOW)
    eval_batches.close(session, study.batch, now=NOW)
    with pytest.raises(ConflictError, match="closed"):
        simulation.begin(session, study.batch, raters=3, now=NOW)
    assert session.scalar(select(func.count(Voter.id)).where(Voter.simulated)) == 0
    assert session.scalar(select(func.count(Pair.id))) == 4
    assert session.scalar(select(func.count(Event.id)).where(Event.topic == "verdicts")) == 1
