"""Runs in every state: a sweep to compare, a long one with a spike and twenty checkpoints, one with changes."""

from dataclasses import replace

from app.config import DATA
from app.domain.recipe_changes import with_changes
from app.domain.recipes import find_recipe
from app.domain.terms import JobState
from app.models import Run
from app.services import runs
from app.services.datasets import import_dataset
from app.services.runs import launch_run, launch_sweep
from tests.browser.arena import Arena
from tests.browser.page import Page
from tests.browser.texts import noisy

LONG_NAME = "brie-v2-seed17-lora-r16-conversations-with-a-very-long-description-of-what-was-tried-2026-11-30"
LONG_STEPS = 3000


def training(arena: Arena) -> list[Page]:
    """Everything that is trained, and the pages that look at it."""
    arena.worker()
    arena.dataset()
    arena.base_model()
    recipe = find_recipe(DATA / "recipes", "brie-v2")
    swept = replace(recipe, content={**recipe.content, "lora": {"r": [4, 8, 16, 32], "lora_alpha": 32}})
    with arena.writing() as session:
        ranks = launch_sweep(session, swept, now=arena.now)
    for number, run in enumerate(ranks):
        steps, end = 120 if number < 3 else 70, 2.6 - 0.08 * number
        checked = {0: 3.41, 30: end + 0.5, 60: end + 0.25, 90: end + 0.14, 120: end + 0.1 + 0.02 * number}
        arena.train(run, noisy(steps, 3.4, end, number), {k: v for k, v in checked.items() if k <= steps}, steps=120)
        if number < 3:
            arena.checkpoint(run, "epoch-1", 60, is_last=False)
            arena.checkpoint(run, "epoch-2", 120, is_last=True)
            arena.end(run.job_id)
    long = _long(arena)
    mixed = _mixed(arena)
    with arena.writing() as session:
        origin = session.get_one(Run, ranks[1].id)
        changed = with_changes(recipe, {"lora.r": 8, "train.learning_rate": 2e-4}, "The recipe")
        (again,) = launch_sweep(session, changed, now=arena.now, name="brie-v2-r8-2", came_from=origin)
    failed = arena.run("brie-v2-too-fast")
    arena.train(failed, noisy(14, 3.4, 9.5, 4), {0: 3.41}, steps=120)
    arena.end(failed.job_id, JobState.FAILED, "The loss became infinite at step 15. No checkpoint was saved. "
              "Train again with a lower learning_rate.")  # fmt: skip
    cancelled = arena.run("brie-v2-given-up")
    arena.train(cancelled, noisy(40, 3.4, 2.7, 5), {0: 3.41, 30: 3.0}, steps=120)
    arena.checkpoint(cancelled, "step-40", 40, is_last=True)
    arena.end(cancelled.job_id, JobState.CANCELLED)
    together = "&".join(f"run={run.id}" for run in ranks)
    eight = "&".join(f"run={run.id}" for run in (*ranks, long, failed, cancelled, again))
    return [
        Page("runs", "/runs", "main .button-main"),
        Page("run-done", f"/runs/{ranks[0].id}", "main a"),
        Page("run-going", f"/runs/{ranks[3].id}", "main [data-curves]"),
        Page("run-long", f"/runs/{long.id}", "main [data-way='closer']"),
        Page("run-part", f"/runs/{long.id}?from=1400&to=1700&scale=log", "main [data-way='whole']"),
        Page("run-mixed", f"/runs/{mixed.id}", "main summary"),
        Page("run-queued", f"/runs/{again.id}"),
        Page("run-failed", f"/runs/{failed.id}"),
        Page("run-cancelled", f"/runs/{cancelled.id}"),
        Page("again", f"/runs/{ranks[0].id}/again", "main .button-main"),
        Page("compare", f"/runs/compare?{together}", "main [data-curves]"),
        Page("compare-tokens", f"/runs/compare?{together}&by=tokens&scale=log"),
        Page("compare-eight", f"/runs/compare?{eight}"),
        Page("compare-one", f"/runs/compare?run={long.id}"),
        Page("compare-none", "/runs/compare", "main .empty a"),
    ]


def _long(arena: Arena) -> Run:
    """A run of many steps with one spike, and a checkpoint every so often."""
    run = arena.run(LONG_NAME)
    losses = noisy(LONG_STEPS, 3.4, 2.35, 9)
    losses[1555] = 7.5
    every = range(0, LONG_STEPS + 1, 150)
    checked = {step: 2.45 + 0.96 * 0.9 ** (step / 150) + (0.0001 * max(0, step - 1800)) for step in every}
    arena.train(run, losses, checked, steps=LONG_STEPS)
    for step in every[1:]:
        arena.checkpoint(run, f"step-{step}", step, is_last=step == LONG_STEPS, validation_loss=checked[step])
    arena.end(run.job_id)
    return run


def _mixed(arena: Arena) -> Run:
    """A run that learned from two datasets, with rows of both as the model saw them."""
    with arena.writing() as session:
        import_dataset(
            session, DATA / "sft/brie.val.jsonl", artifacts=arena.settings.artifacts, now=arena.now, name="dialogues"
        )
        recipe = find_recipe(DATA / "recipes", "brie-v2")
        run = launch_run(session, recipe, mix={"brie": 2.0, "dialogues": 0.5}, now=arena.now, name="brie-and-dialogues")
        asked = "<|im_start|>user\nWhat does a cheese know of its cave?<|im_end|>\n<|im_start|>assistant\n"
        answered = (
            "Only what the cave has left in it, which is more than most of us could say of our homes.<|im_end|>\n"
        )
        pieces = [(asked, False), (answered, True)]
        runs.show(run, [(1, pieces, "brie@1"), (1, pieces, "dialogues@1"), (2, pieces, "brie@1")])
    arena.train(run, noisy(80, 3.4, 2.6, 11), {0: 3.41, 40: 2.8, 80: 2.7}, steps=80)
    with arena.writing() as session:
        left_out = "dialogues v1: 3 rows are longer than max_length = 1024 tokens and were left out (lines 24, 33, 36)"
        runs.note(session.get_one(Run, run.id), left_out)
    arena.end(run.job_id)
    return run
