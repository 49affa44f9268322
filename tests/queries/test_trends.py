"""How a win rate moved: the last point is what the results say, from the votes or from a snapshot of them."""

import random
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.terms import Choice, JobKind
from app.models import EvalBatch, Job, Snapshot, Voter
from app.queries import trends as reading
from app.queries.results import results_page
from app.queries.trends import trends
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


def ends(session: Session, batch: EvalBatch) -> tuple[tuple[int, float], ...]:
    return tuple((points[-1].votes, points[-1].win_rate) for points in trends(session, results_page(session, batch.id)))


def test_the_last_point_is_what_the_results_say(session: Session, batch: EvalBatch) -> None:
    page = results_page(session, batch.id)
    found = trends(session, page)
    for matchup, points in zip(page.matchups, found, strict=True):
        assert [point.votes for point in points] == list(range(1, matchup.whole.n + 1))
        assert (points[-1].win_rate, points[-1].live) == (matchup.whole.win_rate, matchup.whole.live)
    by_hand = reading.trends_of(session, batch.id)
    for points in by_hand.values():  # the votes one by one come to what the tallies say
        assert points[-1].live == pytest.approx(page.matchups[0].whole.live)


def test_without_votes_there_is_nothing_to_draw(session: Session, tmp_path: Path) -> None:
    assert trends(session, results_page(session, make_study(session, tmp_path).batch.id)) == ((),)


def test_left_out_raters_are_in_no_point(session: Session, batch: EvalBatch) -> None:
    somebody = session.scalars(select(Voter.id).where(Voter.name == "rater 1")).one()
    whole, without = (
        next(iter(reading.trends_of(session, batch.id, left_out).values())) for left_out in ((), (somebody,))
    )
    assert without[-1].votes < whole[-1].votes


def test_where_votes_are_many_a_snapshot_is_read_and_kept_fresh(
    session: Session, batch: EvalBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trends(session, results_page(session, batch.id))
    monkeypatch.setattr(reading, "MOST_READ", 10)
    monkeypatch.setattr(snapshots, "MOST_READ", 10)
    assert [len(points) for points in trends(session, results_page(session, batch.id))] == [1], "none is there yet"
    assert [snapshots.ask_for_due(session, now=NOW) for _ in range(2)] == [1, 0], "asked for once"
    job = session.scalars(select(Job).where(Job.kind == JobKind.SNAPSHOT)).one()
    assert job.subject_id == batch.id
    snapshots.make(session, batch.id, now=NOW)
    session.expire_all()
    assert trends(session, results_page(session, batch.id)) == whole
    session.delete(job)
    session.flush()
    assert snapshots.ask_for_due(session, now=NOW) == 0, "it is fresh"
    session.get_one(Snapshot, batch.id).votes -= 5
    assert snapshots.ask_for_due(session, now=NOW) == 1, "many more votes have come"
