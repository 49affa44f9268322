import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from app.domain.errors import BadInputError
from app.domain.quality import LONGEST_READING, ExclusionRule, Marks, Sheet, is_fast, reading_words

FULL = ExclusionRule(gold_min=0.75, agreement_min=0.6, fast_max=0.2, side_max=0.9)

counts = st.integers(0, 40)
marks = st.builds(Marks, counts, counts, counts)
sheets = st.builds(
    Sheet, votes=counts, gold_as_a=marks, gold_as_b=marks, agreement=marks, side_a=counts, side_b=counts,
    no_side=counts, timed=st.integers(40, 80), fast=counts,
)  # fmt: skip
shares = st.none() | st.floats(0, 1)
rules = st.builds(
    ExclusionRule, gold_min=shares, agreement_min=shares, fast_max=shares,
    side_max=st.none() | st.floats(0.5, 1), gold_votes=st.integers(1, 99), side_votes=st.integers(1, 99),
)  # fmt: skip


def test_the_empty_rule_leaves_nobody_out() -> None:
    worst = Sheet(gold_as_a=Marks(0, 99, 0), agreement=Marks(0, 99, 0), side_a=99, timed=99, fast=99)
    assert ExclusionRule().reasons(worst) == ()
    assert ExclusionRule.parse({}) == ExclusionRule()
    assert (ExclusionRule().is_empty, ExclusionRule().sentence) == (True, "Nobody is left out.")
    assert len(FULL.reasons(worst)) == 4


@given(rules)
def test_a_rule_survives_being_stored(rule: ExclusionRule) -> None:
    again = ExclusionRule.parse(rule.as_dict())
    assert again.as_dict() == rule.as_dict()
    assert again.sentence == rule.sentence
    assert rule.is_empty == (rule.sentence == "Nobody is left out.")


@given(rules, sheets)
def test_what_is_stored_judges_as_what_was_launched(rule: ExclusionRule, sheet: Sheet) -> None:
    assert ExclusionRule.parse(rule.as_dict()).reasons(sheet) == rule.reasons(sheet)


@given(sheets, st.floats(0, 1), st.floats(0, 1))
def test_a_stricter_rule_leaves_out_whoever_a_milder_one_does(sheet: Sheet, one: float, other: float) -> None:
    mild, strict = sorted((one, other))
    assert not ExclusionRule(gold_min=mild).reasons(sheet) or ExclusionRule(gold_min=strict).reasons(sheet)
    assert not ExclusionRule(fast_max=strict).reasons(sheet) or ExclusionRule(fast_max=mild).reasons(sheet)


@given(sheets)
def test_swapping_the_sides_of_the_screen_changes_nothing_that_is_judged(sheet: Sheet) -> None:
    swapped = Sheet(
        votes=sheet.votes, gold_as_a=sheet.gold_as_b, gold_as_b=sheet.gold_as_a, agreement=sheet.agreement,
        side_a=sheet.side_b, side_b=sheet.side_a, no_side=sheet.no_side, timed=sheet.timed, fast=sheet.fast,
    )  # fmt: skip
    assert [reason.replace("side A", "side B") for reason in FULL.reasons(sheet)] == [
        reason.replace("side A", "side B") for reason in FULL.reasons(swapped)
    ]
    assert swapped.side_p == pytest.approx(sheet.side_p) if sheet.decisive else swapped.side_p is None


def test_the_rule_in_words() -> None:
    assert FULL.sentence == (
        "Raters are left out who prefer the better text in less than 75% of their votes on gold pairs (from 4 on), or "
        "who agree with themselves on less than 60% of the pairs shown again (from 4 on), or who vote faster than "
        "anybody can read on more than 20% of the pairs (from 10 on), or who choose the same side of the screen in "
        "more than 90% of their votes for a side (from 12 on)."
    )
    assert FULL.as_dict() == {
        "gold_min": 0.75, "gold_votes": 4, "agreement_min": 0.6, "agreement_votes": 4, "fast_max": 0.2,
        "fast_votes": 10, "side_max": 0.9, "side_votes": 12,
    }  # fmt: skip


def test_the_reasons_in_words() -> None:
    sheet = Sheet(
        gold_as_a=Marks(2, 1, 1), gold_as_b=Marks(0, 2, 0), agreement=Marks(1, 3, 1), side_a=1, side_b=15, timed=10,
        fast=3,
    )  # fmt: skip
    assert FULL.reasons(sheet) == (
        "Preferred the better text in 2½ of 6 votes on gold pairs; the rule asks for 75%.",
        "Agreed with themselves on 1½ of 5 pairs shown again; the rule asks for 60%.",
        "Voted faster than anybody can read on 3 of 10 pairs; the rule allows 20%.",
        "Chose side B in 15 of 16 votes for a side; the rule allows 90%.",
    )


EDGES = {
    "gold, exactly enough": (Sheet(gold_as_a=Marks(3, 1, 0)), 0),
    "gold, one short": (Sheet(gold_as_a=Marks(2, 1, 1)), 1),
    "gold, too few votes to say": (Sheet(gold_as_a=Marks(0, 3, 0)), 0),
    "agreement, exactly enough": (Sheet(agreement=Marks(3, 2, 0)), 0),
    "agreement, below": (Sheet(agreement=Marks(2, 2, 0)), 1),
    "fast, exactly allowed": (Sheet(timed=10, fast=2), 0),
    "fast, too many": (Sheet(timed=10, fast=3), 1),
    "fast, too few votes to say": (Sheet(timed=9, fast=9), 0),
    "side, exactly allowed": (Sheet(side_a=18, side_b=2), 0),
    "side, too many": (Sheet(side_a=19, side_b=1), 1),
    "side, too few votes to say": (Sheet(side_b=11), 0),
    "no vote": (Sheet(), 0),
}


@pytest.mark.parametrize(("sheet", "reasons"), EDGES.values(), ids=EDGES)
def test_the_edges_of_the_rule(sheet: Sheet, reasons: int) -> None:
    assert len(FULL.reasons(sheet)) == reasons


WRONG: dict[str, Any] = {
    "an unknown part": ({"gold": 0.5}, "no part 'gold'"),
    "more than everything": ({"gold_min": 1.1}, "gold_min says how many"),
    "less than nothing": ({"fast_max": -0.1}, "fast_max says"),
    "a side under one half": ({"side_max": 0.4}, "from 0.5 to 1"),
    "a word": ({"gold_min": "0.5"}, "'0.5' is none"),
    "a truth": ({"gold_min": True}, "True is none"),
    "not a number": ({"agreement_min": math.nan}, "nan is none"),
    "no votes": ({"gold_min": 0.5, "gold_votes": 0}, "gold_votes says"),
    "votes for nothing": ({"gold_votes": 9}, "Give gold_min as well"),
    "half a vote": ({"gold_min": 0.5, "gold_votes": 2.5}, "a whole number"),
}


@pytest.mark.parametrize(("given_", "said"), WRONG.values(), ids=WRONG)
def test_a_rule_that_makes_no_sense_is_refused(given_: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInputError, match="rule for leaving raters out") as refused:
        ExclusionRule.parse(given_)
    assert said in refused.value.message


def test_what_is_left_empty_asks_for_nothing() -> None:
    assert ExclusionRule.parse({"gold_votes": None, "side_max": None}) == ExclusionRule()
    assert ExclusionRule.parse({"gold_min": 1, "gold_votes": 9.0}).as_dict() == {"gold_min": 1.0, "gold_votes": 9}


def test_sides_by_hand() -> None:
    sheet = Sheet(side_a=10, side_b=3, no_side=7)
    assert sheet.side_p == pytest.approx(0.0922851, abs=1e-6)
    assert sheet.side_p == binomtest(10, 13).pvalue
    assert tuple(sheet.side_interval or ()) == pytest.approx((0.4619, 0.9496), abs=1e-4)
    assert (sheet.share_a, sheet.no_side_share) == (pytest.approx(10 / 13), 0.35)
    assert (Sheet().side_p, Sheet().side_interval, Sheet().share_a, Sheet().fast_share) == (None,) * 4


def test_always_tying_on_gold_is_worth_a_coin() -> None:
    assert Marks(0, 0, 8).share == Marks(4, 4, 0).share == 0.5
    with pytest.raises(ValueError, match="negative"):
        Marks(-1)


WORDS = {
    "english": ("The cheese ripens slowly.", 4),
    "chinese": ("奶酪慢慢成熟", 3),
    "japanese": ("チーズはゆっくり熟成する", 6),
    "mixed": ("Brie 是奶酪", 2.5),
    "korean": ("치즈는 천천히 익는다", 3),
    "thai": ("ชีสสุก", 1.2),
    "nothing": (" \n", 0),
}


@pytest.mark.parametrize(("text", "words"), WORDS.values(), ids=WORDS)
def test_how_long_a_text_is_to_read(text: str, words: float) -> None:
    assert reading_words(text) == pytest.approx(words)


def test_what_is_fast() -> None:
    assert is_fast(9.9, 120)
    assert not is_fast(10, 120)
    assert not is_fast(0, 0), "nothing to read is read at once"
    endless = reading_words("word " * 30_000)
    assert is_fast(5, endless)
    assert not is_fast(LONGEST_READING / 12, endless), "nobody has to read thirty thousand words"


@given(st.text(max_size=300), st.text(max_size=300))
def test_more_text_is_never_shorter_to_read(one: str, other: str) -> None:
    assert reading_words(f"{one} {other}") >= max(reading_words(one), reading_words(other))
