"""Arenas in every state that was designed, with the pages that show it. Tests and screenshots walk through them."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select

from app.domain.terms import JobKind, JobState, Outcome
from app.models import Job, Run
from app.services import accounts
from app.services.base_models import add_base_model
from app.setup.state import SetupPhase
from tests.browser import texts
from tests.browser.study import Study

FIRST, SECOND, TIE = Outcome.FIRST, Outcome.SECOND, Outcome.TIE
LONG_NAME = "brie-v2-seed17-lora-r16-conversations-2026-11"


@dataclass(frozen=True)
class Page:
    """A page of a state. ``action`` is the selector of what most people come to do there."""

    name: str
    path: str
    action: str = ""
    signed_in: bool = True
    status: int = 200


def empty(study: Study) -> list[Page]:
    """Nothing yet: not even what ships with the arena."""
    return [
        Page("home", "/", "main a[href='/models']"),
        Page("datasets", "/datasets"),
        Page("models", "/models", "main input[name='wanted']"),
        Page("runs", "/runs", "main a"),
        Page("checkpoints", "/checkpoints", "main a"),
        Page("suites", "/suites"),
        Page("batches", "/batches", "main a"),
        Page("launch", "/batches/launch", "main a"),
        Page("jobs", "/jobs"),
        Page("settings", "/settings"),
    ]


def first_start(study: Study) -> list[Page]:
    """Shipped material is there, training is being installed, the base model is on its way."""
    study.setup(SetupPhase.INSTALLING, "PyTorch and the training packages are being installed.", "downloading torch")
    study.shipped_suite()
    study.shipped_suite("brie-in-domain")
    study.dataset()
    with study.writing() as session:
        add_base_model(session, "smollm2-135m", now=study.now)
    study.run("brie-v1", recipe="brie-v1")
    return [
        Page("home", "/", "main a[href='/runs']"),
        Page("models", "/models"),
        Page("runs", "/runs", "main .button-main"),
        Page("run-waiting", f"/runs/{_only(study, Run)}"),
        Page("settings", "/settings"),
        Page("enter", study.entry_path(), "main button", signed_in=False),
        Page("not-signed-in", "/", signed_in=False, status=401),
        Page("no-such-page", "/nowhere", "main a", status=404),
    ]


def study_room(study: Study) -> list[Page]:
    """One of everything, in the middle of the work."""
    study.worker()
    suite = study.shipped_suite()
    dataset = study.dataset()
    study.base_model()
    done = study.run(LONG_NAME)
    study.train(done, noisy(120, 3.4, 2.35, 1), {0: 3.41, 30: 2.9, 60: 2.62, 90: 2.5, 120: 2.47}, steps=120)
    early = study.checkpoint(done, "epoch-1", 60, is_last=False)
    last = study.checkpoint(done, "epoch-2", 120, is_last=True)
    study.end(done.job_id)
    short = study.run("brie-v1", recipe="brie-v1")
    study.train(short, noisy(10, 3.4, 3.3, 2), {0: 3.41, 10: 3.39}, steps=10)
    weak = study.checkpoint(short, "step-10", 10, is_last=True, passed=False)
    study.end(short.job_id)
    running = study.run("brie-v2-lower-rate")
    study.train(running, noisy(71, 3.4, 2.6, 3), {0: 3.41, 30: 3.0, 60: 2.76}, steps=120)
    failed = study.run("brie-v2-too-fast")
    study.train(failed, noisy(14, 3.4, 9.5, 4), {0: 3.41}, steps=120)
    study.end(failed.job_id, JobState.FAILED, "The loss became infinite at step 15. No checkpoint was saved. "
              "Train again with a lower learning_rate.")  # fmt: skip
    closed = study.batch(suite.name, last.name, name="Does epoch 2 beat the base?")
    study.write(closed, lambda n, base: "" if base and n in (3, 9) else _reply(n, base))
    study.vote(closed, _outcomes(55, 0.72, 0.1, 5))
    study.close(closed)
    waiting = study.batch(suite.name, last.name, early.name, votes_per_pair=2, allow_repeats=True)
    study.write(waiting, _reply, prompts=range(31), finish=False)
    study.vote(waiting, _outcomes(17, 0.6, 0.1, 6))
    broken = study.batch(suite.name, early.name, name="Interrupted by a full disk", seed=2)
    study.write(broken, _reply, prompts=range(12), finish=False)
    study.end(broken.job_id, JobState.FAILED, "No space is left on the disk. The 24 responses written so far are kept. "
              "Make room, then press “Go on writing responses”.")  # fmt: skip
    return [
        Page("home", "/", f"main a[href='/vote/{waiting.id}']"),
        Page("datasets", "/datasets", "main .row-name"),
        Page("dataset", f"/datasets/{dataset.id}"),
        Page("models", "/models", "main input[name='wanted']"),
        Page("runs", "/runs", "main .button-main"),
        Page("run-done", f"/runs/{done.id}", "main .row-name"),
        Page("run-running", f"/runs/{running.id}", "main button"),
        Page("run-failed", f"/runs/{failed.id}", "main button"),
        Page("checkpoints", "/checkpoints", "main .row-name"),
        Page("checkpoint", f"/checkpoints/{last.id}", "main .button"),
        Page("checkpoint-early", f"/checkpoints/{early.id}"),
        Page("checkpoint-weak", f"/checkpoints/{weak.id}"),
        Page("suites", "/suites", "main .row-name"),
        Page("suite", f"/suites/{suite.id}"),
        Page("batches", "/batches", "main .button-main"),
        Page("launch", "/batches/launch", "main .button-main"),
        Page("batch-open", f"/batches/{waiting.id}", "main .button-main"),
        Page("batch-closed", f"/batches/{closed.id}", f"main a[href='/results/{closed.id}']"),
        Page("batch-failed", f"/batches/{broken.id}", "main button"),
        Page("results", f"/results/{closed.id}", "main summary"),
        Page("results-two", f"/results/{waiting.id}", "main summary"),
        Page("results-none", f"/results/{broken.id}", "main summary"),
        Page("jobs", "/jobs", "main button"),
        Page("settings", "/settings"),
    ]


def voting(study: Study) -> list[Page]:
    """Every kind of ballot, and every reason why there is none."""
    study.worker()
    kinds = [
        ("plain", "You look for your keys on a crowded desk, and for ten seconds you see everything except the desk. "
         "What does this show about perception?", texts.LIST, texts.SEEING),
        ("code", "Write a Python function that takes a text and returns the three most frequent words with their "
         "counts. Ignore case and punctuation, and break ties alphabetically.", texts.CODE, texts.PLAIN),
        ("turns", [
            {"role": "user", "content": "Sartre says that shame needs somebody who looks. But I blush alone, too."},
            {"role": "assistant", "content": "You do. Ask yourself from where you see yourself in that moment."},
            {"role": "user", "content": "From outside, I suppose. As if somebody stood in the door."},
        ], texts.untrained(3), texts.trained()[4]),
        ("right-to-left", "كيف ينضج الجبن؟ أجب بالعبرية أو بالعربية.", texts.HEBREW, texts.ARABIC),
        ("endless", "What makes a cheese ripen?", texts.LONG, texts.PLAIN),
    ]  # fmt: skip
    pages = []
    for name, prompt, first, second in kinds:
        batch = study.ballot_batch(prompt, first, second, name)
        pages.append(Page(f"vote-{name}", f"/vote/{batch.id}", "button[value='a']"))
    study.suite("five", [f"Prompt number {number}?" for number in range(5)])
    finished = study.batch("five")
    study.write(finished)
    study.vote(finished, [SECOND] * 5, voter=accounts.ADMIN)
    ahead = study.batch("five", seed=2)
    closed = study.batch("five", seed=3)
    study.write(closed)
    study.close(closed)
    return [
        *pages,
        Page("vote-all-done", f"/vote/{finished.id}", "main .button"),
        Page("vote-waiting", f"/vote/{ahead.id}", "main .button"),
        Page("vote-closed", f"/vote/{closed.id}", "main .button"),
        Page("vote-nowhere", "/vote/00000000-0000-4000-8000-000000000000", "main a", status=404),
    ]


def results(study: Study) -> list[Page]:
    """From no vote to a clear result."""
    study.worker()
    suite = study.shipped_suite()
    challenger = study.two_checkpoints()
    pages = []
    for name, outcomes in (
        ("no-vote", []),
        ("one-vote", [SECOND]),
        ("too-early", [SECOND, TIE, SECOND, FIRST]),
        ("all-ties", [TIE] * 12),
        ("open", _outcomes(57, 0.55, 0.15, 8)),
        ("better", _outcomes(57, 0.85, 0.05, 9)),
        ("worse", _outcomes(57, 0.1, 0.05, 10)),
    ):
        batch = study.batch(suite.name, challenger, name=name)
        study.write(batch, _reply)
        study.vote(batch, outcomes)
        pages.append(Page(f"results-{name}", f"/results/{batch.id}", "main summary"))
    return pages


def crowded(study: Study) -> list[Page]:
    """Sixty suites, sixty runs with their checkpoints, and more jobs than the page shows."""
    study.worker()
    for number in range(60):
        study.suite(f"suite-{number:02d}", [f"Prompt {number}, {part}?" for part in range(3)])
    study.base_model()
    study.dataset()
    for number in range(60):
        run = study.run(f"{LONG_NAME}-{number:02d}")
        study.checkpoint(run, "epoch-2", 60, is_last=True)
        study.end(run.job_id, JobState.CANCELLED if number % 7 == 0 else JobState.DONE)
    for number in range(30):
        batch = study.batch(f"suite-{number:02d}", f"{LONG_NAME}-{number:02d}/epoch-2")
        study.write(batch)
    with study.writing() as session:
        for number in range(150):
            when = study.now - timedelta(hours=number)
            session.add(
                Job(kind=JobKind.GENERATE, queue="gpu", subject_id=_only(study, Run), title=f"Generate number {number}",
                    state=JobState.DONE, total=3, done=3, attempt=1, created_at=when, started_at=when,
                    finished_at=when + timedelta(seconds=40), waits_for_id=None, eta_seconds=None, sent_at=None,
                    heartbeat_at=None, cancel_requested_at=None)
            )  # fmt: skip
    return [
        Page("home", "/"),
        Page("runs", "/runs", "main .button-main"),
        Page("checkpoints", "/checkpoints", "main .row-name"),
        Page("suites", "/suites", "main .row-name"),
        Page("batches", "/batches", "main .button-main"),
        Page("launch", "/batches/launch", "main [name='suite']"),
        Page("jobs", "/jobs", "main button"),
    ]


def trouble(study: Study) -> list[Page]:
    """No worker, no base model, no training: what is wrong and what to do."""
    study.setup(SetupPhase.FAILED, "The packages could not be fetched. Check the network and start again; what is "
                "installed already is kept.")  # fmt: skip
    study.shipped_suite()
    study.dataset()
    study.base_model(error="The hub answered 404: there is no model of this name. Check the id and try again.")
    with study.writing() as session:
        job = Job(
            kind=JobKind.TRAIN, queue="gpu", subject_id=study.rater(session, "nobody").id, title="Train brie-v2",
            state=JobState.QUEUED, created_at=study.now, waits_for_id=None, eta_seconds=None, sent_at=None,
            started_at=None, heartbeat_at=None, finished_at=None, cancel_requested_at=None,
        )  # fmt: skip
        session.add(job)
    return [
        Page("home", "/", "main a"),
        Page("models", "/models", "main button"),
        Page("runs", "/runs"),
        Page("launch", "/batches/launch"),
        Page("jobs", "/jobs", "main button"),
        Page("settings", "/settings"),
    ]


def worker_down(study: Study) -> list[Page]:
    """Everything is installed and nobody works."""
    study.shipped_suite()
    study.base_model()
    study.dataset()
    study.run("brie-v2")
    return [Page("home", "/"), Page("jobs", "/jobs", "main button"), Page("runs", "/runs", "main .button-main")]


STATES: dict[str, Callable[[Study], list[Page]]] = {
    one.__name__: one for one in (empty, first_start, study_room, voting, results, crowded, trouble, worker_down)
}


def noisy(count: int, start: float, end: float, seed: int) -> list[float]:
    """Training losses that go from ``start`` towards ``end`` the way they do: fast, then slowly, and never smoothly."""
    rng = random.Random(seed)  # noqa: S311 - the same picture every time
    return [end + (start - end) * math.exp(-4 * step / count) + rng.gauss(0, 0.12) for step in range(count)]


def _outcomes(count: int, wins: float, ties: float, seed: int) -> list[Outcome]:
    rng = random.Random(seed)  # noqa: S311 - the same picture every time
    return rng.choices([SECOND, TIE, FIRST], [wins, ties, 1 - wins - ties], k=count)


def _reply(number: int, baseline: bool) -> str:
    return texts.untrained(number) if baseline else texts.trained()[number % 57]


def _only(study: Study, table: type[Run]) -> object:
    """Id of any row."""
    with study.database.session_scope(write=False) as session:
        return session.scalars(select(table.id).limit(1)).one()
