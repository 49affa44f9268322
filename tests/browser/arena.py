"""The data behind a page, made through the services of the arena, as a worker and its voters would."""

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import jobs
from app.config import DATA, Settings
from app.db import Database
from app.domain.recipes import find_recipe
from app.domain.terms import (
    CheckpointKind,
    Choice,
    FinishReason,
    JobState,
    LineKind,
    Order,
    Outcome,
    PairKind,
    Queue,
    Split,
    VoterKind,
)
from app.models import Ballot, BaseModel, Checkpoint, Dataset, EvalBatch, Job, Pair, Run, Suite, Verdict, Voter, Worker
from app.services import (
    accounts,
    assignment,
    base_models,
    canaries,
    datasets,
    eval_batches,
    responses,
    runs,
    suites,
    voting,
)
from app.services.checkpoints import SavedAdapter, register_adapter
from app.services.responses import Generated, Planned
from app.services.run_log import say
from app.services.runs import Metric
from app.setup.state import SetupPhase, SetupState, write_state
from tests.factories import import_control_pairs

Writer = Callable[[int, bool], str]
"""(number of the prompt, whether the baseline writes) → its response."""

Prompts = Sequence[str | list[dict[str, str]]]
CHOICES = {
    (Order.FIRST_IS_A, Outcome.FIRST): Choice.A,
    (Order.FIRST_IS_A, Outcome.SECOND): Choice.B,
    (Order.SECOND_IS_A, Outcome.FIRST): Choice.B,
    (Order.SECOND_IS_A, Outcome.SECOND): Choice.A,
}


SCRIPT = "script-7"
"""A voter that is no person."""


def two_texts(number: int, baseline: bool) -> str:
    """A short response that differs between baseline and challenger."""
    return f"{'The first' if baseline else 'The other'} text on prompt {number}."


@dataclass
class Arena:
    """One arena's database and folder, and the hands that fill it."""

    settings: Settings
    rng: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311 - tests want the same texts

    def __post_init__(self) -> None:
        self.settings.home.mkdir(parents=True, exist_ok=True)
        self.database = Database.at(self.settings.database)
        self.setup(SetupPhase.READY)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        with self.database.session_scope() as session:
            yield session

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    def setup(self, phase: SetupPhase, message: str = "", step: str = "") -> None:
        log = str(self.settings.home / "setup.log")
        write_state(self.settings.home, SetupState(state=phase, step=step, message=message, log=log))

    def entry_path(self) -> str:
        """The path of a fresh link that signs an admin in."""
        with self.writing() as session:
            admin = accounts.the_admin(session, now=self.now)
            return f"/enter/{accounts.make_entry_link(session, admin, now=self.now)}"

    def shipped_suite(self, name: str = "brie-comprehensive") -> Suite:
        with self.writing() as session:
            return suites.import_suite(session, DATA / f"suites/{name}.jsonl", now=self.now)

    def suite(self, name: str, prompts: Prompts, category: str = "coding") -> Suite:
        """A suite of one category; half of it in the domain if there are two prompts or more."""
        rows: list[dict[str, Any]] = [{"suite": name, "title": name, "description": f"{len(prompts)} prompts."}]
        for number, prompt in enumerate(prompts):
            domain = "in_domain" if number % 2 == 0 else "out_of_domain"
            words = {"prompt": prompt} if isinstance(prompt, str) else {"messages": prompt}
            rows.append({"key": f"{name}-{number}", "category": category, "domain": domain, **words})
        path = self.settings.home / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        with self.writing() as session:
            return suites.import_suite(session, path, now=self.now)

    def control_pairs(self) -> None:
        """The gold and canary pairs that ship."""
        with self.writing() as session:
            import_control_pairs(session)

    def canaries(self, batch: EvalBatch, wanted: Outcome) -> None:
        """A pass of the canary script on whose votes this outcome arrives."""
        rules = assignment.Rules(
            secret=self.settings.secret_key(), lease=timedelta(hours=1), grace=timedelta(minutes=2)
        )
        with self.writing() as session:
            seat = canaries.begin(session, session.get_one(EvalBatch, batch.id), now=self.now)
            script = session.get_one(Voter, seat.voter_id)
            while (
                ballot := assignment.issue(session, batch.id, script, rules=rules, now=self.now, rng=self.rng)
            ) is not None:
                choice = CHOICES[ballot.order, wanted]
                voting.cast(session, ballot.id, script, choice, rules=rules, now=self.now)
            canaries.end(session, seat, now=self.now)

    def vote_on_everything(self, batch: EvalBatch, voter: str, wanted: Callable[[PairKind], Outcome] | None) -> None:
        """Votes by kind of pair, or always for side A, until nothing is left for this voter."""
        rules = assignment.Rules(
            secret=self.settings.secret_key(), lease=timedelta(hours=1), grace=timedelta(minutes=2)
        )
        with self.writing() as session:
            who = self.rater(session, voter)
            while (
                ballot := assignment.issue(session, batch.id, who, rules=rules, now=self.now, rng=self.rng)
            ) is not None:
                choice = Choice.A
                if wanted is not None:
                    outcome = wanted(session.get_one(Pair, ballot.pair_id).kind)
                    choice = CHOICES.get((ballot.order, outcome), Choice.TIE)
                voting.cast(session, ballot.id, who, choice, rules=rules, now=self.now)

    def dataset(self) -> Dataset:
        with self.writing() as session:
            return datasets.import_dataset(
                session, DATA / "sft/brie.train.jsonl", artifacts=self.settings.artifacts, now=self.now,
                validation_path=DATA / "sft/brie.val.jsonl",
            )  # fmt: skip

    def base_model(self, name: str = "smollm2-135m", error: str = "") -> BaseModel:
        """A base model whose weights are here, or could not be brought here."""
        folder = self.settings.artifacts / "base_models" / name
        folder.mkdir(parents=True)
        with self.writing() as session:
            wanted = name if name == "smollm2-135m" else str(folder)
            model = base_models.add_base_model(session, wanted, name=name, now=self.now)
            job = session.scalars(select(Job).where(Job.subject_id == model.id)).one()
            if error:
                base_models.mark_failed(model, error)
                jobs.finish(session, job, JobState.FAILED, now=self.now, error=error)
                return model
            hashes = [random.Random(f"{name} {part}").randbytes(32).hex() for part in range(3)]  # noqa: S311
            fetched = base_models.Fetched(name, str(folder), "main", *hashes, parameters=134_515_008)
            base_models.mark_ready(session, model, fetched, now=self.now)
            jobs.finish(session, job, JobState.DONE, now=self.now)
            return model

    def worker(self) -> None:
        """A worker that is alive for both queues."""
        with self.writing() as session:
            for queue in Queue:
                session.add(
                    Worker(name=f"reading-room:{queue}", queue=queue, started_at=self.now,
                           heartbeat_at=self.now + timedelta(hours=1))
                )  # fmt: skip

    def run(self, name: str = "", recipe: str = "brie-v2") -> Run:
        """A queued run."""
        with self.writing() as session:
            return runs.launch_run(session, find_recipe(DATA / "recipes", recipe), now=self.now, name=name)

    def train(self, run: Run, losses: Sequence[float], validation: dict[int, float], *, steps: int) -> None:
        """What a worker reports on the way: training losses from step 1 on, validation losses by step."""
        with self.writing() as session:
            stored = session.get_one(Run, run.id)
            runs.begin(session, stored, device="cuda (NVIDIA H200)", dtype="bfloat16", total_steps=steps,
                       trainable_parameters=4_884_480)  # fmt: skip
            stored.peak_memory_bytes = 2_400_000_000
            train = [
                Metric(
                    Split.TRAIN, step, step / steps * 2, loss, 4e-4 * (1 - step / steps), 5412.0 + 40 * (step % 7),
                    tokens=940 * step, memory_bytes=2_100_000_000 + 5_000_000 * min(step, 60),
                )
                for step, loss in enumerate(losses, 1)
            ]  # fmt: skip
            checked = [
                Metric(Split.VALIDATION, step, step / steps * 2, loss, tokens=940 * step)
                for step, loss in validation.items()
            ]
            said = [(LineKind.TOLD, f"training 4,884,480 parameters on cuda in bfloat16: {steps} steps over 480 rows")]
            said += [
                (LineKind.TOLD, f"step {one.step} (epoch {one.epoch:.2f}): loss {one.loss:.4f}, 5412 tokens/s, 2.4 GB")
                for one in train[:: max(1, len(train) // 20)]
            ]
            said += [(LineKind.WARNING, "3 rows of the training file are longer than max_length = 1024 tokens")]
            say(session, stored, [(self.now, kind, text) for kind, text in said])
            runs.record(session, stored, train + checked, now=self.now)
            self.working(session, stored.job_id, done=len(losses), total=steps, eta_seconds=372.0)

    def working(self, session: Session, job_id: object, *, done: int, total: int, eta_seconds: float) -> Job:
        """A worker has this job and is so far."""
        job = session.get_one(Job, job_id)
        job.state, job.attempt, job.worker = JobState.RUNNING, 1, "reading-room:1"
        job.started_at, job.heartbeat_at = self.now - timedelta(minutes=4), self.now + timedelta(hours=1)
        job.done, job.total, job.eta_seconds = done, total, eta_seconds
        return job

    def end(self, job_id: object, state: JobState = JobState.DONE, error: str = "") -> None:
        with self.writing() as session:
            job = session.get_one(Job, job_id)
            job.started_at = job.started_at or self.now - timedelta(minutes=4)
            job.attempt = max(job.attempt, 1)
            if state is JobState.DONE:
                job.done = job.total
            jobs.finish(session, job, state, now=self.now, error=error)

    def checkpoint(
        self,
        run: Run,
        label: str,
        step: int,
        *,
        is_last: bool,
        passed: bool = True,
        validation_loss: float | None = None,
    ) -> Checkpoint:
        """An adapter that the run wrote."""
        loss = 2.41 if validation_loss is None else validation_loss
        effect = {"passed": passed, "kl_mean": 0.0712 if passed else 0.0, "kl_max": 1.9, "delta_norm": 3.21,
                  "reason": "" if passed else "the mean KL to its base is 0"}  # fmt: skip
        saved = SavedAdapter(
            label=label,
            folder=str(self.settings.artifacts / "runs" / run.name / label),
            fingerprint=random.Random(f"{run.name} {label}").randbytes(32).hex(),  # noqa: S311
            step=step,
            epoch=1.0 if not is_last else 2.0,
            is_last=is_last,
            size_bytes=19_584_000,
            validation_loss=loss,
            effect=effect,
        )
        with self.writing() as session:
            return register_adapter(session, session.get_one(Run, run.id), saved, now=self.now)

    def two_checkpoints(self) -> str:
        """A ready base model and a finished run on it; returns the name of the run's last checkpoint."""
        with self.database.session_scope(write=False) as session:
            there = session.scalar(select(Checkpoint.name).where(Checkpoint.kind == CheckpointKind.ADAPTER))
        if there is not None:
            return there
        self.base_model()
        self.dataset()
        run = self.run()
        self.end(run.job_id)
        return self.checkpoint(run, "epoch-2", 60, is_last=True).name

    def batch(self, suite: str, *challengers: str, name: str = "", **plan: Any) -> EvalBatch:
        """A launched eval batch; the responses are still to be written."""
        wanted = challengers or (self.two_checkpoints(),)
        with self.writing() as session:
            return eval_batches.launch(
                session,
                eval_batches.LaunchPlan(suite=suite, challengers=wanted, name=name, **plan),
                secret=self.settings.secret_key(),
                now=self.now,
            )

    def write(
        self, batch: EvalBatch, writer: Writer = two_texts, *, prompts: Iterable[int] | None = None, finish: bool = True
    ) -> None:
        """Responses to all prompts, or to those with these numbers, and the pairs they form."""
        with self.writing() as session:
            stored = session.get_one(EvalBatch, batch.id)
            plan = responses.plan_of(session, stored)
            numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(p.prompt_id for p in plan))}
            wanted = set(numbers.values()) if prompts is None else set(prompts)
            chosen = [planned for planned in plan if numbers[planned.prompt_id] in wanted]
            responses.store(
                session,
                stored,
                [self._generated(p, numbers, stored, writer) for p in chosen],
                engine="cpu",
                now=self.now,
            )
            responses.form_pairs(session, stored, plan, secret=self.settings.secret_key(), now=self.now)
            self.working(session, stored.job_id, done=len(chosen), total=len(plan), eta_seconds=95.0)
        if finish:
            self.end(batch.job_id)

    def _generated(self, planned: Planned, numbers: dict[Any, int], batch: EvalBatch, writer: Writer) -> Generated:
        text = writer(numbers[planned.prompt_id], planned.checkpoint_id == batch.baseline_id)
        if planned.replicate == batch.replicates:  # the two of a placebo pair
            text += " Or so." if planned.key["twin"] else " I think."
        return Generated(planned, text, max(1, len(text) // 4), FinishReason.STOP)

    def ballot_batch(
        self, prompt: str | list[dict[str, str]], first: str, second: str, name: str, **plan: Any
    ) -> EvalBatch:
        """An eval batch of one pair with these two texts."""
        self.suite(name, [prompt])
        batch = self.batch(name, **plan)
        self.write(batch, lambda _number, baseline: first if baseline else second)
        return batch

    def vote(
        self,
        batch: EvalBatch,
        outcomes: Iterable[Outcome],
        *,
        voter: str = "ines",
        reason: str = "",
        recognised: Iterable[bool] = (),
    ) -> None:
        """One vote for each outcome, on whatever ballot comes next; the first of them with these answers."""
        answers = iter(recognised)
        rules = assignment.Rules(
            secret=self.settings.secret_key(), lease=timedelta(hours=1), grace=timedelta(minutes=2)
        )
        with self.writing() as session:
            who = self.rater(session, voter)
            for outcome in outcomes:
                ballot = assignment.issue(session, batch.id, who, rules=rules, now=self.now, rng=self.rng)
                if ballot is None:
                    raise AssertionError("no ballot is left for this vote")
                choice = CHOICES.get((ballot.order, outcome), Choice.TIE)
                voting.cast(session, ballot.id, who, choice, rules=rules, now=self.now, reason=reason)
                answer = next(answers, None)
                if answer is not None:
                    voting.recognise(session, ballot.id, who, answer, rules=rules, now=self.now)

    def rater(self, session: Session, name: str) -> Voter:
        """A person who votes; the admin's name gives the voter of whoever signs in."""
        if name == accounts.ADMIN:
            return accounts.voter_of(session, accounts.the_admin(session, now=self.now).id)
        there = session.scalar(select(Voter).where(Voter.name == name))
        if there is None:
            there = Voter(kind=VoterKind.RATER, name=name, simulated=name == SCRIPT, created_at=self.now)
            session.add(there)
            session.flush()
        return there

    def close(self, batch: EvalBatch) -> None:
        with self.writing() as session:
            eval_batches.close(session, session.get_one(EvalBatch, batch.id), now=self.now)

    def count(self, table: type[Any], *conditions: Any) -> int:
        """Rows of a table, as another reader of the database sees them now."""
        with self.database.session_scope(write=False) as session:
            return session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0

    def choices(self) -> list[str]:
        """The standing choices of people in the order in which they were cast."""
        with self.database.session_scope(write=False) as session:
            query = (
                select(Verdict.choice)
                .join(Ballot, Ballot.id == Verdict.ballot_id)
                .where(Verdict.retracted_at.is_(None), Ballot.voter_kind == VoterKind.RATER)
                .order_by(Verdict.cast_at)
            )
            return [str(choice) for choice in session.scalars(query)]


def home_settings(folder: Path) -> Settings:
    """Settings of an arena in a folder of its own, on SQLite; live hints come quickly."""
    return Settings(_env_file=None, home=folder, secret="a test's secret", live_poll_seconds=0.05)
