"""What single votes tell: the same from the votes or from a snapshot of them."""

import random
import uuid
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.agreement import OUTCOMES, cohens_kappa
from app.domain.terms import Choice, JobKind, JobState, Outcome
from app.domain.trend import Point
from app.models import Ballot, EvalBatch, Job, Snapshot, Verdict, Voter
from app.queries import statistics as reading
from app.queries.results import results_page
from app.queries.statistics import points_up_to_now, statistics, statistics_of
from app.services import snapshots
from tests.factories import NOW, make_rater, make_study, vote_blind


@pytest.fixture
def batch(session: Session, tmp_path: Path) -> EvalBatch:
    batch = make_study(session, tmp_path, prompts=12, votes_per_pair=3).batch
    for number in range(3):
        rng = random.Random(number)  # noqa: S311
        voter = make_rater(session, f"rater {number}")
        vote_blind(session, batch, voter, lambda _, rng=rng: rng.choice(list(Choice)), rng=rng)
    return batch


def points(session: Session, batch: EvalBatch) -> list[tuple[Point, ...]]:
    page = results_page(session, batch.id)
    return [points_up_to_now(statistics(session, page), matchup) for matchup in page.matchups]


def test_the_last_point_is_what_the_results_say(session: Session, batch: EvalBatch) -> None:
    page = results_page(session, batch.id)
    for matchup, over_votes in zip(page.matchups, points(session, batch), strict=True):
        assert [point.votes for point in over_votes] == list(range(1, matchup.whole.n + 1))
        assert (over_votes[-1].win_rate, over_votes[-1].live) == (matchup.whole.win_rate, matchup.whole.live)
        by_hand = statistics_of(session, batch).of(matchup)
        assert by_hand is not None  # the votes one by one come to what the tallies say
        assert by_hand.points[-1].live == pytest.approx(matchup.whole.live)


def test_without_votes_there_is_nothing_to_say(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path).batch
    assert points(session, batch) == [()]
    assert statistics_of(session, batch) == reading.NOTHING


def test_left_out_raters_are_in_no_figure(session: Session, batch: EvalBatch) -> None:
    somebody = session.scalars(select(Voter.id).where(Voter.name == "rater 1")).one()
    whole, without = (statistics_of(session, batch, left_out) for left_out in ((), (somebody,)))
    assert without.matchups[0].points[-1].votes < whole.matchups[0].points[-1].votes
    assert (len(whole.raters), len(without.raters)) == (3, 1)
    assert somebody not in {one for row in without.raters for one in (row.one, row.other)}


def test_raters_are_compared_on_the_pairs_that_both_voted_on(session: Session, batch: EvalBatch) -> None:
    said: dict[tuple[uuid.UUID, uuid.UUID], Outcome] = {
        (voter, pair): outcome
        for voter, pair, outcome in session.execute(
            select(Ballot.voter_id, Ballot.pair_id, Verdict.outcome).join(Verdict, Verdict.ballot_id == Ballot.id)
        )
    }
    found = statistics_of(session, batch)
    for row in found.raters:
        both = [
            (said[row.one, pair], said[row.other, pair])
            for voter, pair in said
            if voter == row.one and (row.other, pair) in said
        ]
        table = [[both.count((one, other)) for other in OUTCOMES] for one in OUTCOMES]
        assert row.found.n == len(both)
        assert row.agreed.raw == pytest.approx(sum(one is other for one, other in both) / len(both))
        assert row.found.kappa == pytest.approx(cohens_kappa(table))
    assert found.panel is not None
    assert (found.panel.units, found.panel.votes) == (12, 36)


def test_the_variance_card_says_what_is_missing(session: Session, batch: EvalBatch) -> None:
    card = statistics_of(session, batch).matchups[0].variance
    assert (card.components, "needs at least 20 prompts" in card.refused) == (None, True)


def test_where_votes_are_many_a_snapshot_is_read_and_kept_fresh(
    session: Session, batch: EvalBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = results_page(session, batch.id)
    whole = statistics(session, page)
    assert whole.matchups
    monkeypatch.setattr(reading, "MOST_READ", 10)
    monkeypatch.setattr(snapshots, "MOST_READ", 10)
    assert statistics(session, page) == reading.NOTHING, "none is there yet"
    assert [len(over_votes) for over_votes in points(session, batch)] == [1]
    assert [snapshots.ask_for_due(session, now=NOW) for _ in range(2)] == [1, 0], "asked for once"
    job = session.scalars(select(Job).where(Job.kind == JobKind.SNAPSHOT)).one()
    assert job.subject_id == batch.id
    snapshots.keep(session, snapshots.count(session, batch.id), now=NOW)
    session.expire_all()
    assert statistics(session, page) == whole
    job.state = JobState.FAILED
    session.get_one(Snapshot, batch.id).votes -= 5
    assert snapshots.ask_for_due(session, now=NOW) == 0, "a job that failed is not asked for at every round"
    session.get_one(Snapshot, batch.id).votes += 5
    session.delete(job)
    session.flush()
    assert snapshots.ask_for_due(session, now=NOW) == 0, "it is fresh"
    session.get_one(Snapshot, batch.id).votes -= 5
    assert snapshots.ask_for_due(session, now=NOW) == 1, "many more votes have come"
