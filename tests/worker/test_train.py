"""The training job, done in this process on a tiny model."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from app import jobs
from app.db import Database
from app.domain.errors import BadInputError, ConflictError, UnavailableError
from app.domain.recipes import read_recipe
from app.domain.terms import JobState, Split
from app.models import Checkpoint, Run, RunMetric
from app.queries.run_data import data_of
from app.services.datasets import import_dataset
from app.services.runs import launch_run
from tests.factories import NOW
from tests.fakes.tiny_model import write_conversations
from tests.fixtures import on_sqlite
from tests.tiny_arena import STEPS, Tiny, add_tiny_base, job_of, launch_tiny_run
from training import resume
from training.checkpoint import read_manifest, verify_checkpoint
from training.errors import Cancelled
from worker import train
from worker.claim import Claim, LostJobError, claim, requeue


@pytest.fixture
def run(database: Database, tiny: Tiny, home: Path) -> Run:
    with database.session_scope() as session:
        add_tiny_base(session, tiny)
        return launch_tiny_run(session, tiny, home)


def never() -> bool:
    return False


def after(questions: int) -> Callable[[], bool]:
    """Says stop when it was asked more often than this."""
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > questions

    return should_stop


def claimed(run: Run) -> Claim:
    assert run.job_id is not None
    taken = claim(run.job_id, worker="here")
    assert taken is not None
    return taken


def test_curves_lie_in_the_folder_of_the_run(database: Database, tiny: Tiny, home: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed: ./arena test installs it")
    recipe = read_recipe(tiny.recipe)
    content = {**recipe.content, "train": {**recipe.content["train"], "report_to": ["tensorboard"]}}
    with database.session_scope() as session:
        add_tiny_base(session, tiny)
        launch_tiny_run(session, tiny, home, name="plain")
        run = launch_run(session, replace(recipe, content=content), now=NOW, name="told")
    train.run(claimed(run), never)
    assert list((home / "artifacts" / "runs" / "told" / "tensorboard").glob("events.out.tfevents.*"))
    assert not (home / "artifacts" / "runs" / "plain").exists()


def read(database: Database, run_id: uuid.UUID) -> tuple[Run, list[RunMetric], list[Checkpoint]]:
    with database.session_scope(write=False) as session:
        metrics = select(RunMetric).where(RunMetric.run_id == run_id).order_by(RunMetric.step, RunMetric.split)
        checkpoints = select(Checkpoint).where(Checkpoint.run_id == run_id).order_by(Checkpoint.step)
        return (
            session.get_one(Run, run_id),
            list(session.scalars(metrics)),
            list(session.scalars(checkpoints)),
        )


def test_every_loss_and_every_checkpoint_is_stored(database: Database, run: Run, home: Path) -> None:
    taken = claimed(run)
    train.run(taken, never)
    stored, metrics, checkpoints = read(database, run.id)
    assert (stored.total_steps, stored.device) == (STEPS, "cpu")
    assert "the validation loss is still falling" in stored.notes
    assert stored.dtype in ("float32", "bfloat16")
    assert stored.trainable_parameters > 0
    assert stored.peak_memory_bytes > 0
    assert stored.preview is not None
    assert [row["line"] for row in stored.preview] == [1, 2, 3]
    assert {learned for _, learned in stored.preview[0]["pieces"]} == {True, False}
    steps = {split: [metric.step for metric in metrics if metric.split is split] for split in Split}
    assert steps == {Split.TRAIN: [1, 2, 3, 4], Split.VALIDATION: [0, 2, 4]}
    validation = [metric.loss for metric in metrics if metric.split is Split.VALIDATION]
    assert validation[-1] < validation[0]
    assert [(c.name, c.step, c.is_last) for c in checkpoints] == [
        ("cheese/epoch-1", 2, False),
        ("cheese/epoch-2", 4, True),
    ]
    for checkpoint in checkpoints:
        verify_checkpoint(Path(checkpoint.folder), checkpoint.fingerprint)
        assert read_manifest(Path(checkpoint.folder)).facts.run == "cheese"
        assert checkpoint.effect is not None
        assert checkpoint.effect["passed"] is True
        assert Path(checkpoint.folder).is_relative_to(home)
    assert checkpoints[-1].validation_loss == validation[-1]
    job = job_of(database, run)
    assert (job.state, job.done, job.total) == (JobState.RUNNING, STEPS, STEPS)


def test_a_run_that_is_stopped_keeps_what_it_learned(database: Database, run: Run) -> None:
    with pytest.raises(Cancelled, match="step-1 was saved"):
        train.run(claimed(run), after(2))  # one batch of the validation, one of the first step
    _, metrics, checkpoints = read(database, run.id)
    assert [(c.name, c.is_last, c.validation_loss) for c in checkpoints] == [("cheese/step-1", True, None)]
    assert [metric.step for metric in metrics if metric.split is Split.TRAIN] == [1]
    assert job_of(database, run).done == 1


def test_a_second_attempt_goes_on_and_leaves_one_set_of_losses(database: Database, run: Run, home: Path) -> None:
    """The same weights and losses as a run that nobody stopped."""
    first = claimed(run)
    with pytest.raises(Cancelled):
        train.run(first, after(4))
    first.give_back(reason="The worker was stopped.", counts=False)
    _, before, _ = read(database, run.id)
    told = {(metric.split, metric.step): metric.loss for metric in before}
    train.run(claimed(run), never)
    stored, metrics, checkpoints = read(database, run.id)
    assert len({(metric.split, metric.step) for metric in metrics}) == len(metrics) == STEPS + 3
    assert told
    assert told.items() <= {(metric.split, metric.step): metric.loss for metric in metrics}.items()
    assert {metric.id for metric in before} <= {metric.id for metric in metrics}  # those were not written anew
    assert {c.name for c in checkpoints} >= {"cheese/epoch-1", "cheese/epoch-2"}
    for checkpoint in checkpoints:
        verify_checkpoint(Path(checkpoint.folder), checkpoint.fingerprint)
    assert train.ANEW not in stored.notes
    assert list((home / "artifacts/runs/cheese").glob(f"*/{resume.FOLDER}")) == []


@on_sqlite
def test_interrupted_or_not_the_last_checkpoint_is_the_same(database: Database, tiny: Tiny, home: Path) -> None:
    with database.session_scope() as session:
        add_tiny_base(session, tiny)
        launched = [launch_tiny_run(session, tiny, home, name=name) for name in ("whole", "broken")]
    whole, broken = launched
    train.run(claimed(whole), never)
    for questions in (2, 2, 1):  # stopped in the middle of a step again and again
        taken = claimed(broken)
        with pytest.raises(Cancelled):
            train.run(taken, after(questions))
        taken.give_back(reason="The worker was stopped.", counts=False)
    train.run(claimed(broken), never)
    prints = [[c.fingerprint for c in read(database, one.id)[2] if c.is_last] for one in (whole, broken)]
    assert prints[0] == prints[1]


@on_sqlite
def test_an_attempt_that_cannot_go_on_starts_over_and_says_so(
    database: Database, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = claimed(run)
    with pytest.raises(Cancelled):
        train.run(first, after(4))
    first.give_back(reason="The worker was stopped.", counts=False)
    monkeypatch.setattr(resume, "version", lambda _package: "another")
    train.run(claimed(run), never)
    stored, metrics, _ = read(database, run.id)
    assert train.ANEW in stored.notes
    assert len({(metric.split, metric.step) for metric in metrics}) == len(metrics) == STEPS + 3


def test_an_attempt_that_lost_its_job_stops_and_stores_nothing_more(database: Database, run: Run) -> None:
    taken = claimed(run)

    def lose_it() -> bool:
        """After the first loss of the validation is stored, the sweep gives the job away."""
        with database.session_scope() as session:
            job = job_of(database, run)
            if job.attempt == taken.attempt and job.state is JobState.RUNNING:
                requeue(session, session.get_one(type(job), job.id), reason="silence", now=NOW)
        return False

    with pytest.raises(LostJobError):
        train.run(taken, lose_it)
    _, metrics, checkpoints = read(database, run.id)
    assert (metrics, checkpoints) == ([], [])
    assert job_of(database, run).state is JobState.QUEUED


@on_sqlite
def test_rows_that_were_left_out_are_noted_with_the_run(database: Database, tiny: Tiny, home: Path) -> None:
    long = tiny.recipe.read_text(encoding="utf-8") + "max_length = 69\n"
    (home / "short.toml").write_text(long, encoding="utf-8")
    with database.session_scope() as session:
        add_tiny_base(session, tiny)
        launch_tiny_run(session, tiny, home, name="other")
        run = launch_run(session, read_recipe(home / "short.toml"), now=NOW, name="short")
    train.run(claimed(run), never)
    stored, metrics, _ = read(database, run.id)
    assert "cheese v1: 1 row is longer than max_length = 69 tokens and was left out (line 4)" in stored.notes
    assert metrics


@on_sqlite
def test_what_is_wrong_with_a_dataset_is_said_by_its_name(database: Database, tiny: Tiny, home: Path) -> None:
    (home / "short.toml").write_text(tiny.recipe.read_text(encoding="utf-8") + "max_length = 16\n", encoding="utf-8")
    with database.session_scope() as session:
        add_tiny_base(session, tiny)
        launch_tiny_run(session, tiny, home, name="other")
        run = launch_run(session, read_recipe(home / "short.toml"), now=NOW, name="short")
    with pytest.raises(BadInputError, match=r"^cheese v1: every row is longer than max_length = 16 tokens\.$"):
        train.run(claimed(run), never)


def test_a_run_learns_from_several_datasets(database: Database, tiny: Tiny, home: Path) -> None:
    notes = write_conversations(home / "notes.jsonl", 6, first=100)
    with database.session_scope() as session:
        add_tiny_base(session, tiny)
        launch_tiny_run(session, tiny, home, name="other")
        import_dataset(
            session, notes, validation_path=tiny.validation_file, artifacts=home / "artifacts", now=NOW, name="notes"
        )
        run = launch_run(session, read_recipe(tiny.recipe), mix={"cheese": 1.5, "notes": 1.0}, now=NOW, name="both")
    train.run(claimed(run), never)
    stored, _, checkpoints = read(database, run.id)
    assert [(row["line"], row["source"]) for row in stored.preview or ()] == [
        (1, "cheese@1"),
        (1, "notes@1"),
        (2, "cheese@1"),
    ]
    assert stored.total_steps == 12  # 6 and 6 rows an epoch, two in a batch, two epochs
    with database.session_scope(write=False) as session:
        parts = data_of(session, run.id)
        hashes = {
            f"{part.dataset.name}@1/{split}": getattr(part.dataset, field)
            for part in parts
            for split, field in (("train", "sha256"), ("validation", "validation_sha256"))
        }
    assert read_manifest(Path(checkpoints[-1].folder)).facts.datasets == hashes
    assert [part.label for part in parts] == ["cheese v1 x1.5", "notes v1"]
    Path(parts[1].dataset.path).write_text("changed", encoding="utf-8")
    with pytest.raises(ConflictError, match="frozen file of dataset notes v1"):
        train.run(claimed(launched_again(database, tiny)), never)


def launched_again(database: Database, tiny: Tiny) -> Run:
    with database.session_scope() as session:
        mix = {"cheese": 1.0, "notes": 1.0}
        return launch_run(session, read_recipe(tiny.recipe), mix=mix, now=NOW, name="again")


@on_sqlite
@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_recipe_says_which_checkpoints_are_left(database: Database, tiny: Tiny, home: Path, keep: str) -> None:
    (home / "one.toml").write_text(tiny.recipe.read_text(encoding="utf-8") + f'keep = "{keep}"\n', encoding="utf-8")
    with database.session_scope() as session:
        add_tiny_base(session, tiny)
        launch_tiny_run(session, tiny, home, name="other")
        run = launch_run(session, read_recipe(home / "one.toml"), now=NOW, name="one")
    train.run(claimed(run), never)
    stored, _, checkpoints = read(database, run.id)
    assert [(one.name, one.is_last) for one in checkpoints] == [("one/epoch-2", True)]  # also the best of the two
    assert [folder.name for folder in Path(checkpoints[0].folder).parent.glob("*epoch*")] == ["epoch-2"]
    verify_checkpoint(Path(checkpoints[0].folder), checkpoints[0].fingerprint)
    assert f"keeps the {keep} checkpoint only, one/epoch-1 went when the run was done" in stored.notes


@on_sqlite
def test_a_recipe_that_cannot_be_used_fails_before_anything_is_written(
    database: Database, tiny: Tiny, home: Path
) -> None:
    from training.errors import RecipeError  # noqa: PLC0415

    (home / "odd.toml").write_text(tiny.recipe.read_text(encoding="utf-8") + "learning_rat = 1\n", encoding="utf-8")
    with database.session_scope() as session:
        add_tiny_base(session, tiny)
        launch_tiny_run(session, tiny, home, name="other")
        run = launch_run(session, read_recipe(home / "odd.toml"), now=NOW, name="odd")
    with pytest.raises(RecipeError, match=r"unknown key train\.learning_rat"):
        train.run(claimed(run), never)
    assert not (home / "artifacts/runs").exists()


@on_sqlite
def test_a_base_model_that_is_gone_is_one_sentence(database: Database, tiny: Tiny, home: Path, run: Run) -> None:
    with database.session_scope() as session:
        from app.models import BaseModel  # noqa: PLC0415

        model = session.get_one(BaseModel, run.base_model_id)
        model.folder = str(home / "gone")
    with pytest.raises(UnavailableError, match=r"tiny is not on this machine\. Get it with `\./arena models add "):
        train.run(claimed(run), never)


@on_sqlite
def test_a_cancelled_run_can_be_tried_again(database: Database, run: Run) -> None:
    taken = claimed(run)
    with pytest.raises(Cancelled):
        train.run(taken, after(2))
    with database.session_scope() as session:
        taken.end(session, JobState.CANCELLED)
    with database.session_scope() as session:
        assert run.job_id is not None
        jobs.retry(session, run.job_id, now=NOW)
    train.run(claimed(run), never)
    _, _, checkpoints = read(database, run.id)
    assert [c.name for c in checkpoints] == ["cheese/step-1", "cheese/epoch-1", "cheese/epoch-2"]
    assert [c.name for c in checkpoints if c.is_last] == ["cheese/epoch-2"]
