import math
import random
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.errors import ArenaError, BadInputError, ConflictError, NotFoundError
from app.domain.terms import BallotState, BatchState, Choice, Design, JobKind, JobState
from app.models import BatchCheckpoint, Checkpoint, EvalBatch, Event, Job
from app.services import assignment, voting
from app.services.checkpoints import register_adapter
from app.services.eval_batches import LaunchPlan, Sampling, close, launch
from tests.factories import (
    NOW,
    RULES,
    finish_job,
    make_adapter,
    make_base,
    make_rater,
    make_run,
    make_study,
    make_suite,
    saved_adapter,
    sha256,
)
from tests.fixtures import on_sqlite


@pytest.fixture
def shelf(session: Session, tmp_path: Path) -> Session:
    """A suite of four prompts, a base, and two adapters: brie-v1/epoch-2 and brie-v2/epoch-2."""
    make_suite(session, tmp_path)
    make_base(session, tmp_path)
    for name in ("brie-v1", "brie-v2"):
        make_adapter(session, tmp_path, name=name)
    return session


V1, V2 = "brie-v1/epoch-2", "brie-v2/epoch-2"


def plan(**changed: Any) -> LaunchPlan:
    return LaunchPlan(**{"suite": "suite", "challengers": (V1,)} | changed)


def members(session: Session, batch: EvalBatch) -> list[str]:
    query = (
        select(Checkpoint.name)
        .join(BatchCheckpoint, BatchCheckpoint.checkpoint_id == Checkpoint.id)
        .where(BatchCheckpoint.eval_batch_id == batch.id)
        .order_by(BatchCheckpoint.position)
    )
    return list(session.scalars(query))


def test_a_launch_freezes_the_plan_and_queues_its_generation(shelf: Session) -> None:
    batch = launch(shelf, plan(challengers=(V1, V2), replicates=2, votes_per_pair=3), secret=RULES.secret, now=NOW)
    assert members(shelf, batch) == ["tiny", V1, V2]
    assert (batch.name, batch.state, batch.planned_pairs, batch.planned_responses) == ("suite-1", "open", 16, 24)
    assert batch.sampling == {
        "temperature": 0.7, "top_p": 0.9, "top_k": 0, "max_new_tokens": 320, "repetition_penalty": 1.1,
    }  # fmt: skip
    job = shelf.get_one(Job, batch.job_id)
    assert (job.kind, job.subject_id, job.state) == (JobKind.GENERATE, batch.id, JobState.QUEUED)
    assert ("pairs", batch.id) in [(event.topic, event.subject_id) for event in shelf.scalars(select(Event))]


@on_sqlite
def test_a_round_robin_adds_the_challengers_among_themselves(shelf: Session) -> None:
    batch = launch(shelf, plan(challengers=(V1, V2), design=Design.ROUND_ROBIN), secret=RULES.secret, now=NOW)
    assert (batch.planned_pairs, batch.planned_responses) == (12, 12)


@on_sqlite
def test_any_checkpoint_can_be_the_baseline(shelf: Session) -> None:
    batch = launch(shelf, plan(baseline=V2), secret=RULES.secret, now=NOW)
    assert members(shelf, batch) == [V2, V1]


@on_sqlite
def test_a_checkpoint_can_be_named_by_its_fingerprint(shelf: Session) -> None:
    batch = launch(shelf, plan(challengers=(sha256("brie-v1")[:12],)), secret=RULES.secret, now=NOW)
    assert members(shelf, batch)[1] == V1
    with pytest.raises(NotFoundError):
        launch(shelf, plan(challengers=("%" * 12,)), secret=RULES.secret, now=NOW)


@on_sqlite
def test_free_names_are_numbered_and_given_ones_are_kept(shelf: Session) -> None:
    names = [launch(shelf, plan(name=name), secret=RULES.secret, now=NOW).name for name in ("", "", "mine", "")]
    assert names == ["suite-1", "suite-2", "mine", "suite-3"]


REFUSED: dict[str, tuple[dict[str, Any], type[ArenaError], str]] = {
    "unknown suite": ({"suite": "absent"}, NotFoundError, "no suite 'absent'. Known: suite"),
    "unknown version": ({"suite": "suite@2"}, NotFoundError, "no suite 'suite@2'"),
    "unknown challenger": ({"challengers": ("absent",)}, NotFoundError, "no checkpoint 'absent'"),
    "unknown baseline": ({"baseline": "absent"}, NotFoundError, "no checkpoint 'absent'"),
    "no challenger": ({"challengers": ()}, BadInputError, "at least one challenger"),
    "an empty challenger": ({"challengers": ("",)}, BadInputError, "at least one challenger"),
    "the baseline as challenger": ({"baseline": V1}, BadInputError, "is the baseline"),
    "the base as challenger": ({"challengers": ("tiny",)}, BadInputError, "is the baseline"),
    "the same twice": ({"challengers": (V1, V1)}, BadInputError, "named twice"),
    "no replicate": ({"replicates": 0}, BadInputError, "replicates must lie between 1 and 100, not 0"),
    "too many replicates": ({"replicates": 101}, BadInputError, "replicates"),
    "no vote": ({"votes_per_pair": 0}, BadInputError, "votes per pair"),
    "a negative seed": ({"seed": -1}, BadInputError, "seed"),
    "a seed beyond the column": ({"seed": 2**63}, BadInputError, "seed"),
    "a name that is too long": ({"name": "n" * 121}, BadInputError, "120 characters"),
    "a taken name": ({"name": "taken"}, ConflictError, "'taken' already"),
    "replicates at temperature 0": (
        {"replicates": 2, "sampling": Sampling(temperature=0)}, BadInputError, "every replicate would be the same",
    ),
}  # fmt: skip


@on_sqlite
@pytest.mark.parametrize(("changed", "error", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_plan_that_makes_no_sense_launches_nothing(
    shelf: Session, changed: dict[str, Any], error: type[ArenaError], reason: str
) -> None:
    launch(shelf, plan(name="taken"), secret=RULES.secret, now=NOW)
    with pytest.raises(error) as caught:
        launch(shelf, plan(**changed), secret=RULES.secret, now=NOW)
    assert reason in caught.value.message
    assert shelf.scalar(select(func.count(EvalBatch.id))) == 1
    assert shelf.scalar(select(func.count(Job.id)).where(Job.kind == JobKind.GENERATE)) == 1


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", -0.1),
        ("top_p", 0.0),
        ("top_p", math.nan),
        ("top_k", -1),
        ("max_new_tokens", 0),
        ("max_new_tokens", 8193),
        ("repetition_penalty", 0.0),
    ],
)
def test_sampling_that_no_sampler_can_do_is_refused(setting: str, value: float) -> None:
    with pytest.raises(BadInputError, match=setting.replace("_", " ")):
        Sampling(**{setting: value})


@on_sqlite
def test_checkpoints_of_two_base_models_do_not_meet(shelf: Session, tmp_path: Path) -> None:
    make_base(shelf, tmp_path, name="other")
    make_adapter(shelf, tmp_path, name="stranger", base="other")
    with pytest.raises(BadInputError, match="another base model than tiny"):
        launch(shelf, plan(challengers=(V1, "stranger/epoch-2")), secret=RULES.secret, now=NOW)


@on_sqlite
@pytest.mark.parametrize(
    ("effect", "reason"),
    [({"passed": False, "reason": "it moved nothing"}, "it moved nothing"), ({}, "never measured")],
)
def test_a_checkpoint_that_failed_its_effect_gate_is_refused(
    shelf: Session, tmp_path: Path, effect: dict[str, object], reason: str
) -> None:
    run = make_run(shelf, tmp_path, name="still")
    register_adapter(shelf, run, saved_adapter(sha256("still"), effect=effect), now=NOW)
    with pytest.raises(ConflictError, match=f"failed the effect gate .*{reason}"):
        launch(shelf, plan(challengers=("still/epoch-2",)), secret=RULES.secret, now=NOW)


@on_sqlite
def test_the_same_adapter_under_two_names_does_not_meet_itself(shelf: Session, tmp_path: Path) -> None:
    run = make_run(shelf, tmp_path, name="again")
    register_adapter(shelf, run, saved_adapter(sha256("brie-v1")), now=NOW)
    with pytest.raises(BadInputError, match="named twice"):
        launch(shelf, plan(challengers=(V1, "again/epoch-2")), secret=RULES.secret, now=NOW)


@on_sqlite
def test_a_plan_beyond_reason_is_refused(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.eval_batches.MAX_RESPONSES", 7)
    with pytest.raises(BadInputError, match="needs 8 responses; at most 7"):
        make_study(session, tmp_path)


def test_closing_lapses_open_ballots_keeps_votes_and_cancels_the_generation(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, allow_repeats=True).batch
    session.get_one(Job, batch.job_id).state = JobState.QUEUED
    rater, other = make_rater(session), make_rater(session, "other")
    rng = random.Random(1)  # noqa: S311
    voted = assignment.issue(session, batch.id, rater, rules=RULES, now=NOW, rng=rng)
    voting.cast(session, voted.id, rater, Choice.A, rules=RULES, now=NOW)
    held = assignment.issue(session, batch.id, other, rules=RULES, now=NOW, rng=rng)
    session.flush()
    close(session, batch, now=NOW)
    for row in (voted, held, batch):
        session.refresh(row)
    assert (batch.state, batch.closed_at) == (BatchState.CLOSED, NOW)
    assert (voted.state, held.state, held.closed_at) == (BallotState.VOTED, BallotState.EXPIRED, NOW)
    assert session.get_one(Job, batch.job_id).state is JobState.CANCELLED
    assert assignment.issue(session, batch.id, other, rules=RULES, now=NOW, rng=rng) is None
    with pytest.raises(ConflictError, match="Voting has closed"):
        voting.cast(session, held.id, other, Choice.A, rules=RULES, now=NOW)


def test_closing_twice_is_refused_and_changes_nothing(shelf: Session) -> None:
    batch = launch(shelf, plan(), secret=RULES.secret, now=NOW)
    finish_job(shelf, shelf.get_one(Job, batch.job_id))
    close(shelf, batch, now=NOW)
    shelf.flush()
    with pytest.raises(ConflictError, match="closed already"):
        close(shelf, batch, now=NOW.replace(hour=13))
    assert batch.closed_at == NOW
    assert shelf.get_one(Job, batch.job_id).state is JobState.DONE
