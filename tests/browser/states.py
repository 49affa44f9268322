"""Arenas in every state that was designed, with the pages that show it. Tests and screenshots walk through them."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from app.config import DATA
from app.domain.terms import Choice, FinishReason, JobKind, JobState, Outcome, Reveal
from app.models import Checkpoint, Dataset, EvalBatch, Job, Response, Run, Suite, Verdict
from app.queries.paging import PAGE
from app.queries.pair_filters import PairFilter, PairSort
from app.queries.pairs import pairs_page
from app.services import accounts
from app.services.base_models import add_base_model
from app.services.shipped import import_shipped
from app.setup.state import SetupPhase
from tests.browser import (
    bringing,
    checks,
    figures,
    judged,
    judging,
    many_checkpoints,
    people,
    reporting,
    telling,
    texts,
    training,
    trying,
)
from tests.browser.arena import SCRIPT, Arena, Writer
from tests.browser.page import Page
from tests.browser.texts import noisy, reply
from tests.factories import make_study
from tests.many import LISTS

FIRST, SECOND, TIE = Outcome.FIRST, Outcome.SECOND, Outcome.TIE
NOWHERE = "00000000-0000-4000-8000-000000000000"
LONG_NAME = "brie-v2-seed17-lora-r16-conversations-2026-11"


def empty(arena: Arena) -> list[Page]:
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


def first_start(arena: Arena) -> list[Page]:
    """Shipped material is there, training is being installed, the base model is on its way."""
    arena.setup(SetupPhase.INSTALLING, "PyTorch and the training packages are being installed.", "downloading torch")
    arena.shipped_suite()
    arena.shipped_suite("brie-in-domain")
    arena.dataset()
    with arena.writing() as session:
        add_base_model(session, "smollm2-135m", now=arena.now)
    arena.run("brie-v1", recipe="brie-v1")
    return [
        Page("home", "/", "main a[href='/runs']"),
        Page("models", "/models"),
        Page("runs", "/runs", "main .button-main"),
        Page("run-waiting", f"/runs/{_only(arena, Run)}"),
        Page("settings", "/settings"),
        Page("enter", arena.entry_path(), "main button", signed_in=False),
        Page("not-signed-in", "/", signed_in=False, status=401),
        Page("no-such-page", "/nowhere", "main a", status=404),
    ]


def study_room(arena: Arena) -> list[Page]:
    """One of everything, in the middle of the work."""
    arena.worker()
    suite = arena.shipped_suite()
    dataset = arena.dataset()
    arena.base_model()
    done = arena.run(LONG_NAME)
    arena.train(done, noisy(120, 3.4, 2.35, 1), {0: 3.41, 30: 2.9, 60: 2.62, 90: 2.5, 120: 2.47}, steps=120)
    early = arena.checkpoint(done, "epoch-1", 60, is_last=False)
    last = arena.checkpoint(done, "epoch-2", 120, is_last=True)
    arena.end(done.job_id)
    short = arena.run("brie-v1", recipe="brie-v1")
    arena.train(short, noisy(10, 3.4, 3.3, 2), {0: 3.41, 10: 3.39}, steps=10)
    weak = arena.checkpoint(short, "step-10", 10, is_last=True, passed=False)
    arena.end(short.job_id)
    running = arena.run("brie-v2-lower-rate")
    arena.train(running, noisy(71, 3.4, 2.6, 3), {0: 3.41, 30: 3.0, 60: 2.76}, steps=120)
    failed = arena.run("brie-v2-too-fast")
    arena.train(failed, noisy(14, 3.4, 9.5, 4), {0: 3.41}, steps=120)
    arena.end(failed.job_id, JobState.FAILED, "The loss became infinite at step 15. No checkpoint was saved. "
              "Train again with a lower learning_rate.")  # fmt: skip
    closed = arena.batch(suite.name, last.name, name="Does epoch 2 beat the base?")
    arena.write(closed, lambda n, base: "" if base and n in (3, 9) else reply(n, base))
    arena.vote(closed, _outcomes(55, 0.72, 0.1, 5))
    arena.close(closed)
    waiting = arena.batch(suite.name, last.name, early.name, votes_per_pair=2, allow_repeats=True)
    arena.write(waiting, reply, prompts=range(31), finish=False)
    arena.vote(waiting, _outcomes(17, 0.6, 0.1, 6))
    broken = arena.batch(suite.name, early.name, name="Interrupted by a full disk", seed=2)
    arena.write(broken, reply, prompts=range(12), finish=False)
    arena.end(broken.job_id, JobState.FAILED, "No space is left on the disk. The 24 responses written so far are kept. "
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
        Page("pairs", f"/batches/{closed.id}/pairs", "main .pair-row a"),
        Page("jobs", "/jobs", "main button"),
        Page("settings", "/settings"),
    ]


def voting(arena: Arena) -> list[Page]:
    """Every kind of ballot, and every reason why there is none."""
    arena.worker()
    kinds = [
        ("plain", texts.KEYS, texts.LIST, texts.SEEING),
        ("code", texts.COUNT, texts.CODE, texts.PLAIN),
        ("turns", [
            {"role": "user", "content": "Sartre says that shame needs somebody who looks. But I blush alone, too."},
            {"role": "assistant", "content": "You do. Ask yourself from where you see yourself in that moment."},
            {"role": "user", "content": "From outside, I suppose. As if somebody stood in the door."},
        ], texts.untrained(3), texts.trained()[4]),
        ("right-to-left", "كيف ينضج الجبن؟ أجب بالعبرية أو بالعربية.", texts.HEBREW, texts.ARABIC),
        ("endless", "What makes a cheese ripen?", texts.LONG, texts.PLAIN),
        ("hostile", "What can a text do to a page?", texts.HOSTILE, texts.MIXED),
        ("long-prompt", "\n\n".join(texts.trained()[:4]), texts.SEEING, texts.LIST),
    ]  # fmt: skip
    pages = []
    for name, prompt, first, second in kinds:
        batch = arena.ballot_batch(prompt, first, second, name)
        pages.append(Page(f"vote-{name}", f"/vote/{batch.id}", "button[value='a']"))
    instructed = arena.ballot_batch(texts.KEYS, texts.LIST, texts.SEEING, "instructed",
                                    system_prompt="You are a patient teacher. Use at most 200 words.")  # fmt: skip
    arena.suite("five", [f"Prompt number {number}?" for number in range(5)])
    finished = arena.batch("five")
    arena.write(finished)
    arena.vote(finished, [SECOND] * 5, voter=accounts.ADMIN)
    ahead = arena.batch("five", seed=2)
    closed = arena.batch("five", seed=3)
    arena.write(closed)
    arena.close(closed)
    asked = arena.batch("five", seed=4, ask_recognised=True)
    quota = arena.batch("five", seed=5, rater_limit=2)
    full = arena.batch("five", seed=6, vote_limit=2)
    for batch, votes in ((asked, [FIRST]), (quota, [FIRST, SECOND]), (full, [TIE, TIE])):
        arena.write(batch)
        arena.vote(batch, votes, voter=accounts.ADMIN)
    return [
        *pages,
        Page("vote-instructed", f"/vote/{instructed.id}", "button[value='a']"),
        Page("vote-asked", f"/vote/{asked.id}", "button[value='yes']"),
        Page("vote-quota", f"/vote/{quota.id}", "main .button"),
        Page("vote-full", f"/vote/{full.id}", "main .button"),
        Page("vote-all-done", f"/vote/{finished.id}", "main .button"),
        Page("vote-waiting", f"/vote/{ahead.id}", "main .button"),
        Page("vote-closed", f"/vote/{closed.id}", "main .button"),
        Page("vote-nowhere", f"/vote/{NOWHERE}", "main a", status=404),
    ]


def own_votes(arena: Arena) -> list[Page]:
    """What a rater is told of their own votes: everything, page by page; nothing yet; nothing ever."""
    arena.worker()
    arena.suite("fourteen", [f"Prompt number {number}?" for number in range(14)])
    told, never, none = (
        arena.batch("fourteen", name=name, seed=seed, reveal=reveal)
        for seed, (name, reveal) in enumerate(
            (("Told", Reveal.AT_CLOSE), ("Never", Reveal.NEVER), ("None", Reveal.AT_CLOSE)), 1
        )
    )
    for batch in (told, never, none):
        arena.write(batch, lambda number, base: texts.LONG if number == 1 else reply(number, base))
        if batch is not none:
            arena.vote(
                batch, [*_outcomes(12, 0.6, 0.2, 12), TIE], voter=accounts.ADMIN, reason="It keeps to the prompt."
            )
        arena.close(batch)
    waiting = arena.batch("fourteen", name="Open", seed=4)
    return [
        Page("yours-told", f"/vote/{told.id}/yours", "main a[rel='next']"),
        Page("yours-last", f"/vote/{told.id}/yours?page=9", "main a[rel='prev']"),
        Page("yours-never", f"/vote/{never.id}/yours", "main .button"),
        Page("yours-none", f"/vote/{none.id}/yours", "main .button"),
        Page("yours-not-yet", f"/vote/{waiting.id}/yours", "main .button"),
        Page("vote-told", f"/vote/{told.id}", "main .button"),
        Page("vote-never", f"/vote/{never.id}", "main .button"),
    ]


def results(arena: Arena) -> list[Page]:
    """From no vote to a clear result."""
    arena.worker()
    suite = arena.shipped_suite()
    challenger = arena.two_checkpoints()
    pages = []
    for name, outcomes in (
        ("no-vote", []),
        ("one-vote", [SECOND]),
        ("too-early", [SECOND, TIE, SECOND, FIRST]),
        ("thirteen", [SECOND] * 10 + [FIRST] * 3),
        ("all-ties", [TIE] * 12),
        ("open", _outcomes(57, 0.55, 0.15, 8)),
        ("better", _outcomes(57, 0.85, 0.05, 9)),
        ("worse", _outcomes(57, 0.1, 0.05, 10)),
    ):
        batch = arena.batch(suite.name, challenger, name=name)
        arena.write(batch, reply)
        arena.vote(batch, outcomes)
        pages.append(Page(f"results-{name}", f"/results/{batch.id}", "main summary"))
    return pages


def pairs(arena: Arena) -> list[Page]:
    """Pairs with their authors: none, one, thirteen, a thousand; split, odd and very long; and what is withheld."""
    arena.worker()
    arena.two_checkpoints()
    short = arena.run(LONG_NAME)
    arena.end(short.job_id)
    other = arena.checkpoint(short, "epoch-1", 30, is_last=False).name
    arena.shipped_suite("brie-in-domain")
    split = arena.batch("brie-in-domain", other, "brie-v2/epoch-2", name="Three people, two challengers",
                        votes_per_pair=3, allow_repeats=True)  # fmt: skip
    arena.write(split, reply)
    for seed, voter in enumerate(("ines", "Ferdinand-Alexander Graf von Westerholt-Gysenberg", SCRIPT)):
        arena.vote(split, _outcomes(24, 0.5, 0.15, seed), voter=voter, reason=("", texts.SEEING, "shorter")[seed])
    arena.close(split)
    thousand = _closed(arena, "A thousand pairs", [f"Prompt number {number}?" for number in range(1000)], reply,
                       _outcomes(40, 0.6, 0.1, 3))  # fmt: skip
    odd = _closed(
        arena,
        "Odd texts",
        [texts.KEYS, texts.COUNT, "Is silence an answer?", "Say it twice.", "What makes a cheese ripen?"],
        lambda number, base: [(texts.SEEING, texts.LIST), (texts.PLAIN, texts.CODE), ("Silence.", " \n"),
                              ("Twice.", "Twice."), (texts.LONG, "It takes time.")][number][not base],
        [SECOND, TIE, FIRST],
    )  # fmt: skip
    none = _closed(arena, "Closed before it began", ["What is left?"], None, [])
    one = _closed(arena, "One pair", ["What is left?"], reply, [])
    never = _closed(arena, "Never told", ["Who wrote this?"], reply, [SECOND], reveal=Reveal.NEVER)
    arena.suite("open", ["Who wrote this?"])
    voting = arena.batch("open", name="Voting is open")
    arena.write(voting, reply)
    with arena.writing() as session:
        for response in session.scalars(select(Response).where(Response.text.in_([texts.LONG, texts.CODE]))):
            response.finish_reason, response.token_count = FinishReason.LENGTH, 4096
        both_bad = session.scalars(select(Verdict).where(Verdict.choice == Choice.TIE).limit(1)).one()
        both_bad.choice = Choice.BOTH_BAD
    (in_split, *_), in_odd = _pairs(arena, split, PairSort.DISAGREEMENT), _pairs(arena, odd)
    return [
        Page("pairs-none", f"/batches/{none.id}/pairs", "main a.button"),
        Page("pairs-one", f"/batches/{one.id}/pairs", "main .pair-row a"),
        Page("pairs-split", f"/batches/{split.id}/pairs?sort=disagreement", "main .pair-row a"),
        Page("pairs-thousand", f"/batches/{thousand.id}/pairs?page=2", "main .pair-row a"),
        Page("pairs-odd", f"/batches/{odd.id}/pairs", "main .pair-row a"),
        Page("pairs-no-match", f"/batches/{odd.id}/pairs?text=pineapple", "main a.button"),
        Page("pairs-not-yet", f"/batches/{voting.id}/pairs", "main a.button"),
        Page("pairs-never", f"/batches/{never.id}/pairs", "main a.button"),
        Page("pair-split", f"/batches/{split.id}/pairs/{in_split}?sort=disagreement", "main a[rel='next']"),
        *(Page(f"pair-{name}", f"/batches/{odd.id}/pairs/{pair}") for name, pair in
          zip(("plain", "code", "empty", "same", "endless"), in_odd, strict=True)),
        Page("pair-not-yet", f"/batches/{voting.id}/pairs/{NOWHERE}", "main a.button"),
    ]  # fmt: skip


def _closed(
    arena: Arena, name: str, prompts: list[str], writer: Writer | None, outcomes: list[Outcome], **plan: Any
) -> EvalBatch:
    """An eval batch of its own suite, written, voted on and closed."""
    arena.suite(name.lower().replace(" ", "-"), prompts)
    batch = arena.batch(name.lower().replace(" ", "-"), name=name, **plan)
    if writer is not None:
        arena.write(batch, writer)
    arena.vote(batch, outcomes)
    arena.close(batch)
    return batch


def _pairs(arena: Arena, batch: EvalBatch, sort: PairSort = PairSort.PROMPT) -> list[object]:
    """Ids of the first pairs of a closed batch."""
    with arena.database.session_scope(write=False) as session:
        found = pairs_page(session, batch.id, PairFilter(sort=sort)).found
    return [row.id for row in found.rows] if found else []


def crowded(arena: Arena) -> list[Page]:
    """Sixty suites, sixty runs with their checkpoints, and more jobs than the page shows."""
    arena.worker()
    for number in range(60):
        arena.suite(f"suite-{number:02d}", [f"Prompt {number}, {part}?" for part in range(3)])
    arena.base_model()
    arena.dataset()
    for number in range(60):
        run = arena.run(f"{LONG_NAME}-{number:02d}")
        arena.checkpoint(run, "epoch-2", 60, is_last=True)
        arena.end(run.job_id, JobState.CANCELLED if number % 7 == 0 else JobState.DONE)
    for number in range(30):
        batch = arena.batch(f"suite-{number:02d}", f"{LONG_NAME}-{number:02d}/epoch-2")
        arena.write(batch)
    with arena.writing() as session:
        for number in range(150):
            when = arena.now - timedelta(hours=number)
            session.add(
                Job(kind=JobKind.GENERATE, queue="gpu", subject_id=_only(arena, Run), title=f"Generate number {number}",
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


def one(arena: Arena) -> list[Page]:
    """One row in every list."""
    return _lists(arena, 0)


def thirteen(arena: Arena) -> list[Page]:
    """A dozen more."""
    return _lists(arena, 12)


def thousand(arena: Arena) -> list[Page]:
    """More than fits a page, in every list."""
    return _lists(arena, 999)


def _lists(arena: Arena, more: int) -> list[Page]:
    arena.worker()
    with arena.writing() as session:
        study = make_study(session, arena.settings.home)
        for fill in LISTS.values():
            fill(session, study, more)
    lists = [Page(name, f"/{name}") for name in LISTS]
    searched = [Page(f"{name}-found", f"/{name}?q=row-00&page=2", "main input[name='q']") for name in LISTS]
    searched.append(Page("runs-no-match", "/runs?q=a+run+that+nobody+started", "main a.button"))
    return [Page("home", "/"), Page("launch", "/batches/launch"), *lists, *(searched if more > PAGE else ())]


def trouble(arena: Arena) -> list[Page]:
    """No worker, no base model, no training: what is wrong and what to do."""
    arena.setup(SetupPhase.FAILED, "The packages could not be fetched. Check the network and start again; what is "
                "installed already is kept.")  # fmt: skip
    arena.shipped_suite()
    arena.dataset()
    arena.base_model(error="The hub answered 404: there is no model of this name. Check the id and try again.")
    with arena.writing() as session:
        job = Job(
            kind=JobKind.TRAIN, queue="gpu", subject_id=arena.rater(session, "nobody").id, title="Train brie-v2",
            state=JobState.QUEUED, created_at=arena.now, waits_for_id=None, eta_seconds=None, sent_at=None,
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


def worker_down(arena: Arena) -> list[Page]:
    """Everything is installed and nobody works."""
    arena.shipped_suite()
    arena.base_model()
    arena.dataset()
    arena.run("brie-v2")
    return [Page("home", "/"), Page("jobs", "/jobs", "main button"), Page("runs", "/runs", "main .button-main")]


def newcomer(arena: Arena) -> list[Page]:
    """What ships with the arena, on its first day: the sample study, and simulated votes on one of its batches."""
    with arena.writing() as session:
        import_shipped(
            session,
            data=DATA,
            artifacts=arena.settings.artifacts,
            base_model="",
            secret=arena.settings.secret_key(),
            now=arena.now,
        )
        samples = {batch.name: batch for batch in session.scalars(select(EvalBatch))}
        suites = dict(session.execute(select(Suite.name, Suite.id)).all())
        epoch = session.scalars(select(Checkpoint.id).where(Checkpoint.name == "sample/epoch-1")).one()
    short, learnt = samples["sample-brie-in-domain"], samples["sample-brie-comprehensive"]
    arena.vote(learnt, _outcomes(100, 0.6, 0.1, 11), voter=SCRIPT)
    return [
        Page("home", "/", f"main a[href='/vote/{short.id}']"),
        Page("vote", f"/vote/{short.id}", "button[value='a']"),
        Page("batches", "/batches", "main .row-name"),
        Page("batch-sample", f"/batches/{short.id}", "main .button-main"),
        Page("batch-simulated", f"/batches/{learnt.id}", "main .button-main"),
        Page("results-simulated", f"/results/{learnt.id}", "main summary"),
        Page("checkpoints", "/checkpoints", "main .row-name"),
        Page("checkpoint-responses-only", f"/checkpoints/{epoch}"),
        Page("launch", "/batches/launch", "main a"),
        Page("suite", f"/suites/{suites['brie-comprehensive']}", "main .button"),
        Page("suite-edit", f"/suites/{suites['brie-in-domain']}/edit", "main input[name='title']"),
        Page(
            "dataset-found", f"/datasets/{_only(arena, Dataset)}?text=bees&part=validation", "main input[name='text']"
        ),
    ]


STATES: dict[str, Callable[[Arena], list[Page]]] = {
    made.__name__: made
    for made in (
        empty,
        first_start,
        study_room,
        voting,
        own_votes,
        results,
        pairs,
        checks.checks,
        telling.could_tell,
        judged.judged,
        bringing.brought,
        trying.tried,
        reporting.reported,
        figures.figures,
        many_checkpoints.many_checkpoints,
        training.training,
        crowded,
        one,
        thirteen,
        thousand,
        trouble,
        worker_down,
        newcomer,
        people.doors,
        people.desk_of_one,
        people.desk_of_many,
        people.nobody,
        people.three,
        people.crowd,
        judging.nobody_judges,
        judging.to_be_asked,
        judging.at_work,
        judging.stopped,
    )
}


def _outcomes(count: int, wins: float, ties: float, seed: int) -> list[Outcome]:
    rng = random.Random(seed)  # noqa: S311 - the same picture every time
    return rng.choices([SECOND, TIE, FIRST], [wins, ties, 1 - wins - ties], k=count)


def _only(arena: Arena, table: type[Any]) -> object:
    """Id of any row."""
    with arena.database.session_scope(write=False) as session:
        return session.scalars(select(table.id).limit(1)).one()
