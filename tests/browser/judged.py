"""Arenas in which judges voted: one, two, half-way, simulated, unreadable, beside people and alone."""

import random
from datetime import timedelta
from functools import partial

from app.domain.terms import Choice, Confidence, Outcome, StopReason, SwapMode
from app.models import EvalBatch, Judge
from app.queries.ballots import BlindBallot
from app.queries.pair_filters import PairFilter
from app.queries.pair_judges import PairJudges
from app.queries.pairs import pairs_page
from app.services.assignment import Rules
from tests.browser.arena import Arena
from tests.browser.page import Page
from tests.browser.texts import reply
from tests.factories import sha256
from tests.saying import Says, judge_called, longer, say

SECOND, TIE, FIRST = Outcome.SECOND, Outcome.TIE, Outcome.FIRST
BROKEN = '{"choice": "the first one, I think"}'
REASONS = (
    "It answers the question that was asked and gives a reason for each step; the other lists headings.",
    "Both are right, but this one says where it does not know, and that is what the prompt was about.",
    "Shorter and clearer. The other repeats the question before it begins.",
)


def text_of(number: int, baseline: bool) -> str:
    """The challenger mostly writes a little more."""
    more = " And one more thought that follows from it." * ((number * 7 + 3 * (not baseline)) % 6)
    return reply(number, baseline) + more


def taste(share: float, seed: str, first: float = 0.0) -> Says:
    """Prefers the trained text in this share of prompts, and in ``first`` of all whatever stands first."""

    def says(ballot: BlindBallot) -> Choice:
        texts = sorted((ballot.text_a, ballot.text_b), key=len)
        dice = random.Random(seed + sha256("".join(texts)))  # noqa: S311 - the same in both orders
        if dice.random() < first:
            return Choice.A
        if dice.random() < 0.08:
            return Choice.TIE
        wanted = texts[dice.random() < share]
        return Choice.A if ballot.text_a == wanted else Choice.B

    return says


def _broken(share: float, otherwise: Says) -> Says:
    dice = random.Random(9)  # noqa: S311 - the same picture every time
    bad = (BROKEN, StopReason.REFUSAL, StopReason.LENGTH, "")
    return lambda ballot: dice.choice(bad) if dice.random() < share else otherwise(ballot)


def say_in(arena: Arena, batch: EvalBatch, judge: Judge, says: Says, **how: object) -> None:
    rules = Rules(secret=arena.settings.secret_key(), lease=timedelta(hours=1), grace=timedelta(minutes=2))
    dice = random.Random(3)  # noqa: S311 - the same picture every time
    with arena.writing() as session:
        say(
            session, session.get_one(EvalBatch, batch.id), session.get_one(Judge, judge.id), says, rules=rules,
            now=arena.now, reason=lambda _ballot, choice: f"{dice.choice(REASONS)} So {choice.value}.",
            sure=dice.choice(list(Confidence)), **how,
        )  # fmt: skip


def judged(arena: Arena) -> list[Page]:
    """Results with judges and without, and the pairs on which they differ."""
    arena.worker()
    suite = arena.shipped_suite()
    with arena.writing() as session:
        haiku, opus, played = (
            judge_called(session, name, simulated=name == "played")
            for name in ("haiku for clarity", "opus for depth", "played")
        )
    new = partial(arena.batch, suite.name)
    made = {}
    for seed, name in enumerate(("one", "two", "half", "simulated", "unparsed", "alone", "waiting")):
        made[name] = new(name=f"judged-{name}", seed=seed, votes_per_pair=2)
        arena.write(made[name], text_of)
        if name not in ("alone", "waiting"):
            for rater, says in (("ines", 0.7), ("otto", 0.6)):
                dice = random.Random(rater)  # noqa: S311 - the same picture every time
                wanted = dice.choices([SECOND, TIE, FIRST], [says, 0.1, 0.9 - says], k=57)
                arena.vote(made[name], wanted, voter=rater)
    say_in(arena, made["one"], haiku, taste(0.7, "h"))
    say_in(arena, made["two"], haiku, taste(0.7, "h", first=0.25))
    say_in(arena, made["two"], opus, taste(0.6, "o", first=0.05))
    say_in(arena, made["half"], haiku, taste(0.7, "h"), most=17)
    say_in(arena, made["half"], opus, taste(0.6, "o"), most=9, mode=SwapMode.DECISIVE)
    say_in(arena, made["simulated"], played, longer)
    say_in(arena, made["unparsed"], haiku, _broken(0.45, taste(0.7, "h")))
    say_in(arena, made["alone"], opus, taste(0.8, "o"))
    say_in(arena, made["waiting"], opus, taste(0.8, "o"), most=0)
    arena.close(made["two"])
    here = f"/batches/{made['two'].id}/pairs"
    plan = f"/batches/launch?suite={suite.name}&challengers={arena.two_checkpoints()}"
    return [
        Page("launch-planned", f"{plan}&votes_per_pair=3&judges={opus.id}&judges={played.id}", "main details summary"),
        Page("launch-refused", f"{plan}&replicates=0", "main details summary", status=422),
        *(Page(f"results-judged-{name}", f"/results/{batch.id}", "#results-judges summary" if name != "waiting" else
               "#results-judges a, main summary") for name, batch in made.items()),
        Page("pairs-judges-disagree", f"{here}?judges=people", "main .pair-row a"),
        Page("pair-judged", f"{here}/{_first(arena, made['two'])}?judges=people", "main a[rel='next']"),
    ]  # fmt: skip


def _first(arena: Arena, batch: EvalBatch) -> object:
    """Id of the first pair on which judges and people differ."""
    with arena.database.session_scope(write=False) as session:
        found = pairs_page(session, batch.id, PairFilter(judges=PairJudges.PEOPLE)).found
    assert found is not None
    return found.rows[0].id
