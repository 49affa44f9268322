"""An arena with a real, if tiny, base model and an adapter trained on it, ready to train and to launch."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from app.db import Database
from app.domain.recipes import read_recipe
from app.domain.sampling import Sampling
from app.domain.terms import CheckpointKind, JobState
from app.models import BaseModel, Checkpoint, EvalBatch, Job, Pair, Response, Run
from app.services import eval_batches
from app.services.base_models import Fetched, add_base_model, fetch_base_model, mark_ready
from app.services.checkpoints import SavedAdapter, register_adapter
from app.services.datasets import import_dataset
from app.services.eval_batches import LaunchPlan
from app.services.runs import launch_run
from tests.factories import NOW, RULES, finish_job, make_suite
from tests.fakes.tiny_model import make_tiny_model, write_conversations

RECIPE = """
name = "cheese"
kind = "sft"
base_model = "tiny"
dataset = "cheese"
[lora]
r = 4
lora_alpha = 8
[train]
num_train_epochs = 2
per_device_train_batch_size = 2
learning_rate = 1e-2
"""
STEPS = 4
"""Of the recipe on the four rows of the training file."""


@dataclass(frozen=True)
class Tiny:
    """A base model, the files to train on it, and the folder of an adapter that was."""

    folder: Path

    @property
    def base(self) -> Path:
        return self.folder / "tiny"

    @property
    def train_file(self) -> Path:
        return self.folder / "cheese.train.jsonl"

    @property
    def validation_file(self) -> Path:
        return self.folder / "cheese.val.jsonl"

    @property
    def recipe(self) -> Path:
        return self.folder / "cheese.toml"

    @property
    def adapter(self) -> Path:
        return self.folder / "runs/epoch-2"


def make_tiny(folder: Path) -> Tiny:
    """Write the base model and the files and train the adapter. A second or two."""
    from training.config import load_recipe  # noqa: PLC0415 (torch, which most tests can do without)
    from training.sft import train  # noqa: PLC0415

    tiny = Tiny(folder)
    make_tiny_model(tiny.base)
    write_conversations(tiny.train_file, 4)
    write_conversations(tiny.validation_file, 2, first=50)
    tiny.recipe.write_text(RECIPE, encoding="utf-8")
    train(
        load_recipe(tiny.recipe),
        tiny.base,
        tiny.train_file,
        tiny.validation_file,
        tiny.adapter.parent,
        run_name="cheese",
        device="cpu",
    )
    return tiny


def add_tiny_base(session: Session, tiny: Tiny) -> BaseModel:
    """The base model as a worker would have registered it: ready, in its own folder, with its real hashes."""
    from training.base import hash_base  # noqa: PLC0415

    model = add_base_model(session, str(tiny.base), now=NOW, name="tiny")
    hashes = hash_base(tiny.base)
    finish_job(session, fetch_base_model(session, model, now=NOW))
    known = Fetched("tiny", str(tiny.base), "", hashes.weights, hashes.tokenizer, hashes.chat_template, 100_000)
    mark_ready(session, model, known, now=NOW)
    return model


def launch_tiny_run(session: Session, tiny: Tiny, home: Path, name: str = "cheese") -> Run:
    """A queued training of the recipe on the base model, which must be there."""
    import_dataset(
        session,
        tiny.train_file,
        validation_path=tiny.validation_file,
        artifacts=home / "artifacts",
        now=NOW,
        name="cheese",
    )
    return launch_run(session, read_recipe(tiny.recipe), now=NOW, name=name)


def add_tiny_adapter(session: Session, tiny: Tiny, home: Path, folder: Path | None = None) -> Checkpoint:
    """Base model, run and the adapter that it trained, or a copy of its folder."""
    from training.checkpoint import read_manifest  # noqa: PLC0415

    manifest = read_manifest(tiny.adapter)
    add_tiny_base(session, tiny)
    run = launch_tiny_run(session, tiny, home)
    finish_job(session, session.get_one(Job, run.job_id))
    saved = SavedAdapter(
        label=manifest.facts.name,
        folder=str(folder or tiny.adapter),
        fingerprint=manifest.fingerprint,
        step=manifest.facts.step,
        epoch=manifest.facts.epoch,
        is_last=True,
        size_bytes=1,
        validation_loss=manifest.facts.validation_loss,
        effect=dict(manifest.facts.effect),
    )
    return register_adapter(session, run, saved, now=NOW)


def launch_tiny_batch(
    database: Database,
    tiny: Tiny,
    home: Path,
    *,
    prompts: int = 4,
    replicates: int = 1,
    max_new_tokens: int = 16,
    adapter: Path | None = None,
    placebo_pairs: int = 0,
) -> EvalBatch:
    """Base model, adapter (a copy of its folder may be named), suite, and an eval batch that waits for its worker.

    The same arguments give the same plan and so the same texts in any database.
    """
    with database.session_scope() as session:
        checkpoint = add_tiny_adapter(session, tiny, home, adapter)
        suite = make_suite(session, home, prompts)
        plan = LaunchPlan(
            suite=suite.name,
            challengers=(checkpoint.name,),
            sampling=Sampling(max_new_tokens=max_new_tokens),
            replicates=replicates,
            placebo_pairs=placebo_pairs,
        )
        return eval_batches.launch(session, plan, secret=RULES.secret, now=NOW)


def copy_adapter(tiny: Tiny, folder: Path) -> Path:
    """The adapter in a folder of its own, for tests that spoil it."""
    return Path(shutil.copytree(tiny.adapter, folder))


def job_of(database: Database, made: EvalBatch | Run) -> Job:
    """The job of a batch or a run as it is now."""
    with database.session_scope(write=False) as session:
        return session.get_one(Job, made.job_id)


def ended(database: Database, made: EvalBatch | Run) -> bool:
    """Whether its job has ended, well or badly."""
    return job_of(database, made).state not in (JobState.QUEUED, JobState.RUNNING)


def texts(database: Database) -> dict[tuple[int, str], tuple[str, str]]:
    """All responses that were generated: seed and checkpoint to id and text. Fails if one is there twice."""
    with database.session_scope(write=False) as session:
        generated = session.query(Response).join(Checkpoint, Checkpoint.id == Response.checkpoint_id)
        rows = generated.filter(Checkpoint.kind != CheckpointKind.CONTROL).all()
        found = {(row.seed, row.fingerprint): (str(row.id), row.text) for row in rows}
        assert len(found) == len(rows)
        return found


def pair_count(database: Database, batch: EvalBatch) -> int:
    """How many pairs the batch has; fails if one is there twice."""
    with database.session_scope(write=False) as session:
        pairs = session.query(Pair).where(Pair.eval_batch_id == batch.id).all()
        assert len({(pair.prompt_id, pair.replicate) for pair in pairs}) == len(pairs)
        return len(pairs)
