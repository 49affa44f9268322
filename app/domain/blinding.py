"""The only place where screen words (A, B) and storage words (first, second) meet."""

import hmac
import random
from collections.abc import Mapping
from functools import lru_cache
from typing import TypeVar

from app.domain.terms import Choice, Order, Outcome

T = TypeVar("T")

# Half of the tickets of a block go to each order. With one vote a pair the orders of a batch are never more than 2
# apart; with more, each pair is balanced by itself and the batch may be a few apart in between.
BLOCK = 4

_LENGTH_BYTES = 8
_SHORT = 256


def opposite(order: Order) -> Order:
    """The other order."""
    return Order.SECOND_IS_A if order is Order.FIRST_IS_A else Order.FIRST_IS_A


def sides(order: Order, first: T, second: T) -> tuple[T, T]:
    """What is shown as A and what as B."""
    return (first, second) if order is Order.FIRST_IS_A else (second, first)


def outcome(choice: Choice, order: Order) -> Outcome:
    """Which response won, given what was picked on the screen and what was shown where."""
    outcome_a, outcome_b = sides(order, Outcome.FIRST, Outcome.SECOND)
    match choice:
        case Choice.A:
            return outcome_a
        case Choice.B:
            return outcome_b
        case Choice.TIE | Choice.BOTH_BAD:
            return Outcome.TIE


def choice_for(wanted: Outcome, order: Order) -> Choice:
    """The choice that produces an outcome in this order; a tie gives ``tie``, never ``both_bad``."""
    if wanted is Outcome.TIE:
        return Choice.TIE
    outcome_a, _ = sides(order, Outcome.FIRST, Outcome.SECOND)
    return Choice.A if wanted is outcome_a else Choice.B


def draw_order(
    rng: random.Random,
    pair_orders: Mapping[Order, int],
    batch_orders: Mapping[Order, int],
) -> Order:
    """Draw the order of a new ballot.

    ``pair_orders`` counts the live ballots of the pair by order: if they are uneven, the pair gets the order
    it lacks. Otherwise the order is a ticket from a permuted block. ``batch_orders`` counts the tickets drawn
    in the batch so far (first showings; an order absent counts 0). If it also counts orders that pairs
    lacked, or is out of step for another reason, the tickets of the rarer order pull it back.
    """
    lead = pair_orders.get(Order.FIRST_IS_A, 0) - pair_orders.get(Order.SECOND_IS_A, 0)
    if lead:
        return Order.SECOND_IS_A if lead > 0 else Order.FIRST_IS_A
    drawn_first = batch_orders.get(Order.FIRST_IS_A, 0)
    drawn_second = batch_orders.get(Order.SECOND_IS_A, 0)
    share_at_block_end = BLOCK // 2 * ((drawn_first + drawn_second) // BLOCK + 1)
    tickets_first = max(0, share_at_block_end - drawn_first)
    tickets_second = max(0, share_at_block_end - drawn_second)
    ticket = rng.randrange(tickets_first + tickets_second)
    return Order.FIRST_IS_A if ticket < tickets_first else Order.SECOND_IS_A


def seal(secret: bytes, *parts: str) -> str:
    """HMAC-SHA256 over the parts, as 64 hex digits; any change to a part or to their division changes it.

    Raises ``ValueError`` for an empty secret, with which anybody could make the seal.
    """
    if not secret:
        raise ValueError("a seal needs a secret")
    covered = b"".join([_kept_piece(part) if len(part) < _SHORT else _piece(part) for part in parts])
    return hmac.digest(secret, covered, "sha256").hex()  # at once: an import makes three of them a verdict


def _piece(part: str) -> bytes:
    """A part with its length in front, which keeps ("ab", "c") and ("a", "bc") apart."""
    encoded = part.encode("utf-8", "surrogatepass")
    return len(encoded).to_bytes(_LENGTH_BYTES, "big") + encoded


_kept_piece = lru_cache(maxsize=4096)(_piece)
"""Most parts of one seal are in the next as well: ids of voter and pair, kinds, orders, numbers."""
