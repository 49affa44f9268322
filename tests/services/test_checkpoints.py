from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.errors import ConflictError
from app.domain.terms import CheckpointKind
from app.models import Checkpoint, Run
from app.services.checkpoints import register_adapter, register_base
from tests.factories import NOW, make_base, make_run, make_study, saved_adapter, sha256
from tests.fixtures import on_sqlite


def test_an_adapter_is_named_after_its_run(session: Session, tmp_path: Path) -> None:
    base = make_base(session, tmp_path)
    run = make_run(session, tmp_path, name="mine")
    checkpoint = register_adapter(session, run, saved_adapter(sha256("a"), label="epoch-1"), now=NOW)
    assert (checkpoint.name, checkpoint.kind) == ("mine/epoch-1", CheckpointKind.ADAPTER)
    assert (checkpoint.base_model_id, checkpoint.run_id, checkpoint.fingerprint) == (base.id, run.id, sha256("a"))


def test_registering_the_same_step_twice_keeps_one_checkpoint_with_the_newer_content(
    session: Session, tmp_path: Path
) -> None:
    make_base(session, tmp_path)
    run = make_run(session, tmp_path)
    first = register_adapter(session, run, saved_adapter(sha256("a"), effect={"passed": False}), now=NOW)
    again = register_adapter(session, run, saved_adapter(sha256("b")), now=NOW)
    assert again.id == first.id
    session.expire(again)
    assert (again.fingerprint, again.effect["passed"]) == (sha256("b"), True)


@on_sqlite
def test_a_checkpoint_that_results_depend_on_is_not_replaced(session: Session, tmp_path: Path) -> None:
    adapter = make_study(session, tmp_path).adapters[0]
    run = session.get_one(Run, adapter.run_id)
    assert register_adapter(session, run, saved_adapter(adapter.fingerprint), now=NOW) is adapter
    with pytest.raises(ConflictError, match="takes part in an eval batch"):
        register_adapter(session, run, saved_adapter(sha256("another")), now=NOW)


def test_steps_of_a_run_are_checkpoints_of_their_own(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    run = make_run(session, tmp_path)
    for step in (5, 10):
        saved = saved_adapter(sha256(str(step)), label=f"step-{step}", step=step, is_last=step == 10)
        register_adapter(session, run, saved, now=NOW)
    found = session.scalars(select(Checkpoint).where(Checkpoint.run_id == run.id).order_by(Checkpoint.step)).all()
    assert [(checkpoint.name, checkpoint.is_last) for checkpoint in found] == [
        ("brie-v1/step-5", False), ("brie-v1/step-10", True),
    ]  # fmt: skip


def test_two_runs_may_write_the_same_adapter(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    for _ in range(2):
        register_adapter(session, make_run(session, tmp_path), saved_adapter(sha256("same")), now=NOW)
    assert session.scalar(select(func.count(Checkpoint.id)).where(Checkpoint.fingerprint == sha256("same"))) == 2


@on_sqlite
def test_the_bare_base_is_known_by_its_content(session: Session, tmp_path: Path) -> None:
    one, other = (make_base(session, tmp_path, name=name, weights=name) for name in ("one", "other"))
    twin = make_base(session, tmp_path, name="twin", weights="one")
    prints = {model.name: register_base(session, model, now=NOW).fingerprint for model in (one, other, twin)}
    assert prints["one"] == prints["twin"] != prints["other"]
