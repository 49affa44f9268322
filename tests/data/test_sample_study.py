"""The sample study that ships fits the suites and conversations that ship, and its card tells its numbers."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.cli.sample import card_table
from app.config import DATA
from app.domain.terms import CheckpointKind
from app.models import Checkpoint, EvalBatch, Pair, Response
from app.queries.sample_study import sample_numbers
from app.services.sample_study import MANIFEST, RESPONSES
from app.services.shipped import import_shipped
from tests.factories import NOW, RULES
from tests.fixtures import database, session

__all__ = ["database", "session"]
FOLDER = DATA / "sample_study"


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / MANIFEST).read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def responses() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / RESPONSES).read_text(encoding="utf-8").splitlines()]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_it_was_trained_on_the_conversations_that_ship(manifest: dict[str, Any]) -> None:
    [training] = manifest["training"]
    assert training["sha256"] == sha256(DATA / "sft/brie.train.jsonl")
    assert training["validation_sha256"] == sha256(DATA / "sft/brie.val.jsonl")
    assert training["run"] == "brie-v2"


def test_it_answers_the_suites_that_ship(manifest: dict[str, Any]) -> None:
    assert {batch["suite"]: batch["suite_sha256"] for batch in manifest["batches"]} == {
        path.stem: sha256(path) for path in (DATA / "suites").glob("*.jsonl")
    }


def test_both_epochs_learned_and_were_heard(manifest: dict[str, Any]) -> None:
    base, first, second = manifest["checkpoints"]
    assert (base["name"], first["name"], second["name"]) == ("base", "epoch-1", "epoch-2")
    assert manifest["base_model"]["validation_loss"] - first["validation_loss"] > 0.2
    assert manifest["base_model"]["validation_loss"] - second["validation_loss"] > 0.2
    assert first["effect"]["passed"] is second["effect"]["passed"] is True
    assert len({one["fingerprint"] for one in manifest["checkpoints"]}) == 3


def test_the_cards_tell_the_numbers(manifest: dict[str, Any], responses: list[dict[str, Any]]) -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "\n".join(card_table(sample_numbers(manifest, responses))) in card
    assert all(command in card for command in manifest["commands"])
    of_data = (DATA / "sft/brie.card.md").read_text(encoding="utf-8")
    for row in sample_numbers(manifest, responses):
        assert f"| {row['validation_loss']} | {row['perplexity']} |" in of_data, row["checkpoint"]


def test_it_loads_whole_at_the_first_start(
    session: Session, tmp_path: Path, responses: list[dict[str, Any]], manifest: dict[str, Any]
) -> None:
    import_shipped(session, data=DATA, artifacts=tmp_path, base_model="", secret=RULES.secret, now=NOW)
    names = session.scalars(select(EvalBatch.name).order_by(EvalBatch.name)).all()
    assert names == sorted(batch["name"] for batch in manifest["batches"])
    of_study = select(Checkpoint.id).where(Checkpoint.kind != CheckpointKind.CONTROL)
    stored = session.scalar(select(func.count(Response.id)).where(Response.checkpoint_id.in_(of_study)))
    assert stored == len(responses) == manifest["responses"] == 255
    assert session.scalar(select(func.count(Pair.id))) == 170
    kinds = session.scalars(select(Checkpoint.kind).where(Checkpoint.id.in_(of_study))).all()
    assert kinds == [CheckpointKind.EXTERNAL] * 3
    wanted = session.execute(select(func.sum(EvalBatch.planned_pairs * EvalBatch.votes_per_pair))).scalar_one()
    assert wanted >= 200  # enough for a simulation of two hundred votes
