"""Arenas in which somebody could tell: texts that name their author, and raters who say that they recognised one."""

import random

from app.domain.terms import Outcome
from app.models import EvalBatch
from app.queries.pair_filters import PairFilter
from app.queries.pairs import pairs_page
from tests.browser.arena import Arena
from tests.browser.page import Page
from tests.browser.texts import reply

FIRST, SECOND, TIE = Outcome.FIRST, Outcome.SECOND, Outcome.TIE


def _telling(number: int, baseline: bool) -> str:
    """On every sixth prompt the baseline says who it is, on every twelfth the challenger as well."""
    said = reply(number, baseline)
    if number % 12 == 0 and not baseline:
        return f"I'm Claude, and I would put it like this. {said}"
    return (
        f"As Qwen, a language model made by Alibaba Cloud, I cannot be sure. {said}"
        if number % 6 == 0 and baseline
        else said
    )


def _outcomes(count: int, wins: float, seed: int) -> list[Outcome]:
    rng = random.Random(seed)  # noqa: S311 - the same picture every time
    return rng.choices([SECOND, TIE, FIRST], [wins, 0.1, 0.9 - wins], k=count)


def _flagged(arena: Arena, batch: EvalBatch) -> object:
    """Id of the first pair in which a text names its author."""
    with arena.database.session_scope(write=False) as session:
        found = pairs_page(session, batch.id, PairFilter(flagged=True)).found
    assert found is not None
    return found.rows[0].id


def could_tell(arena: Arena) -> list[Page]:
    """Nobody, some texts, some raters, many matchups, too few votes, and what the pairs show of it."""
    arena.worker()
    suite = arena.shipped_suite()
    challenger = arena.two_checkpoints()
    run = arena.run("brie-v2-seed17-lora-r16-conversations-2026-11")
    arena.end(run.job_id)
    other = arena.checkpoint(run, "epoch-1", 30, is_last=False).name
    asked = arena.batch(suite.name, challenger, name="asked", ask_recognised=True, seed=1)
    arena.write(asked, _telling)
    arena.vote(asked, _outcomes(57, 0.75, 4), recognised=[number % 4 == 0 for number in range(40)])
    early = arena.batch(suite.name, challenger, name="early", ask_recognised=True, seed=2)
    arena.write(early, _telling)
    arena.vote(early, _outcomes(4, 0.6, 5), recognised=[True])
    quiet = arena.batch(suite.name, challenger, name="quiet", ask_recognised=True, seed=3)
    arena.write(quiet, reply)
    arena.vote(quiet, _outcomes(30, 0.6, 6))
    two = arena.batch(suite.name, challenger, other, name="two", allow_repeats=True, seed=4)
    arena.write(two, _telling)
    arena.vote(two, _outcomes(114, 0.65, 7))
    arena.close(two)
    flagged = f"/batches/{two.id}/pairs?flagged=true"
    return [
        Page("results-told", f"/results/{asked.id}", "#results-leaks summary"),
        Page("results-told-early", f"/results/{early.id}", "#results-leaks summary"),
        Page("results-told-nothing", f"/results/{quiet.id}", "#results-leaks summary"),
        Page("results-told-two", f"/results/{two.id}", "#results-leaks summary"),
        Page("batch-told", f"/batches/{asked.id}", "main .button-main"),
        Page("pairs-told", flagged, "main .pair-row a"),
        Page("pair-told", f"/batches/{two.id}/pairs/{_flagged(arena, two)}?flagged=true", "main a[rel='next']"),
    ]
