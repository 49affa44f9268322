"""A trial, done in this process on a tiny model."""

from pathlib import Path

import pytest
from sqlalchemy import select

from app.db import Database
from app.domain.errors import BadInputError, NotFoundError
from app.domain.sampling import Sampling
from app.domain.terms import CheckpointKind, JobState
from app.models import Checkpoint, Job, Trial
from app.services import accounts, trials
from tests.factories import NOW
from tests.fixtures import on_sqlite
from tests.tiny_arena import Tiny, copy_adapter, launch_tiny_batch
from training import sampling
from training.errors import AdapterError, Cancelled
from training.generate import LocalEngine, Request
from worker import trial
from worker.claim import Claim, claim

pytestmark = on_sqlite
SETTINGS = Sampling(max_new_tokens=24)


def never() -> bool:
    return False


@pytest.fixture
def checkpoints(database: Database, tiny: Tiny, home: Path) -> list[Checkpoint]:
    """The bare base and an adapter in a folder of its own."""
    launch_tiny_batch(database, tiny, home, adapter=copy_adapter(tiny, home / "adapter"))
    with database.session_scope(write=False) as session:
        kinds = (CheckpointKind.BASE, CheckpointKind.ADAPTER)
        return list(session.scalars(select(Checkpoint).where(Checkpoint.kind.in_(kinds)).order_by(Checkpoint.kind)))


def started(
    database: Database, checkpoints: list[Checkpoint], prompt: str = "what is cheese?", settings: Sampling = SETTINGS
) -> Claim:
    with database.session_scope() as session:
        asked = trials.Asked(prompt, tuple(one.id for one in checkpoints), settings, seed=3)
        job_id = trials.start(session, accounts.the_admin(session, now=NOW), asked, now=NOW).job_id
    assert job_id is not None
    taken = claim(job_id, worker="here")
    assert taken is not None
    return taken


def stored(database: Database, taken: Claim) -> Trial:
    with database.session_scope(write=False) as session:
        return session.get_one(Trial, taken.subject_id)


def test_each_checkpoint_says_what_it_says_alone(database: Database, checkpoints: list[Checkpoint], tiny: Tiny) -> None:
    taken = started(database, checkpoints)
    trial.run(taken, never)
    engine = LocalEngine(tiny.base, {"adapter": tiny.adapter}, device="cpu")
    settings = sampling.Sampling(**vars(SETTINGS))
    messages = ({"role": "user", "content": "what is cheese?"},)
    expected = [
        next(engine.generate([Request("k", name, messages, 3)], settings, batch_size=1))
        for name in ("adapter" if one.kind is CheckpointKind.ADAPTER else None for one in checkpoints)
    ]
    assert stored(database, taken).texts == [
        {"text": one.text, "tokens": one.token_count, "finish_reason": one.finish_reason} for one in expected
    ]
    assert len({one.text for one in expected}) == 2


def test_what_was_said_before_the_stop_stays(database: Database, checkpoints: list[Checkpoint]) -> None:
    taken = started(database, checkpoints, settings=Sampling(temperature=0, max_new_tokens=2000))
    asked = iter([False] * 9)
    with pytest.raises(Cancelled):
        trial.run(taken, lambda: next(asked, True))
    said = stored(database, taken).texts
    assert [text["tokens"] for text in said if not text["finish_reason"]]
    assert all(text["text"] for text in said)
    assert max(text["tokens"] for text in said) == 10


def test_texts_are_written_while_they_grow(
    database: Database, checkpoints: list[Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_WRITE_SECONDS", 0)
    taken = started(database, checkpoints)
    seen: list[list[str]] = []

    def look() -> bool:
        seen.append([text["text"] for text in stored(database, taken).texts])
        return False

    trial.run(taken, look)
    whole = [text["text"] for text in stored(database, taken).texts]
    for earlier, later in zip(seen, [*seen[1:], whole], strict=True):
        assert all(more.startswith(text) for text, more in zip(earlier, later, strict=True))
    assert len({tuple(texts) for texts in seen}) > 5


def test_a_prompt_that_does_not_fit_is_said(database: Database, checkpoints: list[Checkpoint]) -> None:
    with pytest.raises(BadInputError, match="cannot be put to the model: the prompt has"):
        trial.run(started(database, checkpoints, prompt="x" * 5000), never)


def test_weights_that_changed_are_not_tried(database: Database, checkpoints: list[Checkpoint], home: Path) -> None:
    weights = home / "adapter/adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(AdapterError, match="weights changed since it was registered"):
        trial.run(started(database, checkpoints), never)


def test_a_trial_that_was_forgotten_ends(database: Database, checkpoints: list[Checkpoint]) -> None:
    taken = started(database, checkpoints)
    with database.session_scope() as session:
        session.delete(session.get_one(Trial, taken.subject_id))
    with pytest.raises(NotFoundError, match="has been forgotten"):
        trial.run(taken, never)
    with database.session_scope(write=False) as session:
        assert session.get_one(Job, taken.job_id).state is JobState.RUNNING
