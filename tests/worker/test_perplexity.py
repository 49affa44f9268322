"""The perplexity job, done in this process on a tiny model."""

import math
from pathlib import Path

import pytest
from sqlalchemy import select

from app.db import Database
from app.domain.errors import ConflictError
from app.domain.terms import JobState
from app.models import Checkpoint, Dataset, Job, Perplexity, Run
from app.queries.perplexities import PerplexityRow, measurements
from app.services import perplexities
from app.services.perplexities import Asked
from tests.factories import NOW
from tests.fakes.tiny_model import write_conversations
from tests.fixtures import on_sqlite
from tests.tiny_arena import Tiny, add_tiny_adapter, copy_adapter
from tests.worker.test_generate import change_weights
from training.checkpoint import read_manifest
from training.errors import AdapterError, Cancelled
from worker import perplexity
from worker.claim import Claim, claim


def never() -> bool:
    return False


def asked_for(database: Database, tiny: Tiny, home: Path, folder: Path | None = None) -> Asked:
    """The trained adapter and its base on the validation file, waiting for a worker."""
    with database.session_scope() as session:
        checkpoint = add_tiny_adapter(session, tiny, home, folder)
        run = session.get_one(Run, checkpoint.run_id)
        return perplexities.ask(session, [checkpoint], session.get_one(Dataset, run.dataset_id), now=NOW)


def claimed(asked: Asked) -> Claim:
    taken = claim(asked.job_ids[0], worker="here")
    assert taken is not None
    return taken


def rows_of(database: Database, asked: Asked) -> tuple[PerplexityRow, ...]:
    with database.session_scope(write=False) as session:
        return measurements(session, asked.measurements)


def test_base_and_adapter_are_measured_and_agree_with_what_the_training_saw(
    database: Database, tiny: Tiny, home: Path
) -> None:
    asked = asked_for(database, tiny, home)
    perplexity.run(claimed(asked), never)
    base, adapter = rows_of(database, asked)
    told = read_manifest(tiny.adapter).facts.validation_loss
    assert adapter.mean_loss == pytest.approx(told, rel=5e-3)  # the training may have computed in bfloat16
    assert adapter.perplexity == pytest.approx(math.exp(adapter.mean_loss or 0.0))
    assert base.mean_loss is not None
    assert adapter.mean_loss is not None
    assert base.mean_loss > adapter.mean_loss
    assert (adapter.base_perplexity, adapter.rows, adapter.device, adapter.dtype) == (
        base.perplexity, 2, "cpu", "float32",
    )  # fmt: skip
    assert "Too few rows" in adapter.sentence


def test_a_stopped_job_keeps_what_it_measured_and_goes_on(database: Database, tiny: Tiny, home: Path) -> None:
    asked = asked_for(database, tiny, home)

    def after_the_base() -> bool:
        return rows_of(database, asked)[0].perplexity is not None

    first = claimed(asked)
    with pytest.raises(Cancelled):
        perplexity.run(first, after_the_base)
    kept = rows_of(database, asked)
    assert [row.perplexity is not None for row in kept] == [True, False]
    first.give_back(reason="The worker was stopped.", counts=False)
    perplexity.run(claimed(asked), never)
    whole = rows_of(database, asked)
    assert whole[0].measured_at == kept[0].measured_at
    assert whole[1].perplexity is not None


def test_doing_it_again_measures_nothing(database: Database, tiny: Tiny, home: Path) -> None:
    asked = asked_for(database, tiny, home)
    first = claimed(asked)
    perplexity.run(first, never)
    before = rows_of(database, asked)
    first.give_back(reason="The process was killed right at the end.")
    perplexity.run(claimed(asked), never)
    assert [row.measured_at for row in rows_of(database, asked)] == [row.measured_at for row in before]


@on_sqlite
def test_a_file_that_was_changed_is_refused(database: Database, tiny: Tiny, home: Path) -> None:
    asked = asked_for(database, tiny, home)
    with database.session_scope() as session:
        dataset = session.scalars(select(Dataset)).one()
        write_conversations(Path(dataset.validation_path), 3, first=70)
    with pytest.raises(ConflictError, match=r"dataset cheese v1 is gone or was changed"):
        perplexity.run(claimed(asked), never)
    assert all(row.perplexity is None for row in rows_of(database, asked))


@on_sqlite
def test_an_adapter_whose_weights_were_changed_is_refused(database: Database, tiny: Tiny, home: Path) -> None:
    folder = copy_adapter(tiny, home / "adapter")
    asked = asked_for(database, tiny, home, folder)
    change_weights(folder)
    with pytest.raises(AdapterError, match="weights changed since it was registered"):
        perplexity.run(claimed(asked), never)


@on_sqlite
def test_a_checkpoint_that_was_deleted_meanwhile_is_passed_over(database: Database, tiny: Tiny, home: Path) -> None:
    asked = asked_for(database, tiny, home)
    with database.session_scope() as session:
        session.delete(session.get_one(Perplexity, asked.measurements[1]))
        session.flush()
        session.delete(session.scalars(select(Checkpoint).where(Checkpoint.run_id.is_not(None))).one())
    perplexity.run(claimed(asked), never)
    (row,) = rows_of(database, asked)
    assert row.is_base
    assert row.perplexity is not None
    with database.session_scope(write=False) as session:
        assert session.get_one(Job, asked.job_ids[0]).state is JobState.RUNNING
