"""Arenas whose results have every figure: rankings, differences, a panel of raters, and where the noise comes from."""

import random
from collections.abc import Sequence
from itertools import count

from app.domain.terms import Design, Outcome
from app.models import EvalBatch
from tests.browser.arena import Arena
from tests.browser.page import Page
from tests.browser.texts import reply

FIRST, SECOND, TIE = Outcome.FIRST, Outcome.SECOND, Outcome.TIE
PEOPLE = ("ines", "otto", "Ferdinand-Alexander Graf von Westerholt-Gysenberg", "mara", "yusuf")
ALL = 1_000_000


def figures(arena: Arena) -> list[Page]:
    """A round robin, one of which few have met, a crowded star and its re-run, and two seeds a prompt."""
    arena.worker()
    arena.base_model()
    arena.dataset()
    run = arena.run("brie-v2-seed17-lora-r16-conversations-2026-11")
    arena.end(run.job_id)
    steps = [arena.checkpoint(run, f"step-{30 * n}", 30 * n, is_last=n == 9).name for n in range(1, 10)]
    arena.suite("thirty", [f"Prompt number {number}?" for number in range(30)])
    ranked = _batch(arena, "A round robin", steps[-4:], design=Design.ROUND_ROBIN, votes_per_pair=2)
    apart = _batch(arena, "Few have met", steps[-4:], design=Design.ROUND_ROBIN)
    unvoted = _batch(arena, "Nobody has met", steps[-3:], design=Design.ROUND_ROBIN)
    star = _batch(arena, "Nine steps of one run", steps, seed=2)
    again = _batch(arena, "Nine steps of one run, seeds 3", steps, seed=3)
    deep = _batch(arena, "Two seeds a prompt", steps[-1:], replicates=2, votes_per_pair=5)
    _vote(arena, ranked, PEOPLE[:2], 0.72)
    _vote(arena, apart, PEOPLE[:1], 0.6, 3)
    _vote(arena, star, PEOPLE[:1], 0.62)
    _vote(arena, again, PEOPLE[1:2], 0.55, 140)
    _vote(arena, deep, PEOPLE, 0.58)
    for batch in (ranked, deep):
        arena.close(batch)
    return [
        Page("results-ranked", f"/results/{ranked.id}", "main summary"),
        Page("results-apart", f"/results/{apart.id}", "main summary"),
        Page("results-nobody-ranked", f"/results/{unvoted.id}", "main summary"),
        Page("results-crowded", f"/results/{star.id}", "main summary"),
        Page("results-panel", f"/results/{deep.id}", "main summary"),
        Page("run-trajectory", f"/runs/{run.id}", "main summary"),
        Page("batch-run-again", f"/batches/{deep.id}", f"form[action='/batches/{deep.id}/rerun'] button"),
    ]


def _batch(arena: Arena, name: str, challengers: Sequence[str], **plan: object) -> EvalBatch:
    batch = arena.batch("thirty", *challengers, name=name, allow_repeats=True, **plan)
    turn = count(1)  # no two texts are the same, or their pair would need no voter
    arena.write(batch, lambda number, base: f"{reply(number, base)} That is thought number {next(turn)}.")
    return batch


def _vote(arena: Arena, batch: EvalBatch, people: Sequence[str], wins: float, most: int = ALL) -> None:
    for number, name in enumerate(people):
        rng = random.Random(f"{batch.name} {number}")  # noqa: S311 - the same picture every time
        votes = min(most, batch.planned_pairs)
        arena.vote(batch, rng.choices([SECOND, TIE, FIRST], [wins, 0.1, 0.9 - wins], k=votes), voter=name)
