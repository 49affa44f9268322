"""The check of an uploaded checkpoint, done in this process on a tiny model."""

import uuid
from pathlib import Path

import pytest
from sqlalchemy import select

from app import jobs
from app.db import Database
from app.domain.errors import ConflictError
from app.domain.terms import CheckpointKind, IntakeState, JobState
from app.models import BaseModel, Checkpoint, EvalBatch, Intake, Job
from app.services import eval_batches
from app.services.base_models import Fetched, add_base_model, fetch_base_model, mark_ready
from app.services.eval_batches import LaunchPlan
from tests.factories import NOW, RULES, finish_job, make_suite
from tests.fakes.tiny_model import make_tiny_model
from tests.fixtures import on_sqlite
from tests.tiny_arena import Tiny, add_tiny_base, copy_adapter, launch_tiny_batch, texts
from tests.uploads import send, without_effect, zip_of, zip_of_changed
from training.base import hash_base
from training.checkpoint import MANIFEST
from training.errors import AdapterError, Cancelled
from training.fingerprint import fingerprint_adapter
from worker import generate, intake
from worker.claim import Claim, claim

pytestmark = on_sqlite


def never() -> bool:
    return False


def claimed(job_id: uuid.UUID | None) -> Claim:
    assert job_id is not None
    taken = claim(job_id, worker="here")
    assert taken is not None
    return taken


@pytest.fixture
def base(database: Database, tiny: Tiny) -> BaseModel:
    with database.session_scope() as session:
        return add_tiny_base(session, tiny)


def checked(database: Database, sent: Intake) -> Intake:
    intake.run(claimed(sent.job_id), never)
    with database.session_scope(write=False) as session:
        return session.get_one(Intake, sent.id)


def adapters(database: Database) -> list[Checkpoint]:
    with database.session_scope(write=False) as session:
        return list(session.scalars(select(Checkpoint).where(Checkpoint.kind == CheckpointKind.ADAPTER)))


def launch(database: Database, home: Path, challenger: str) -> EvalBatch:
    with database.session_scope() as session:
        plan = LaunchPlan(suite=make_suite(session, home, 2).name, challengers=(challenger,))
        return eval_batches.launch(session, plan, secret=RULES.secret, now=NOW)


def test_an_upload_becomes_a_checkpoint_that_answers(
    database: Database, base: BaseModel, tiny: Tiny, home: Path
) -> None:
    done = checked(database, send(database, home, zip_of(tiny.adapter), file="my adapter.zip"))
    (checkpoint,) = adapters(database)
    assert (done.state, done.reason, done.checkpoint_id) == (IntakeState.READY, "", checkpoint.id)
    assert (checkpoint.name, checkpoint.base_model_id, checkpoint.run_id) == ("my-adapter", base.id, None)
    assert checkpoint.fingerprint == fingerprint_adapter(tiny.adapter) == fingerprint_adapter(Path(checkpoint.folder))
    assert checkpoint.folder.startswith(str(home / "artifacts"))
    effect = checkpoint.effect or {}
    assert effect["passed"] is True
    assert sum(norm**2 for norm in effect["layers"].values()) == pytest.approx(effect["delta_norm"] ** 2)
    assert not Path(done.folder).exists()
    batch = launch(database, home, "my-adapter")
    generate.run(claimed(batch.job_id), never)
    assert len(texts(database)) == batch.planned_responses


def test_a_hostile_upload_is_refused_and_leaves_only_its_reason(
    database: Database, base: BaseModel, tiny: Tiny, home: Path
) -> None:
    sent = send(database, home, zip_of(tiny.adapter, init_lora_weights="pissa"))
    done = checked(database, sent)
    assert done.state is IntakeState.REFUSED
    assert "“pissa”" in done.reason
    assert done.reason.endswith("Nothing of it was kept.")
    assert adapters(database) == []
    assert not Path(done.folder).exists()
    assert [path for path in (home / "artifacts").rglob("*") if path.is_file()] == []
    with database.session_scope(write=False) as session:
        assert session.get_one(Job, done.job_id).message == done.reason


def test_the_same_content_is_the_same_checkpoint(database: Database, base: BaseModel, tiny: Tiny, home: Path) -> None:
    first = checked(database, send(database, home, zip_of(tiny.adapter), name="first"))
    again = checked(database, send(database, home, zip_of(tiny.adapter, lora_dropout=0.3), name="second"))
    (checkpoint,) = adapters(database)
    assert first.checkpoint_id == again.checkpoint_id == checkpoint.id
    assert again.notes.startswith("These are the weights of first, which is here already")
    assert [folder.name for folder in (home / "artifacts/checkpoints").iterdir()] == [first.id.hex]


def test_the_same_adapter_on_another_base_model_is_another_checkpoint(
    database: Database, base: BaseModel, tiny: Tiny, home: Path
) -> None:
    other = add_other_base(database, home)
    for name in (base.name, other.name):
        checked(database, send(database, home, zip_of(tiny.adapter), name=f"on-{name}", base=name))
    assert sorted(found.name for found in adapters(database)) == ["on-other", "on-tiny"]
    assert len({found.fingerprint for found in adapters(database)}) == 1


def add_other_base(database: Database, home: Path) -> BaseModel:
    """Other weights in the same shapes."""
    folder = make_tiny_model(home / "other", seed=1)
    hashes = hash_base(folder)
    with database.session_scope() as session:
        model = add_base_model(session, str(folder), now=NOW, name="other")
        finish_job(session, fetch_base_model(session, model, now=NOW))
        known = Fetched("other", str(folder), "", hashes.weights, hashes.tokenizer, hashes.chat_template, 1)
        mark_ready(session, model, known, now=NOW)
    return model


def test_an_adapter_that_does_nothing_is_stopped_before_an_eval_batch(
    database: Database, base: BaseModel, tiny: Tiny, home: Path
) -> None:
    sent = send(database, home, zip_of_changed(tiny.adapter, without_effect), name="untrained")
    assert "cannot enter an eval batch" in checked(database, sent).notes
    with pytest.raises(ConflictError, match=r"untrained failed the effect gate \(the adapter's weights are zero"):
        launch(database, home, "untrained")


def test_an_adapter_for_another_base_model_is_stopped_before_an_eval_batch(
    database: Database, base: BaseModel, tiny: Tiny, home: Path
) -> None:
    """Its shapes fit; its manifest says that it was trained on other weights."""
    add_other_base(database, home)
    done = checked(database, send(database, home, zip_of(tiny.adapter, MANIFEST), name="stray", base="other"))
    assert done.state is IntakeState.REFUSED
    assert f"trained on a base model with the weights {base.weights_hash[:12]}" in done.reason
    assert "other has" in done.reason
    assert adapters(database) == []


def test_weights_that_changed_after_the_intake_are_stopped_before_anything_is_generated(
    database: Database, base: BaseModel, tiny: Tiny, home: Path
) -> None:
    checked(database, send(database, home, zip_of(tiny.adapter), name="mine"))
    (checkpoint,) = adapters(database)
    batch = launch(database, home, "mine")
    weights = Path(checkpoint.folder) / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(AdapterError, match="weights changed since it was registered") as refusal:
        generate.run(claimed(batch.job_id), never)
    assert checkpoint.folder in refusal.value.message
    assert texts(database) == {}


def test_a_folder_that_became_a_link_to_another_adapter_is_stopped_before_anything_is_generated(
    database: Database, base: BaseModel, tiny: Tiny, home: Path
) -> None:
    checked(database, send(database, home, zip_of(tiny.adapter), name="mine"))
    (checkpoint,) = adapters(database)
    batch = launch(database, home, "mine")
    other = copy_adapter(tiny, home / "elsewhere")
    weights = other / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    Path(checkpoint.folder).rename(home / "moved")
    Path(checkpoint.folder).symlink_to(other)
    with pytest.raises(AdapterError, match="weights changed since it was registered"):
        generate.run(claimed(batch.job_id), never)
    assert texts(database) == {}


def test_what_a_run_here_has_written_is_recognised(database: Database, tiny: Tiny, home: Path) -> None:
    launch_tiny_batch(database, tiny, home)
    done = checked(database, send(database, home, zip_of(tiny.adapter, MANIFEST)))
    (checkpoint,) = adapters(database)
    assert done.checkpoint_id == checkpoint.id
    assert "cheese/epoch-2, which is here already" in done.notes


def test_a_check_that_was_stopped_can_be_made_again(
    database: Database, base: BaseModel, tiny: Tiny, home: Path
) -> None:
    sent = send(database, home, zip_of(tiny.adapter))
    first = claimed(sent.job_id)
    with pytest.raises(Cancelled):
        intake.run(first, lambda: True)
    with database.session_scope() as session:
        assert session.get_one(Intake, sent.id).state is IntakeState.WAITING
        first.end(session, JobState.CANCELLED)
    with database.session_scope() as session:
        jobs.retry(session, first.job_id, now=NOW)
    assert checked(database, sent).state is IntakeState.READY


def test_a_base_model_that_was_exchanged_fails_the_check_and_not_the_upload(
    database: Database, base: BaseModel, tiny: Tiny, home: Path
) -> None:
    exchanged = make_tiny_model(home / "exchanged", seed=1)
    with database.session_scope() as session:
        session.get_one(BaseModel, base.id).folder = str(exchanged)
    sent = send(database, home, zip_of(tiny.adapter))
    with pytest.raises(ConflictError, match="holds weights other than when it was added"):
        intake.run(claimed(sent.job_id), never)
    with database.session_scope(write=False) as session:
        assert session.get_one(Intake, sent.id).state is IntakeState.WAITING
    assert Path(sent.folder).exists()


def test_a_finished_check_is_not_made_twice(database: Database, base: BaseModel, tiny: Tiny, home: Path) -> None:
    sent = send(database, home, zip_of(tiny.adapter))
    first = claimed(sent.job_id)
    intake.run(first, never)
    first.give_back(reason="The process was killed right at the end.")
    intake.run(claimed(sent.job_id), never)
    assert len(adapters(database)) == 1
