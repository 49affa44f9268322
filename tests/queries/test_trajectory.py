"""A run's checkpoints are put in a line only where they met the same baseline on the same prompts."""

import random
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.sampling import Sampling
from app.domain.terms import Choice
from app.models import EvalBatch, Run, Tally
from app.queries.ballots import BlindBallot
from app.queries.report import report
from app.queries.results import results_page
from app.queries.trajectory import of_results, trajectories
from app.queries.verification import verify
from app.services.checkpoints import register_adapter
from app.services.eval_batches import LaunchPlan, launch
from app.services.reruns import rerun
from tests.factories import (
    NOW,
    RULES,
    make_base,
    make_rater,
    make_run,
    make_suite,
    saved_adapter,
    sha256,
    vote_blind,
    write_responses,
)

PROMPTS, STEPS = 12, (10, 20, 30)


@dataclass(frozen=True)
class Shelf:
    """A run with three checkpoints and a plan in which all of them meet the base."""

    run_id: uuid.UUID
    plan: LaunchPlan


@pytest.fixture
def shelf(session: Session, tmp_path: Path) -> Shelf:
    make_suite(session, tmp_path, PROMPTS)
    make_base(session, tmp_path)
    run: Run = make_run(session, tmp_path, name="brie-v1")
    for step in STEPS:
        saved = saved_adapter(sha256(f"{step}"), label=f"step-{step}", step=step, is_last=step == STEPS[-1])
        register_adapter(session, run, saved, now=NOW)
    names = tuple(f"brie-v1/step-{step}" for step in STEPS)
    return Shelf(run.id, LaunchPlan(suite="suite", challengers=names, allow_repeats=True))


def voted(session: Session, plan: LaunchPlan, name: str = "rater") -> EvalBatch:
    """Launched, written, and voted on: the later a checkpoint, the more it is preferred."""
    batch = launch(session, plan, secret=RULES.secret, now=NOW)
    write_responses(session, batch)
    vote(session, batch, name)
    return batch


def vote(session: Session, batch: EvalBatch, name: str) -> None:
    rng = random.Random(name)  # noqa: S311

    def mostly_later(ballot: BlindBallot) -> Choice:
        later, other = (Choice.A, Choice.B) if ballot.text_a > ballot.text_b else (Choice.B, Choice.A)
        step = int(max(ballot.text_a, ballot.text_b).split()[1])  # "Member 2 on …"
        return later if rng.random() < 0.3 + 0.2 * step else other

    vote_blind(session, batch, make_rater(session, name), mostly_later, rng=rng)


def test_before_two_checkpoints_have_votes_there_is_no_line(session: Session, shelf: Shelf) -> None:
    assert trajectories(session, shelf.run_id) == ()
    voted(session, replace(shelf.plan, challengers=shelf.plan.challengers[:1]))
    assert trajectories(session, shelf.run_id) == ()
    assert trajectories(session, uuid.uuid4()) == ()


def test_the_line_has_the_numbers_of_the_results_in_the_order_of_the_steps(session: Session, shelf: Shelf) -> None:
    batch = voted(session, replace(shelf.plan, challengers=shelf.plan.challengers[::-1]))
    (found,) = trajectories(session, shelf.run_id)
    assert [(one.step, one.checkpoint) for one in found.steps] == [(step, f"brie-v1/step-{step}") for step in STEPS]
    by_name = {matchup.second: matchup.whole for matchup in results_page(session, batch.id).matchups}
    for one in found.steps:
        whole = by_name[one.checkpoint]
        assert replace(one.cell, label=whole.label) == whole
    assert (found.baseline, found.suite, [row.id for row in found.batches]) == ("tiny", "suite v1", [batch.id])
    assert found.sentence.startswith("At step 30 the win rate is ")
    assert " at step 10" in found.sentence


def test_a_rerun_adds_its_votes_and_another_sampling_has_a_line_of_its_own(session: Session, shelf: Shelf) -> None:
    batch = voted(session, shelf.plan)
    again = rerun(session, batch, secret=RULES.secret, now=NOW)
    write_responses(session, again)
    vote(session, again, "other")
    (both,) = trajectories(session, shelf.run_id)
    assert [one.cell.n for one in both.steps] == [2 * PROMPTS] * 3
    assert {one.cell.prompts for one in both.steps} == {PROMPTS}
    assert {row.id for row in both.batches} == {batch.id, again.id}
    voted(session, replace(shelf.plan, sampling=Sampling(temperature=0.2)), "third")
    lines = sorted([one.cell.n for one in line.steps] for line in trajectories(session, shelf.run_id))
    assert lines == [[PROMPTS] * 3, [2 * PROMPTS] * 3]


def test_a_report_has_the_line_of_its_own_votes_and_keeps_it(session: Session, shelf: Shelf) -> None:
    batch = voted(session, shelf.plan)
    page = results_page(session, batch.id)
    found = of_results(session, page)
    assert list(found) == ["brie-v1"]
    assert [(one.step, one.cell.n) for one in found["brie-v1"].steps] == [(step, PROMPTS) for step in STEPS]
    (everywhere,) = trajectories(session, shelf.run_id)
    assert [one.cell for one in everywhere.steps] == [one.cell for one in found["brie-v1"].steps]
    (told,) = report(session, batch.id)["trajectories"]
    assert (told["run"], told["baseline"], told["sentence"]) == ("brie-v1", "tiny", found["brie-v1"].sentence)
    by_name = {matchup.second: matchup.whole.win_rate for matchup in page.matchups}
    assert {one["checkpoint"]: one["win_rate"] for one in told["steps"]} == by_name
    assert told["gap"] == pytest.approx(told["steps"][-1]["win_rate"] - told["steps"][0]["win_rate"])
    again = rerun(session, batch, secret=RULES.secret, now=NOW)
    write_responses(session, again)
    vote(session, again, "other")
    assert report(session, batch.id)["trajectories"] == [told], "votes given elsewhere change nothing"
    session.flush()
    assert verify(session, RULES.secret).holds


def test_one_checkpoint_of_a_run_is_no_line(session: Session, shelf: Shelf) -> None:
    batch = voted(session, replace(shelf.plan, challengers=shelf.plan.challengers[:1]))
    assert report(session, batch.id)["trajectories"] == []


def test_verify_finds_a_tally_behind_the_line_that_was_changed(session: Session, shelf: Shelf) -> None:
    batch = voted(session, shelf.plan)
    session.flush()
    tally = session.scalars(select(Tally).where(Tally.eval_batch_id == batch.id, Tally.first != Tally.second)).first()
    assert tally is not None
    tally.first, tally.second = tally.second, tally.first
    session.flush()
    wrong = [one.sentence for one in verify(session, RULES.secret).mismatches]
    assert any("trajectories.0.steps" in sentence for sentence in wrong)
