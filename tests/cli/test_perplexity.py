"""``./arena perplexity``: what was measured is shown at once, what was not is queued."""

import json
from pathlib import Path

import pytest

from app.db import Database
from app.models import Checkpoint, Job
from app.services import perplexities
from app.services.datasets import import_dataset
from app.services.perplexities import Measured, MeasuredRow
from tests.command_line import Command
from tests.factories import NOW, finish_job, make_adapter, make_base, write_rows

NAME = "brie-v1/epoch-2"
BOTH = ["tiny", NAME]
ROWS = 12


@pytest.fixture(autouse=True)
def shelf(database: Database, tmp_path: Path) -> None:
    with database.session_scope() as session:
        make_base(session, tmp_path)
        make_adapter(session, tmp_path)
        rows = [{"prompt": f"q {number}", "completion": f"a {number}"} for number in range(ROWS)]
        train, validation = (write_rows(tmp_path / f"poems.{cut}.jsonl", rows[cut:]) for cut in (0, 1))
        import_dataset(
            session, train, validation_path=validation, artifacts=tmp_path / "artifacts", now=NOW, name="poems"
        )


def measure(database: Database) -> None:
    """What a worker would do with all that waits: the adapter fits better than its base."""
    with database.session_scope() as session:
        for job in session.query(Job).where(Job.kind == "perplexity").all():
            for row in perplexities.to_measure(session, job.id):
                factor = 1.0 if row.fingerprint == row.base_fingerprint else 0.8
                losses = [MeasuredRow(line, 5 + line, (5 + line) * (2 + line / 9) * factor) for line in range(ROWS)]
                perplexities.store(session, row.id, Measured(losses, 1, "cpu", "float32"), now=NOW)
            finish_job(session, job)


def test_it_is_queued_and_once_measured_shown_without_a_worker(database: Database, arena: Command) -> None:
    queued = json.loads(arena("perplexity", NAME, "poems", "--detach", "--json").out)
    assert [row["checkpoint"] for row in queued] == BOTH
    assert {row["perplexity"] for row in queued} == {None}
    measure(database)
    base, own = json.loads(arena("perplexity", NAME, "poems", "--json").out)
    assert own["perplexity"] < base["perplexity"] == own["base_perplexity"]
    assert own["interval"][0] < own["difference"] < own["interval"][1] < 0
    assert (own["dataset"], own["split"], own["rows"], own["skipped_rows"]) == ("poems v1", "validation", ROWS, 1)
    said = arena("perplexity", NAME, "poems")
    assert said.code == 0
    assert f"{NAME}: Lower than its base" in said.out
    assert "12 (1 too long)" in said.out


def test_every_checkpoint_of_a_run_at_once_and_the_base_alone(database: Database, arena: Command) -> None:
    with database.session_scope() as session:
        run_name = session.query(Checkpoint).where(Checkpoint.name == NAME).one().name.partition("/")[0]
    said = arena("perplexity", "poems", "--all-of", run_name, "--split", "train", "--detach", "--json")
    assert [row["checkpoint"] for row in json.loads(said.out)] == BOTH
    said = arena("perplexity", "base", "poems", "--split", "train", "--detach", "--json")
    assert [row["checkpoint"] for row in json.loads(said.out)] == ["tiny"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("poems",), "Name a checkpoint and a dataset"),
        (("absent", "poems"), "There is no checkpoint 'absent'"),
        ((NAME, "absent"), "There is no dataset 'absent'"),
        (("poems", "--all-of", "absent"), "There is no run 'absent'"),
        ((NAME, "poems", "--max-length", "3"), "the longest row has 8 to"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(arena: Command, arguments: tuple[str, ...], words: str) -> None:
    said = arena("perplexity", *arguments, "--detach")
    assert (said.code, words in said.err + said.out) == (1, True)
