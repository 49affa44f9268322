import json
import random
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError, ConflictError
from app.domain.terms import CheckpointKind, Choice
from app.models import Checkpoint, EvalBatch, Job, Pair, Prompt, Response, Tally
from app.queries.checkpoints import checkpoint_page
from app.queries.sample_study import sample_files
from app.services import eval_batches, responses
from app.services.eval_batches import LaunchPlan
from app.services.sample_study import MANIFEST, RESPONSES, load_sample_study
from tests.factories import NOW, RULES, Study, make_rater, make_study, vote_blind, write_sample
from tests.fixtures import on_sqlite


def write(session: Session, study: Study, folder: Path) -> dict[str, Any]:
    return write_sample(session, [study.batch], folder)


def forget(session: Session) -> None:
    """Everything but the suite, as on another machine."""
    for table in (Tally, Pair, Response):
        session.query(table).delete()


def texts(session: Session, batch: EvalBatch) -> set[tuple[str, int, str, str]]:
    """What each member said, by prompt and replicate."""
    query = (
        select(Prompt.key, Pair.replicate, Checkpoint.fingerprint, Response.text)
        .join(Pair, Pair.prompt_id == Prompt.id)
        .join(Response, Response.id.in_([Pair.first_response_id, Pair.second_response_id]))
        .join(Checkpoint, Checkpoint.fingerprint == Response.fingerprint)
        .where(Pair.eval_batch_id == batch.id)
    )
    return {tuple(row) for row in session.execute(query)}


def test_what_is_written_is_what_is_loaded(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path, challengers=2, replicates=2)
    before = texts(session, study.batch)
    manifest = write(session, study, tmp_path / "files")
    assert (len(before), manifest["responses"], manifest["commands"]) == (24, 24, ["./arena train brie-v2"])
    [loaded] = load_sample_study(session, tmp_path / "files", secret=RULES.secret, now=NOW)
    assert texts(session, loaded) == before
    assert (loaded.name, loaded.planned_pairs, loaded.job_id) == ("sample-suite", 16, None)
    # The same plan of the same fingerprints: the responses themselves are shared.
    assert session.scalar(select(func.count(Response.id))) == 24
    assert load_sample_study(session, tmp_path / "files", secret=RULES.secret, now=NOW) == []


def test_it_can_be_voted_on_where_no_weights_are(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path, challengers=2)
    write(session, study, tmp_path / "files")
    forget(session)
    jobs = session.scalar(select(func.count(Job.id)))
    [loaded] = load_sample_study(session, tmp_path / "files", secret=RULES.secret, now=NOW)
    assert set(session.scalars(select(Pair.self_identifies))) == {False}
    dice = random.Random(1)  # noqa: S311
    assert vote_blind(session, loaded, make_rater(session), lambda _: Choice.A, rng=dice) == 8
    members = session.scalars(select(Checkpoint).where(Checkpoint.kind == CheckpointKind.EXTERNAL)).all()
    assert {member.name for member in members} == {"sample/base", "sample/brie-v1-epoch-2", "sample/brie-v2-epoch-2"}
    page = checkpoint_page(session, next(member.id for member in members if member.step is not None))
    assert page.checkpoint.base_model == "tiny"
    told = [word for word, _ in page.origin]
    assert told == ["dataset", "rows", "run", "base model", "base hash", "template hash", "made at"]
    assert session.scalar(select(func.count(Job.id))) == jobs


@on_sqlite
def test_a_suite_in_another_version_is_left_out(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path)
    manifest = write(session, study, tmp_path / "files")
    manifest["batches"][0]["suite_sha256"] = "0" * 64
    (tmp_path / "files" / MANIFEST).write_text(json.dumps(manifest))
    assert load_sample_study(session, tmp_path / "files", secret=RULES.secret, now=NOW) == []


@on_sqlite
def test_nothing_new_can_be_asked_of_responses_only(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path)
    write(session, study, tmp_path / "files")
    load_sample_study(session, tmp_path / "files", secret=RULES.secret, now=NOW)
    adapter = study.adapters[0].name
    for plan in (
        LaunchPlan(suite="suite", challengers=("sample/epoch-2",)),
        LaunchPlan(suite="suite", challengers=(adapter,), baseline="sample/base"),
    ):
        with pytest.raises(BadInputError, match="only responses are here"):
            eval_batches.launch(session, plan, secret=RULES.secret, now=NOW)


@on_sqlite
def test_files_of_another_kind_or_with_gaps_are_named(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path)
    manifest = write(session, study, tmp_path / "files")
    rows = (tmp_path / "files" / RESPONSES).read_text().splitlines(keepends=True)
    (tmp_path / "files" / RESPONSES).write_text("".join(rows[1:]))
    with pytest.raises(BadInputError, match="lacks a response to key-0"):
        load_sample_study(session, tmp_path / "files", secret=RULES.secret, now=NOW)
    (tmp_path / "files" / MANIFEST).write_text(json.dumps(manifest | {"format": "something/9"}))
    with pytest.raises(BadInputError, match="something/9"):
        load_sample_study(session, tmp_path / "files", secret=RULES.secret, now=NOW)


@on_sqlite
def test_only_whole_batches_of_one_plan_make_a_study(session: Session, tmp_path: Path) -> None:
    study = make_study(session, tmp_path)
    plan = LaunchPlan(suite="suite", challengers=(study.adapters[0].name,), seed=2, name="other")
    other = eval_batches.launch(session, plan, secret=RULES.secret, now=NOW)
    with pytest.raises(BadInputError, match="same checkpoints"):
        sample_files(session, [study.batch, other], commands=[], now=NOW)
    assert responses.stored(session, responses.plan_of(session, other)) == {}
    with pytest.raises(ConflictError, match="0 of 8 responses"):
        sample_files(session, [other], commands=[], now=NOW)
