"""Arenas with checks on raters and on the arena itself: asked for, well and badly."""

from itertools import cycle
from typing import Any

from app.domain.terms import Outcome, PairKind
from app.models import EvalBatch
from tests.browser.arena import Arena
from tests.browser.page import Page

FIRST, SECOND, TIE = Outcome.FIRST, Outcome.SECOND, Outcome.TIE


def checks(arena: Arena) -> list[Page]:
    """Gold pairs, placebo and canaries: in the form, in the plan, and beside the results, well and badly."""
    arena.worker()
    arena.control_pairs()
    arena.suite("checked", [f"What is the use of question {number}?" for number in range(16)])
    every: dict[str, Any] = {
        "canary_pairs": 4, "placebo_pairs": 12, "gold_pairs": 3, "repeat_pairs": 2, "rater_limit": 60,
        "ask_recognised": True,
    }  # fmt: skip
    made = {}
    for name, placebo in (
        ("placebo-behaves", [FIRST, SECOND]),
        ("placebo-off", [SECOND]),
        ("mapping-suspect", [FIRST]),
    ):
        batch = arena.batch("checked", name=name, **every)
        arena.write(batch)
        arena.canaries(batch, FIRST if name == "mapping-suspect" else SECOND)
        turns = cycle(placebo)
        arena.vote_on_everything(
            batch, "ines", lambda kind, turns=turns: next(turns) if kind is PairKind.PLACEBO else SECOND
        )
        made[name] = batch
    made["left-out"] = _left_out(arena, every)
    return [
        Page("launch", "/batches/launch", "main details summary"),
        Page("batch", f"/batches/{made['placebo-behaves'].id}", "main .button-main"),
        *(Page(f"results-{name}", f"/results/{batch.id}", "main summary") for name, batch in made.items()),
        Page("raters-left-out", f"/raters/{made['left-out'].id}", "main summary"),
        Page("home-suspect", "/", "main a"),
    ]


def _left_out(arena: Arena, every: dict[str, Any]) -> EvalBatch:
    """Two of four raters are left out: one prefers the worse text of gold pairs, one always chooses side A."""
    batch = arena.batch(
        "checked", name="left-out", votes_per_pair=4, exclusion={"gold_min": 0.7, "side_max": 0.9}, **every
    )
    arena.write(batch)
    for name, said in (("ines", [SECOND]), ("otto", [FIRST, SECOND, TIE, SECOND]), ("upside-down", [FIRST])):
        turns = cycle(said)
        arena.vote_on_everything(
            batch, name,
            lambda kind, name=name, turns=turns: SECOND
            if kind is PairKind.GOLD and name != "upside-down"
            else next(turns),
        )  # fmt: skip
    arena.vote_on_everything(batch, "lopsided", None)
    return batch
