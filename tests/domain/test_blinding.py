import hmac
import random
from collections import Counter
from hashlib import sha256
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.blinding import BLOCK, choice_for, draw_order, opposite, outcome, seal, sides
from app.domain.terms import Choice, Order, Outcome

RELABELLED = {
    Choice.A: Choice.B,
    Choice.B: Choice.A,
    Choice.TIE: Choice.TIE,
    Choice.BOTH_BAD: Choice.BOTH_BAD,
}

orders = st.sampled_from(Order)
choices = st.sampled_from(Choice)
outcomes = st.sampled_from(Outcome)
seeds = st.integers(min_value=0, max_value=2**32)
EVEN: Counter[Order] = Counter()


# ----------------------------------------------------------------------------------------- choice and order


@pytest.mark.parametrize(
    ("choice", "order", "expected"),
    [
        (Choice.A, Order.FIRST_IS_A, Outcome.FIRST),
        (Choice.B, Order.FIRST_IS_A, Outcome.SECOND),
        (Choice.A, Order.SECOND_IS_A, Outcome.SECOND),
        (Choice.B, Order.SECOND_IS_A, Outcome.FIRST),
        (Choice.TIE, Order.FIRST_IS_A, Outcome.TIE),
        (Choice.TIE, Order.SECOND_IS_A, Outcome.TIE),
        (Choice.BOTH_BAD, Order.FIRST_IS_A, Outcome.TIE),
        (Choice.BOTH_BAD, Order.SECOND_IS_A, Outcome.TIE),
    ],
)
def test_every_choice_in_every_order(choice: Choice, order: Order, expected: Outcome) -> None:
    assert outcome(choice, order) is expected


@given(orders)
def test_swapping_twice_is_identity(order: Order) -> None:
    assert opposite(order) is not order
    assert opposite(opposite(order)) is order
    assert sides(order, *sides(order, "x", "y")) == ("x", "y")


@given(choices, orders)
def test_relabelling_the_sides_changes_the_choice_and_not_the_outcome(choice: Choice, order: Order) -> None:
    assert outcome(choice, order) is outcome(RELABELLED[choice], opposite(order))


@given(orders, st.text(), st.text())
def test_who_picks_a_text_picks_its_response(order: Order, first: str, second: str) -> None:
    text_a, text_b = sides(order, (Outcome.FIRST, first), (Outcome.SECOND, second))
    assert outcome(Choice.A, order) is text_a[0]
    assert outcome(Choice.B, order) is text_b[0]
    assert {text_a[1], text_b[1]} == {first, second}


@given(outcomes, orders)
def test_the_choice_for_an_outcome_gives_that_outcome(wanted: Outcome, order: Order) -> None:
    assert outcome(choice_for(wanted, order), order) is wanted


@given(st.sampled_from([Choice.A, Choice.B, Choice.TIE]), orders)
def test_the_outcome_of_a_choice_gives_that_choice(choice: Choice, order: Order) -> None:
    assert choice_for(outcome(choice, order), order) is choice


@given(st.lists(st.tuples(choices, orders), min_size=1))
def test_the_win_rates_of_a_matchup_sum_to_one(ballots: list[tuple[Choice, Order]]) -> None:
    value = {Outcome.FIRST: 1.0, Outcome.TIE: 0.5, Outcome.SECOND: 0.0}
    found = [outcome(choice, order) for choice, order in ballots]
    of_first = sum(value[one] for one in found) / len(found)
    of_second = sum(1 - value[one] for one in found) / len(found)
    assert of_first + of_second == pytest.approx(1)


# --------------------------------------------------------------------------------------------- drawing orders


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - a series that a failing test can repeat


def drawn(rng: random.Random, count: int) -> list[Order]:
    """Orders of ``count`` ballots of different pairs, drawn one after the other."""
    batch: Counter[Order] = Counter()
    series = []
    for _ in range(count):
        order = draw_order(rng, EVEN, batch)
        batch[order] += 1
        series.append(order)
    return series


def possible(batch_orders: dict[Order, int]) -> set[Order]:
    return {draw_order(dice(seed), EVEN, batch_orders) for seed in range(64)}


@given(seeds, st.integers(1, 15))
def test_every_full_block_is_balanced(seed: int, blocks: int) -> None:
    series = drawn(dice(seed), BLOCK * blocks)
    for start in range(0, len(series), BLOCK):
        assert Counter(series[start : start + BLOCK]) == dict.fromkeys(Order, BLOCK // 2)


def test_all_blocks_are_equally_likely() -> None:
    rng = dice(5)
    blocks = Counter(tuple(drawn(rng, BLOCK)) for _ in range(6000))
    assert set(blocks) == set(permutations([*Order, *Order]))
    # 1000 each; with 5 degrees of freedom chi squared exceeds 20.5 once in a thousand seeds.
    assert sum((count - 1000) ** 2 / 1000 for count in blocks.values()) < 20.5


@given(st.integers(0, 50), st.permutations([*Order, *Order]), st.integers(0, BLOCK - 1))
def test_an_order_is_certain_only_when_its_block_has_no_ticket_of_the_other(
    blocks: int, block: list[Order], position: int
) -> None:
    shown = Counter(block[:position])
    batch = {order: BLOCK // 2 * blocks + shown[order] for order in Order}
    left = {order for order in Order if shown[order] < BLOCK // 2}
    assert possible(batch) == left
    if position < BLOCK // 2:
        assert len(left) == 2


@given(seeds, orders, st.integers(0, 3), st.integers(1, 3), st.dictionaries(orders, st.integers(0, 99)))
def test_a_pair_gets_the_order_it_lacks(
    seed: int, common: Order, rarer: int, lead: int, batch: dict[Order, int]
) -> None:
    pair = {common: rarer + lead, opposite(common): rarer}
    assert draw_order(dice(seed), pair, batch) is opposite(common)


@given(seeds, st.integers(1, 12), st.integers(1, 4))
def test_pairs_with_several_ballots_are_balanced_within_themselves(seed: int, pairs: int, twice: int) -> None:
    rng = dice(seed)
    batch: Counter[Order] = Counter()
    per_pair = [Counter[Order]() for _ in range(pairs)]
    for _ in range(2 * twice):
        for pair in per_pair:
            from_block = pair[Order.FIRST_IS_A] == pair[Order.SECOND_IS_A]
            order = draw_order(rng, pair, batch)
            pair[order] += 1
            batch[order] += from_block
    assert all(pair == dict.fromkeys(Order, twice) for pair in per_pair)


@given(seeds, orders, st.integers(3, 40))
def test_a_batch_that_is_out_of_step_is_pulled_back(seed: int, common: Order, lead: int) -> None:
    rng = dice(seed)
    batch = Counter({common: lead})
    for _ in range(4 * lead):
        batch[draw_order(rng, EVEN, batch)] += 1
    assert abs(batch[Order.FIRST_IS_A] - batch[Order.SECOND_IS_A]) <= BLOCK // 2


# ------------------------------------------------------------------------------------------------------ seals


parts = st.lists(st.text(max_size=4), max_size=4)


def test_a_seal_is_an_hmac_over_parts_with_their_lengths() -> None:
    message = (1).to_bytes(8, "big") + b"a" + (2).to_bytes(8, "big") + "é".encode()
    assert seal(b"secret", "a", "é") == hmac.new(b"secret", message, sha256).hexdigest()


@given(parts, parts)
def test_different_parts_have_different_seals(one: list[str], other: list[str]) -> None:
    assert (seal(b"secret", *one) == seal(b"secret", *other)) == (one == other)


@given(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=4), st.data())
def test_dividing_the_same_characters_differently_changes_the_seal(texts: list[str], data: st.DataObject) -> None:
    joined = "".join(texts)
    cut = data.draw(st.integers(0, len(joined)))
    divided = [joined[:cut], joined[cut:]]
    if divided != texts:
        assert seal(b"secret", *divided) != seal(b"secret", *texts)
    assert seal(b"secret", *texts, "") != seal(b"secret", *texts)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        (("a,b",), ("a", "b")),
        (('a","b',), ("a", "b")),
        (("\ud83d\ude00",), ("😀",)),
    ],
)
def test_known_collisions_of_simpler_encodings_do_not_collide(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert seal(b"secret", *one) != seal(b"secret", *other)


def test_a_seal_depends_on_the_secret_and_needs_one() -> None:
    assert seal(b"secret", "a") != seal(b"other", "a")
    with pytest.raises(ValueError, match="secret"):
        seal(b"", "a")
