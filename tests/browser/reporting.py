"""Arenas with closed eval batches: their reports, with everything in it and with next to nothing."""

from itertools import cycle
from typing import Any

from app.domain.terms import Outcome, PairKind
from app.models import EvalBatch
from tests.browser.arena import Arena
from tests.browser.judged import say_in, taste, text_of
from tests.browser.page import Page
from tests.saying import judge_called

FIRST, SECOND, TIE = Outcome.FIRST, Outcome.SECOND, Outcome.TIE
RATERS = {
    "ines": [SECOND, SECOND, FIRST, SECOND, TIE],
    "otto": [SECOND, FIRST, SECOND, SECOND],
    "hasty": [FIRST, SECOND],
}


def reported(arena: Arena) -> list[Page]:
    """Reports of a study with judges and every check, of one with a mixed-up order, and of one that is still open."""
    arena.worker()
    arena.control_pairs()
    suite = arena.shipped_suite()
    every: dict[str, Any] = {
        "canary_pairs": 4, "placebo_pairs": 20, "gold_pairs": 3, "repeat_pairs": 2, "votes_per_pair": 3,
        "ask_recognised": True, "exclusion": {"gold_min": 0.7},
    }  # fmt: skip
    full = arena.batch(suite.name, name="finished", **every)
    arena.write(full, text_of)
    arena.canaries(full, SECOND)
    for name, said in RATERS.items():
        turns, placebo = cycle(said), cycle([FIRST, SECOND])
        gold = FIRST if name == "hasty" else SECOND

        def wanted(kind: PairKind, *, turns: Any = turns, placebo: Any = placebo, gold: Outcome = gold) -> Outcome:
            return gold if kind is PairKind.GOLD else next(placebo if kind is PairKind.PLACEBO else turns)

        arena.vote_on_everything(full, name, wanted)
    with arena.writing() as session:
        judges = [judge_called(session, name) for name in ("haiku for clarity", "opus for depth")]
    say_in(arena, full, judges[0], taste(0.7, "h", first=0.2))
    say_in(arena, full, judges[1], taste(0.6, "o", first=0.05))
    suspect = _small(arena, "mixed-up", FIRST)
    early = _small(arena, "early", SECOND)
    still_open = arena.batch(suite.name, name="open")
    for batch in (full, suspect, early):
        arena.close(batch)
    return [
        Page("report", f"/batches/{full.id}/report", "main a[download]"),
        Page("report-mixed-up", f"/batches/{suspect.id}/report", "main a[download]"),
        Page("report-early", f"/batches/{early.id}/report", "main a[download]"),
        Page("report-of-an-open-one", f"/batches/{still_open.id}/report", status=409),
        Page("results-closed", f"/results/{full.id}", "main summary"),
        Page("pairs", f"/batches/{full.id}/pairs?length=twice&text=thought", "main input[name='text']"),
    ]


def _small(arena: Arena, name: str, canary: Outcome) -> EvalBatch:
    batch = arena.batch("brie-comprehensive", name=name, canary_pairs=4)
    arena.write(batch)
    arena.canaries(batch, canary)
    arena.vote(batch, [SECOND, FIRST, SECOND])
    return batch
