"""Model cards: YAML that Hugging Face's own library reads, and nothing in them that the report does not say."""

import random
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import update
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError
from app.domain.terms import Choice
from app.models import Checkpoint, EvalBatch
from app.queries.lookup import base_of
from app.queries.model_card import model_card
from app.queries.report import report
from app.services import eval_batches
from app.web.filters import percent, span
from app.web.markdown_text import escaped
from app.web.model_card import card_of
from tests.factories import NOW, Study, make_rater, make_study, vote_blind
from tests.fixtures import database, on_sqlite, session

__all__ = ["database", "session"]
HOSTILE = 'a: "b" \\ #c\u2028---\x85é 🧀 <script>'


def voted(session: Session, folder: Path, *, challengers: int = 1, prompts: int = 12) -> Study:
    """A closed study in which the first adapter is preferred in two of three votes."""
    study = make_study(session, folder, prompts=prompts, challengers=challengers, allow_repeats=True)
    rng = random.Random(4)  # noqa: S311
    wins = random.Random(9)  # noqa: S311

    def pick(ballot: Any) -> Choice:
        challenger = Choice.B if ballot.text_b.startswith("Member 1") else Choice.A
        return challenger if wins.random() < 0.7 else Choice.TIE

    vote_blind(session, study.batch, make_rater(session, "ann"), pick, rng=rng)
    eval_batches.close(session, study.batch, now=NOW)
    session.flush()
    return study


def front(card: str) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with the train extra")
    head, block, _ = card.split("---\n", 2)
    assert head == ""
    told = yaml.safe_load(block)
    assert isinstance(told, dict)
    return told


def test_the_front_matter_says_what_the_report_says(session: Session, tmp_path: Path) -> None:
    study = voted(session, tmp_path)
    told = front(card_of(model_card(session, study.adapters[0].id)))
    assert told | {"model-index": 0} == {
        "base_model": "tiny", "library_name": "peft", "license": "unknown", "pipeline_tag": "text-generation",
        "tags": ["lora", "brie-arena", "sft"], "model-index": 0,
    }  # fmt: skip
    people = report(session, study.batch.id)["matchups"][0]["raters"]["all"]
    [model] = told["model-index"]
    [result] = model["results"]
    assert (model["name"], result["dataset"]["name"]) == ("brie-v1/epoch-2", "suite v1")
    assert result["dataset"]["revision"] == study.suite.sha256
    [metric] = result["metrics"]
    assert metric == {
        "type": "win_rate", "value": pytest.approx(people["win_rate"], abs=1e-4),
        "name": f"Preferred to tiny, fixed range {span(*people['fixed'])}",
    }  # fmt: skip


@on_sqlite
def test_hugging_face_reads_it(session: Session, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="comes with the train extra")
    study = voted(session, tmp_path)
    card = hub.ModelCard(card_of(model_card(session, study.adapters[0].id)), ignore_metadata_errors=False)
    [result] = card.data.eval_results
    assert (card.data.base_model, card.data.library_name, card.data.license) == ("tiny", "peft", "unknown")
    assert (result.metric_type, result.dataset_name, result.task_type) == ("win_rate", "suite v1", "text-generation")


def test_the_text_has_lineage_results_and_limits(session: Session, tmp_path: Path) -> None:
    study = voted(session, tmp_path, prompts=40)
    card = model_card(session, study.adapters[0].id)
    text = card_of(card)
    matchup = report(session, study.batch.id)["matchups"][0]
    for said in (
        study.adapters[0].fingerprint, card.data[0].sha256, study.base.weights_hash, "| lora.r | 8 |",
        escaped(matchup["fixed_sentence"]), "## Limits", "not what is true or safe",
    ):  # fmt: skip
        assert said in text
    inside = matchup["raters"]["domains"]["in-domain"]
    assert f"| {percent(inside['win_rate'])} | {span(*inside['fixed'])} |" in text
    assert text == card_of(model_card(session, study.adapters[0].id))


@on_sqlite
def test_each_adapter_has_its_own_results(session: Session, tmp_path: Path) -> None:
    study = voted(session, tmp_path, challengers=2)
    one, two = (card_of(model_card(session, adapter.id)) for adapter in study.adapters)
    assert "brie-v2/epoch-2" not in one
    assert "brie-v1/epoch-2" not in two


@on_sqlite
def test_open_batches_and_early_results_are_no_numbers(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path)
    text = card_of(model_card(session, study.adapters[0].id))
    assert "model-index" not in front(text)
    assert "No eval batch in which it took part has been closed yet." in text
    eval_batches.close(session, study.batch, now=NOW)
    text = card_of(model_card(session, study.adapters[0].id))
    assert "model-index" not in front(text)
    assert "Nobody voted on brie-v1/epoch-2 against tiny." in text


@on_sqlite
def test_a_name_can_do_nothing(session: Session, tmp_path: Path) -> None:
    study = voted(session, tmp_path)
    session.execute(update(Checkpoint).where(Checkpoint.id == study.adapters[0].id).values(name=HOSTILE))
    session.expire_all()
    text = card_of(model_card(session, study.adapters[0].id))
    assert front(text)["model-index"][0]["name"] == HOSTILE
    assert "<script>" not in text.replace(r"\<script\>", "").split("---\n", 2)[2]


@on_sqlite
def test_only_what_was_trained_here_has_a_card(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path)
    with pytest.raises(BadInputError, match="was not trained in this arena"):
        model_card(session, base_of(session, study.adapters[0]).id)


@on_sqlite
def test_the_page_of_the_checkpoint_hands_it_out(app: FastAPI, admin: TestClient, study: Study) -> None:
    here = f"/checkpoints/{study.adapters[0].id}"
    assert f'href="{here}/card.md"' in admin.get(here).text
    sent = admin.get(f"{here}/card.md")
    with app.state.database.session_scope(write=False) as session:
        assert sent.text == card_of(model_card(session, study.adapters[0].id))
        baseline = session.get_one(EvalBatch, study.batch.id).baseline_id
    assert sent.headers["Content-Disposition"] == 'attachment; filename="README.md"'
    assert admin.get(f"/checkpoints/{baseline}/card.md").status_code == 422
    assert "card.md" not in admin.get(f"/checkpoints/{baseline}").text
