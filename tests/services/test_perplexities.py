"""Asking for perplexities: once for the same content, and each beside its base."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError, ConflictError, NotFoundError
from app.domain.terms import CheckpointKind, JobKind, JobState, Queue, Split
from app.models import Checkpoint, Dataset, Job, Perplexity
from app.queries.lookup import base_of
from app.queries.perplexities import measurements, of_checkpoint, of_dataset
from app.services.checkpoints import register_adapter
from app.services.datasets import import_dataset
from app.services.perplexities import Asked, Measured, MeasuredRow, ask, checkpoints_of, store, to_measure
from app.services.removal import delete_checkpoint
from tests.factories import NOW, finish_job, make_adapter, make_base, make_run, saved_adapter, sha256, write_rows
from tests.fixtures import on_sqlite

ROWS = 12
HARD = [1.0 + number / 4 for number in range(ROWS)]


@pytest.fixture
def adapter(session: Session, tmp_path: Path) -> Checkpoint:
    make_base(session, tmp_path)
    return make_adapter(session, tmp_path)


@pytest.fixture
def dataset(session: Session, tmp_path: Path) -> Dataset:
    rows = [{"prompt": f"q {number}", "completion": f"a {number}"} for number in range(ROWS)]
    train, validation = (write_rows(tmp_path / f"poems.{name}.jsonl", rows[cut:]) for name, cut in (("t", 0), ("v", 1)))
    return import_dataset(
        session, train, validation_path=validation, artifacts=tmp_path / "artifacts", now=NOW, name="poems"
    )


def measured(factor: float = 1.0, *, per_token: Sequence[float] = HARD, dtype: str = "float32") -> Measured:
    rows = [MeasuredRow(line, 4 + line, (4 + line) * loss * factor) for line, loss in enumerate(per_token, 1)]
    return Measured(rows, skipped=2, device="cpu", dtype=dtype)


def waiting(session: Session, asked: Asked) -> list[Perplexity]:
    (job_id,) = asked.job_ids
    return to_measure(session, job_id)


def test_a_checkpoint_is_measured_with_its_base_in_one_job(
    session: Session, adapter: Checkpoint, dataset: Dataset
) -> None:
    asked = ask(session, [adapter], dataset, now=NOW)
    rows = waiting(session, asked)
    assert [row.fingerprint for row in rows] == [base_of(session, adapter).fingerprint, adapter.fingerprint]
    assert {row.file_sha256 for row in rows} == {dataset.validation_sha256}
    job = session.get_one(Job, asked.job_ids[0])
    assert (job.kind, job.queue) == (JobKind.PERPLEXITY, Queue.GPU)
    assert job.title == "Perplexity of 2 checkpoints on the validation file of poems v1"


def test_nothing_is_measured_twice(session: Session, adapter: Checkpoint, dataset: Dataset, tmp_path: Path) -> None:
    first = ask(session, [adapter], dataset, now=NOW)
    assert ask(session, [adapter, adapter], dataset, now=NOW) == first
    for row in waiting(session, first):
        store(session, row.id, measured(), now=NOW)
    assert ask(session, [adapter], dataset, now=NOW) == Asked(first.measurements, ())
    twin = register_adapter(
        session, make_run(session, tmp_path, name="again"), saved_adapter(adapter.fingerprint), now=NOW
    )
    assert ask(session, [twin], dataset, now=NOW).measurements == first.measurements
    assert [row.id for row in of_checkpoint(session, twin.id).rows] == [first.measurements[1]]
    assert ask(session, [adapter], dataset, split=Split.TRAIN, now=NOW).job_ids
    assert ask(session, [adapter], dataset, max_length=64, now=NOW).job_ids


def test_only_what_is_missing_is_asked_for(
    session: Session, adapter: Checkpoint, dataset: Dataset, tmp_path: Path
) -> None:
    first = ask(session, [adapter], dataset, now=NOW)
    other = make_adapter(session, tmp_path, name="brie-v2")
    second = ask(session, [adapter, other], dataset, now=NOW)
    assert set(second.job_ids) > set(first.job_ids)
    (job_id,) = set(second.job_ids) - set(first.job_ids)
    assert [row.checkpoint_id for row in to_measure(session, job_id)] == [other.id]


def test_what_a_failed_job_did_not_measure_is_asked_for_anew(
    session: Session, adapter: Checkpoint, dataset: Dataset
) -> None:
    first = ask(session, [adapter], dataset, now=NOW)
    base, _ = waiting(session, first)
    store(session, base.id, measured(), now=NOW)
    finish_job(session, session.get_one(Job, first.job_ids[0]), JobState.FAILED)
    second = ask(session, [adapter], dataset, now=NOW)
    assert second.job_ids != first.job_ids
    assert [row.checkpoint_id for row in waiting(session, second)] == [adapter.id]


def test_who_is_lower_and_how_sure_stands_beside_it(session: Session, adapter: Checkpoint, dataset: Dataset) -> None:
    asked = ask(session, [adapter], dataset, now=NOW)
    base, own = waiting(session, asked)
    store(session, base.id, measured(), now=NOW)
    store(session, own.id, measured(0.8), now=NOW)
    shown = measurements(session, asked.measurements)
    assert [row.is_base for row in shown] == [True, False]
    _, row = shown
    assert row.mean_loss is not None
    assert row.mean_loss == pytest.approx(0.8 * (shown[0].mean_loss or 0))
    assert row.base_perplexity == shown[0].perplexity
    assert (row.rows, row.skipped_rows, row.device, row.dtype) == (ROWS, 2, "cpu", "float32")
    assert row.paired is not None
    assert row.paired.high < 0
    assert row.sentence.startswith("Lower than its base")
    assert shown[0].sentence == ""
    assert [one.id for one in of_dataset(session, dataset.id).rows] == [row.id, shown[0].id]


@on_sqlite
def test_numbers_of_another_kind_are_not_paired(session: Session, adapter: Checkpoint, dataset: Dataset) -> None:
    asked = ask(session, [adapter], dataset, now=NOW)
    base, own = waiting(session, asked)
    store(session, base.id, measured(dtype="bfloat16"), now=NOW)
    store(session, own.id, measured(0.8), now=NOW)
    assert measurements(session, asked.measurements)[1].paired is None


@on_sqlite
def test_an_infinite_loss_is_refused_by_name(session: Session, adapter: Checkpoint, dataset: Dataset) -> None:
    _, own = waiting(session, ask(session, [adapter], dataset, now=NOW))
    for loss in (float("inf"), float("nan")):
        with pytest.raises(ConflictError, match="The loss of brie-v1/epoch-2 on this file is no finite number"):
            store(session, own.id, measured(per_token=[loss]), now=NOW)
    assert own.measured_at is None


def test_a_deleted_checkpoint_leaves_its_figures_to_a_twin_or_takes_them_along(
    session: Session, adapter: Checkpoint, dataset: Dataset, tmp_path: Path
) -> None:
    asked = ask(session, [adapter], dataset, now=NOW)
    for row in waiting(session, asked):
        store(session, row.id, measured(), now=NOW)
    run = make_run(session, tmp_path, name="again")
    twin = register_adapter(session, run, saved_adapter(adapter.fingerprint), now=NOW)
    delete_checkpoint(session, adapter, artifacts=tmp_path, now=NOW)
    assert [row.checkpoint for row in of_checkpoint(session, twin.id).rows] == [twin.name]
    delete_checkpoint(session, twin, artifacts=tmp_path, now=NOW)
    session.expire_all()
    assert session.scalars(select(Perplexity.id)).all() == [asked.measurements[0]]
    store(session, asked.measurements[1], measured(), now=NOW)


@on_sqlite
def test_what_cannot_be_measured_is_refused_with_a_reason(
    session: Session, adapter: Checkpoint, dataset: Dataset
) -> None:
    for length in (7, 2**20 + 1):
        with pytest.raises(BadInputError, match="the longest row has 8 to"):
            ask(session, [adapter], dataset, max_length=length, now=NOW)
    with pytest.raises(BadInputError, match="at least one checkpoint"):
        ask(session, [], dataset, now=NOW)
    dataset.validation_rows = 0
    with pytest.raises(BadInputError, match="poems v1 has no rows to validate on"):
        ask(session, [adapter], dataset, now=NOW)
    adapter.kind = CheckpointKind.EXTERNAL
    with pytest.raises(BadInputError, match="no weights, so it has no perplexity"):
        ask(session, [adapter], dataset, split=Split.TRAIN, now=NOW)


@on_sqlite
def test_base_is_the_one_of_the_others_or_the_only_one(session: Session, adapter: Checkpoint, tmp_path: Path) -> None:
    assert checkpoints_of(session, ["base", adapter.name]) == [adapter]
    assert [one.name for one in checkpoints_of(session, ["base"])] == ["tiny"]
    make_base(session, tmp_path, name="small")
    with pytest.raises(BadInputError, match=r"give its name\. Known: "):
        checkpoints_of(session, ["base"])
    with pytest.raises(NotFoundError):
        checkpoints_of(session, [sha256("nobody")])
