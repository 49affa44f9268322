"""People and judges together, through ballots, verdicts and the report."""

import random
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app.domain.combined import combine
from app.domain.intervals import live
from app.domain.terms import Choice
from app.models import EvalBatch
from app.queries.ballots import BlindBallot, blind_ballot
from app.queries.judge_results import judge_results
from app.queries.pair_tallies import pairs_of_matchups
from app.queries.report import report
from app.queries.results import results_page
from app.queries.verification import verify
from app.services import assignment, voting
from tests.factories import NOW, RULES, make_rater, make_study
from tests.saying import judge_called, say, with_marker

PROMPTS, VOTED = 40, 16
CHALLENGER = with_marker("Member 1 ")


@pytest.fixture
def batch(session: Session, tmp_path: Path) -> EvalBatch:
    """One judge who always prefers the challenger saw all pairs; one rater who prefers it in two of three, some."""
    batch = make_study(session, tmp_path, prompts=PROMPTS).batch
    say(session, batch, judge_called(session, "opus"), lambda ballot: _mostly(ballot, 5))
    voter, dice = make_rater(session), random.Random(4)  # noqa: S311
    for _ in range(VOTED):
        ballot = assignment.issue(session, batch.id, voter, rules=RULES, now=NOW, rng=dice)
        voting.cast(session, ballot.id, voter, _mostly(blind_ballot(session, ballot.id), 3), rules=RULES, now=NOW)
    return batch


def _mostly(ballot: BlindBallot, of: int) -> Choice:
    """The challenger, but the baseline on every ``of``-th prompt, whatever the order."""
    number = int("".join(letter for letter in ballot.prompt[-1].content if letter.isdigit()))
    for_it = CHALLENGER(ballot)
    assert isinstance(for_it, Choice)
    return for_it if number % of else {Choice.A: Choice.B, Choice.B: Choice.A}[for_it]


def test_it_is_the_estimate_of_the_domain_over_all_judged_pairs(session: Session, batch: EvalBatch) -> None:
    page = results_page(session, batch.id)
    (matchup,) = judge_results(session, page).matchups
    combined = matchup.combined
    (pairs,) = pairs_of_matchups(session, page)
    judges = [0.0 if place % 5 == 0 else 1.0 for place in range(PROMPTS)]
    people = [pair.tally.score if pair.tally.n else None for pair in pairs]
    by_hand = combine([pair.prompt_id for pair in pairs], people, judges)
    assert combined.cell.win_rate == by_hand.summary.p
    assert tuple(combined.cell.live) == tuple(live(by_hand.summary))
    assert (combined.weight, combined.judged, combined.cell.n) == (by_hand.weight, PROMPTS, VOTED)
    assert combined.multiplier == by_hand.multiplier
    assert combined.cell.wins + combined.cell.losses == VOTED
    assert "With the judges' help, brie-v1/epoch-2" in combined.sentence


def test_the_report_tells_it_and_verification_makes_it_again(session: Session, batch: EvalBatch) -> None:
    told = report(session, batch.id)["matchups"][0]
    assert told["combined"].keys() == {"sentence", "all", "lambda", "judged", "multiplier"}
    assert told["combined"]["judged"] == PROMPTS
    assert told["raters"]["all"]["n"] == told["combined"]["all"]["n"] == VOTED
    assert verify(session, RULES.secret).holds


def test_without_votes_of_people_there_is_nothing_to_combine(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=8).batch
    assert report(session, batch.id)["matchups"][0]["combined"] is None
    say(session, batch, judge_called(session, "opus"), CHALLENGER)
    assert report(session, batch.id)["matchups"][0]["combined"] is None


def test_a_judge_that_is_simulated_is_named_in_the_sentence(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=8).batch
    say(session, batch, judge_called(session, "played", simulated=True), CHALLENGER)
    voter, dice = make_rater(session), random.Random(4)  # noqa: S311
    for _ in range(3):
        ballot = assignment.issue(session, batch.id, voter, rules=RULES, now=NOW, rng=dice)
        voting.cast(session, ballot.id, voter, Choice.A, rules=RULES, now=NOW)
    said = report(session, batch.id)["matchups"][0]["combined"]["sentence"]
    assert said.startswith("With simulated judges: People and judges together say too little yet")
