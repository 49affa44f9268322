"""What a call costs, by the price table that comes with the package genai-prices. Estimates: bills are the provider's.

Money is whole micro-dollars, rounded up for each call. Integers add up exactly in both databases, so a cap is compared
with a sum and not with a rounding error; rounding up means that a sum is never below what the table says, and at most a
millionth of a dollar a call above it. A model that the table does not have has no price: None, which pages say, and
never zero.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, Decimal
from importlib.metadata import version

from app.domain.terms import ProviderKind
from app.providers.calls import Usage

MICRO = 1_000_000
"""Micro-dollars in a dollar."""

_CHECKED = {"0.2.3": date(2026, 10, 19)}
"""When the prices of a version were last looked up, as its own notes say; a test asks for the pinned one."""


@dataclass(frozen=True)
class PriceTable:
    """Which table a price is from. Stored with each cost."""

    name: str
    version: str
    checked: date | None

    @property
    def label(self) -> str:
        """``genai-prices 0.2.3 (2026-10-19)``."""
        return f"{self.name} {self.version} ({self.checked or 'undated'})"


@dataclass(frozen=True)
class Price:
    """What a call costs at most by the table."""

    micro_dollars: int
    table: PriceTable


def price_table() -> PriceTable:
    """The table in force."""
    installed = version("genai-prices")
    return PriceTable("genai-prices", installed, _CHECKED.get(installed))


def price(
    kind: ProviderKind, model: str, usage: Usage, at: datetime, *, batch: bool = False, base_url: str = ""
) -> Price | None:
    """The price of a call made at ``at``; in a batch the lower one, where the table has it. None: the table has none.

    For other servers than Anthropic the address says whose price list holds; a local one is in none.
    """
    from genai_prices import Usage as Counted  # noqa: PLC0415 - a table of 1.6 MB that few processes need
    from genai_prices import calc_price  # noqa: PLC0415

    counted = Counted(
        input_tokens=usage.all_input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens + usage.cache_write_1h_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
    )
    when, how = at.astimezone(UTC), {"processing": "batch"} if batch else None
    try:
        if kind is ProviderKind.ANTHROPIC:
            found = calc_price(counted, model, provider_id="anthropic", genai_request_timestamp=when, price_context=how)
        else:
            found = calc_price(
                counted, model, provider_api_url=base_url, genai_request_timestamp=when, price_context=how
            )
    except LookupError:
        return None
    micro = (found.total_price * Decimal(MICRO)).to_integral_value(ROUND_CEILING)
    return Price(int(micro), price_table())


def worst_case(input_tokens: int, max_tokens: int, *, batch: bool = False) -> Usage:
    """The dearest that a call can become: all of it written to a cache, and a reply as long as allowed."""
    if batch:
        return Usage(cache_write_1h_tokens=input_tokens, output_tokens=max_tokens)
    return Usage(cache_write_tokens=input_tokens, output_tokens=max_tokens)


def dollars(micro_dollars: int) -> Decimal:
    """For showing."""
    return Decimal(micro_dollars) / MICRO


def in_words(micro_dollars: int) -> str:
    """``$12.50``, and ``$0.0042`` below a dollar, where cents say too little."""
    amount = dollars(micro_dollars)
    return f"${amount:,.2f}" if amount >= 1 or not amount else f"${amount:.4f}"
