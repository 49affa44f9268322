"""What was paid again for nothing, and what a fault was the reason of."""

import pytest

from app.demo_judges.ledger import Entry, Ledger
from app.demo_judges.script import Fault
from app.domain.terms import Choice, ProviderKind
from app.providers.calls import Usage

GOOD, LOST, FREE = (True, Choice.A), (True, None), (False, None)


@pytest.mark.parametrize(
    ("calls", "repeated", "needlessly"),
    [
        ([GOOD], 0, 0),
        ([FREE, GOOD], 0, 0),
        ([LOST, GOOD], 1, 0),
        ([GOOD, GOOD], 1, 1),
        ([GOOD, FREE, GOOD], 1, 1),
        ([GOOD, LOST, GOOD], 2, 1),  # killed, paid again, and that one was lost on its way
        ([GOOD, GOOD, GOOD], 2, 2),
    ],
)
def test_a_payment_is_needless_if_the_one_before_brought_a_choice(
    calls: list[tuple[bool, Choice | None]], repeated: int, needlessly: int
) -> None:
    ledger = Ledger()
    for charged, choice in calls:
        ledger.add(
            Entry(
                subject="asked", kind=ProviderKind.ANTHROPIC, model="m", batch=False, custom_id="",
                fault=None if choice else next(iter(Fault)), charged=charged, usage=Usage(), choice=choice,
            )
        )  # fmt: skip
    assert (ledger.repeated, ledger.repeated_needlessly) == (repeated, needlessly)
