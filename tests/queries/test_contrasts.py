"""Differences are told between what really differs, each with its own interval; rankings only where all are linked."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app.domain.contrast import Side, contrast
from app.domain.sampling import Sampling
from app.domain.terms import Choice, Design
from app.models import EvalBatch, Voter
from app.queries.ballots import BlindBallot
from app.queries.contrasts import contrasts
from app.queries.ranking import ranking
from app.queries.report import report
from app.queries.results import results_page
from app.services import assignment, voting
from app.services.eval_batches import LaunchPlan, launch
from tests.factories import NOW, RULES, Study, make_rater, make_study, vote_blind, write_responses

PROMPTS = 12


@pytest.fixture
def study(session: Session, tmp_path: Path) -> Study:
    return make_study(session, tmp_path, prompts=PROMPTS)


def vote(session: Session, batch: EvalBatch, pick: Callable[[BlindBallot], Choice], name: str = "rater") -> None:
    vote_blind(session, batch, make_rater(session, name), pick, rng=random.Random(3))  # noqa: S311


def again(session: Session, study: Study, **changed: object) -> EvalBatch:
    plan = LaunchPlan(suite="suite", challengers=(study.adapters[0].name,), seed=99, name="again")
    batch = launch(session, replace(plan, **changed), secret=RULES.secret, now=NOW)  # type: ignore[arg-type]
    write_responses(session, batch)
    return batch


def test_nothing_is_compared_before_both_sides_have_votes(session: Session, study: Study) -> None:
    assert contrasts(session, results_page(session, study.batch.id)) == ()


def test_domains_are_compared_by_what_was_voted_in_each(session: Session, study: Study) -> None:
    rng = random.Random(8)  # noqa: S311
    vote(session, study.batch, lambda _: rng.choice((Choice.A, Choice.B)))
    page = results_page(session, study.batch.id)
    (found,) = contrasts(session, page)
    domains = page.matchups[0].domains
    assert (found.one, found.other) == tuple(cell.label for cell in domains)
    assert domains[0].win_rate is not None
    assert domains[1].win_rate is not None
    assert found.found.gap == pytest.approx(domains[0].win_rate - domains[1].win_rate)
    assert found.found.shared == 0
    assert found.sentence.startswith("In-domain the win rate is")


def test_a_batch_is_compared_with_its_rerun_prompt_by_prompt(session: Session, study: Study) -> None:
    batch = again(session, study)
    vote(session, study.batch, lambda _: Choice.A)
    vote(session, batch, lambda _: Choice.B, "other")
    found = next(one for one in contrasts(session, results_page(session, batch.id)) if study.batch.name in one.other)
    assert found.one == "in again"
    assert found.found.shared == PROMPTS
    back = next(one for one in contrasts(session, results_page(session, study.batch.id)) if "again" in one.other)
    assert back.found.gap == pytest.approx(-found.found.gap)


def test_another_sampling_is_no_rerun(session: Session, study: Study) -> None:
    batch = again(session, study, sampling=Sampling(temperature=0.2))
    vote(session, study.batch, lambda _: Choice.A)
    vote(session, batch, lambda _: Choice.B, "other")
    assert not [one for one in contrasts(session, results_page(session, batch.id)) if study.batch.name in one.other]


def test_the_interval_is_that_of_the_two_sides(session: Session, study: Study) -> None:
    rng = random.Random(2)  # noqa: S311
    vote(session, study.batch, lambda _: rng.choice((Choice.A, Choice.B)))
    page = results_page(session, study.batch.id)
    counts = page.matchups[0].counts
    sides = []
    for domain in dict.fromkeys(counts.domains):
        here = counts.domains == domain
        y = [1.0 if win else 0.0 for win in counts.votes.wins[here]]
        sides.append(Side.from_observations(counts.prompts[here], y))
    wanted = contrast(*sides)
    assert wanted is not None
    found = contrasts(session, page)[0].found
    assert abs(found.gap) == pytest.approx(abs(wanted.gap))


def test_checkpoints_that_no_vote_links_are_not_ranked(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path, prompts=PROMPTS, challengers=2, design=Design.ROUND_ROBIN, allow_repeats=True)
    nobody = ranking(results_page(session, study.batch.id))
    assert nobody is not None
    assert (nobody.sets, nobody.connected) == ((), False)
    assert all(name in nobody.apart for name in ("tiny", "brie-v1/epoch-2", "brie-v2/epoch-2"))
    rng = random.Random(1)  # noqa: S311
    ballot = assignment.issue(session, study.batch.id, make_rater(session), rules=RULES, now=NOW, rng=rng)
    assert ballot is not None
    voting.cast(session, ballot.id, session.get_one(Voter, ballot.voter_id), Choice.A, rules=RULES, now=NOW)
    two = ranking(results_page(session, study.batch.id))
    assert two is not None
    (linked,) = two.sets
    alone = {row.name for row in two.checkpoints} - {row.name for row in linked.checkpoints}
    assert len(linked.checkpoints) == 2
    assert "None of these 2 can be told" in linked.sentence
    assert alone == {row.name for row in two.checkpoints if row.name in two.apart}


def test_only_a_range_without_zero_tells_a_difference(session: Session, study: Study) -> None:
    batch = again(session, study)
    rng = random.Random(5)  # noqa: S311
    vote(session, study.batch, lambda ballot: Choice.A if ballot.text_a.startswith("Member 1") else Choice.B)
    vote(session, batch, lambda _: rng.choice((Choice.A, Choice.B)), "other")
    for found in contrasts(session, results_page(session, batch.id)):
        live = found.found.live
        assert found.told_apart == (live is not None and (live.low > 0 or live.high < 0))
        assert (found.group.count(" less "), found.label) == (1, "brie-v1/epoch-2")


def test_a_star_has_no_ranking_and_a_round_robin_ranks_by_its_votes(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path, prompts=PROMPTS, challengers=2, design=Design.ROUND_ROBIN, allow_repeats=True)
    rng = random.Random(4)  # noqa: S311

    def mostly_later(ballot: BlindBallot) -> Choice:
        later = Choice.A if ballot.text_a > ballot.text_b else Choice.B
        return later if rng.random() < 0.8 else Choice.TIE

    vote(session, study.batch, mostly_later)
    page = results_page(session, study.batch.id)
    found = ranking(page)
    assert found is not None
    assert (found.connected, len(found.checkpoints)) == (True, 3)
    scores: dict[str, float] = {}
    for matchup in page.matchups:
        assert matchup.whole.win_rate is not None
        scores[matchup.second] = scores.get(matchup.second, 0.0) + matchup.whole.win_rate
        scores[matchup.first] = scores.get(matchup.first, 0.0) + 1 - matchup.whole.win_rate
    assert [one.name for one in found.checkpoints] == sorted(scores, key=lambda name: -scores[name])
    told = report(session, study.batch.id)["ranking"]
    assert [one["checkpoint"] for one in told["checkpoints"]] == [one.name for one in found.checkpoints]
    star = make_more(session, study)
    assert report(session, star.id)["ranking"] is None


def make_more(session: Session, study: Study) -> EvalBatch:
    """The same checkpoints, each against the baseline alone."""
    return again(session, study, challengers=tuple(adapter.name for adapter in study.adapters))
