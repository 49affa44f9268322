import random
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain import blinding
from app.domain.simulation import Taste
from app.domain.terms import Choice, Order, Outcome, PairKind
from app.models import Ballot, EvalBatch, Pair
from app.queries.batches import batch_rows
from app.queries.controls import checks_of
from app.queries.report import report
from app.services import assignment, simulation, voting
from tests.factories import NOW, RULES, make_rater, make_study

TASTE = Taste(rate=0.65, noise=0.1, ties=0.1)


def vote(session: Session, batch: EvalBatch, name: str, wanted: dict[PairKind, Outcome | Choice]) -> None:
    """Vote on everything: by kind of pair a text, or a side whatever stands there."""
    rng = random.Random(name)  # noqa: S311
    rater = make_rater(session, name)
    while (ballot := assignment.issue(session, batch.id, rater, rules=RULES, now=NOW, rng=rng)) is not None:
        want = wanted[session.get_one(Pair, ballot.pair_id).kind]
        choice = want if isinstance(want, Choice) else blinding.choice_for(want, ballot.order)
        voting.cast(session, ballot.id, rater, choice, rules=RULES, now=NOW)


WINS = {PairKind.MAIN: Outcome.SECOND, PairKind.PLACEBO: Choice.A, PairKind.GOLD: Outcome.SECOND}


@pytest.fixture
def batch(session: Session, tmp_path: Path) -> EvalBatch:
    return make_study(session, tmp_path, prompts=16, gold_pairs=3, placebo_pairs=16, canary_pairs=2).batch


def test_votes_on_checks_never_enter_n(session: Session, batch: EvalBatch) -> None:
    vote(session, batch, "ada", WINS | {PairKind.GOLD: Outcome.FIRST})
    told = report(session, batch.id)
    [matchup] = told["matchups"]
    assert {cell["n"] for cell in (matchup["raters"]["all"], matchup["raters"]["with_settled"])} == {16}
    assert (matchup["raters"]["all"]["wins"], matchup["raters"]["all"]["losses"]) == (16, 0)
    assert (told["batch"]["votes"], told["batch"]["votes_wanted"]) == (16, 16)
    assert (told["placebo"]["all"]["n"], told["gold"]["wrong"], told["canaries"]["right"]) == (16, 6, 0)


def test_a_placebo_that_behaves_and_the_side_that_somebody_takes(session: Session, batch: EvalBatch) -> None:
    vote(session, batch, "ada", WINS)
    placebo = checks_of(session, batch).placebo
    assert placebo is not None
    assert (placebo.cell.n, placebo.pairs, placebo.planned) == (16, 16, 16)
    orders = session.scalars(
        select(Ballot.order).join(Pair, Pair.id == Ballot.pair_id).where(Pair.kind == PairKind.PLACEBO)
    ).all()
    assert placebo.cell.losses == orders.count(Order.FIRST_IS_A)  # whatever stood on A won
    assert placebo.behaves is True
    assert placebo.sentence.startswith(
        f"The placebo behaves: identical checkpoints were preferred {placebo.cell.wins} to {placebo.cell.losses}"
    )
    [side] = placebo.sides
    assert (side.voter, side.a, side.n, side.leans) == ("ada", 16, 16, True)
    assert side.interval.high == 1
    assert side.interval.low > 0.75


def test_a_placebo_that_is_off(session: Session, batch: EvalBatch) -> None:
    vote(session, batch, "ada", WINS | {PairKind.PLACEBO: Outcome.SECOND})
    placebo = checks_of(session, batch).placebo
    assert placebo is not None
    assert placebo.behaves is False
    assert placebo.sentence.startswith("The placebo is off: identical checkpoints were preferred 16 to 0")
    assert placebo.sides[0].leans is False


def test_gold_is_told_by_order(session: Session, batch: EvalBatch) -> None:
    vote(session, batch, "ada", WINS | {PairKind.GOLD: Choice.A})
    gold = checks_of(session, batch).gold
    assert gold is not None
    assert {row.order: (row.right, row.wrong, row.tie) for row in gold.orders} == {
        Order.FIRST_IS_A: (0, 3, 0), Order.SECOND_IS_A: (3, 0, 0),
    }  # fmt: skip
    assert (
        gold.sentence == "3 of 6 votes on gold pairs chose the text that is known to be better; 3 chose the worse one."
    )


def test_before_any_vote_each_check_says_so(session: Session, batch: EvalBatch, tmp_path: Path) -> None:
    checks = checks_of(session, batch)
    assert checks.placebo is not None
    assert checks.gold is not None
    assert checks.canaries is not None
    assert (checks.placebo.sentence[:12], checks.gold.sentence[:12]) == ("No votes yet", "No votes yet")
    assert (checks.suspect, checks.canaries.runs) == (False, ())


def test_what_was_not_asked_for_is_not_told(session: Session, tmp_path: Path) -> None:
    told = report(session, make_study(session, tmp_path).batch.id)
    assert (told["placebo"], told["canaries"], told["gold"], told["mapping_suspect"]) == (None, None, None, False)


def test_simulated_raters_vote_on_every_check_and_leave_no_trace(session: Session, batch: EvalBatch) -> None:
    before = report(session, batch.id)
    rng = random.Random(3)  # noqa: S311
    voters = simulation.begin(session, batch, raters=2, now=NOW)
    rates = simulation.tastes_of(session, batch, TASTE, rng)
    for voter in voters:
        while simulation.vote_once(session, batch.id, voter, TASTE, rates, rules=RULES, now=NOW, rng=rng):
            pass
    checks = checks_of(session, batch)
    assert checks.gold is not None
    assert checks.placebo is not None
    assert checks.gold.right >= 6  # all of the first rater
    assert (checks.gold.wrong, checks.gold.tie) == (0, 0)
    assert checks.gold.sentence.startswith("With simulated votes: ")
    assert checks.placebo.cell.n == 16
    [row] = batch_rows(session, EvalBatch.id == batch.id)
    assert (row.votes, row.simulated_votes) == (16, 16)
    assert simulation.remove(session, batch) == 16 + 16 + checks.gold.right
    assert report(session, batch.id) == before
