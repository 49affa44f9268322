"""An arena with twenty checkpoints: all against one baseline, and all against each other."""

import random
from itertools import count

from app.domain.terms import Design, Outcome
from app.models import EvalBatch
from tests.browser.arena import Arena
from tests.browser.page import Page
from tests.browser.texts import reply

CHALLENGERS = 19


def many_checkpoints(arena: Arena) -> list[Page]:
    """A star that is closed, with one of its comparisons in full, and a round robin that is under way."""
    arena.worker()
    arena.base_model()
    arena.dataset()
    run = arena.run("brie-v2-seed17-lora-r16-conversations-2026-11")
    arena.end(run.job_id)
    steps = [
        arena.checkpoint(run, f"step-{30 * n}", 30 * n, is_last=n == CHALLENGERS) for n in range(1, CHALLENGERS + 1)
    ]
    arena.suite("twelve", [f"Prompt number {number}?" for number in range(12)])
    arena.suite("five", [f"Question number {number}?" for number in range(5)])
    names = [step.name for step in steps]
    star = arena.batch("twelve", *names, name="Nineteen steps of one run", allow_repeats=True)
    ring = arena.batch(
        "five", *names, name="Everybody against everybody", allow_repeats=True, design=Design.ROUND_ROBIN
    )
    for batch in (star, ring):
        turn = count(1)  # no two texts are the same, or their pair would need no voter
        arena.write(batch, lambda number, base, turn=turn: f"{reply(number, base)} That is thought {next(turn)}.")
        _vote(arena, batch)
    arena.close(star)
    alone = f"/results/{star.id}?checkpoint={steps[-1].id}"
    return [
        Page("results-nineteen", f"/results/{star.id}", "main summary"),
        Page("results-one-of-nineteen", alone, "main summary"),
        Page("results-ring", f"/results/{ring.id}", "main summary"),
        Page("results-ring-of-one", f"/results/{ring.id}?checkpoint={steps[-1].id}", "main summary"),
        Page("pairs-nineteen", f"/batches/{star.id}/pairs", "main .pair-row a"),
        Page("report-nineteen", f"/batches/{star.id}/report", "main a"),
        Page("batches", "/batches", "main .button-main"),
        Page("home", "/"),
    ]


def _vote(arena: Arena, batch: EvalBatch) -> None:
    rng = random.Random(batch.name)  # noqa: S311 - the same picture every time
    kinds = [Outcome.SECOND, Outcome.TIE, Outcome.FIRST]
    arena.vote(batch, rng.choices(kinds, [0.6, 0.1, 0.3], k=batch.planned_pairs), voter="ines")
