"""A re-run is the same plan with other seeds, and the results compare the two."""

import random
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import ConflictError
from app.domain.sampling import Sampling
from app.domain.terms import CheckpointKind, Choice, Design, JobState
from app.models import BatchCheckpoint, EvalBatch, Job, Response
from app.queries.contrasts import contrasts
from app.queries.results import results_page
from app.services.eval_batches import LONGEST_NAME, close
from app.services.reruns import rerun
from tests.factories import NOW, RULES, Study, make_rater, make_study, vote_blind, write_responses
from tests.fixtures import on_sqlite

DIFFERS = {"id", "name", "seed", "seal", "job_id", "created_at", "closed_at", "state"}
PLAN = {
    "replicates": 2, "votes_per_pair": 2, "allow_repeats": True, "placebo_pairs": 2, "repeat_pairs": 1,
    "rater_limit": 40, "system_prompt": "Be short.", "seed": 6, "name": "mine",
    "exclusion": {"agreement_min": 0.5, "agreement_votes": 1}, "ask_recognised": True,
}  # fmt: skip


@pytest.fixture
def study(session: Session, tmp_path: Path) -> Study:
    return make_study(session, tmp_path, prompts=12, challengers=2)


def again(session: Session, batch: EvalBatch) -> EvalBatch:
    return rerun(session, batch, secret=RULES.secret, now=NOW)


def members(session: Session, batch: EvalBatch) -> list[tuple[object, ...]]:
    query = select(BatchCheckpoint.position, BatchCheckpoint.checkpoint_id, BatchCheckpoint.fingerprint)
    return sorted(tuple(row) for row in session.execute(query.where(BatchCheckpoint.eval_batch_id == batch.id)))


@pytest.mark.parametrize("design", Design)
def test_the_plan_is_the_same_but_for_the_seed(session: Session, tmp_path: Path, design: Design) -> None:
    first = make_study(session, tmp_path, challengers=2, design=design, **PLAN).batch
    close(session, first, now=NOW)
    second = again(session, first)
    columns = [column.key for column in EvalBatch.__table__.columns if column.key not in DIFFERS]
    assert [getattr(second, name) for name in columns] == [getattr(first, name) for name in columns]
    assert members(session, second) == members(session, first)
    assert (second.name, second.seed, second.state) == ("mine, seeds 7", 7, "open")
    assert session.get_one(Job, second.job_id).state is JobState.QUEUED


def test_new_seeds_write_new_responses_that_the_results_compare(session: Session, study: Study) -> None:
    before = set(session.scalars(select(Response.seed)))
    second = again(session, study.batch)
    write_responses(session, second)
    assert not before & (set(session.scalars(select(Response.seed))) - before)
    assert len(set(session.scalars(select(Response.seed)))) == 2 * len(before)
    for batch in (study.batch, second):
        rng = random.Random(1)  # noqa: S311
        vote_blind(session, batch, make_rater(session), lambda _, rng=rng: rng.choice(list(Choice)), rng=rng)
    groups = {one.group for one in contrasts(session, results_page(session, second.id))}
    assert f"{second.name} less {study.batch.name}" in groups


@on_sqlite
def test_each_further_one_has_a_seed_and_a_name_of_its_own(session: Session, study: Study) -> None:
    second = again(session, study.batch)
    write_responses(session, second)
    third = again(session, study.batch)
    fourth = again(session, second)
    assert [(batch.seed, batch.name) for batch in (second, third, fourth)] == [
        (seed, f"{study.batch.name}, seeds {seed}") for seed in (2, 3, 4)
    ]


@on_sqlite
def test_the_longest_name_still_has_its_seed_at_the_end(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, name="n" * LONGEST_NAME, seed=2**63 - 1).batch
    second = again(session, batch)
    assert (second.seed, len(second.name)) == (0, LONGEST_NAME)
    assert second.name.endswith("nn, seeds 0")


@on_sqlite
def test_without_weights_nothing_is_run_again(session: Session, study: Study) -> None:
    study.adapters[0].kind = CheckpointKind.EXTERNAL
    with pytest.raises(ConflictError, match=r"Nothing was launched: of brie-v1/epoch-2 only responses are here"):
        again(session, study.batch)


@on_sqlite
def test_at_temperature_zero_a_seed_changes_nothing(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, sampling=Sampling(temperature=0)).batch
    with pytest.raises(ConflictError, match="every seed gives the same text"):
        again(session, batch)


@on_sqlite
def test_what_is_still_being_written_is_not_run_again_until_it_is_closed(session: Session, study: Study) -> None:
    second = again(session, study.batch)
    with pytest.raises(ConflictError, match="not all written"):
        again(session, second)
    close(session, second, now=NOW)
    assert again(session, second).seed == 3
